//! The names of a system's actors, as a member lists them in its fleet. No I/O.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use crate::actor::any::AnyActor;
use crate::actor::listing::{Listing, ListingSlot, NameKind};
use crate::bus::fleet::stats::FleetStats;
use crate::bus::transport::fleet::{ListOutcome, MemberId};
use crate::core::{ListedFuture, NameLists};
use crate::urn::Urn;

use names::{MembershipStage, Names, Stage};

mod names;

/// The names of a system's actors that other processes may look for.
pub(super) struct NameTable {
    state: Mutex<Names>,
    /// Notified when there is something to do: see [`NameTable::next`].
    changed: Notify,
    /// Notified when names have got their places.
    settled: Notify,
    /// Time for which a spawn waits for a name that another member has.
    wait: Duration,
}

/// Names that one line of the log tells of.
#[derive(Default)]
struct LogLine {
    /// The first one, and the member that has it.
    first: Option<(Urn, String)>,
    names: usize,
}

impl LogLine {
    fn add(&mut self, urn: &Urn, member: &str) {
        self.names += 1;
        self.first
            .get_or_insert_with(|| (urn.clone(), member.to_owned()));
    }
}

/// The next thing to do for the names of a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NameWork {
    /// Announce these shared names.
    Announce(Vec<Urn>),
    /// Free these names.
    Free(Vec<Urn>),
    /// List these names.
    List(Vec<Urn>),
    Nothing,
}

impl NameTable {
    pub(super) fn new(wait: Duration) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            settled: Notify::new(),
            wait,
        }
    }

    /// The next thing to do; its end is reported by [`announced`](Self::announced),
    /// [`listed`](Self::listed) or [`failed`](Self::failed).
    pub(super) fn next(&self) -> NameWork {
        let mut names = self.state.lock();
        if names.shared_changed {
            return NameWork::Announce(names.shared.keys().cloned().collect());
        }
        let ended = names.take_ended();
        if !ended.is_empty() {
            return NameWork::Free(ended);
        }
        let pending = names.take_pending();
        if pending.is_empty() {
            NameWork::Nothing
        } else {
            NameWork::List(pending)
        }
    }

    /// Waits until there may be something to do.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Keeps all names until the member has left.
    pub(super) fn hold_names(&self) {
        self.state.lock().stage = MembershipStage::Leaving;
    }

    /// The numbers of names, by their places.
    pub(super) fn stats(&self) -> FleetStats {
        let names = self.state.lock();
        let mut stats = FleetStats {
            shared: names.shared.len(),
            moves: names.moves,
            ..FleetStats::default()
        };
        for name in names.listed.values() {
            *match name.stage {
                Stage::Pending | Stage::UnderWay => &mut stats.pending,
                Stage::Listed => &mut stats.listed,
                Stage::StandsBy(_) => &mut stats.standing_by,
            } += 1;
        }
        stats
    }

    /// The names that the member shares.
    pub(super) fn shared(&self) -> Vec<Urn> {
        self.state.lock().shared.keys().cloned().collect()
    }

    /// Records that these shared names were announced.
    pub(super) fn announced(&self, shared: &[Urn]) {
        let mut names = self.state.lock();
        names.shared_changed = !names.shared.keys().eq(shared);
        for urn in shared {
            if let Some(slot) = names.shared.get(urn) {
                slot.set(Listing::Shared);
            }
        }
        drop(names);
        self.settled.notify_waiters();
    }

    /// Records the outcome of listing names; `node_of` names a member.
    pub(super) fn listed(
        &self,
        outcomes: impl Iterator<Item = (Urn, ListOutcome)>,
        node_of: impl Fn(MemberId) -> String,
    ) {
        let mut names = self.state.lock();
        let (mut gained, mut standing) = (LogLine::default(), LogLine::default());
        for (urn, outcome) in outcomes {
            let Some(name) = names.listed.get_mut(&urn) else {
                if outcome == ListOutcome::Here {
                    names.ended.push_back(urn); // its actor has ended meanwhile
                }
                continue;
            };
            if name.stage != Stage::UnderWay {
                continue; // another actor has claimed it meanwhile, and it is listed once more
            }
            match outcome {
                ListOutcome::Here => {
                    name.stage = Stage::Listed;
                    name.slot.set(Listing::Listed);
                    if std::mem::take(&mut name.is_told) {
                        names.moves += 1;
                        gained.add(&urn, "");
                    }
                }
                ListOutcome::There(member) => {
                    name.stage = Stage::StandsBy(member);
                    let node = node_of(member);
                    if !std::mem::replace(&mut name.is_told, true) {
                        standing.add(&urn, &node);
                    }
                    name.slot.set(Listing::StandsBy { member: node });
                    names.standing.entry(member).or_default().insert(urn);
                }
            }
        }
        drop(names);
        if let Some((urn, _)) = gained.first {
            info!(%urn, names = gained.names, "the names of actors that stood by are listed now");
        }
        if let Some((urn, member)) = standing.first {
            info!(%urn, holder_node = %member, names = standing.names, "other members of the fleet have the names of actors: standing by");
        }
        self.settled.notify_waiters();
    }

    /// Records that work was not done, so that it is done later.
    pub(super) fn failed(&self, work: NameWork) {
        let mut names = self.state.lock();
        match work {
            NameWork::Free(ended) => ended
                .into_iter()
                .rev()
                .for_each(|urn| names.ended.push_front(urn)),
            NameWork::List(pending) => pending.into_iter().rev().for_each(|urn| {
                if let Some(name) = names.listed.get_mut(&urn)
                    && name.stage == Stage::UnderWay
                {
                    name.stage = Stage::Pending;
                    names.pending.push_front(urn);
                }
            }),
            NameWork::Announce(_) | NameWork::Nothing => {}
        }
    }

    /// Has the names that stand by listed once more, if their members `may_have_freed` them.
    pub(super) fn retry(&self, may_have_freed: impl Fn(MemberId) -> bool) {
        let mut names = self.state.lock();
        let members: Vec<_> = names.standing.keys().copied().collect();
        for member in members.into_iter().filter(|member| may_have_freed(*member)) {
            for urn in names.standing.remove(&member).unwrap_or_default() {
                names.list_again(urn);
            }
        }
        drop(names);
        self.changed.notify_one();
    }

    /// Has all names listed once more that are listed here: the map may have lost them. Those that stand by
    /// are left to the members that have them.
    pub(super) fn list_own(&self) {
        let names = self.state.lock();
        let own = names
            .listed
            .iter()
            .filter(|(_, name)| name.stage == Stage::Listed);
        let own: Vec<_> = own.map(|(urn, _)| urn.clone()).collect();
        drop(names);
        self.list_again(own.into_iter());
    }

    /// Has names listed once more that are listed here.
    pub(super) fn list_again(&self, urns: impl Iterator<Item = Urn>) {
        let mut names = self.state.lock();
        for urn in urns {
            names.list_again(urn);
        }
        drop(names);
        self.changed.notify_one();
    }

    /// The next names that are listed here, up to `count`, in turn.
    pub(super) fn to_check(&self, count: usize) -> Vec<Urn> {
        let mut names = self.state.lock();
        let start = names
            .checked
            .take()
            .map_or(Bound::Unbounded, Bound::Excluded);
        let rest = names.listed.range::<Urn, _>((start, Bound::Unbounded));
        let some: Vec<_> = rest.take(count).collect();
        let last = (some.len() == count).then(|| some.last().map(|(urn, _)| (*urn).clone()));
        let listed = some.iter().filter(|(_, name)| name.stage == Stage::Listed);
        let listed = listed.map(|(urn, _)| (*urn).clone()).collect();
        names.checked = last.flatten();
        listed
    }

    /// True if every name has its place.
    pub(super) fn are_settled(&self) -> bool {
        let names = self.state.lock();
        names.pending.is_empty() && !names.shared_changed
    }

    /// The names among those that others share that this member has listed, with the nodes of the others.
    pub(super) fn listed_among<'a>(
        &self,
        shared: impl Iterator<Item = (&'a Urn, &'a str)>,
    ) -> Vec<(&'a Urn, &'a str)> {
        let names = self.state.lock();
        if names.listed.is_empty() {
            return Vec::new();
        }
        let is_listed = |(urn, _): &(&Urn, &str)| {
            let name = names.listed.get(*urn);
            name.is_some_and(|name| name.stage == Stage::Listed)
        };
        shared.filter(is_listed).collect()
    }

    /// True if names stand by.
    pub(super) fn has_standbys(&self) -> bool {
        !self.state.lock().standing.is_empty()
    }

    /// The number of names that stand by.
    pub(super) fn standbys(&self) -> usize {
        let names = self.state.lock();
        names.standing.values().map(HashSet::len).sum()
    }

    /// Forgets all names: the membership has ended.
    pub(super) fn end(&self) {
        let mut names = std::mem::take(&mut *self.state.lock());
        let listed = std::mem::take(&mut names.listed).into_values();
        let shared = std::mem::take(&mut names.shared).into_values();
        for slot in listed.map(|name| name.slot).chain(shared) {
            slot.set(Listing::Local);
        }
        self.state.lock().stage = MembershipStage::Ended;
        self.settled.notify_waiters();
    }
}

impl NameLists for NameTable {
    fn claimed(&self, actor: &dyn AnyActor) {
        let kind = actor.name_kind();
        if kind == NameKind::Local {
            return; // its URN may not even be written out
        }
        let (urn, slot) = (actor.urn().clone(), actor.enter_listing());
        let mut names = self.state.lock();
        if names.stage == MembershipStage::Ended {
            return;
        }
        if kind == NameKind::Shared {
            names.share(urn, slot);
        } else {
            names.claim(urn, slot);
        }
        drop(names);
        self.changed.notify_one();
    }

    fn released(&self, actor: &dyn AnyActor) {
        let Some(slot) = actor.listing() else {
            return;
        };
        let urn = actor.urn();
        let mut names = self.state.lock();
        let is_own = |other: &Arc<ListingSlot>| Arc::ptr_eq(other, slot);
        if names.shared.get(urn).is_some_and(is_own) {
            // Of a member that leaves the map keeps them: clients wait for others to share them.
            if names.stage == MembershipStage::Member {
                names.shared.remove(urn);
                names.shared_changed = true;
            }
        } else if names.listed.get(urn).is_some_and(|name| is_own(&name.slot)) {
            if names.forget(urn) {
                names.ended.push_back(urn.clone());
            }
        } else {
            return;
        }
        drop(names);
        slot.set(Listing::Local);
        self.changed.notify_one();
        self.settled.notify_waiters();
    }

    fn listed(&self, slot: Arc<ListingSlot>) -> ListedFuture<'_> {
        Box::pin(async move {
            let end = Instant::now() + self.wait;
            loop {
                let settled = self.settled.notified();
                match slot.get() {
                    Listing::Pending => settled.await,
                    Listing::StandsBy { member } => {
                        if timeout_at(end, settled).await.is_err() {
                            return Err(member);
                        }
                    }
                    Listing::Local | Listing::Listed | Listing::Shared => return Ok(()),
                }
            }
        })
    }
}
