//! The phase of an actor, its running handler, and its counters, for snapshots and deadlock detection.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deadlock::Execution;
use crate::time::coarse::CoarseInstant;

/// The number that stands for no running handler.
const IDLE: u16 = u16::MAX;

/// The number of messages per clock read, while messages follow each other without a pause.
const STAMP_EVERY: u64 = 16;

/// The stats of an actor. Only its own task writes them, so that plain stores suffice; they cost as
/// much as ordinary counters.
pub(crate) struct Stats {
    phase: AtomicU8,
    /// The number of the running handler, as assigned by the macro, or [`IDLE`].
    handler: AtomicU16,
    restarts: AtomicU32,
    failures: AtomicU32,
    handled: AtomicU64,
    /// The start of the running handler, or slightly before. The first handler of a batch takes the
    /// batch's arrival, by the sender's clock read; handlers that follow without a pause share it.
    since: AtomicU64,
    /// The running handler has waited: the next one reads the clock.
    paused: AtomicBool,
    /// The number of ticks and timers among the handled messages; wraps around.
    ticks: AtomicU32,
}

/// The phase of an actor's lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The actor's state is being made, or `on_start` runs.
    Starting,
    /// The actor handles messages or waits for them.
    Running,
    /// The actor has failed, or its incarnation has ended, and waits to restart.
    Restarting,
    /// The actor waits for its children to stop, or runs its last hook.
    Stopping,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        })
    }
}

/// Stats as read at one moment.
pub(crate) struct StatsSnapshot {
    pub(crate) phase: Phase,
    /// The number of the running handler, and its running time.
    pub(crate) running: Option<(u16, Duration)>,
    pub(crate) handled: u64,
    pub(crate) failures: u64,
    pub(crate) restarts: u32,
}

impl Stats {
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Records that the task is polled. A handler that runs by now has waited.
    #[inline]
    pub(crate) fn polled(&self) {
        if self.is_busy() {
            self.paused.store(true, Ordering::Relaxed);
        }
    }

    /// Records the arrival of the next batch's first message, as read from the clock by its sender.
    #[inline]
    pub(crate) fn begin_batch(&self, since: CoarseInstant) {
        self.since.store(since.to_bits(), Ordering::Relaxed);
    }

    /// Records that a handler begins.
    #[inline]
    pub(crate) fn begin(&self, handler: u16) {
        let many = self.handled.load(Ordering::Relaxed) % STAMP_EVERY == STAMP_EVERY - 1;
        if many || self.paused.load(Ordering::Relaxed) {
            self.stamp();
        }
        self.handler.store(handler, Ordering::Relaxed);
    }

    /// Records that the running handler has returned without a failure.
    #[inline]
    pub(crate) fn handled(&self) {
        self.handler.store(IDLE, Ordering::Relaxed);
        let handled = self.handled.load(Ordering::Relaxed);
        self.handled.store(handled + 1, Ordering::Relaxed);
    }

    /// Records that a handler or a hook has failed or was interrupted.
    pub(crate) fn failed(&self) {
        bump(&self.failures);
        self.idle();
    }

    /// Records that the next message is a tick or comes from a timer.
    pub(crate) fn ticked(&self) {
        let ticks = self.ticks.load(Ordering::Relaxed);
        self.ticks.store(ticks.wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn idle(&self) {
        self.handler.store(IDLE, Ordering::Relaxed);
    }

    pub(crate) fn restarted(&self) {
        bump(&self.restarts);
    }

    // ---- for readers

    pub(crate) fn read(&self) -> StatsSnapshot {
        let handler = self.handler.load(Ordering::Relaxed);
        let since = CoarseInstant::from_bits(self.since.load(Ordering::Relaxed));
        StatsSnapshot {
            phase: self.phase(),
            running: (handler != IDLE).then(|| (handler, since.elapsed())),
            handled: self.handled.load(Ordering::Relaxed),
            failures: u64::from(self.failures.load(Ordering::Relaxed)),
            restarts: self.restarts.load(Ordering::Relaxed),
        }
    }

    /// A number that changes whenever a message was handled or has failed, except by a tick or a timer.
    pub(crate) fn progress(&self) -> u32 {
        let handled = self.handled.load(Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "it only has to change")]
        let all = (handled as u32).wrapping_add(failures);
        all.wrapping_sub(self.ticks.load(Ordering::Relaxed))
    }

    /// The time since the last batch of messages arrived, or slightly less.
    pub(crate) fn since_arrival(&self) -> Duration {
        CoarseInstant::from_bits(self.since.load(Ordering::Relaxed)).elapsed()
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Running,
            2 => Phase::Restarting,
            3 => Phase::Stopping,
            _ => Phase::Starting,
        }
    }

    /// The current execution; it changes as soon as a handler or a hook has returned.
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
            failures: AtomicU32::new(0),
            since: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            ticks: AtomicU32::new(0),
        }
    }
}

fn bump(counter: &AtomicU32) {
    let count = counter.load(Ordering::Relaxed);
    counter.store(count.saturating_add(1), Ordering::Relaxed);
}
