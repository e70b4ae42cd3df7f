//! Who an actor has to do with: its children, those who want to hear of its end, and those it waits
//! for.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::actor::any::AnyActor;
use crate::deadlock::{ActiveWait, ActorId, Edge, Execution};
use crate::error::Failure;
use crate::stop_reason::{StopReason, Terminated};

/// Under one lock, and without memory for the many actors that have none of it.
#[derive(Default)]
pub(crate) struct Relations {
    ties: Mutex<Ties>,
    /// Why the actor has ended, once the URN is free.
    reason: OnceLock<StopReason>,
}

#[derive(Default)]
struct Ties {
    /// Nobody is taken in any more, until another life begins.
    childless: bool,
    /// It has ended, and the watchers have been told.
    ended: bool,
    /// Nothing until there is somebody.
    people: Option<Box<People>>,
}

#[derive(Default)]
struct People {
    /// By their place in the order of spawning.
    children: BTreeMap<u64, Arc<dyn AnyActor>>,
    watchers: Vec<Watcher>,
    /// For those who wait for the end, if somebody does.
    end: Option<Arc<Notify>>,
    /// The waits of the actor's own code; seldom more than one.
    waits: Vec<ActiveWait>,
    /// The next wait's number.
    next_wait: u64,
    /// What went wrong first with a child that escalates, or with a task: the actor fails with it.
    escalated: Option<Failure>,
    /// The reason for which the life ends, once its last hook is near.
    ending: Option<StopReason>,
}

/// Somebody who wants to hear of the end.
pub(crate) struct Watcher {
    pub(crate) id: ActorId,
    /// Puts the news into the watcher's mailbox. Holds it weakly.
    pub(crate) tell: Box<dyn FnOnce(Terminated) + Send>,
}

impl Relations {
    // ---- children

    /// Takes a child in; false if this actor is ending.
    pub(crate) fn adopt(&self, child: Arc<dyn AnyActor>) -> bool {
        let mut ties = self.lock();
        if ties.childless || ties.ended {
            return false;
        }
        let people = ties.people.get_or_insert_default();
        people.children.insert(child.sequence(), child);
        true
    }

    /// A child has ended.
    pub(crate) fn disown(&self, sequence: u64) {
        let child = self.of_people(|people| people.children.remove(&sequence));
        drop(child); // outside the lock
    }

    /// The newest child; without one, none is taken in any more.
    pub(crate) fn newest_child_or_close(&self) -> Option<Arc<dyn AnyActor>> {
        let mut ties = self.lock();
        let newest = ties
            .people
            .as_ref()
            .and_then(|people| people.children.last_key_value())
            .map(|(_, child)| child.clone());
        ties.childless = newest.is_none();
        newest
    }

    /// Everybody, newest first.
    pub(crate) fn children(&self) -> Vec<Arc<dyn AnyActor>> {
        let newest_first = |people: &mut People| people.children.values().rev().cloned().collect();
        self.of_people(newest_first)
    }

    /// Another life begins: what was to end the one before is forgotten.
    pub(crate) fn open(&self) {
        let mut ties = self.lock();
        ties.childless = false;
        let before = ties.people.as_mut().map(|people| {
            let (escalated, ending) = (people.escalated.take(), people.ending.take());
            (escalated, ending)
        });
        drop(ties);
        drop(before); // outside the lock: it may hold an error with a drop of its own
    }

    /// Notes a failure that is to be the actor's as well; the first counts.
    pub(super) fn escalate(&self, failure: Failure) {
        let mut ties = self.lock();
        let escalated = &mut ties.people.get_or_insert_default().escalated;
        let other = if escalated.is_none() {
            escalated.replace(failure)
        } else {
            Some(failure)
        };
        drop(ties);
        drop(other); // outside the lock, as above
        self.look_again();
    }

    pub(crate) fn take_escalated(&self) -> Option<Failure> {
        self.of_people(|people| people.escalated.take())
    }

    // ---- watchers

    /// Adds a watcher, unless it is one already; gives it back if the actor has ended.
    pub(crate) fn watch(&self, watcher: Watcher) -> Result<(), Watcher> {
        let mut ties = self.lock();
        if ties.ended {
            return Err(watcher);
        }
        let watchers = &mut ties.people.get_or_insert_default().watchers;
        if watchers.iter().all(|other| other.id != watcher.id) {
            watchers.push(watcher);
        }
        Ok(())
    }

    pub(crate) fn unwatch(&self, id: ActorId) {
        let watcher = self.of_people(|people| {
            let watchers = &mut people.watchers;
            let place = watchers.iter().position(|watcher| watcher.id == id)?;
            Some(watchers.swap_remove(place))
        });
        drop(watcher); // outside the lock
    }

    // ---- its end

    /// Notes why the life ends. Only what cannot be told from how the actor was stopped takes
    /// memory.
    pub(crate) fn note_ending(&self, reason: &StopReason) {
        let mut ties = self.lock();
        if reason.is_failure() {
            ties.people.get_or_insert_default();
        }
        let people = ties.people.as_mut();
        let before = people.and_then(|people| people.ending.replace(reason.clone()));
        drop(ties);
        drop(before); // outside the lock, as above
    }

    /// The reason for which the life ends, or is to end after the current message, if known here.
    pub(super) fn ending(&self) -> Option<StopReason> {
        self.of_people(|people| {
            let escalated = || people.escalated.clone().map(StopReason::Failed);
            people.ending.clone().or_else(escalated)
        })
    }

    /// Has those that wait for the end look again: they may go on before, if the actor waits for
    /// them.
    pub(crate) fn look_again(&self) {
        if let Some(end) = self.of_people(|people| people.end.clone()) {
            end.notify_waiters();
        }
    }

    /// The actor has ended: those who wait for that go on. Who else is to hear of it, once.
    pub(crate) fn end(&self, reason: &StopReason) -> Vec<Watcher> {
        let _ = self.reason.set(reason.clone()); // the first counts; there is one
        let mut ties = self.lock();
        ties.ended = true;
        let people = ties.people.as_mut();
        let (watchers, end) = people.map_or_else(Default::default, |people| {
            (std::mem::take(&mut people.watchers), people.end.take())
        });
        drop(ties);
        if let Some(end) = end {
            end.notify_waiters();
        }
        watchers
    }

    /// Why the actor has ended, if it has.
    pub(crate) fn reason(&self) -> Option<&StopReason> {
        self.reason.get()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.reason.get().is_some()
    }

    /// Notified at the end; also when tasks that wait for it are to check for cycles.
    pub(crate) fn end_notify(&self) -> Arc<Notify> {
        let mut ties = self.lock();
        let people = ties.people.get_or_insert_default();
        people.end.get_or_insert_default().clone()
    }

    // ---- what it waits for

    /// Records a wait; its number ends it.
    pub(crate) fn begin_wait(&self, execution: Execution, edge: Edge) -> u64 {
        let mut ties = self.lock();
        let people = ties.people.get_or_insert_default();
        let number = people.next_wait;
        people.next_wait += 1;
        people.waits.push(ActiveWait {
            number,
            execution,
            edge,
        });
        number
    }

    pub(crate) fn end_wait(&self, number: u64) {
        let wait = self.of_people(|people| {
            let waits = &mut people.waits;
            let place = waits.iter().position(|wait| wait.number == number)?;
            Some(waits.swap_remove(place))
        });
        drop(wait); // outside the lock
    }

    pub(crate) fn active_waits(&self) -> Vec<ActiveWait> {
        self.of_people(|people| people.waits.clone())
    }

    /// What is found among the people, or nothing if there are none.
    fn of_people<T: Default>(&self, find: impl FnOnce(&mut People) -> T) -> T {
        let mut ties = self.lock();
        ties.people
            .as_mut()
            .map_or_else(T::default, |people| find(people))
    }

    #[cfg(test)]
    pub(super) fn watchers(&self) -> usize {
        self.of_people(|people| people.watchers.len())
    }

    fn lock(&self) -> MutexGuard<'_, Ties> {
        self.ties.lock()
    }
}
