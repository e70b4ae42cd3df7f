//! The members of a fleet, as a client chooses among them. No I/O.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::client::node_link::NodeLink;
use crate::bus::fleet::stats::MemberCounts;
use crate::bus::transport::fleet::{MapVersion, Member, MemberId, MemberState};
use crate::error::AskError;
use crate::random::Process;
use crate::urn::Urn;

/// Time for which a member is avoided after it has refused a request: one that fails fast has little to do,
/// and would get all requests otherwise.
const AVOID_TIME: Duration = Duration::from_secs(1);

/// Time for which a member counts as closed that does not serve and has not said that it leaves.
const CLOSED_TIME: Duration = Duration::from_millis(250);

/// Time for which a member does not serve, as far as requests have shown, after which none waits for it. A
/// process that starts again has joined by then, and members that are gone were removed by others.
const ABSENT_AFTER: Duration = Duration::from_secs(7);

/// Time without a request for an absent member after which that is forgotten: it may have served meanwhile.
const ABSENCE_MEMORY: Duration = Duration::from_secs(60);

/// Time for which names may not be listed again after the map has lost its members.
const RECOVERY_TIME: Duration = Duration::from_secs(7);

/// Time without an answer, while requests wait for one, after which a member is avoided.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(1);

/// The members of a fleet, as a client knows them.
#[derive(Default)]
pub(super) struct RoutedMembers {
    pub(super) version: MapVersion,
    /// In the order of their numbers.
    all: Vec<RoutedMember>,
    /// The members that share a name, as indices.
    shared: HashMap<Urn, Vec<usize>>,
    /// Names that members have shared who have left.
    left: HashSet<Urn>,
    /// The only member that serves.
    sole: Option<MemberId>,
    /// The moment at which the map was seen to have lost all members, some of which have not joined anew.
    lost: Option<Instant>,
}

/// A member, as requests are given to it.
pub(super) struct RoutedMember {
    pub(super) id: MemberId,
    pub(super) link: Arc<NodeLink>,
    /// The process that is named in the URNs that it generates.
    process: Process,
    state: MemberState,
    /// It is avoided until then.
    avoided: Option<Instant>,
    /// It does not serve, as it has said; it may again from then on.
    closed: Option<Instant>,
    /// The times between which it did not serve, whenever it was asked.
    absent: Option<(Instant, Instant)>,
    /// The number of requests that were given to it and have not ended. Those for its node do not count: their
    /// answers are not noted here.
    requests: usize,
    /// The moment of its last answer, or since which a request waits for one.
    heard: Option<Instant>,
}

/// The reasons against a member, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Penalty {
    None,
    /// It has refused a request, or does not answer.
    Avoided,
    /// It is about to leave.
    Draining,
}

impl RoutedMember {
    fn serves(&self) -> bool {
        self.state != MemberState::Left
    }

    /// Notes that it has answered.
    pub(super) fn answered(&mut self, now: Instant) {
        self.heard = Some(now);
        self.absent = None;
    }

    /// Notes that a request was given to it.
    pub(super) fn sent(&mut self, now: Instant) {
        if self.requests == 0 {
            self.heard = Some(now);
        }
        self.requests += 1;
    }

    /// Notes that a request has ended that was given to it, or goes to another one.
    pub(super) fn ended(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// Notes that it has refused a request that others may take.
    pub(super) fn refused(&mut self, now: Instant) {
        self.avoided = Some(now + AVOID_TIME);
    }

    /// Notes that it does not serve now.
    pub(super) fn closed(&mut self, now: Instant) {
        self.closed = Some(now + CLOSED_TIME);
        let is_recent = |last: Instant| now.saturating_duration_since(last) <= ABSENCE_MEMORY;
        let known = self.absent.filter(|(_, last)| is_recent(*last));
        self.absent = Some((known.map_or(now, |(since, _)| since), now));
        self.refused(now);
    }

    /// True if it is on the map, and has not served for long.
    fn is_absent(&self, now: Instant) -> bool {
        self.absent
            .is_some_and(|(since, _)| now.saturating_duration_since(since) >= ABSENT_AFTER)
    }

    /// True if requests can be given to it, as far as is known.
    fn is_open(&self, now: Instant) -> bool {
        match (self.state, self.closed) {
            (MemberState::Left, _) | (MemberState::Draining, Some(_)) => false,
            (_, closed) => closed.is_none_or(|until| until <= now),
        }
    }

    /// True if requests wait for it, and it has not answered for a while.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        let heard = self.heard.filter(|_| self.requests > 0);
        heard.is_some_and(|heard| now.saturating_duration_since(heard) >= SILENT_AFTER)
    }

    fn penalty(&self, now: Instant) -> Penalty {
        let is_avoided = self.avoided.is_some_and(|until| now < until);
        if self.state == MemberState::Draining {
            Penalty::Draining
        } else if is_avoided || self.is_silent(now) || self.link.backpressure.is_full() {
            Penalty::Avoided
        } else {
            Penalty::None
        }
    }

    /// The refusal of a request for a member that does not keep up.
    pub(super) fn overload(&self) -> Option<AskError> {
        let retry_after = self.link.backpressure.retry_after()?;
        Some(AskError::Overloaded { retry_after })
    }

    /// The load of a member: the client's own requests, then the length of its inbox as last seen.
    fn load(&self) -> (usize, u64) {
        (self.link.in_flight(), self.link.backpressure.length())
    }
}

impl RoutedMembers {
    /// The members by state.
    pub(super) fn counts(&self) -> MemberCounts {
        MemberCounts::of_states(self.all.iter().map(|member| member.state))
    }

    /// Replaces the members by those that the map has, with their links. Returns those that do not serve any
    /// more.
    pub(super) fn replace(
        &mut self,
        version: MapVersion,
        members: Vec<(Member, Arc<NodeLink>)>,
        now: Instant,
    ) -> Vec<(MemberId, Arc<NodeLink>)> {
        let mut former: HashMap<_, _> = self.all.drain(..).map(|known| (known.id, known)).collect();
        let (mut gone, mut has_survivors) = (Vec::new(), false);
        self.version = version;
        self.shared.clear();
        self.left.clear();
        for (index, (member, link)) in members.into_iter().enumerate() {
            let Member { id, profile } = member;
            let known = former.remove(&id);
            has_survivors |= known.is_some();
            if profile.state == MemberState::Left {
                if known.as_ref().is_some_and(RoutedMember::serves) {
                    gone.push((id, link.clone()));
                }
                self.left.extend(profile.shared);
            } else {
                for urn in profile.shared {
                    self.shared.entry(urn).or_default().push(index);
                }
            }
            self.all.push(RoutedMember {
                id,
                link,
                process: profile.process,
                state: profile.state,
                avoided: known.as_ref().and_then(|known| known.avoided),
                closed: known.as_ref().and_then(|known| known.closed),
                absent: known.as_ref().and_then(|known| known.absent),
                requests: known.as_ref().map_or(0, |known| known.requests),
                heard: known.and_then(|known| known.heard),
            });
        }
        let removed = former.into_values().filter(RoutedMember::serves);
        let removed: Vec<_> = removed.map(|member| (member.id, member.link)).collect();
        let joined_anew = |link| {
            self.all
                .iter()
                .any(|member| Arc::ptr_eq(&member.link, link))
        };
        if !has_survivors && removed.iter().any(|(_, link)| !joined_anew(link)) {
            self.lost = Some(now);
        }
        gone.extend(removed);
        let mut serving = self.all.iter().filter(|member| member.serves());
        let first = serving.next().map(|member| member.id);
        self.sole = first.filter(|_| serving.next().is_none());
        gone
    }

    pub(super) fn get(&mut self, id: MemberId) -> Option<&mut RoutedMember> {
        let index = self.index(id)?;
        self.all.get_mut(index)
    }

    fn index(&self, id: MemberId) -> Option<usize> {
        self.all.binary_search_by_key(&id, |member| member.id).ok()
    }

    /// True if this member has not left.
    pub(super) fn serves(&self, id: MemberId) -> bool {
        self.index(id).is_some_and(|index| self.all[index].serves())
    }

    /// True if requests can be given to this member, as far as is known.
    pub(super) fn is_open(&self, id: MemberId, now: Instant) -> bool {
        self.index(id)
            .is_some_and(|index| self.all[index].is_open(now))
    }

    /// The only member that serves.
    pub(super) fn sole(&self) -> Option<MemberId> {
        self.sole
    }

    /// True if a member serves.
    pub(super) fn any_serves(&self) -> bool {
        self.all.iter().any(RoutedMember::serves)
    }

    /// True if the map has members, and none of them serves: they have ended, and no process has removed them.
    pub(super) fn all_are_absent(&self, now: Instant) -> bool {
        self.any_serves()
            && self
                .all
                .iter()
                .all(|member| !member.serves() || member.is_absent(now))
    }

    /// True if a member may have names that it has not tried to list yet.
    pub(super) fn may_list(&self, now: Instant) -> bool {
        let is_listing = |member: &RoutedMember| member.state == MemberState::Listing;
        let is_recent = |lost| now.saturating_duration_since(lost) < RECOVERY_TIME;
        self.lost.is_some_and(is_recent) || self.all.iter().any(is_listing)
    }

    /// True if a member has left that shared this name: another one may take its place.
    pub(super) fn has_lost_sharer(&self, urn: &Urn) -> bool {
        self.left.contains(urn)
    }

    /// The member of a process that generates URNs.
    pub(super) fn of_process(&self, process: Process) -> Option<MemberId> {
        let mut serving = self.all.iter().filter(|member| member.serves());
        serving
            .find(|member| member.process == process)
            .map(|member| member.id)
    }

    /// True if members share this name.
    pub(super) fn is_shared(&self, urn: &Urn) -> bool {
        self.shared.contains_key(urn)
    }

    /// Chooses among the members that share a name, without those that were tried: of two at random the
    /// one with less load, among those with the least penalty. (Mitzenmacher, "The Power of Two Choices in
    /// Randomized Load Balancing", 2001.)
    pub(super) fn choose(&self, urn: &Urn, tried: &[MemberId], now: Instant) -> Option<MemberId> {
        let indices = self.shared.get(urn)?;
        if let Some(member) = self.choose_of_two(indices, tried, now) {
            return Some(member);
        }
        let sharing = indices.iter().filter_map(|i| self.all.get(*i));
        let untried = || sharing.clone().filter(|member| !tried.contains(&member.id));
        let least = untried().map(|member| member.penalty(now)).min()?;
        let best = || untried().filter(|member| member.penalty(now) == least);
        let count = best().count();
        let first = fastrand::usize(..count);
        let second = if count > 1 {
            (first + fastrand::usize(1..count)) % count
        } else {
            first
        };
        let two = [best().nth(first), best().nth(second)];
        let chosen = two.into_iter().flatten().min_by_key(|member| member.load());
        chosen.map(|member| member.id)
    }

    /// The less loaded one of two members at random, unless there is something against either: nearly always
    /// there is not, and no other one has to be looked at.
    fn choose_of_two(
        &self,
        indices: &[usize],
        tried: &[MemberId],
        now: Instant,
    ) -> Option<MemberId> {
        if indices.len() < 2 || !tried.is_empty() {
            return None;
        }
        let first = fastrand::usize(..indices.len());
        let second = (first + fastrand::usize(1..indices.len())) % indices.len();
        let (first, second) = (
            self.all.get(indices[first])?,
            self.all.get(indices[second])?,
        );
        let both_serve = [first, second]
            .iter()
            .all(|member| member.penalty(now) == Penalty::None);
        both_serve.then(|| {
            if second.load() < first.load() {
                second.id
            } else {
                first.id
            }
        })
    }

    /// The members from which requests wait for an answer that does not come.
    pub(super) fn silent(&self, now: Instant) -> impl Iterator<Item = &RoutedMember> {
        self.all.iter().filter(move |member| member.is_silent(now))
    }
}
