//! What others tell a running actor, past its mailbox.

use std::task::Waker;

use crate::stop_reason::StopReason;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// It ends at its next poll.
const KILLED: u8 = 1;
/// Its life ends at its next poll; another follows.
const INTERRUPTED: u8 = 1 << 1;
/// Its life ends after the message in hand; another may follow.
const ENDED: u8 = 1 << 2;
/// A child or a task of it failed: so does it, after the message in hand.
const ESCALATED: u8 = 1 << 3;
/// Its life ends after the message in hand, for the sake of its group; another follows.
const GROUP_RESTARTS: u8 = 1 << 4;

/// Looked at between messages and polls, so that a full mailbox never delays it.
#[derive(Default)]
pub(crate) struct Control {
    /// The bits above.
    signals: AtomicU8,
    /// The first [`StopCause`] that was given, or 0.
    cause: AtomicU8,
    /// Wakes the actor's task wherever it waits.
    task: Mutex<Option<Waker>>,
}

/// Why an orderly stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    Requested = 1,
    Unreferenced = 2,
    Shutdown = 3,
    ParentStopped = 4,
}

impl Control {
    /// Says why the actor is to stop; the first cause counts.
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

    /// The reason for which the life ends after the current message, if it was told to.
    pub(super) fn stops_for(&self) -> Option<StopReason> {
        if self.has(KILLED) {
            Some(StopReason::Killed)
        } else if self.is_asked_to_stop() || self.has(ENDED) {
            Some(self.cause())
        } else {
            self.has(INTERRUPTED | GROUP_RESTARTS)
                .then_some(StopReason::Restarted)
        }
    }

    pub(super) fn kill(&self) {
        self.signal(KILLED);
    }

    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.has(KILLED)
    }

    /// Ends the life at its next poll.
    pub(crate) fn interrupt(&self) {
        self.signal(INTERRUPTED);
    }

    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.has(KILLED | INTERRUPTED)
    }

    /// Ends the life after the message in hand; the actor does so itself.
    pub(super) fn end_incarnation(&self) {
        self.signal(ENDED);
    }

    /// Ends the life after the message in hand, for the sake of its group.
    pub(crate) fn restart_with_group(&self) {
        self.signal(GROUP_RESTARTS);
    }

    pub(crate) fn restarts_with_group(&self) -> bool {
        self.has(GROUP_RESTARTS)
    }

    /// The actor fails as well, after the message in hand. What went wrong is among its relations.
    pub(super) fn escalate(&self) {
        self.signal(ESCALATED);
    }

    /// True if the life is not to go on; looked at after each message.
    #[inline]
    pub(crate) fn has_signal(&self) -> bool {
        self.signals.load(Ordering::Acquire) != 0
    }

    /// True if it is to end only so that another may follow.
    pub(crate) fn ends_to_restart(&self) -> bool {
        let signals = self.signals.load(Ordering::Acquire);
        signals & !(ENDED | GROUP_RESTARTS) == 0
    }

    /// A new life begins: what was meant for the one before is forgotten.
    pub(crate) fn begin_incarnation(&self) {
        self.signals.fetch_and(KILLED, Ordering::AcqRel);
    }

    /// Says whom to wake. `known` is the caller's memory of the last one, so that this costs a
    /// comparison per poll; a signal that came before is seen by the look that follows.
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

    /// When the task ends: its waker would keep the task's memory for as long as anybody refers to
    /// the actor.
    pub(crate) fn forget_task(&self) {
        let task = self.lock().take();
        drop(task);
    }

    #[cfg(test)]
    pub(super) fn knows_task(&self) -> bool {
        self.lock().is_some()
    }

    /// Wakes the task, so that it looks.
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
