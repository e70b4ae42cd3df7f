//! The control word: signals to an actor's task that bypass its mailbox.

use crate::actor::supervision::Supervision;
use crate::stop_reason::StopReason;
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// A signal to an actor's task, by [`ActorCell::signal`](super::cell::ActorCell::signal): the task reads
/// the signals between messages and polls, so that a full mailbox never delays them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(u8);

impl Signal {
    /// The actor ends at its next poll.
    pub(crate) const KILL: Self = Self(1);
    /// The incarnation ends at its next poll; another follows.
    pub(crate) const INTERRUPT: Self = Self(1 << 1);
    /// The incarnation ends after the current message, by request of the actor's own code; another may
    /// follow.
    pub(crate) const END: Self = Self(1 << 2);
    /// The actor fails after the current message, because a child or a task of it has failed. Its
    /// [`Links`](super::links::Links) hold the failure.
    pub(crate) const ESCALATE: Self = Self(1 << 3);
    /// The incarnation ends after the current message, because its group restarts; another follows.
    pub(crate) const RESTART_WITH_GROUP: Self = Self(1 << 4);
    /// The incarnation of an actor on demand ends unless it has something to do; another follows if a
    /// message comes before its URN is free.
    pub(crate) const IDLE: Self = Self(1 << 5);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Not a signal to the task: the actor on demand has ended, its URN is free, and the next message to it
/// starts another.
const RETIRED: u8 = 1 << 6;

/// The signals that an actor's task has got, and the reason for which it is to stop.
#[derive(Default)]
pub(crate) struct Control {
    /// A set of [signals](Signal).
    signals: AtomicU8,
    /// The first [`StopCause`], or 0 if no stop was requested.
    cause: AtomicU8,
    /// A [`Supervision`], set once. Here, where it takes no memory.
    supervision: AtomicU8,
    /// Changes whenever the cancel flags that were made before are to be set.
    cancel_epoch: AtomicU32,
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
    /// Adds a signal. The caller wakes the task.
    pub(super) fn add(&self, signal: Signal) {
        self.signals.fetch_or(signal.0, Ordering::AcqRel);
    }

    /// Records the cause of a stop. The first one counts.
    pub(super) fn note_cause(&self, cause: StopCause) {
        let _ = self
            .cause
            .compare_exchange(0, cause as u8, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Notes the effect of a failure, for those who look.
    pub(crate) fn note_supervision(&self, supervision: Supervision) {
        self.supervision.store(supervision as u8, Ordering::Relaxed);
    }

    pub(super) fn supervision(&self) -> Supervision {
        Supervision::from_number(self.supervision.load(Ordering::Relaxed))
    }

    /// True once a stop was requested.
    pub(crate) fn is_asked_to_stop(&self) -> bool {
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
        if self.is_killed() {
            Some(StopReason::Killed)
        } else if self.is_asked_to_stop() || self.has(Signal::END) {
            Some(self.cause())
        } else if self.has(Signal::INTERRUPT.or(Signal::RESTART_WITH_GROUP)) {
            Some(StopReason::Restarted)
        } else {
            self.is_idle().then_some(StopReason::Idle)
        }
    }

    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.has(Signal::KILL)
    }

    /// True if the incarnation ends at its next poll.
    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.has(Signal::KILL.or(Signal::INTERRUPT))
    }

    pub(crate) fn restarts_with_group(&self) -> bool {
        self.has(Signal::RESTART_WITH_GROUP)
    }

    /// True if the incarnation ends because the actor is idle.
    pub(crate) fn is_idle(&self) -> bool {
        self.has(Signal::IDLE) && !self.has(Signal::END.or(Signal::RESTART_WITH_GROUP))
    }

    /// True if no signal but that of idleness is there.
    pub(crate) fn is_only_idle(&self) -> bool {
        self.signals.load(Ordering::Acquire) == Signal::IDLE.0
    }

    /// Withdraws the signal of idleness: the actor has something to do.
    pub(crate) fn withdraw_idle(&self) {
        self.signals.fetch_and(!Signal::IDLE.0, Ordering::AcqRel);
    }

    /// Records that the actor on demand has ended, and another may start in its place. Called under
    /// the lock of the mailbox, which closes with it.
    pub(super) fn retire(&self) {
        self.signals.fetch_or(RETIRED, Ordering::AcqRel);
    }

    /// True if the actor on demand has ended, and another may start in its place.
    pub(super) fn has_retired(&self) -> bool {
        self.signals.load(Ordering::Acquire) & RETIRED != 0
    }

    /// True if the incarnation is to end. Read after each message.
    #[inline]
    pub(crate) fn has_signal(&self) -> bool {
        self.signals.load(Ordering::Acquire) != 0
    }

    /// True if the signals end the incarnation only for a restart.
    pub(crate) fn ends_to_restart(&self) -> bool {
        let restarts = Signal::END.or(Signal::RESTART_WITH_GROUP).or(Signal::IDLE);
        self.signals.load(Ordering::Acquire) & !restarts.0 == 0
    }

    /// Begins an incarnation: clears the signals to the one before, except a kill.
    pub(crate) fn begin_incarnation(&self) {
        self.signals.fetch_and(Signal::KILL.0, Ordering::AcqRel);
    }

    /// Sets the cancel flags that were made before.
    pub(crate) fn set_cancel_flags(&self) {
        self.cancel_epoch.fetch_add(1, Ordering::Relaxed); // wraps around
    }

    /// A number that changes whenever the cancel flags that were made before are to be set.
    pub(crate) fn cancel_epoch(&self) -> u32 {
        self.cancel_epoch.load(Ordering::Relaxed)
    }

    #[inline]
    fn has(&self, any_of: Signal) -> bool {
        self.signals.load(Ordering::Acquire) & any_of.0 != 0
    }
}

#[cfg(all(test, conclib_loom))]
mod loom_tests;
