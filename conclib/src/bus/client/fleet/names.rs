//! The listed names that a client asks for, and the order of the requests for each. No I/O.
//!
//! Requests for one name are executed in the order in which they were made. While all go to one member,
//! its inbox keeps that order. When the name has moved, requests that were rejected and new ones wait here
//! until every earlier one has ended, and then leave in their old order.

use std::collections::{HashMap, VecDeque};

use crate::bus::transport::fleet::{MapVersion, MemberId};
use crate::urn::Urn;

/// The number of names that are remembered; beyond it those without requests are forgotten.
const MAX_REMEMBERED_NAMES: usize = 65_536;

/// The place of a request in the order of a client: the id that it was made with. Ids wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OriginalId(pub(super) u64);

impl OriginalId {
    pub(super) fn is_before(self, other: Self) -> bool {
        let ahead = other.0.wrapping_sub(self.0);
        ahead != 0 && ahead <= u64::MAX / 2
    }
}

/// The place of a name, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Location {
    /// It is to be looked up.
    #[default]
    Unknown,
    /// This member has it.
    At(MemberId),
    /// It was not listed when the map had this version.
    Unlisted(MapVersion),
}

/// The time in which a client takes a name for that of one member. No two are the same, also if the name was
/// forgotten meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NameGeneration {
    /// The number of the name's entry.
    entry: u64,
    /// The number of members that the name has had since.
    members: u32,
}

/// A name, and the requests for it.
#[derive(Debug, Default)]
pub(super) struct Name {
    pub(super) location: Location,
    /// The number of requests that were given to one member and have not ended.
    outstanding: u32,
    /// That member. It may be another one than has the name now.
    assigned_to: Option<MemberId>,
    /// Requests of another generation are not outstanding.
    pub(super) generation: NameGeneration,
    /// The newest request that was not rejected.
    newest_executed: Option<OriginalId>,
    /// Requests that wait for the name's place, the oldest first.
    held: VecDeque<OriginalId>,
    /// A look-up is under way.
    pub(super) is_looked_up: bool,
    /// The member that had no actor of the name when it was asked last.
    pub(super) denied: Option<MemberId>,
}

impl Name {
    /// True if new requests have to wait behind others.
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// True if held requests may leave: every earlier one has ended.
    pub(super) fn may_release(&self) -> bool {
        self.outstanding == 0
    }

    /// Puts a request into its place among those that wait.
    pub(super) fn hold(&mut self, original: OriginalId) {
        let later = self.held.iter().rev();
        let later = later.take_while(|held| original.is_before(**held)).count();
        self.held.insert(self.held.len() - later, original);
    }

    /// Takes the oldest held request.
    pub(super) fn next(&mut self) -> Option<OriginalId> {
        self.held.pop_front()
    }

    /// Removes a held request that has ended.
    pub(super) fn forget(&mut self, original: OriginalId) {
        let earlier = self.held.partition_point(|held| held.is_before(original));
        if self.held.get(earlier) == Some(&original) {
            let _ = self.held.remove(earlier);
        }
    }

    /// True if a new request may be given to that member: none is with another one, which might execute it
    /// later.
    pub(super) fn may_go_to(&self, member: MemberId) -> bool {
        self.outstanding == 0 || self.assigned_to == Some(member)
    }

    /// True if requests are with that member.
    pub(super) fn is_with(&self, member: MemberId) -> bool {
        self.outstanding > 0 && self.assigned_to == Some(member)
    }

    /// Notes that a request is given to the member that has the name.
    pub(super) fn sent(&mut self, member: MemberId) -> NameGeneration {
        self.assigned_to = Some(member);
        self.outstanding += 1;
        self.generation
    }

    /// Notes that a request of that generation was rejected.
    pub(super) fn rejected(&mut self, generation: NameGeneration) {
        self.complete(generation);
    }

    /// True if no later request may have been executed than this one.
    pub(super) fn is_newest(&self, original: OriginalId) -> bool {
        self.newest_executed
            .is_none_or(|newest| newest.is_before(original))
    }

    /// Notes that a request of that generation has ended, and may have been executed.
    pub(super) fn ended(&mut self, original: OriginalId, generation: NameGeneration) {
        self.complete(generation);
        self.may_be_executed(original);
    }

    /// Notes that a member has taken a request.
    pub(super) fn may_be_executed(&mut self, original: OriginalId) {
        if self.is_newest(original) {
            self.newest_executed = Some(original);
        }
    }

    /// Notes that a member is gone, and that requests in its inbox were taken back: it executes none any more.
    /// True if requests may leave that wait.
    pub(super) fn member_is_gone(&mut self, member: MemberId) -> bool {
        if self.location == Location::At(member) {
            self.location = Location::Unknown;
        }
        if self.is_with(member) {
            self.forget_outstanding();
        }
        self.has_held() && self.may_release()
    }

    fn forget_outstanding(&mut self) {
        self.outstanding = 0;
        self.generation.members = self.generation.members.wrapping_add(1);
    }

    fn complete(&mut self, generation: NameGeneration) {
        if generation == self.generation {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
    }

    fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.held.is_empty() && !self.is_looked_up
    }
}

/// The names of a client.
#[derive(Default)]
pub(super) struct Names {
    all: HashMap<Urn, Name>,
    /// The number of entries so far.
    entries: u64,
}

impl Names {
    /// The entry of a name.
    pub(super) fn of(&mut self, urn: &Urn) -> &mut Name {
        if !self.all.contains_key(urn) {
            if self.all.len() >= MAX_REMEMBERED_NAMES {
                self.all.retain(|_, name| !name.is_idle());
            }
            self.entries += 1;
        }
        let entry = self.entries;
        self.all.entry(urn.clone()).or_insert_with(|| Name {
            generation: NameGeneration { entry, members: 0 },
            ..Name::default()
        })
    }

    pub(super) fn get(&mut self, urn: &Urn) -> Option<&mut Name> {
        self.all.get_mut(urn)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Urn, &mut Name)> {
        self.all.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: MemberId = MemberId(7);

    fn original(number: u64) -> OriginalId {
        OriginalId(number.wrapping_sub(2)) // around the end
    }

    #[test]
    fn held_requests_leave_in_the_order_in_which_they_were_made() {
        let mut name = Name::default();
        for number in [4, 0, 3, 1, 2] {
            name.hold(original(number));
        }
        name.forget(original(3));
        let left: Vec<_> = std::iter::from_fn(|| name.next()).collect();
        assert_eq!(left, [0, 1, 2, 4].map(original));
    }

    #[test]
    fn request_is_not_sent_again_behind_a_later_one() {
        let mut name = Name::default();
        let generation = name.sent(MEMBER);
        assert_eq!(
            (name.sent(MEMBER), name.sent(MEMBER)),
            (generation, generation)
        );
        name.rejected(generation);
        assert!(name.is_newest(original(0)) && !name.may_release());
        name.ended(original(1), generation);
        name.ended(original(2), generation);
        assert!(name.may_release());
        assert!(!name.is_newest(original(0)) && name.is_newest(original(3)));
    }

    #[test]
    fn requests_of_a_member_that_is_gone_hold_nothing_up() {
        let mut name = Name::default();
        let former = name.sent(MEMBER);
        assert!(!name.may_release());
        assert!(!name.member_is_gone(MemberId(8)));
        assert!(!name.may_go_to(MemberId(8)));
        assert!(!name.member_is_gone(MEMBER));
        assert!(name.may_go_to(MemberId(8)));
        assert!(name.may_release());
        let generation = name.sent(MEMBER);
        name.ended(original(0), former);
        assert!(!name.may_release());
        name.ended(original(1), generation);
        assert!(name.may_release());
    }
}
