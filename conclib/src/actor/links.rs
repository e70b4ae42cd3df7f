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
pub(crate) struct Links {
    state: Mutex<LinksState>,
    /// Why the actor has ended, once the URN is free.
    reason: OnceLock<StopReason>,
}

#[derive(Default)]
struct LinksState {
    /// Nobody is taken in any more, until another life begins.
    closed_to_children: bool,
    /// It has ended, and the watchers have been told.
    ended: bool,
    /// Nothing until there is somebody.
    tables: Option<Box<LinkTables>>,
}

#[derive(Default)]
struct LinkTables {
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

impl Links {
    // ---- children

    /// Takes a child in; false if this actor is ending.
    pub(crate) fn add_child(&self, child: Arc<dyn AnyActor>) -> bool {
        let mut state = self.lock();
        if state.closed_to_children || state.ended {
            return false;
        }
        let tables = state.tables.get_or_insert_default();
        tables.children.insert(child.sequence(), child);
        true
    }

    /// A child has ended.
    pub(crate) fn remove_child(&self, sequence: u64) {
        let child = self.with_tables(|tables| tables.children.remove(&sequence));
        drop(child); // outside the lock
    }

    /// The newest child; without one, none is taken in any more.
    pub(crate) fn newest_child_or_close(&self) -> Option<Arc<dyn AnyActor>> {
        let mut state = self.lock();
        let newest = state
            .tables
            .as_ref()
            .and_then(|tables| tables.children.last_key_value())
            .map(|(_, child)| child.clone());
        state.closed_to_children = newest.is_none();
        newest
    }

    /// Everybody, newest first.
    pub(crate) fn children(&self) -> Vec<Arc<dyn AnyActor>> {
        let newest_first =
            |tables: &mut LinkTables| tables.children.values().rev().cloned().collect();
        self.with_tables(newest_first)
    }

    /// Another life begins: what was to end the one before is forgotten.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        state.closed_to_children = false;
        let before = state.tables.as_mut().map(|tables| {
            let (escalated, ending) = (tables.escalated.take(), tables.ending.take());
            (escalated, ending)
        });
        drop(state);
        drop(before); // outside the lock: it may hold an error with a drop of its own
    }

    /// Notes a failure that is to be the actor's as well; the first counts.
    pub(super) fn escalate(&self, failure: Failure) {
        let mut state = self.lock();
        let escalated = &mut state.tables.get_or_insert_default().escalated;
        let other = if escalated.is_none() {
            escalated.replace(failure)
        } else {
            Some(failure)
        };
        drop(state);
        drop(other); // outside the lock, as above
        self.wake_stop_waiters();
    }

    pub(crate) fn take_escalated(&self) -> Option<Failure> {
        self.with_tables(|tables| tables.escalated.take())
    }

    // ---- watchers

    /// Adds a watcher, unless it is one already; gives it back if the actor has ended.
    pub(crate) fn watch(&self, watcher: Watcher) -> Result<(), Watcher> {
        let mut state = self.lock();
        if state.ended {
            return Err(watcher);
        }
        let watchers = &mut state.tables.get_or_insert_default().watchers;
        if watchers.iter().all(|other| other.id != watcher.id) {
            watchers.push(watcher);
        }
        Ok(())
    }

    pub(crate) fn unwatch(&self, id: ActorId) {
        let watcher = self.with_tables(|tables| {
            let watchers = &mut tables.watchers;
            let place = watchers.iter().position(|watcher| watcher.id == id)?;
            Some(watchers.swap_remove(place))
        });
        drop(watcher); // outside the lock
    }

    // ---- its end

    /// Notes why the life ends. Only what cannot be told from how the actor was stopped takes
    /// memory.
    pub(crate) fn note_ending(&self, reason: &StopReason) {
        let mut state = self.lock();
        if reason.is_failure() {
            state.tables.get_or_insert_default();
        }
        let tables = state.tables.as_mut();
        let before = tables.and_then(|tables| tables.ending.replace(reason.clone()));
        drop(state);
        drop(before); // outside the lock, as above
    }

    /// The reason for which the life ends, or is to end after the current message, if known here.
    pub(super) fn ending(&self) -> Option<StopReason> {
        self.with_tables(|tables| {
            let escalated = || tables.escalated.clone().map(StopReason::Failed);
            tables.ending.clone().or_else(escalated)
        })
    }

    /// Has those that wait for the end look again: they may go on before, if the actor waits for
    /// them.
    pub(crate) fn wake_stop_waiters(&self) {
        if let Some(end) = self.with_tables(|tables| tables.end.clone()) {
            end.notify_waiters();
        }
    }

    /// The actor has ended: those who wait for that go on. Who else is to hear of it, once.
    pub(crate) fn end(&self, reason: &StopReason) -> Vec<Watcher> {
        let _ = self.reason.set(reason.clone()); // the first counts; there is one
        let mut state = self.lock();
        state.ended = true;
        let tables = state.tables.as_mut();
        let (watchers, end) = tables.map_or_else(Default::default, |tables| {
            (std::mem::take(&mut tables.watchers), tables.end.take())
        });
        drop(state);
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
        let mut state = self.lock();
        let tables = state.tables.get_or_insert_default();
        tables.end.get_or_insert_default().clone()
    }

    // ---- what it waits for

    /// Records a wait; its number ends it.
    pub(crate) fn begin_wait(&self, execution: Execution, edge: Edge) -> u64 {
        let mut state = self.lock();
        let tables = state.tables.get_or_insert_default();
        let number = tables.next_wait;
        tables.next_wait += 1;
        tables.waits.push(ActiveWait {
            number,
            execution,
            edge,
        });
        number
    }

    pub(crate) fn end_wait(&self, number: u64) {
        let wait = self.with_tables(|tables| {
            let waits = &mut tables.waits;
            let place = waits.iter().position(|wait| wait.number == number)?;
            Some(waits.swap_remove(place))
        });
        drop(wait); // outside the lock
    }

    pub(crate) fn active_waits(&self) -> Vec<ActiveWait> {
        self.with_tables(|tables| tables.waits.clone())
    }

    /// What is found among the people, or nothing if there are none.
    fn with_tables<T: Default>(&self, find: impl FnOnce(&mut LinkTables) -> T) -> T {
        let mut state = self.lock();
        state
            .tables
            .as_mut()
            .map_or_else(T::default, |tables| find(tables))
    }

    #[cfg(test)]
    pub(super) fn watchers(&self) -> usize {
        self.with_tables(|tables| tables.watchers.len())
    }

    fn lock(&self) -> MutexGuard<'_, LinksState> {
        self.state.lock()
    }
}
