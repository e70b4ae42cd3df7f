//! Actors that have failed and were not started again, until their URNs are taken again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::actor::FailedActor;

/// Number of failed actors that are kept: the newest.
const KEPT: usize = 64;

/// They cost a living actor nothing, and a spawn the look at one flag.
#[derive(Default)]
pub(super) struct FailedActors {
    /// The oldest first.
    list: Mutex<VecDeque<Record>>,
    /// True if there is one.
    any: AtomicBool,
}

struct Record {
    actor: FailedActor,
    /// Requests from the bus did not find it.
    private: bool,
}

impl FailedActors {
    /// Notes one, before its URN is free.
    pub(super) fn add(&self, actor: FailedActor, private: bool) {
        let mut list = self.list.lock();
        let oldest = if list.len() < KEPT {
            None
        } else {
            list.pop_front()
        };
        list.push_back(Record { actor, private });
        self.any.store(true, Ordering::Release);
        drop(list);
        drop(oldest); // outside the lock
    }

    /// Forgets the actor that had this URN: another has it now.
    pub(super) fn forget(&self, urn: &str) {
        if !self.any.load(Ordering::Acquire) {
            return; // as nearly always
        }
        let mut list = self.list.lock();
        list.retain(|record| record.actor.urn != *urn);
        self.any.store(!list.is_empty(), Ordering::Release);
    }

    pub(super) fn has(&self, urn: &str) -> bool {
        self.any(urn, |_| true)
    }

    pub(super) fn has_public(&self, urn: &str) -> bool {
        self.any(urn, |record| !record.private)
    }

    /// The oldest first.
    pub(super) fn all(&self) -> Vec<FailedActor> {
        let list = self.list.lock();
        list.iter().map(|record| record.actor.clone()).collect()
    }

    fn any(&self, urn: &str, counts: impl Fn(&Record) -> bool) -> bool {
        self.any.load(Ordering::Acquire) && {
            let list = self.list.lock();
            list.iter()
                .any(|record| record.actor.urn == *urn && counts(record))
        }
    }
}
