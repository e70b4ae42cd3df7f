//! What an actor is doing, for those who look from outside.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::deadlock::Execution;
use crate::time::coarse::CoarseInstant;

/// No handler runs.
const IDLE: u16 = u16::MAX;

/// So often the clock is read while messages follow each other without a pause.
const STAMP_EVERY: u64 = 16;

/// Only the actor's own task writes, so that plain stores do: they cost as much as ordinary
/// counters.
pub(crate) struct Stats {
    phase: AtomicU8,
    /// The handler that runs, as the macro numbered it.
    handler: AtomicU16,
    restarts: AtomicU32,
    handled: AtomicU64,
    failed: AtomicU64,
    /// When it began, or a little before: at first when the batch came, by its sender's look at the
    /// clock, and messages that follow each other without a pause share one.
    since: AtomicU64,
    /// The handler that runs has waited: the next one does not share its look.
    paused: AtomicBool,
}

/// What an actor does with its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Phase {
    /// Its state is made, or `on_start` runs.
    Starting,
    /// It handles messages, or waits for some.
    Running,
    /// A life has ended, and it waits to start again.
    Restarting,
    /// It waits for its children to stop, or its last hook runs.
    Stopping,
}

/// What was read at one moment.
pub(crate) struct StatsSnapshot {
    pub(crate) phase: Phase,
    /// The handler that runs, and for how long.
    pub(crate) running: Option<(u16, Duration)>,
    pub(crate) handled: u64,
    pub(crate) failed: u64,
    pub(crate) restarts: u32,
}

impl Stats {
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The task is polled.
    #[inline]
    pub(crate) fn polled(&self) {
        if self.is_busy() {
            self.paused.store(true, Ordering::Relaxed);
        }
    }

    /// The first of the messages that are handled next came then: the sender has looked at the
    /// clock.
    #[inline]
    pub(crate) fn begin_batch(&self, since: CoarseInstant) {
        self.since.store(since.to_bits(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn begin(&self, handler: u16) {
        let many = self.handled.load(Ordering::Relaxed) % STAMP_EVERY == STAMP_EVERY - 1;
        if many || self.paused.load(Ordering::Relaxed) {
            self.stamp();
        }
        self.handler.store(handler, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn handled(&self) {
        self.handler.store(IDLE, Ordering::Relaxed);
        bump(&self.handled);
    }

    /// A handler or a hook failed, or was interrupted.
    pub(crate) fn failed(&self) {
        bump(&self.failed);
        self.idle();
    }

    pub(crate) fn idle(&self) {
        self.handler.store(IDLE, Ordering::Relaxed);
    }

    pub(crate) fn restarted(&self) {
        let restarts = self.restarts.load(Ordering::Relaxed);
        self.restarts
            .store(restarts.saturating_add(1), Ordering::Relaxed);
    }

    // ---- for those who look

    pub(crate) fn read(&self) -> StatsSnapshot {
        let handler = self.handler.load(Ordering::Relaxed);
        let since = CoarseInstant::from_bits(self.since.load(Ordering::Relaxed));
        StatsSnapshot {
            phase: self.phase(),
            running: (handler != IDLE).then(|| (handler, since.elapsed())),
            handled: self.handled.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Running,
            2 => Phase::Restarting,
            3 => Phase::Stopping,
            _ => Phase::Starting,
        }
    }

    /// Whose turn it is: another, as soon as a handler or a hook has returned.
    pub(crate) fn execution(&self) -> Execution {
        Execution {
            phase: self.phase() as u8,
            handled: self.handled.load(Ordering::Relaxed),
        }
    }

    /// True while a handler runs.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.handler.load(Ordering::Relaxed) != IDLE
    }

    fn stamp(&self) {
        self.since
            .store(CoarseInstant::now().to_bits(), Ordering::Relaxed);
        self.paused.store(false, Ordering::Relaxed);
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            handler: AtomicU16::new(IDLE),
            restarts: AtomicU32::new(0),
            handled: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            since: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }
}

#[inline]
fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
