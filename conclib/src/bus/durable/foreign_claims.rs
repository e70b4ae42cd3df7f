//! Which messages other consumers still have in hand, and what waits here for them. No I/O.
//!
//! A proxy that stops gives its lease back while its actors still handle what they have, and one
//! that has lost its lease may not even know. So who takes the lease looks what the others have.
//! A repetition of such a message is neither executed nor answered: it waits until the other has
//! ended it, which leaves a record, or has shown no sign of life for it, so that it comes here.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use crate::bus::transport::stream::{Attempts, EntryId};

/// A repetition of a message that another consumer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldMessage {
    pub(crate) id: EntryId,
    /// How often it was delivered before.
    pub(crate) attempts: Attempts,
    pub(crate) dedup_key: String,
}

#[derive(Debug, Default)]
pub(crate) struct ForeignClaims {
    /// What the others have, and the scope of each.
    messages: HashMap<EntryId, String>,
    /// How many of them there are of each scope.
    dedup_keys: HashMap<String, usize>,
    /// What waits here, in order.
    waiting: Vec<HeldMessage>,
    /// When to look for what they wait for.
    again: Option<Instant>,
}

impl ForeignClaims {
    /// The others have this, and nothing else.
    pub(crate) fn replace(&mut self, messages: Vec<(EntryId, String)>) {
        self.dedup_keys.clear();
        for (_, dedup_key) in &messages {
            *self.dedup_keys.entry(dedup_key.clone()).or_default() += 1;
        }
        self.messages = messages.into_iter().collect();
    }

    /// True if another has a message of this scope.
    pub(crate) fn has(&self, dedup_key: &str) -> bool {
        self.dedup_keys.contains_key(dedup_key)
    }

    /// True if another has this one.
    pub(crate) fn has_message(&self, id: EntryId) -> bool {
        self.messages.contains_key(&id)
    }

    /// Nobody else has it any more.
    pub(crate) fn forget(&mut self, id: EntryId) {
        if let Some(dedup_key) = self.messages.remove(&id)
            && let Some(count) = self.dedup_keys.get_mut(&dedup_key)
        {
            *count -= 1;
            if *count == 0 {
                self.dedup_keys.remove(&dedup_key);
            }
        }
    }

    /// Has a repetition wait; what it waits for is looked for at once.
    pub(crate) fn wait(&mut self, waiting: HeldMessage, now: Instant) {
        self.waiting.push(waiting);
        self.again = Some(now);
    }

    /// What the others have.
    pub(crate) fn all(&self) -> Vec<EntryId> {
        self.messages.keys().copied().collect()
    }

    /// What the others have, and something waits for here.
    pub(crate) fn awaited(&self) -> Vec<EntryId> {
        let dedup_keys: HashSet<_> = self.waiting.iter().map(|one| &one.dedup_key).collect();
        let messages = self.messages.iter();
        let messages = messages.filter(|(_, dedup_key)| dedup_keys.contains(dedup_key));
        messages.map(|(id, _)| *id).collect()
    }

    /// Takes out what need not wait any more.
    pub(crate) fn free(&mut self) -> Vec<HeldMessage> {
        let waiting = std::mem::take(&mut self.waiting);
        let (waits, free) = waiting
            .into_iter()
            .partition(|one| self.has(&one.dedup_key));
        self.waiting = waits;
        free
    }

    /// Takes out all that waits.
    pub(crate) fn give_back(&mut self) -> Vec<HeldMessage> {
        self.again = None;
        std::mem::take(&mut self.waiting)
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.again
    }

    /// Looks again then, if something waits.
    pub(crate) fn look_again(&mut self, then: Instant) {
        self.again = (!self.waiting.is_empty()).then_some(then);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(id: u64, dedup_key: &str) -> HeldMessage {
        HeldMessage {
            id: EntryId(id, 0),
            attempts: Attempts::default(),
            dedup_key: dedup_key.to_owned(),
        }
    }

    #[test]
    fn a_repetition_waits_for_all_that_have_its_scope() {
        let (mut foreign, now) = (ForeignClaims::default(), Instant::now());
        let (first, second) = (EntryId(1, 0), EntryId(2, 0));
        let message = |id, dedup_key: &str| (id, dedup_key.to_owned());
        let other = message(EntryId(3, 0), "b");
        foreign.replace(vec![message(first, "a"), message(second, "a"), other]);
        assert!(foreign.has("a") && foreign.has_message(first) && !foreign.has("c"));
        assert_eq!(foreign.next(), None);
        foreign.wait(waiting(7, "a"), now);
        foreign.wait(waiting(8, "a"), now);
        assert_eq!(foreign.next(), Some(now));
        let mut awaited = foreign.awaited();
        awaited.sort();
        assert_eq!((awaited, foreign.all().len()), (vec![first, second], 3));
        foreign.forget(first);
        foreign.forget(first);
        assert!(foreign.free().is_empty() && foreign.has("a"));
        foreign.forget(second);
        assert_eq!(foreign.free(), [waiting(7, "a"), waiting(8, "a")]);
        foreign.look_again(now);
        assert_eq!(foreign.next(), None);
        assert!(!foreign.has("a") && foreign.has("b"));
    }
}
