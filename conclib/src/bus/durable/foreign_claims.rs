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
pub(crate) struct Waiting {
    pub(crate) id: EntryId,
    /// How often it was delivered before.
    pub(crate) attempts: Attempts,
    pub(crate) scope: String,
}

#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// What the others have, and the scope of each.
    messages: HashMap<EntryId, String>,
    /// How many of them there are of each scope.
    scopes: HashMap<String, usize>,
    /// What waits here, in order.
    waiting: Vec<Waiting>,
    /// When to look for what they wait for.
    again: Option<Instant>,
}

impl Elsewhere {
    /// The others have this, and nothing else.
    pub(crate) fn replace(&mut self, messages: Vec<(EntryId, String)>) {
        self.scopes.clear();
        for (_, scope) in &messages {
            *self.scopes.entry(scope.clone()).or_default() += 1;
        }
        self.messages = messages.into_iter().collect();
    }

    /// True if another has a message of this scope.
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.contains_key(scope)
    }

    /// True if another has this one.
    pub(crate) fn has_message(&self, id: EntryId) -> bool {
        self.messages.contains_key(&id)
    }

    /// Nobody else has it any more.
    pub(crate) fn forget(&mut self, id: EntryId) {
        if let Some(scope) = self.messages.remove(&id)
            && let Some(count) = self.scopes.get_mut(&scope)
        {
            *count -= 1;
            if *count == 0 {
                self.scopes.remove(&scope);
            }
        }
    }

    /// Has a repetition wait; what it waits for is looked for at once.
    pub(crate) fn wait(&mut self, waiting: Waiting, now: Instant) {
        self.waiting.push(waiting);
        self.again = Some(now);
    }

    /// What the others have.
    pub(crate) fn all(&self) -> Vec<EntryId> {
        self.messages.keys().copied().collect()
    }

    /// What the others have, and something waits for here.
    pub(crate) fn awaited(&self) -> Vec<EntryId> {
        let scopes: HashSet<_> = self.waiting.iter().map(|one| &one.scope).collect();
        let messages = self.messages.iter();
        let messages = messages.filter(|(_, scope)| scopes.contains(scope));
        messages.map(|(id, _)| *id).collect()
    }

    /// Takes out what need not wait any more.
    pub(crate) fn free(&mut self) -> Vec<Waiting> {
        let waiting = std::mem::take(&mut self.waiting);
        let (waits, free) = waiting.into_iter().partition(|one| self.has(&one.scope));
        self.waiting = waits;
        free
    }

    /// Takes out all that waits.
    pub(crate) fn give_back(&mut self) -> Vec<Waiting> {
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

    fn waiting(id: u64, scope: &str) -> Waiting {
        Waiting {
            id: EntryId(id, 0),
            attempts: Attempts::default(),
            scope: scope.to_owned(),
        }
    }

    #[test]
    fn a_repetition_waits_for_all_that_have_its_scope() {
        let (mut elsewhere, now) = (Elsewhere::default(), Instant::now());
        let (first, second) = (EntryId(1, 0), EntryId(2, 0));
        let message = |id, scope: &str| (id, scope.to_owned());
        let other = message(EntryId(3, 0), "b");
        elsewhere.replace(vec![message(first, "a"), message(second, "a"), other]);
        assert!(elsewhere.has("a") && elsewhere.has_message(first) && !elsewhere.has("c"));
        assert_eq!(elsewhere.next(), None);
        elsewhere.wait(waiting(7, "a"), now);
        elsewhere.wait(waiting(8, "a"), now);
        assert_eq!(elsewhere.next(), Some(now));
        let mut awaited = elsewhere.awaited();
        awaited.sort();
        assert_eq!((awaited, elsewhere.all().len()), (vec![first, second], 3));
        elsewhere.forget(first);
        elsewhere.forget(first);
        assert!(elsewhere.free().is_empty() && elsewhere.has("a"));
        elsewhere.forget(second);
        assert_eq!(elsewhere.free(), [waiting(7, "a"), waiting(8, "a")]);
        elsewhere.look_again(now);
        assert_eq!(elsewhere.next(), None);
        assert!(!elsewhere.has("a") && elsewhere.has("b"));
    }
}
