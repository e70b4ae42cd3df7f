//! Links of an actor to other actors: its children, the watchers of its end, and its waits.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::actor::any::AnyActor;
use crate::actor::type_counters::TypeNumber;
use crate::deadlock::{ActiveWait, ActorId, Edge, Execution};
use crate::error::Failure;
use crate::stop_reason::{StopReason, Terminated};
use crate::urn::Urn;

/// The links of an actor, under one lock. The many actors without links take no memory for them.
#[derive(Default)]
pub(crate) struct Links {
    /// `None` until there is a link.
    tables: Mutex<Option<Box<LinkTables>>>,
    /// No child can be added until the next incarnation begins. Changes under the lock.
    closed_to_children: AtomicBool,
    /// The reason of the actor's end, once its URN is free, as an [`EndCode`]. Changes under the lock.
    end: AtomicU8,
    /// The actor's type, for its counters. Here, where it takes no memory: an idle actor has no byte to spare.
    actor_type: TypeNumber,
}

/// A reason of an actor's end in a byte.
struct EndCode;

impl EndCode {
    const NOT_ENDED: u8 = 0;
    /// The tables hold the reason.
    const IN_TABLES: u8 = u8::MAX;
    /// The reasons without a failure: the code of each is its place, counted from 1.
    const PLAIN: [StopReason; 8] = [
        StopReason::Requested,
        StopReason::Unreferenced,
        StopReason::Shutdown,
        StopReason::ParentStopped,
        StopReason::Killed,
        StopReason::Restarted,
        StopReason::Idle,
        StopReason::Absent,
    ];

    fn of(reason: &StopReason) -> u8 {
        let kind = mem::discriminant(reason);
        let codes = (1..).zip(&Self::PLAIN);
        let mut codes = codes.filter(|(_, plain)| mem::discriminant(*plain) == kind);
        codes.next().map_or(Self::IN_TABLES, |(code, _)| code)
    }

    fn plain(code: u8) -> Option<StopReason> {
        Self::PLAIN.get(usize::from(code).checked_sub(1)?).cloned()
    }
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
    /// The reason of the actor's end, if it is a failure.
    reason: Option<StopReason>,
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

impl LinkTables {
    fn newest_child(&self) -> Option<Arc<dyn AnyActor>> {
        let (_, child) = self.children.last_key_value()?;
        Some(child.clone())
    }
}

impl Links {
    /// No links yet, of an actor of this type.
    pub(crate) fn of_type(actor_type: TypeNumber) -> Self {
        Self {
            actor_type,
            ..Self::default()
        }
    }

    pub(crate) fn actor_type(&self) -> TypeNumber {
        self.actor_type
    }

    // ---- children

    /// Adds a child; false if this actor is ending.
    pub(crate) fn add_child(&self, child: Arc<dyn AnyActor>) -> bool {
        let mut tables = self.lock();
        if self.closed_to_children.load(Ordering::Relaxed) || self.has_ended() {
            return false;
        }
        let tables = tables.get_or_insert_default();
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
        let tables = self.lock();
        let newest = tables.as_ref().and_then(|tables| tables.newest_child());
        let is_last = newest.is_none();
        self.closed_to_children.store(is_last, Ordering::Relaxed);
        newest
    }

    pub(super) fn newest_child(&self) -> Option<Arc<dyn AnyActor>> {
        self.with_tables(|tables| tables.newest_child())
    }

    /// The children, newest first.
    pub(crate) fn children(&self) -> Vec<Arc<dyn AnyActor>> {
        let newest_first =
            |tables: &mut LinkTables| tables.children.values().rev().cloned().collect();
        self.with_tables(newest_first)
    }

    /// Begins an incarnation: children can be added, and the reasons to end the one before are cleared.
    pub(crate) fn open(&self) {
        let mut tables = self.lock();
        self.closed_to_children.store(false, Ordering::Relaxed);
        let before = tables.as_mut().map(|tables| {
            let (escalated, end_reason) = (tables.escalated.take(), tables.end_reason.take());
            (escalated, end_reason, mem::take(&mut tables.essential_ends))
        });
        drop(tables);
        drop(before); // outside the lock, since dropping an error may run foreign code
    }

    /// Records a failure with which the actor is to fail. The first one counts.
    pub(super) fn escalate(&self, failure: Failure) {
        let mut tables = self.lock();
        let escalated = &mut tables.get_or_insert_default().escalated;
        let other = if escalated.is_none() {
            escalated.replace(failure)
        } else {
            Some(failure)
        };
        drop(tables);
        drop(other); // outside the lock, as above
        self.wake_stop_waiters();
    }

    pub(crate) fn take_escalated(&self) -> Option<Failure> {
        self.with_tables(|tables| tables.escalated.take())
    }

    /// Adds ends of essential actors below this one, to be reported with its own.
    pub(super) fn add_essential_ends(&self, ends: Vec<EssentialEnd>) {
        let mut tables = self.lock();
        let tables = tables.get_or_insert_default();
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
        let mut tables = self.lock();
        if self.has_ended() {
            return Err(watcher);
        }
        let watchers = &mut tables.get_or_insert_default().watchers;
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
        let mut tables = self.lock();
        if reason.is_failure() || matches!(reason, StopReason::Absent) {
            tables.get_or_insert_default();
        }
        let before = tables
            .as_mut()
            .and_then(|tables| tables.end_reason.replace(reason.clone()));
        drop(tables);
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

    /// Records the actor's end and wakes the tasks that wait for it. Returns the watchers. Called
    /// once.
    pub(crate) fn end(&self, reason: &StopReason) -> Vec<Watcher> {
        let code = EndCode::of(reason);
        let mut tables = self.lock();
        if code == EndCode::IN_TABLES {
            tables.get_or_insert_default().reason = Some(reason.clone());
        }
        self.end.store(code, Ordering::Release);
        let (watchers, end) = tables.as_mut().map_or_else(Default::default, |tables| {
            (mem::take(&mut tables.watchers), tables.end.take())
        });
        drop(tables);
        if let Some(end) = end {
            end.notify_waiters();
        }
        watchers
    }

    /// The reason of the actor's end, if it has ended.
    pub(crate) fn reason(&self) -> Option<StopReason> {
        match self.end.load(Ordering::Acquire) {
            EndCode::NOT_ENDED => None,
            EndCode::IN_TABLES => self.with_tables(|tables| tables.reason.clone()),
            code => EndCode::plain(code),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.load(Ordering::Acquire) != EndCode::NOT_ENDED
    }

    /// Notified at the actor's end, and when tasks that wait for it are to check for cycles.
    pub(crate) fn end_notify(&self) -> Arc<Notify> {
        let mut tables = self.lock();
        let tables = tables.get_or_insert_default();
        tables.end.get_or_insert_default().clone()
    }

    // ---- the actor's waits

    /// Records a wait; its number ends it.
    pub(crate) fn begin_wait(&self, execution: Execution, edge: Edge) -> u64 {
        let mut tables = self.lock();
        let tables = tables.get_or_insert_default();
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
        let mut tables = self.lock();
        tables
            .as_mut()
            .map_or_else(T::default, |tables| access(tables))
    }

    /// The watchers, by their identities.
    pub(super) fn watchers(&self) -> Vec<ActorId> {
        self.with_tables(|tables| tables.watchers.iter().map(|watcher| watcher.id).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<LinkTables>>> {
        self.tables.lock()
    }
}
