//! Starters of actors on demand, by the prefixes of their URNs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::actor::any::AnyActor;
use crate::core::LookupError;
use crate::urn::Urn;

/// Starts the actors whose URNs have one prefix.
pub(crate) trait Starter: Send + Sync {
    /// True if the actors are hidden from other processes.
    fn is_private(&self) -> bool;

    /// Takes the URN and starts its actor, without waiting for its state. `None` if the URN is taken.
    ///
    /// # Errors
    ///
    /// [`LookupError`] if the actor cannot start now, or could not a moment ago.
    fn start(self: Arc<Self>, urn: &Urn) -> Result<Option<Arc<dyn AnyActor>>, LookupError>;

    /// The place of the actors in the order of spawning: all have that of their pattern, which is taken
    /// when that is added.
    fn place(&self) -> u64;

    /// Starts no more actors. Returns the live ones that were started since the system began to close;
    /// those from before are in the registry by then.
    fn close(&self) -> Vec<Arc<dyn AnyActor>>;
}

/// The starters of a system. Lookups that find an actor have no cost from it.
#[derive(Default)]
pub(crate) struct Starters {
    /// The longest prefix first.
    list: RwLock<Vec<StarterEntry>>,
    /// True if the list is not empty.
    any: AtomicBool,
}

struct StarterEntry {
    /// The beginning of the URNs; at least one more character follows.
    prefix: Box<str>,
    /// `None` once it is closed: the starter is dropped, with all that its factory owns.
    starter: Option<Arc<dyn Starter>>,
}

impl Starters {
    /// Adds a starter; false if there is one with this prefix.
    pub(crate) fn add(&self, prefix: &str, starter: Arc<dyn Starter>) -> bool {
        let mut list = self.list.write();
        if list.iter().any(|entry| *entry.prefix == *prefix) {
            drop(list);
            return false; // the starter is dropped outside the lock: it owns foreign code
        }
        let place = list.partition_point(|entry| entry.prefix.len() >= prefix.len());
        let entry = StarterEntry {
            prefix: prefix.into(),
            starter: Some(starter),
        };
        list.insert(place, entry);
        self.any.store(true, Ordering::Release);
        true
    }

    /// The starter with the longest prefix of this URN, if there is one.
    ///
    /// # Errors
    ///
    /// [`LookupError::SystemClosed`] if it was closed with its system.
    pub(super) fn of(&self, urn: &str) -> Result<Option<Arc<dyn Starter>>, LookupError> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(None); // the usual case
        }
        let list = self.list.read();
        let matches = |entry: &&StarterEntry| {
            urn.len() > entry.prefix.len() && urn.starts_with(&*entry.prefix)
        };
        match list.iter().find(matches) {
            None => Ok(None),
            Some(entry) => match &entry.starter {
                Some(starter) => Ok(Some(starter.clone())),
                None => Err(LookupError::SystemClosed),
            },
        }
    }

    /// All starters that are not closed.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Starter>> {
        let list = self.list.read();
        let starters = list.iter().filter_map(|entry| entry.starter.clone());
        starters.collect()
    }

    /// Closes a starter and drops it. Returns the live actors that it has started since the system began
    /// to close.
    pub(crate) fn close_one(&self, starter: &dyn Starter) -> Vec<Arc<dyn AnyActor>> {
        let live = starter.close();
        let place = starter.place();
        let is_it = |entry: &&mut StarterEntry| {
            let starter = entry.starter.as_ref();
            starter.is_some_and(|starter| starter.place() == place)
        };
        let mut list = self.list.write();
        let closed = list
            .iter_mut()
            .find(is_it)
            .and_then(|entry| entry.starter.take());
        drop(list);
        drop(closed); // outside the lock: it owns foreign code
        live
    }

    /// Closes and drops all starters: no actor on demand starts from now on.
    pub(crate) fn close(&self) {
        let mut list = self.list.write();
        let starters: Vec<_> = list.iter_mut().map(|entry| entry.starter.take()).collect();
        drop(list);
        // Outside the lock: they own foreign code.
        for starter in starters.into_iter().flatten() {
            starter.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks its prefix by whether its actors are private.
    struct Mark(bool);

    impl Starter for Mark {
        fn is_private(&self) -> bool {
            self.0
        }

        fn start(self: Arc<Self>, _: &Urn) -> Result<Option<Arc<dyn AnyActor>>, LookupError> {
            Ok(None)
        }

        fn place(&self) -> u64 {
            u64::from(self.0)
        }

        fn close(&self) -> Vec<Arc<dyn AnyActor>> {
            Vec::new()
        }
    }

    fn found(starters: &Starters, urn: &str) -> Option<bool> {
        let starter = starters.of(urn).unwrap();
        starter.map(|starter| starter.is_private())
    }

    #[test]
    fn longest_prefix_wins_in_either_order() {
        for order in [["order/", "order/big/"], ["order/big/", "order/"]] {
            let starters = Starters::default();
            assert_eq!(found(&starters, "order/1"), None);
            for prefix in order {
                assert!(starters.add(prefix, Arc::new(Mark(prefix == "order/big/"))));
            }
            assert_eq!(found(&starters, "order/1"), Some(false));
            assert_eq!(found(&starters, "order/big/1"), Some(true));
            assert_eq!(found(&starters, "order/big/"), Some(false));
            assert_eq!(found(&starters, "order/"), None);
            assert_eq!(found(&starters, "orders"), None);
        }
    }

    #[test]
    fn prefix_is_added_once() {
        let starters = Starters::default();
        assert!(starters.add("a/", Arc::new(Mark(true))));
        assert!(!starters.add("a/", Arc::new(Mark(false))));
        assert_eq!(found(&starters, "a/1"), Some(true));
    }

    #[test]
    fn one_starter_is_closed_and_the_others_stay() {
        let starters = Starters::default();
        let mark = Arc::new(Mark(true));
        assert!(starters.add("a/", Arc::new(Mark(false))));
        assert!(starters.add("b/", mark.clone()));
        starters.close_one(&*mark);
        assert_eq!(Arc::strong_count(&mark), 1);
        assert!(matches!(starters.of("b/1"), Err(LookupError::SystemClosed)));
        assert_eq!(found(&starters, "a/1"), Some(false));
        assert_eq!(starters.all().len(), 1);
    }

    #[test]
    fn closed_starters_are_dropped_and_say_so() {
        let starters = Starters::default();
        let mark = Arc::new(Mark(false));
        assert!(starters.add("a/", mark.clone()));
        starters.close();
        assert_eq!(Arc::strong_count(&mark), 1);
        assert!(matches!(starters.of("a/1"), Err(LookupError::SystemClosed)));
        assert!(matches!(starters.of("b/1"), Ok(None)));
    }
}
