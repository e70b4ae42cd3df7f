//! The control word: signals to an actor's task that bypass its mailbox.

use std::task::Waker;

use crate::stop_reason::StopReason;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The actor ends at its next poll.
const KILLED: u8 = 1;
/// The incarnation ends at its next poll; another follows.
const INTERRUPTED: u8 = 1 << 1;
/// The incarnation ends after the current message; another may follow.
const ENDED: u8 = 1 << 2;
/// The actor fails after the current message, because a child or a task of it has failed.
const ESCALATED: u8 = 1 << 3;
/// The incarnation ends after the current message, because its group restarts; another follows.
const GROUP_RESTARTS: u8 = 1 << 4;
/// The incarnation of an actor on demand ends unless it has something to do; another follows if a
/// message comes before its URN is free.
const IDLE: u8 = 1 << 5;
/// The actor on demand has ended, its URN is free, and the next message to it starts another.
const RETIRED: u8 = 1 << 6;

/// The signals to an actor's task. The task reads them between messages and polls, so that a full
/// mailbox never delays them.
#[derive(Default)]
pub(crate) struct Control {
    /// A set of the bits above.
    signals: AtomicU8,
    /// The first [`StopCause`], or 0 if no stop was requested.
    cause: AtomicU8,
    /// Wakes the actor's task.
    task: Mutex<Option<Waker>>,
}

/// The cause of a requested stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    Requested = 1,
    Unreferenced = 2,
    Shutdown = 3,
    ParentStopped = 4,
}

impl Control {
    /// Records the cause of a stop. The first one counts.
    pub(super) fn note_cause(&self, cause: StopCause) {
        let _ = self
            .cause
            .compare_exchange(0, cause as u8, Ordering::AcqRel, Ordering::Relaxed);
    }

    pub(super) fn is_asked_to_stop(&self) -> bool {
        self.cause.load(Ordering::Acquire) != 0
    }

    pub(crate) fn cause(&self) -> StopReason {
        match self.cause.load(Ordering::Acquire) {
            cause if cause == StopCause::Unreferenced as u8 => StopReason::Unreferenced,
            cause if cause == StopCause::Shutdown as u8 => StopReason::Shutdown,
            cause if cause == StopCause::ParentStopped as u8 => StopReason::ParentStopped,
            _ => StopReason::Requested,
        }
    }

    /// The reason for which the incarnation ends after the current message, if a signal says so.
    pub(super) fn pending_stop_reason(&self) -> Option<StopReason> {
        if self.has(KILLED) {
            Some(StopReason::Killed)
        } else if self.is_asked_to_stop() || self.has(ENDED) {
            Some(self.cause())
        } else if self.has(INTERRUPTED | GROUP_RESTARTS) {
            Some(StopReason::Restarted)
        } else {
            self.is_idle().then_some(StopReason::Idle)
        }
    }

    pub(super) fn kill(&self) {
        self.signal(KILLED);
    }

    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.has(KILLED)
    }

    /// Ends the incarnation at its next poll.
    pub(crate) fn interrupt(&self) {
        self.signal(INTERRUPTED);
    }

    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.has(KILLED | INTERRUPTED)
    }

    /// Ends the incarnation after the current message, by request of the actor's own code.
    pub(super) fn end_incarnation(&self) {
        self.signal(ENDED);
    }

    /// Ends the incarnation after the current message, because the actor's group restarts.
    pub(crate) fn restart_with_group(&self) {
        self.signal(GROUP_RESTARTS);
    }

    pub(crate) fn restarts_with_group(&self) -> bool {
        self.has(GROUP_RESTARTS)
    }

    /// Has an actor on demand look whether it is idle, and end its incarnation if so.
    pub(super) fn signal_idle(&self) {
        self.signal(IDLE);
    }

    /// True if the incarnation ends because the actor is idle.
    pub(crate) fn is_idle(&self) -> bool {
        self.has(IDLE) && !self.has(ENDED | GROUP_RESTARTS)
    }

    /// True if no signal but that of idleness is there.
    pub(crate) fn is_only_idle(&self) -> bool {
        self.signals.load(Ordering::Acquire) == IDLE
    }

    /// Withdraws the signal of idleness: the actor has something to do.
    pub(crate) fn withdraw_idle(&self) {
        self.signals.fetch_and(!IDLE, Ordering::AcqRel);
    }

    /// Records that the actor on demand has ended, and another may start in its place. Called under
    /// the lock of the mailbox, which closes with it.
    pub(super) fn retire(&self) {
        self.signals.fetch_or(RETIRED, Ordering::AcqRel);
    }

    /// True if the actor on demand has ended, and another may start in its place.
    pub(super) fn has_retired(&self) -> bool {
        self.has(RETIRED)
    }

    /// Has the actor fail after the current message. [`Links`](super::links::Links) hold the failure.
    pub(super) fn escalate(&self) {
        self.signal(ESCALATED);
    }

    /// True if the incarnation is to end. Read after each message.
    #[inline]
    pub(crate) fn has_signal(&self) -> bool {
        self.signals.load(Ordering::Acquire) != 0
    }

    /// True if the signals end the incarnation only for a restart.
    pub(crate) fn ends_to_restart(&self) -> bool {
        let signals = self.signals.load(Ordering::Acquire);
        signals & !(ENDED | GROUP_RESTARTS | IDLE) == 0
    }

    /// Begins an incarnation: clears the signals to the one before, except a kill.
    pub(crate) fn begin_incarnation(&self) {
        self.signals.fetch_and(KILLED, Ordering::AcqRel);
    }

    /// Registers the task's waker. `known` caches the one that is registered, so that a poll costs a
    /// comparison. The caller reads the signals afterwards, and so sees those from before.
    #[inline]
    pub(crate) fn register(&self, waker: &Waker, known: &mut Option<Waker>) {
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
            self.replace_task(waker.clone());
        }
    }

    #[cold]
    fn replace_task(&self, task: Waker) {
        let before = self.lock().replace(task);
        drop(before);
    }

    /// Drops the waker of a task that ends. It would keep the task's memory for as long as there is a
    /// reference to the actor.
    pub(crate) fn forget_task(&self) {
        let task = self.lock().take();
        drop(task);
    }

    #[cfg(test)]
    pub(super) fn knows_task(&self) -> bool {
        self.lock().is_some()
    }

    /// Wakes the task, so that it reads the signals.
    pub(super) fn wake(&self) {
        let task = self.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    fn signal(&self, bit: u8) {
        self.signals.fetch_or(bit, Ordering::AcqRel);
        self.wake();
    }

    #[inline]
    fn has(&self, bits: u8) -> bool {
        self.signals.load(Ordering::Acquire) & bits != 0
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock()
    }
}

#[cfg(all(test, conclib_loom))]
mod loom_tests;
