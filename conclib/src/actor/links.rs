//! Links of an actor to other actors: its children, the watchers of its end, and its waits.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::actor::any::AnyActor;
use crate::deadlock::{ActiveWait, ActorId, Edge, Execution};
use crate::error::Failure;
use crate::stop_reason::{StopReason, Terminated};
use crate::urn::Urn;

/// The links of an actor, under one lock. The many actors without links take no memory for them.
#[derive(Default)]
pub(crate) struct Links {
    state: Mutex<LinksState>,
    /// The reason of the actor's end, once its URN is free.
    reason: OnceLock<StopReason>,
}

#[derive(Default)]
struct LinksState {
    /// No child can be added until the next incarnation begins.
    closed_to_children: bool,
    /// The actor has ended: no watcher can be added.
    ended: bool,
    /// `None` until there is a link.
    tables: Option<Box<LinkTables>>,
}

#[derive(Default)]
struct LinkTables {
    /// The children, by their number in the order of spawning.
    children: BTreeMap<u64, Arc<dyn AnyActor>>,
    watchers: Vec<Watcher>,
    /// Wakes the tasks that wait for the actor's end. `None` until there is one.
    end: Option<Arc<Notify>>,
    /// The waits of the actor's own code; seldom more than one.
    waits: Vec<ActiveWait>,
    /// The next wait's number.
    next_wait: u64,
    /// The first failure of an escalating child or of a task: the actor fails with it.
    escalated: Option<Failure>,
    /// The reason for which the incarnation ends, from shortly before its last hook on.
    end_reason: Option<StopReason>,
    /// The ends of essential children that ended with this incarnation, and of essential actors below
    /// them. Reported with the end of the actor, unless another incarnation follows.
    essential_ends: Vec<EssentialEnd>,
}

/// The end of an essential actor.
pub(crate) struct EssentialEnd {
    pub(crate) urn: Urn,
    pub(crate) reason: StopReason,
}

/// An actor that watches this one.
pub(crate) struct Watcher {
    pub(crate) id: ActorId,
    /// Puts [`Terminated`] into the watcher's mailbox. Holds the watcher weakly.
    pub(crate) notify: Box<dyn FnOnce(Terminated) + Send>,
}

impl LinksState {
    fn newest_child(&self) -> Option<Arc<dyn AnyActor>> {
        let tables = self.tables.as_ref()?;
        let (_, child) = tables.children.last_key_value()?;
        Some(child.clone())
    }
}

impl Links {
    // ---- children

    /// Adds a child; false if this actor is ending.
    pub(crate) fn add_child(&self, child: Arc<dyn AnyActor>) -> bool {
        let mut state = self.lock();
        if state.closed_to_children || state.ended {
            return false;
        }
        let tables = state.tables.get_or_insert_default();
        tables.children.insert(child.sequence(), child);
        true
    }

    /// Removes a child that has ended.
    pub(crate) fn remove_child(&self, sequence: u64) {
        let child = self.with_tables(|tables| tables.children.remove(&sequence));
        drop(child); // outside the lock
    }

    /// Returns the newest child. If there is none, no child can be added from then on.
    pub(crate) fn newest_child_or_close(&self) -> Option<Arc<dyn AnyActor>> {
        let mut state = self.lock();
        let newest = state.newest_child();
        state.closed_to_children = newest.is_none();
        newest
    }

    pub(super) fn newest_child(&self) -> Option<Arc<dyn AnyActor>> {
        self.lock().newest_child()
    }

    /// The children, newest first.
    pub(crate) fn children(&self) -> Vec<Arc<dyn AnyActor>> {
        let newest_first =
            |tables: &mut LinkTables| tables.children.values().rev().cloned().collect();
        self.with_tables(newest_first)
    }

    /// Begins an incarnation: children can be added, and the reasons to end the one before are cleared.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        state.closed_to_children = false;
        let before = state.tables.as_mut().map(|tables| {
            let (escalated, end_reason) = (tables.escalated.take(), tables.end_reason.take());
            (escalated, end_reason, mem::take(&mut tables.essential_ends))
        });
        drop(state);
        drop(before); // outside the lock, since dropping an error may run foreign code
    }

    /// Records a failure with which the actor is to fail. The first one counts.
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

    /// Adds ends of essential actors below this one, to be reported with its own.
    pub(super) fn add_essential_ends(&self, ends: Vec<EssentialEnd>) {
        let mut state = self.lock();
        let tables = state.tables.get_or_insert_default();
        tables.essential_ends.extend(ends);
    }

    pub(crate) fn take_essential_ends(&self) -> Vec<EssentialEnd> {
        self.with_tables(|tables| mem::take(&mut tables.essential_ends))
    }

    // ---- watchers

    /// Adds a watcher, unless it is already there.
    ///
    /// # Errors
    ///
    /// The watcher, if the actor has ended.
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

    // ---- the actor's end

    /// Records the reason for which the incarnation ends. Only a failed or absent start takes memory:
    /// other reasons follow from the control word.
    pub(crate) fn note_ending(&self, reason: &StopReason) {
        let mut state = self.lock();
        if reason.is_failure() || matches!(reason, StopReason::Absent) {
            state.tables.get_or_insert_default();
        }
        let tables = state.tables.as_mut();
        let before = tables.and_then(|tables| tables.end_reason.replace(reason.clone()));
        drop(state);
        drop(before); // outside the lock, as above
    }

    /// The reason for which the incarnation ends, or is to end after the current message, if it is
    /// recorded here.
    pub(super) fn end_reason(&self) -> Option<StopReason> {
        self.with_tables(|tables| {
            let escalated = || tables.escalated.clone().map(StopReason::Failed);
            tables.end_reason.clone().or_else(escalated)
        })
    }

    /// True if the actor has a child.
    pub(crate) fn has_children(&self) -> bool {
        self.with_tables(|tables| !tables.children.is_empty())
    }

    /// Wakes the tasks that wait for the actor's end, so that they check for cycles again: a wait in a
    /// cycle may end early.
    pub(crate) fn wake_stop_waiters(&self) {
        if let Some(end) = self.with_tables(|tables| tables.end.clone()) {
            end.notify_waiters();
        }
    }

    /// Records the actor's end and wakes the tasks that wait for it. Returns the watchers.
    pub(crate) fn end(&self, reason: &StopReason) -> Vec<Watcher> {
        let _ = self.reason.set(reason.clone()); // called once
        let mut state = self.lock();
        state.ended = true;
        let tables = state.tables.as_mut();
        let (watchers, end) = tables.map_or_else(Default::default, |tables| {
            (mem::take(&mut tables.watchers), tables.end.take())
        });
        drop(state);
        if let Some(end) = end {
            end.notify_waiters();
        }
        watchers
    }

    /// The reason of the actor's end, if it has ended.
    pub(crate) fn reason(&self) -> Option<&StopReason> {
        self.reason.get()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.reason.get().is_some()
    }

    /// Notified at the actor's end, and when tasks that wait for it are to check for cycles.
    pub(crate) fn end_notify(&self) -> Arc<Notify> {
        let mut state = self.lock();
        let tables = state.tables.get_or_insert_default();
        tables.end.get_or_insert_default().clone()
    }

    // ---- the actor's waits

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

    /// Runs `access` on the tables; returns the default if there are none.
    fn with_tables<T: Default>(&self, access: impl FnOnce(&mut LinkTables) -> T) -> T {
        let mut state = self.lock();
        state
            .tables
            .as_mut()
            .map_or_else(T::default, |tables| access(tables))
    }

    #[cfg(test)]
    pub(super) fn watchers(&self) -> usize {
        self.with_tables(|tables| tables.watchers.len())
    }

    fn lock(&self) -> MutexGuard<'_, LinksState> {
        self.state.lock()
    }
}
