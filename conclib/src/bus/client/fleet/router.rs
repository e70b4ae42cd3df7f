//! Decides which member of a fleet a request goes to. No I/O.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::client::fleet::members::RoutedMembers;
use crate::bus::client::fleet::names::{Location, Name, NameTerm, Names, Ticket};
use crate::bus::client::fleet::retry_budget::RetryBudget;
use crate::bus::client::node_link::NodeLink;
use crate::bus::transport::fleet::{MapVersion, Member, MemberId};
use crate::error::AskError;
use crate::random::Uuid;
use crate::urn::Urn;

/// Pause before a name is looked up once more that has no place yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The requests of a client in a fleet, and what it knows of the members.
#[derive(Default)]
pub(in crate::bus::client) struct Router {
    pub(super) members: RoutedMembers,
    pub(super) names: Names,
    pub(super) budget: RetryBudget,
    /// Members that are gone, and whose requests are being taken back.
    gone: Vec<(MemberId, Arc<NodeLink>)>,
    /// The map was read.
    is_known: bool,
    /// The map is to be read, since a request found no member.
    wants_members: bool,
    /// Names to be looked up, and the moments from which on.
    wanted: Vec<(Urn, Instant)>,
    /// Notified when the map is to be read or names are to be looked up.
    pub(super) wakes: Arc<Notify>,
    /// Notified when requests have ended while others were looked at: their askers are to be woken.
    pub(super) refusals: Arc<Notify>,
}

/// The state of one request in a fleet.
#[derive(Debug)]
pub(in crate::bus::client) struct Route {
    urn: Urn,
    /// The member that it was given to last.
    given: Option<(MemberId, Addressing)>,
    /// Members that have refused it.
    tried: SmallVec<[MemberId; 4]>,
    /// The last refusal.
    refusal: Option<AskError>,
}

/// The reason for which a request goes to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addressing {
    /// The member has the name; the term of the name.
    Listed(NameTerm),
    /// The member shares the name.
    Shared,
    /// The name says its process.
    Generated,
}

/// The place to which a request goes now.
pub(in crate::bus::client) enum Destination {
    To(Arc<NodeLink>),
    /// None yet: the request waits.
    Hold,
    Refuse(AskError),
}

/// A refusal that says that the request was certainly not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bus::client) enum Bounce {
    /// The member has no such actor.
    NotHere,
    /// The member does not serve.
    Closed,
    /// The actor has too much to do.
    Busy,
}

impl Bounce {
    /// The bounce that an error is, if it is one for a request that was given so.
    fn of(error: &AskError, addressing: Addressing) -> Option<Self> {
        match error {
            AskError::NoResponder => Some(Self::Closed),
            AskError::ActorNotFound { .. } if addressing != Addressing::Generated => {
                Some(Self::NotHere)
            }
            AskError::ActorFailed { .. } if addressing == Addressing::Shared => Some(Self::NotHere),
            AskError::Overloaded { .. } if addressing == Addressing::Shared => Some(Self::Busy),
            _ => None,
        }
    }
}

/// The outcome of a look for a name.
enum Verdict {
    /// Held requests have a place now.
    Known,
    /// They wait on.
    Wait,
    Refuse(AskError),
}

impl Route {
    pub(in crate::bus::client) fn new(urn: Urn) -> Self {
        Self {
            urn,
            given: None,
            tried: SmallVec::new(),
            refusal: None,
        }
    }

    pub(in crate::bus::client) fn urn(&self) -> &Urn {
        &self.urn
    }

    /// The member that it was given to last, and that has not refused it.
    pub(in crate::bus::client) fn member(&self) -> Option<MemberId> {
        self.given.map(|(member, _)| member)
    }

    /// The last refusal of the request.
    pub(in crate::bus::client) fn refusal(&self) -> Option<AskError> {
        self.refusal.clone()
    }

    /// The bounce that an error is for this request, if it is one.
    pub(in crate::bus::client) fn bounce(&self, error: &AskError) -> Option<Bounce> {
        self.given
            .and_then(|(_, addressing)| Bounce::of(error, addressing))
    }
}

impl Router {
    /// The place to which a request goes. If it goes to a member, it counts as given to it.
    pub(in crate::bus::client) fn place(
        &mut self,
        route: &mut Route,
        ticket: u64,
        now: Instant,
    ) -> Destination {
        let ticket = Ticket(ticket);
        self.budget.earn();
        let name = self.names.of(&route.urn);
        if name.holds() {
            name.hold(ticket);
            return Destination::Hold;
        }
        self.try_place(route, ticket, now)
    }

    fn try_place(&mut self, route: &mut Route, ticket: Ticket, now: Instant) -> Destination {
        let found = self.find(&route.urn, &route.tried, now);
        let given =
            found.and_then(|(member, addressing)| self.give(route, member, addressing, now));
        match given {
            Some(destination) => destination,
            // Every member that shares the name has refused the request: after a pause, once more.
            None if !route.tried.is_empty() => {
                route.tried.clear();
                self.hold(&route.urn, ticket, now + LOOK_AGAIN)
            }
            None => self.hold(&route.urn, ticket, now),
        }
    }

    /// Gives a request to a member, unless it does not keep up.
    fn give(
        &mut self,
        route: &mut Route,
        id: MemberId,
        addressing: Addressing,
        now: Instant,
    ) -> Option<Destination> {
        let member = self.members.get(id)?;
        if let Some(refusal) = member.overload() {
            return Some(Destination::Refuse(refusal));
        }
        member.sent(now);
        let link = member.link.clone();
        let addressing = match addressing {
            Addressing::Listed(_) => Addressing::Listed(self.names.of(&route.urn).sent(id)),
            addressing => addressing,
        };
        route.given = Some((id, addressing));
        Some(Destination::To(link))
    }

    /// Has a request wait until its name has a place, which is looked up then.
    fn hold(&mut self, urn: &Urn, ticket: Ticket, at: Instant) -> Destination {
        self.names.of(urn).hold(ticket);
        self.want(urn, at);
        Destination::Hold
    }

    /// Has a name looked up, unless it is already.
    fn want(&mut self, urn: &Urn, at: Instant) {
        if !self.is_known || !self.members.serve() {
            self.wants_members = true;
        }
        let name = self.names.of(urn);
        if !std::mem::replace(&mut name.is_looked_up, true) {
            self.wanted.push((urn.clone(), at));
        }
        self.wakes.notify_one();
    }

    /// The member that a request for a name goes to; `None` if that is to be looked up.
    fn find(
        &mut self,
        urn: &Urn,
        tried: &[MemberId],
        now: Instant,
    ) -> Option<(MemberId, Addressing)> {
        if !self.is_known {
            return None;
        }
        let process = Uuid::from_urn(urn.as_str()).and_then(Uuid::process);
        if let Some(member) = process.and_then(|process| self.members.of_process(process)) {
            return Some((member, Addressing::Generated));
        }
        let (shares, sole) = (self.members.share(urn), self.members.sole());
        let version = self.members.version;
        let name = self.names.of(urn);
        let is_unlisted = match name.location {
            Location::At(member) if self.members.serves(member) => {
                let is_free = name.may_go_to(member);
                return is_free.then_some((member, Addressing::Listed(NameTerm::default())));
            }
            Location::Unlisted(_) if !shares => {
                name.location = Location::Unknown;
                false
            }
            Location::Unlisted(at) => {
                if at != version {
                    // It was not listed a moment ago: this is looked up beside the request.
                    self.want(urn, now);
                }
                true
            }
            Location::At(_) | Location::Unknown => false,
        };
        if shares && (is_unlisted || sole.is_some()) {
            let chosen = self.members.choose(urn, tried, now);
            return chosen.map(|member| (member, Addressing::Shared));
        }
        let name = self.names.of(urn);
        let sole = sole.filter(|sole| !tried.contains(sole) && name.may_go_to(*sole))?;
        name.location = Location::At(sole);
        Some((sole, Addressing::Listed(NameTerm::default())))
    }

    /// Notes that a request has ended, and may have been executed. Returns true if held requests for its name may be
    /// sent.
    pub(in crate::bus::client) fn ended(&mut self, route: &Route, ticket: u64) -> bool {
        if let Some((member, _)) = route.given
            && let Some(member) = self.members.get(member)
        {
            member.ended();
        }
        let Some(name) = self.names.get(&route.urn) else {
            return false;
        };
        match route.given {
            Some((_, Addressing::Listed(term))) => name.ended(Ticket(ticket), term),
            Some(_) => return false,
            None => name.forget(Ticket(ticket)),
        }
        name.holds() && name.may_release()
    }

    /// Notes that a request was taken by its member, which is gone: it may have been executed.
    pub(in crate::bus::client) fn may_be_executed(&mut self, route: &Route, ticket: u64) {
        if let Some((_, Addressing::Listed(_))) = route.given
            && let Some(name) = self.names.get(&route.urn)
        {
            name.may_be_executed(Ticket(ticket));
        }
    }

    /// Notes that a member has answered.
    pub(in crate::bus::client) fn heard(&mut self, route: &Route, now: Instant) {
        if let Some((member, _)) = route.given
            && let Some(member) = self.members.get(member)
        {
            member.answered(now);
        }
    }

    /// The next place of a request that was bounced.
    pub(in crate::bus::client) fn bounced(
        &mut self,
        route: &mut Route,
        ticket: u64,
        (bounce, refusal): (Bounce, AskError),
        now: Instant,
    ) -> Destination {
        let Some((id, addressing)) = route.given.take() else {
            return Destination::Refuse(refusal);
        };
        if let Some(member) = self.members.get(id) {
            member.ended();
            match bounce {
                Bounce::Closed => member.closed(now),
                _ if addressing == Addressing::Shared => member.refused(now),
                _ => {}
            }
        }
        route.tried.push(id);
        route.refusal = Some(refusal.clone());
        let ticket = Ticket(ticket);
        match addressing {
            Addressing::Generated => Destination::Refuse(refusal),
            Addressing::Listed(term) => {
                let name = self.names.of(&route.urn);
                name.bounced(term);
                if name.location == Location::At(id) {
                    name.location = Location::Unknown;
                }
                if bounce == Bounce::NotHere {
                    name.denied = Some(id);
                }
                route.tried.clear();
                self.hold(&route.urn, ticket, now)
            }
            Addressing::Shared => {
                if bounce == Bounce::Busy && !self.budget.spend() {
                    return Destination::Refuse(refusal);
                }
                let next = self.members.choose(&route.urn, &route.tried, now);
                let given = next.and_then(|next| self.give(route, next, Addressing::Shared, now));
                match given {
                    Some(destination) => destination,
                    None if bounce == Bounce::Busy => Destination::Refuse(refusal),
                    None => {
                        self.wants_members = true;
                        route.tried.clear();
                        self.hold(&route.urn, ticket, now + LOOK_AGAIN)
                    }
                }
            }
        }
    }

    /// Replaces the members by those that the map has.
    pub(in crate::bus::client) fn set_members(
        &mut self,
        version: MapVersion,
        members: Vec<(Member, Arc<NodeLink>)>,
    ) {
        let gone = self.members.replace(version, members, Instant::now());
        self.gone.extend(gone);
        self.is_known = true;
    }

    /// The members that are gone, and whose requests are to be taken back.
    pub(super) fn gone_members(&self) -> Vec<(MemberId, Arc<NodeLink>)> {
        self.gone.clone()
    }

    /// Notes that all requests to a member that is gone were taken back that it has not taken itself. Returns
    /// the names for which requests may leave that wait.
    pub(super) fn was_emptied(&mut self, member: MemberId) -> Vec<Urn> {
        self.gone.retain(|(gone, _)| *gone != member);
        let names = self.names.iter_mut();
        let freed = names.filter_map(|(urn, name)| name.member_is_gone(member).then_some(urn));
        freed.cloned().collect()
    }

    /// The members from which requests wait for an answer that does not come.
    pub(super) fn silent_members(&self, now: Instant) -> Vec<(MemberId, Arc<NodeLink>)> {
        let silent = self.members.silent(now);
        silent
            .map(|member| (member.id, member.link.clone()))
            .collect()
    }

    /// Has names looked up once more, after a failed call.
    pub(super) fn look_again(&mut self, names: Vec<Urn>, now: Instant) {
        let at = now + LOOK_AGAIN;
        self.wanted.extend(names.into_iter().map(|urn| (urn, at)));
    }

    /// Records the owner of a name, or that it has none. Returns true if held requests may be sent, false if they
    /// wait on, and the error with which they all end otherwise.
    pub(super) fn looked_up(
        &mut self,
        urn: &Urn,
        found: Option<MemberId>,
        version: MapVersion,
        now: Instant,
    ) -> Result<bool, AskError> {
        let is_current = version == self.members.version;
        let verdict = match self.judge(urn, found, is_current, now) {
            Verdict::Known => Verdict::Known,
            _ if self.members.are_absent(now) => Verdict::Refuse(AskError::NoResponder),
            // A member may have joined that has the name.
            _ if !is_current => {
                self.wants_members = true;
                Verdict::Wait
            }
            verdict => verdict,
        };
        let name = self.names.of(urn);
        name.is_looked_up = false;
        let holds = name.holds();
        match verdict {
            Verdict::Known => Ok(holds && name.may_release()),
            Verdict::Wait if holds => {
                self.want(urn, now + LOOK_AGAIN);
                Ok(false)
            }
            Verdict::Wait => Ok(false),
            Verdict::Refuse(error) => Err(error),
        }
    }

    fn judge(
        &mut self,
        urn: &Urn,
        found: Option<MemberId>,
        is_current: bool,
        now: Instant,
    ) -> Verdict {
        let (sole, version) = (self.members.sole(), self.members.version);
        let Some(found) = found else {
            let name = self.names.of(urn);
            let denied = name.denied.take();
            if self.members.share(urn) {
                name.location = Location::Unlisted(version);
                return if self.members.are_absent(now) {
                    Verdict::Wait
                } else {
                    Verdict::Known
                };
            }
            return match sole {
                Some(sole) if denied != Some(sole) && self.members.is_open(sole, now) => {
                    name.location = Location::At(sole);
                    Verdict::Known
                }
                Some(sole) if denied != Some(sole) => Verdict::Wait,
                _ if self.members.may_list(now) || self.members.have_left(urn) => Verdict::Wait,
                _ if self.members.serve() => {
                    Verdict::Refuse(AskError::ActorNotFound { urn: urn.clone() })
                }
                _ => Verdict::Refuse(AskError::NoResponder),
            };
        };
        if self.names.of(urn).denied.take() == Some(found) {
            return Verdict::Wait; // it has the name, and not the actor, or not yet: it is asked again then
        }
        let has_ended = is_current && !self.members.serves(found);
        if has_ended && self.members.share(urn) && !self.members.are_absent(now) {
            // The entry of a member that has ended does not count any more.
            self.names.of(urn).location = Location::Unlisted(version);
            return Verdict::Known;
        }
        if !self.members.is_open(found, now) {
            return Verdict::Wait; // also one that is not known yet
        }
        self.names.of(urn).location = Location::At(found);
        Verdict::Known
    }

    /// Takes the requests that wait for a name, the oldest first, if they may leave now. Each is the newest
    /// one, unless a later request may have been executed.
    pub(in crate::bus::client) fn take_released(&mut self, urn: &Urn) -> Vec<(u64, bool)> {
        let Some(name) = self.names.get(urn).filter(|name| name.may_release()) else {
            return Vec::new();
        };
        let held: Vec<_> = std::iter::from_fn(|| name.next()).collect();
        let is_newest = |ticket: Ticket| name.is_newest(ticket);
        let released = held.into_iter().map(|ticket| (ticket.0, is_newest(ticket)));
        released.collect()
    }

    /// The place of a request that has waited.
    pub(in crate::bus::client) fn place_held(
        &mut self,
        route: &mut Route,
        ticket: u64,
        now: Instant,
    ) -> Destination {
        self.try_place(route, Ticket(ticket), now)
    }

    /// All requests that wait for a name.
    pub(in crate::bus::client) fn take_held(&mut self, urn: &Urn) -> Vec<u64> {
        let name = self.names.of(urn);
        std::iter::from_fn(|| Name::next(name).map(|ticket| ticket.0)).collect()
    }

    /// Notes that a request has ended, whose asker is to be woken.
    pub(in crate::bus::client) fn note_refusal(&self) {
        self.refusals.notify_one();
    }

    /// Has the map read: it may have changed.
    pub(in crate::bus::client) fn map_changed(&mut self) {
        self.wants_members = true;
        self.wakes.notify_one();
    }

    /// Takes the wish to have the map read, if it may be, and the names to be looked up now.
    pub(super) fn take_wanted(&mut self, now: Instant, may_read: bool) -> (bool, Vec<Urn>) {
        let wants_members = may_read && std::mem::take(&mut self.wants_members);
        let due = self.wanted.extract_if(.., |(_, at)| *at <= now);
        (wants_members, due.map(|(urn, _)| urn).collect())
    }

    /// The moment of the next look-up, of the next look for requests to members that are gone, or from which on
    /// the map may be read if that is wanted.
    pub(super) fn next_work(&self, now: Instant, may_read_from: Instant) -> Option<Instant> {
        let wanted = self.wanted.iter().map(|(_, at)| *at);
        let taking_back = (!self.gone.is_empty()).then(|| now + LOOK_AGAIN);
        let reading = self.wants_members.then_some(may_read_from);
        wanted.chain(taking_back).chain(reading).min()
    }
}
