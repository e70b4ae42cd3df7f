//! The listed names that a client asks for, and the order of the requests for each. No I/O.
//!
//! Requests for one name are executed in the order in which they were made. While all go to one member,
//! its inbox keeps that order. When the name has moved, requests that were bounced and new ones wait here
//! until every earlier one has ended, and then leave in their old order.

use std::collections::{HashMap, VecDeque};

use crate::bus::transport::fleet::{MapVersion, MemberId};
use crate::urn::Urn;

/// The number of names that are remembered; beyond it those without requests are forgotten.
const MAX_NAMES: usize = 65_536;

/// The place of a request in the order of a client: the id that it was made with. Ids wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(pub(super) u64);

impl Ticket {
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
pub(super) struct NameTerm {
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
    given_to: Option<MemberId>,
    /// Requests of another term are not outstanding.
    pub(super) term: NameTerm,
    /// The newest request that was not bounced.
    newest_executed: Option<Ticket>,
    /// Requests that wait for the name's place, the oldest first.
    held: VecDeque<Ticket>,
    /// A look-up is under way.
    pub(super) is_looked_up: bool,
    /// The member that had no actor of the name when it was asked last.
    pub(super) denied: Option<MemberId>,
}

impl Name {
    /// True if new requests have to wait behind others.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// True if held requests may leave: every earlier one has ended.
    pub(super) fn may_release(&self) -> bool {
        self.outstanding == 0
    }

    /// Puts a request into its place among those that wait.
    pub(super) fn hold(&mut self, ticket: Ticket) {
        let later = self.held.iter().rev();
        let later = later.take_while(|held| ticket.is_before(**held)).count();
        self.held.insert(self.held.len() - later, ticket);
    }

    /// Takes the oldest held request.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        self.held.pop_front()
    }

    /// Removes a held request that has ended.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        let earlier = self.held.partition_point(|held| held.is_before(ticket));
        if self.held.get(earlier) == Some(&ticket) {
            let _ = self.held.remove(earlier);
        }
    }

    /// True if a new request may be given to that member: none is with another one, which might execute it
    /// later.
    pub(super) fn may_go_to(&self, member: MemberId) -> bool {
        self.outstanding == 0 || self.given_to == Some(member)
    }

    /// True if requests are with that member.
    pub(super) fn is_with(&self, member: MemberId) -> bool {
        self.outstanding > 0 && self.given_to == Some(member)
    }

    /// Notes that a request is given to the member that has the name.
    pub(super) fn sent(&mut self, member: MemberId) -> NameTerm {
        self.given_to = Some(member);
        self.outstanding += 1;
        self.term
    }

    /// Notes that a request of that term was bounced.
    pub(super) fn bounced(&mut self, term: NameTerm) {
        self.complete(term);
    }

    /// True if no later request may have been executed than this one.
    pub(super) fn is_newest(&self, ticket: Ticket) -> bool {
        self.newest_executed
            .is_none_or(|newest| newest.is_before(ticket))
    }

    /// Notes that a request of that term has ended, and may have been executed.
    pub(super) fn ended(&mut self, ticket: Ticket, term: NameTerm) {
        self.complete(term);
        self.may_be_executed(ticket);
    }

    /// Notes that a member has taken a request.
    pub(super) fn may_be_executed(&mut self, ticket: Ticket) {
        if self.is_newest(ticket) {
            self.newest_executed = Some(ticket);
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
        self.holds() && self.may_release()
    }

    fn forget_outstanding(&mut self) {
        self.outstanding = 0;
        self.term.members = self.term.members.wrapping_add(1);
    }

    fn complete(&mut self, term: NameTerm) {
        if term == self.term {
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
            if self.all.len() >= MAX_NAMES {
                self.all.retain(|_, name| !name.is_idle());
            }
            self.entries += 1;
        }
        let entry = self.entries;
        self.all.entry(urn.clone()).or_insert_with(|| Name {
            term: NameTerm { entry, members: 0 },
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

    fn ticket(number: u64) -> Ticket {
        Ticket(number.wrapping_sub(2)) // around the end
    }

    #[test]
    fn held_requests_leave_in_the_order_in_which_they_were_made() {
        let mut name = Name::default();
        for number in [4, 0, 3, 1, 2] {
            name.hold(ticket(number));
        }
        name.forget(ticket(3));
        let left: Vec<_> = std::iter::from_fn(|| name.next()).collect();
        assert_eq!(left, [0, 1, 2, 4].map(ticket));
    }

    #[test]
    fn request_is_not_sent_again_behind_a_later_one() {
        let mut name = Name::default();
        let term = name.sent(MEMBER);
        assert_eq!((name.sent(MEMBER), name.sent(MEMBER)), (term, term));
        name.bounced(term);
        assert!(name.is_newest(ticket(0)) && !name.may_release());
        name.ended(ticket(1), term);
        name.ended(ticket(2), term);
        assert!(name.may_release());
        assert!(!name.is_newest(ticket(0)) && name.is_newest(ticket(3)));
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
        let term = name.sent(MEMBER);
        name.ended(ticket(0), former);
        assert!(!name.may_release());
        name.ended(ticket(1), term);
        assert!(name.may_release());
    }
}
