//! When regular work is due: decisions without a clock of their own.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::Handlers;

/// When the first of a series of ticks is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum First {
    /// At once.
    #[default]
    Now,
    /// After one interval.
    After,
}

/// What happens when ticks are late: their time passed while something else was running.
///
/// The first late one runs as soon as it can, always. This says when the one after it is due, as
/// with tokio's `MissedTickBehavior`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Missed {
    /// At the next multiple of the interval; what lies between is left out.
    #[default]
    Skip,
    /// At once, until the series has caught up.
    Burst,
    /// One interval after the late one: the series starts anew.
    Delay,
}

/// A series of moments at a regular interval.
///
/// It does not drift: moments are counted from the first one, not from when a tick happened to
/// run (unless [`Missed::Delay`] says so).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The interval.
    pub every: Duration,
    /// When the first is due.
    pub first: First,
    /// What happens to missed ones.
    pub missed: Missed,
    /// Each tick is late by a random part of this, so that many actors do not tick in step.
    pub jitter: Duration,
}

impl Schedule {
    /// A series that starts at once, skips what it missed, and has no jitter.
    pub const fn every(interval: Duration) -> Self {
        Self {
            every: interval,
            first: First::Now,
            missed: Missed::Skip,
            jitter: Duration::ZERO,
        }
    }

    /// When the first tick of a series that begins at `start` is due.
    pub(crate) fn start(&self, start: Instant) -> Due {
        let grid = match self.first {
            First::Now => start,
            First::After => later(start, self.every),
        };
        self.due(grid)
    }

    /// When the tick after `last` is due, if `last` is run at `now`.
    pub(crate) fn next(&self, last: Due, now: Instant) -> Due {
        let next = later(last.grid, self.every);
        let grid = match self.missed {
            _ if next > now => next, // not late
            Missed::Burst => next,
            Missed::Delay => later(now, self.every),
            Missed::Skip => {
                // The first multiple of the interval after `now`.
                let behind = now.duration_since(next).as_nanos();
                let steps = behind / self.every.as_nanos().max(1) + 1;
                let ahead = self.every.as_nanos().saturating_mul(steps);
                let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
                later(next, Duration::from_nanos(ahead))
            }
        };
        self.due(grid)
    }

    fn due(&self, grid: Instant) -> Due {
        let at = if self.jitter.is_zero() {
            grid
        } else {
            later(grid, self.jitter.mul_f64(fastrand::f64()))
        };
        Due { grid, at }
    }
}

impl From<Duration> for Schedule {
    fn from(interval: Duration) -> Self {
        Self::every(interval)
    }
}

/// `moment + by`, or so far ahead that it never comes.
pub(crate) fn later(moment: Instant, by: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    moment.checked_add(by).unwrap_or_else(|| moment + NEVER)
}

/// One moment of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The moment that the next is counted from.
    grid: Instant,
    /// The moment with its jitter.
    pub(crate) at: Instant,
}

/// One entry of [`PeriodicActor::TICKS`](crate::PeriodicActor::TICKS): a message that an actor is
/// sent at regular intervals.
pub struct Tick<A: Handlers> {
    /// What it is called in logs: the message's name.
    pub name: &'static str,
    /// When it is due.
    pub schedule: Schedule,
    /// Makes the message.
    pub message: fn() -> A::Inbox,
}

impl<A: Handlers> fmt::Debug for Tick<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tick")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn offsets(schedule: Schedule, start: Instant, runs: &[f64]) -> Vec<f64> {
        let mut due = schedule.start(start);
        let mut out = vec![(due.at - start).as_secs_f64()];
        for run in runs {
            due = schedule.next(due, start + Duration::from_secs_f64(*run));
            out.push((due.at - start).as_secs_f64());
        }
        out
    }

    #[test]
    fn it_does_not_drift() {
        let schedule = Schedule::every(SECOND);
        let seen = offsets(schedule, Instant::now(), &[0.1, 1.2, 2.3, 3.4]);
        assert_eq!(seen, [0.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn first_after_one_interval() {
        let schedule = Schedule {
            first: First::After,
            ..Schedule::every(SECOND)
        };
        assert_eq!(offsets(schedule, Instant::now(), &[]), [1.0]);
    }

    #[test]
    fn missed_ticks_are_skipped_caught_up_or_delayed() {
        let start = Instant::now();
        let with = |missed| Schedule {
            missed,
            ..Schedule::every(SECOND)
        };
        // The tick of second 1 runs at 3.5.
        assert_eq!(
            offsets(with(Missed::Skip), start, &[0.0, 3.5]),
            [0.0, 1.0, 4.0]
        );
        assert_eq!(
            offsets(with(Missed::Burst), start, &[0.0, 3.5, 3.5, 3.5]),
            [0.0, 1.0, 2.0, 3.0, 4.0]
        );
        assert_eq!(
            offsets(with(Missed::Delay), start, &[0.0, 3.5]),
            [0.0, 1.0, 4.5]
        );
    }

    #[test]
    fn a_tick_that_runs_exactly_when_the_next_is_due_skips_to_the_one_after() {
        let schedule = Schedule::every(SECOND);
        assert_eq!(offsets(schedule, Instant::now(), &[1.0]), [0.0, 2.0]);
    }

    #[test]
    fn jitter_delays_but_does_not_accumulate() {
        let schedule = Schedule {
            jitter: SECOND / 2,
            ..Schedule::every(SECOND)
        };
        let start = Instant::now();
        let mut due = schedule.start(start);
        for n in 0..100_u32 {
            let offset = due.at - start;
            assert!(offset >= SECOND * n && offset <= SECOND * n + SECOND / 2);
            due = schedule.next(due, due.at);
        }
    }

    #[test]
    fn an_interval_without_end_never_comes() {
        let schedule = Schedule {
            first: First::After,
            ..Schedule::every(Duration::MAX)
        };
        let now = Instant::now();
        assert!(schedule.start(now).at > now + SECOND * 1_000_000);
    }
}
