//! Actors that failed and will not start again, until their URNs are taken again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::actor::FailedActor;
use crate::urn::ActorName;

/// The most failed actors that are kept: the newest.
const MAX_KEPT: usize = 64;

/// The failed actors of a system. Running actors have no cost from it, and a spawn reads one flag.
#[derive(Default)]
pub(super) struct FailedActors {
    /// The oldest first.
    list: Mutex<VecDeque<FailedEntry>>,
    /// True if the list is not empty.
    any: AtomicBool,
}

struct FailedEntry {
    actor: FailedActor,
    /// True if requests from the bus could not reach the actor.
    private: bool,
}

impl FailedActors {
    /// Adds an actor, before its URN is freed.
    pub(super) fn add(&self, actor: FailedActor, private: bool) {
        let mut list = self.list.lock();
        let oldest = if list.len() < MAX_KEPT {
            None
        } else {
            list.pop_front()
        };
        list.push_back(FailedEntry { actor, private });
        self.any.store(true, Ordering::Release);
        drop(list);
        drop(oldest); // outside the lock
    }

    /// Removes the failed actor of this name, which another actor has taken.
    pub(super) fn forget(&self, name: &ActorName) {
        if !self.any.load(Ordering::Acquire) {
            return; // the usual case
        }
        let urn = name.to_urn();
        let mut list = self.list.lock();
        list.retain(|entry| entry.actor.urn != urn);
        self.any.store(!list.is_empty(), Ordering::Release);
    }

    pub(super) fn has(&self, urn: &str) -> bool {
        self.any(urn, |_| true)
    }

    pub(super) fn has_public(&self, urn: &str) -> bool {
        self.any(urn, |entry| !entry.private)
    }

    /// All failed actors, the oldest first.
    pub(super) fn all(&self) -> Vec<FailedActor> {
        let list = self.list.lock();
        list.iter().map(|entry| entry.actor.clone()).collect()
    }

    fn any(&self, urn: &str, counts: impl Fn(&FailedEntry) -> bool) -> bool {
        self.any.load(Ordering::Acquire) && {
            let list = self.list.lock();
            list.iter()
                .any(|entry| entry.actor.urn == *urn && counts(entry))
        }
    }
}
