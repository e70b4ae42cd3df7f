//! Looks up which member has a name, when the name has no known place. No I/O.

use tokio::time::Instant;

use super::{LOOKUP_PAUSE, Router};
use crate::bus::client::fleet::names::Location;
use crate::bus::transport::fleet::{MapVersion, MemberId};
use crate::error::AskError;
use crate::urn::Urn;

/// The outcome of a look for a name.
enum LookupOutcome {
    /// Held requests have a place now.
    Known,
    /// They wait on.
    Wait,
    Fail(AskError),
}

impl Router {
    /// Has a name looked up, unless it is already.
    pub(super) fn request_lookup(&mut self, urn: &Urn, at: Instant) {
        if !self.is_known || !self.members.any_serves() {
            self.wants_members = true;
        }
        let name = self.names.of(urn);
        if !std::mem::replace(&mut name.is_looked_up, true) {
            self.lookups.push((urn.clone(), at));
        }
        self.wakes.notify_one();
    }

    /// Has names looked up once more, after a failed call.
    pub(in crate::bus::client::fleet) fn retry_lookups(&mut self, names: Vec<Urn>, now: Instant) {
        let at = now + LOOKUP_PAUSE;
        self.lookups.extend(names.into_iter().map(|urn| (urn, at)));
    }

    /// Records the owner of a name, or that it has none. Returns true if held requests may be sent, false if they
    /// wait on, and the error with which they all end otherwise.
    pub(in crate::bus::client::fleet) fn looked_up(
        &mut self,
        urn: &Urn,
        found: Option<MemberId>,
        version: MapVersion,
        now: Instant,
    ) -> Result<bool, AskError> {
        let is_current = version == self.members.version;
        let outcome = match self.lookup_outcome(urn, found, is_current, now) {
            LookupOutcome::Known => LookupOutcome::Known,
            _ if self.members.all_are_absent(now) => LookupOutcome::Fail(AskError::NoResponder),
            // A member may have joined that has the name.
            _ if !is_current => {
                self.wants_members = true;
                LookupOutcome::Wait
            }
            outcome => outcome,
        };
        let name = self.names.of(urn);
        name.is_looked_up = false;
        let holds = name.has_held();
        match outcome {
            LookupOutcome::Known => Ok(holds && name.may_release()),
            LookupOutcome::Wait if holds => {
                self.request_lookup(urn, now + LOOKUP_PAUSE);
                Ok(false)
            }
            LookupOutcome::Wait => Ok(false),
            LookupOutcome::Fail(error) => Err(error),
        }
    }

    fn lookup_outcome(
        &mut self,
        urn: &Urn,
        found: Option<MemberId>,
        is_current: bool,
        now: Instant,
    ) -> LookupOutcome {
        let (sole, version) = (self.members.sole(), self.members.version);
        let Some(found) = found else {
            let name = self.names.of(urn);
            let denied = name.denied.take();
            if self.members.is_shared(urn) {
                name.location = Location::Unlisted(version);
                return if self.members.all_are_absent(now) {
                    LookupOutcome::Wait
                } else {
                    LookupOutcome::Known
                };
            }
            return match sole {
                Some(sole) if denied != Some(sole) && self.members.is_open(sole, now) => {
                    name.location = Location::At(sole);
                    LookupOutcome::Known
                }
                Some(sole) if denied != Some(sole) => LookupOutcome::Wait,
                _ if self.members.may_list(now) || self.members.has_lost_sharer(urn) => {
                    LookupOutcome::Wait
                }
                _ if self.members.any_serves() => {
                    LookupOutcome::Fail(AskError::ActorNotFound { urn: urn.clone() })
                }
                _ => LookupOutcome::Fail(AskError::NoResponder),
            };
        };
        if self.names.of(urn).denied.take() == Some(found) {
            return LookupOutcome::Wait; // it has the name, and not the actor, or not yet: it is asked again then
        }
        let has_ended = is_current && !self.members.serves(found);
        if has_ended && self.members.is_shared(urn) && !self.members.all_are_absent(now) {
            // The entry of a member that has ended does not count any more.
            self.names.of(urn).location = Location::Unlisted(version);
            return LookupOutcome::Known;
        }
        if !self.members.is_open(found, now) {
            return LookupOutcome::Wait; // also one that is not known yet
        }
        self.names.of(urn).location = Location::At(found);
        LookupOutcome::Known
    }

    /// Has the map read: it may have changed.
    pub(in crate::bus::client) fn map_changed(&mut self) {
        self.wants_members = true;
        self.wakes.notify_one();
    }

    /// Takes the wish to have the map read, if it may be, and the names to be looked up now.
    pub(in crate::bus::client::fleet) fn take_due(
        &mut self,
        now: Instant,
        may_read: bool,
    ) -> (bool, Vec<Urn>) {
        let wants_members = may_read && std::mem::take(&mut self.wants_members);
        let due = self.lookups.extract_if(.., |(_, at)| *at <= now);
        (wants_members, due.map(|(urn, _)| urn).collect())
    }

    /// The moment of the next look-up, of the next look for requests to members that are gone, or from which on
    /// the map may be read if that is wanted.
    pub(in crate::bus::client::fleet) fn next_work(
        &self,
        now: Instant,
        may_read_from: Instant,
    ) -> Option<Instant> {
        let wanted = self.lookups.iter().map(|(_, at)| *at);
        let taking_back = (!self.gone.is_empty()).then(|| now + LOOKUP_PAUSE);
        let reading = self.wants_members.then_some(may_read_from);
        wanted.chain(taking_back).chain(reading).min()
    }
}
