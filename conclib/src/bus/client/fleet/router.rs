//! Decides which member of a fleet a request goes to. No I/O.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::client::fleet::members::RoutedMembers;
use crate::bus::client::fleet::names::{Location, Name, NameGeneration, Names, OriginalId};
use crate::bus::client::fleet::retry_budget::RetryBudget;
use crate::bus::client::fleet::route::{Addressing, Destination, Rejection, Route};
use crate::bus::client::node_link::NodeLink;
use crate::bus::fleet::stats::MemberCounts;
use crate::bus::transport::fleet::{MapVersion, Member, MemberId};
use crate::error::AskError;
use crate::random::Uuid;
use crate::urn::Urn;

mod lookup;
#[cfg(test)]
mod tests;

/// Pause before a name is looked up once more that has no place yet.
const LOOKUP_PAUSE: Duration = Duration::from_millis(100);

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
    lookups: Vec<(Urn, Instant)>,
    /// Notified when the map is to be read or names are to be looked up.
    pub(super) wakes: Arc<Notify>,
    /// Notified when requests have ended while others were looked at: their askers are to be woken.
    pub(super) refusals: Arc<Notify>,
}

impl Router {
    /// The members by state.
    pub(in crate::bus::client) fn member_counts(&self) -> MemberCounts {
        self.members.counts()
    }

    /// The place to which a request goes. If it goes to a member, it counts as given to it.
    pub(in crate::bus::client) fn route(
        &mut self,
        route: &mut Route,
        original: u64,
        now: Instant,
    ) -> Destination {
        let original = OriginalId(original);
        self.budget.earn();
        let name = self.names.of(&route.urn);
        if name.has_held() {
            name.hold(original);
            return Destination::Hold;
        }
        self.try_route(route, original, now)
    }

    fn try_route(&mut self, route: &mut Route, original: OriginalId, now: Instant) -> Destination {
        let found = self.find(&route.urn, &route.tried, now);
        let given =
            found.and_then(|(member, addressing)| self.assign(route, member, addressing, now));
        match given {
            Some(destination) => destination,
            // Every member that shares the name has refused the request: after a pause, once more.
            None if !route.tried.is_empty() => {
                route.tried.clear();
                self.hold(&route.urn, original, now + LOOKUP_PAUSE)
            }
            None => self.hold(&route.urn, original, now),
        }
    }

    /// Gives a request to a member, unless it does not keep up.
    fn assign(
        &mut self,
        route: &mut Route,
        id: MemberId,
        addressing: Addressing,
        now: Instant,
    ) -> Option<Destination> {
        let member = self.members.get(id)?;
        if let Some(refusal) = member.overload() {
            return Some(Destination::Fail(refusal));
        }
        member.sent(now);
        let link = member.link.clone();
        let addressing = match addressing {
            Addressing::Listed(_) => Addressing::Listed(self.names.of(&route.urn).sent(id)),
            addressing => addressing,
        };
        route.assigned = Some((id, addressing));
        Some(Destination::To(link))
    }

    /// Has a request wait until its name has a place, which is looked up then.
    fn hold(&mut self, urn: &Urn, original: OriginalId, at: Instant) -> Destination {
        self.names.of(urn).hold(original);
        self.request_lookup(urn, at);
        Destination::Hold
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
        let (shares, sole) = (self.members.is_shared(urn), self.members.sole());
        let version = self.members.version;
        let name = self.names.of(urn);
        let is_unlisted = match name.location {
            Location::At(member) if self.members.serves(member) => {
                let is_free = name.may_go_to(member);
                return is_free.then_some((member, Addressing::Listed(NameGeneration::default())));
            }
            Location::Unlisted(_) if !shares => {
                name.location = Location::Unknown;
                false
            }
            Location::Unlisted(at) => {
                if at != version {
                    // It was not listed a moment ago: this is looked up beside the request.
                    self.request_lookup(urn, now);
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
        Some((sole, Addressing::Listed(NameGeneration::default())))
    }

    /// Notes that a request has ended, and may have been executed. Returns true if held requests for its name may be
    /// sent.
    pub(in crate::bus::client) fn ended(&mut self, route: &Route, original: u64) -> bool {
        if let Some((member, _)) = route.assigned
            && let Some(member) = self.members.get(member)
        {
            member.ended();
        }
        let Some(name) = self.names.get(&route.urn) else {
            return false;
        };
        match route.assigned {
            Some((_, Addressing::Listed(generation))) => {
                name.ended(OriginalId(original), generation);
            }
            Some(_) => return false,
            None => name.forget(OriginalId(original)),
        }
        name.has_held() && name.may_release()
    }

    /// Notes that a request was taken by its member, which is gone: it may have been executed.
    pub(in crate::bus::client) fn may_be_executed(&mut self, route: &Route, original: u64) {
        if let Some((_, Addressing::Listed(_))) = route.assigned
            && let Some(name) = self.names.get(&route.urn)
        {
            name.may_be_executed(OriginalId(original));
        }
    }

    /// Notes that a member has answered.
    pub(in crate::bus::client) fn heard(&mut self, route: &Route, now: Instant) {
        if let Some((member, _)) = route.assigned
            && let Some(member) = self.members.get(member)
        {
            member.answered(now);
        }
    }

    /// The next place of a request that was rejected.
    pub(in crate::bus::client) fn rejected(
        &mut self,
        route: &mut Route,
        original: u64,
        (rejection, refusal): (Rejection, AskError),
        now: Instant,
    ) -> Destination {
        let Some((id, addressing)) = route.assigned.take() else {
            return Destination::Fail(refusal);
        };
        if let Some(member) = self.members.get(id) {
            member.ended();
            match rejection {
                Rejection::Closed => member.closed(now),
                _ if addressing == Addressing::Shared => member.refused(now),
                _ => {}
            }
        }
        route.tried.push(id);
        route.refusal = Some(refusal.clone());
        let original = OriginalId(original);
        match addressing {
            Addressing::Generated => Destination::Fail(refusal),
            Addressing::Listed(generation) => {
                let name = self.names.of(&route.urn);
                name.rejected(generation);
                if name.location == Location::At(id) {
                    name.location = Location::Unknown;
                }
                if rejection == Rejection::NotHere {
                    name.denied = Some(id);
                }
                route.tried.clear();
                self.hold(&route.urn, original, now)
            }
            Addressing::Shared => {
                if rejection == Rejection::Busy && !self.budget.spend() {
                    return Destination::Fail(refusal);
                }
                let next = self.members.choose(&route.urn, &route.tried, now);
                let given = next.and_then(|next| self.assign(route, next, Addressing::Shared, now));
                match given {
                    Some(destination) => destination,
                    None if rejection == Rejection::Busy => Destination::Fail(refusal),
                    None => {
                        self.wants_members = true;
                        route.tried.clear();
                        self.hold(&route.urn, original, now + LOOKUP_PAUSE)
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

    /// Takes the requests that wait for a name, the oldest first, if they may leave now. Each is the newest
    /// one, unless a later request may have been executed.
    pub(in crate::bus::client) fn take_released(&mut self, urn: &Urn) -> Vec<(u64, bool)> {
        let Some(name) = self.names.get(urn).filter(|name| name.may_release()) else {
            return Vec::new();
        };
        let held: Vec<_> = std::iter::from_fn(|| name.next()).collect();
        let is_newest = |original: OriginalId| name.is_newest(original);
        let released = held
            .into_iter()
            .map(|original| (original.0, is_newest(original)));
        released.collect()
    }

    /// The place of a request that has waited.
    pub(in crate::bus::client) fn route_held(
        &mut self,
        route: &mut Route,
        original: u64,
        now: Instant,
    ) -> Destination {
        self.try_route(route, OriginalId(original), now)
    }

    /// All requests that wait for a name.
    pub(in crate::bus::client) fn take_held(&mut self, urn: &Urn) -> Vec<u64> {
        let name = self.names.of(urn);
        std::iter::from_fn(|| Name::next(name).map(|original| original.0)).collect()
    }

    /// Notes that a request has ended, whose asker is to be woken.
    pub(in crate::bus::client) fn note_refusal(&self) {
        self.refusals.notify_one();
    }
}
