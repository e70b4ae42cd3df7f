//! Messages that other consumers have claimed, and duplicates held back here for them. No I/O.
//!
//! A proxy that stops returns its lease while its actors still handle messages, and one that has lost
//! its lease may not know so yet. So the next owner of the lease lists the claims of other consumers.
//! A duplicate of such a message is neither delivered nor answered: it is held until the other consumer
//! has acknowledged the message, so that its result is cached, or has stopped sending heartbeats, so
//! that the message is claimed here.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use crate::bus::transport::stream::{Attempts, EntryId};

/// A duplicate of a message that another consumer has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldMessage {
    pub(crate) id: EntryId,
    /// The deliveries before the next one.
    pub(crate) attempts: Attempts,
    pub(crate) dedup_key: String,
}

#[derive(Debug, Default)]
pub(crate) struct ForeignClaims {
    /// The dedup keys of the entries that other consumers have claimed.
    claims: HashMap<EntryId, String>,
    /// The number of claims for each dedup key.
    dedup_keys: HashMap<String, usize>,
    /// The duplicates held here, in order.
    held: Vec<HeldMessage>,
    /// Their entries.
    held_ids: HashSet<EntryId>,
    /// The time of the next check whether held messages can continue.
    next_check: Option<Instant>,
}

impl ForeignClaims {
    /// Replaces all claims.
    pub(crate) fn replace(&mut self, claims: Vec<(EntryId, String)>) {
        self.dedup_keys.clear();
        for (_, dedup_key) in &claims {
            *self.dedup_keys.entry(dedup_key.clone()).or_default() += 1;
        }
        self.claims = claims.into_iter().collect();
    }

    /// True if another consumer has claimed a message with this dedup key.
    pub(crate) fn has_key(&self, dedup_key: &str) -> bool {
        self.dedup_keys.contains_key(dedup_key)
    }

    /// True if another consumer has claimed this entry.
    pub(crate) fn has_entry(&self, id: EntryId) -> bool {
        self.claims.contains_key(&id)
    }

    /// Removes the claim of an entry.
    pub(crate) fn remove(&mut self, id: EntryId) {
        if let Some(dedup_key) = self.claims.remove(&id)
            && let Some(count) = self.dedup_keys.get_mut(&dedup_key)
        {
            *count -= 1;
            if *count == 0 {
                self.dedup_keys.remove(&dedup_key);
            }
        }
    }

    /// All claimed entries.
    pub(crate) fn entries(&self) -> Vec<EntryId> {
        self.claims.keys().copied().collect()
    }

    /// The claimed entries for which duplicates are held.
    pub(crate) fn awaited_entries(&self) -> Vec<EntryId> {
        let keys: HashSet<_> = self.held.iter().map(|held| &held.dedup_key).collect();
        let claims = self.claims.iter();
        let awaited = claims.filter(|(_, dedup_key)| keys.contains(dedup_key));
        awaited.map(|(id, _)| *id).collect()
    }

    /// Holds a duplicate. The next check is due at once.
    pub(crate) fn hold(&mut self, message: HeldMessage, now: Instant) {
        if self.held_ids.insert(message.id) {
            self.held.push(message);
        }
        self.next_check = Some(now);
    }

    /// True if this entry is held.
    pub(crate) fn holds(&self, id: EntryId) -> bool {
        self.held_ids.contains(&id)
    }

    pub(crate) fn held_entries(&self) -> impl Iterator<Item = EntryId> {
        self.held_ids.iter().copied()
    }

    pub(crate) fn held_count(&self) -> usize {
        self.held.len()
    }

    /// The held messages whose dedup key no other consumer claims any longer. They stay held until
    /// they are [removed](Self::unhold).
    pub(crate) fn unblocked(&self) -> Vec<HeldMessage> {
        let held = self.held.iter();
        held.filter(|held| !self.has_key(&held.dedup_key))
            .cloned()
            .collect()
    }

    /// Ends the holding of these entries.
    pub(crate) fn unhold(&mut self, ids: &[EntryId]) {
        let mut removed = false;
        for id in ids {
            removed |= self.held_ids.remove(id);
        }
        if removed {
            let held_ids = &self.held_ids;
            self.held.retain(|held| held_ids.contains(&held.id));
        }
    }

    /// Removes and returns all held messages.
    pub(crate) fn take_held(&mut self) -> Vec<HeldMessage> {
        self.next_check = None;
        self.held_ids.clear();
        std::mem::take(&mut self.held)
    }

    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// Schedules the next check, if anything is held.
    pub(crate) fn schedule_check(&mut self, at: Instant) {
        self.next_check = (!self.held.is_empty()).then_some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: u64, dedup_key: &str) -> HeldMessage {
        HeldMessage {
            id: EntryId(id, 0),
            attempts: Attempts::default(),
            dedup_key: dedup_key.to_owned(),
        }
    }

    #[test]
    fn duplicate_is_held_until_all_claims_of_its_key_are_gone() {
        let (mut foreign, now) = (ForeignClaims::default(), Instant::now());
        let (first, second) = (EntryId(1, 0), EntryId(2, 0));
        let claim = |id, dedup_key: &str| (id, dedup_key.to_owned());
        let other = claim(EntryId(3, 0), "b");
        foreign.replace(vec![claim(first, "a"), claim(second, "a"), other]);
        assert!(foreign.has_key("a") && foreign.has_entry(first) && !foreign.has_key("c"));
        assert_eq!(foreign.next_check(), None);
        foreign.hold(held(7, "a"), now);
        foreign.hold(held(8, "a"), now);
        assert_eq!(foreign.next_check(), Some(now));
        let mut awaited = foreign.awaited_entries();
        awaited.sort();
        let all = foreign.entries().len();
        assert_eq!((awaited, all), (vec![first, second], 3));
        foreign.remove(first);
        foreign.remove(first);
        assert!(foreign.unblocked().is_empty() && foreign.has_key("a"));
        foreign.remove(second);
        assert_eq!(foreign.unblocked(), [held(7, "a"), held(8, "a")]);
        assert!(foreign.holds(EntryId(7, 0)) && foreign.held_count() == 2);
        foreign.unhold(&[EntryId(7, 0), EntryId(8, 0)]);
        assert!(foreign.unblocked().is_empty() && !foreign.holds(EntryId(7, 0)));
        foreign.schedule_check(now);
        assert_eq!(foreign.next_check(), None);
        assert!(!foreign.has_key("a") && foreign.has_key("b"));
    }
}
