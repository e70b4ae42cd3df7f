//! Times of regular work: decisions without a clock of their own.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "cron")]
pub use cron::{Cron, CronError};

use wall::Now;
#[cfg(feature = "cron")]
use wall::WallInstant;

#[cfg(feature = "cron")]
mod cron;
mod wall;

/// The time of an interval's first tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum First {
    /// At once.
    #[default]
    Now,
    /// After one interval.
    After,
}

/// The handling of late ticks, those whose time passed while something else was running.
///
/// The first late tick always runs as soon as it can. This says when the one after it is due, as
/// tokio's `MissedTickBehavior` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Missed {
    /// At the series' next moment; the ticks in between are left out.
    #[default]
    Skip,
    /// At once, until the series has caught up.
    Burst,
    /// One interval after the late one: the series starts anew. Moments of the calendar do not move:
    /// for them this is the same as [`Missed::Skip`].
    Delay,
}

/// A series of moments: at a regular interval, or of the calendar.
///
/// An interval does not drift: moments are counted from the first one, not from when a tick
/// happened to run (unless [`Missed::Delay`] says so).
///
/// A cron expression follows the system's clock, in UTC, also when that is set: a tick comes within
/// a minute of its new time, and no moment comes twice. Only if the clock is set by more than three
/// hours, because it was wrong, the series starts anew.
///
/// ```
/// use conclib::schedule::{Missed, Schedule};
/// use std::time::Duration;
///
/// let often = Schedule::every(Duration::from_millis(500));
/// let nightly = Schedule::cron("0 0 3 * * *")?
///     .missed(Missed::Burst)
///     .jitter(Duration::from_secs(600));
/// assert_eq!(often.to_string(), "every 500ms");
/// assert_eq!(nightly.to_string(), "cron 0 0 3 * * *");
/// # Ok::<(), conclib::schedule::CronError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Schedule {
    /// The moments.
    when: When,
    /// The time of an interval's first tick; a cron expression says its own.
    first: First,
    /// The handling of late ticks.
    missed: Missed,
    /// Each tick is late by a random part of this.
    jitter: Duration,
    /// Ticks wait, or are left out, while other processes cannot ask the actors of this one.
    while_serving: bool,
    /// In a fleet, each member is to tick.
    each_member: bool,
}

/// The moments of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    /// Moments at an interval.
    Every(Duration),
    /// Moments of the calendar.
    #[cfg(feature = "cron")]
    Cron(Cron),
}

impl Schedule {
    /// A series that starts at once, skips what it missed, and has no jitter.
    pub const fn every(interval: Duration) -> Self {
        Self::new(When::Every(interval))
    }

    /// The moments of a [cron expression](Cron), in UTC. Missed ticks are skipped, and there is no
    /// jitter. Needs the feature `cron`.
    ///
    /// ```
    /// use conclib::schedule::Schedule;
    ///
    /// assert!(Schedule::cron("0 */5 * * * *").is_ok());
    /// let error = Schedule::cron("0 0 0 30 2 *").unwrap_err(); // 30 February
    /// assert!(error.to_string().contains("no such moment ever comes"));
    /// ```
    ///
    /// # Errors
    ///
    /// If the text is no cron expression, or describes moments that never come.
    #[cfg(feature = "cron")]
    pub fn cron(expression: &str) -> Result<Self, CronError> {
        Cron::parse(expression).map(Self::calendar)
    }

    /// The moments of a cron expression that was checked before, or that stands in a constant. Needs
    /// the feature `cron`.
    #[cfg(feature = "cron")]
    pub const fn calendar(cron: Cron) -> Self {
        Self::new(When::Cron(cron))
    }

    /// Sets the time of an interval's first tick: at once by default. A cron expression says its
    /// own.
    pub const fn first(mut self, first: First) -> Self {
        self.first = first;
        self
    }

    /// Sets the handling of late ticks: they are skipped by default.
    pub const fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Delays each tick by a random part of this, so that many actors do not tick in step: by nothing,
    /// by default.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Runs ticks only while the actor's system serves: not before its turn, while its lease is lost, or
    /// in a system without a proxy. Another process may be serving then, with the same schedule.
    ///
    /// The tick of an interval whose time comes meanwhile waits, and runs once when the system serves:
    /// within a second of that, or within an interval that is shorter. So the first tick of an actor that
    /// is made before its process serves, as by [`run`](crate::service::run), runs at the start of the
    /// service. Moments of a cron expression that pass meanwhile are left out.
    ///
    /// For actors: [`Tick`](crate::actor::Tick)s and [`Context::every`](crate::Context::every). A
    /// [`Ticker`](crate::schedule::Ticker) belongs to no system, and refuses such a schedule.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct SendInvoices;
    ///
    /// #[derive(Actor)]
    /// #[periodic(tick = SendInvoices, every = "1h", while_serving)]
    /// struct Billing;
    ///
    /// #[handlers]
    /// impl Billing {
    ///     #[handler]
    ///     fn send(&mut self, _: SendInvoices) {}
    /// }
    ///
    /// assert_eq!(Billing::TICKS[0].schedule(), &Schedule::every(Duration::from_secs(3600)).while_serving());
    /// ```
    pub const fn while_serving(mut self) -> Self {
        self.while_serving = true;
        self
    }

    /// Says that each member of a [fleet](crate::Config::fleet) that has the actor is to tick. Without it, the
    /// first such actor of a type is logged as a warning: work that is to be done once would be done once per
    /// member. It changes nothing else.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct Flush;
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "cache", shared)]
    /// #[periodic(tick = Flush, every = "10s", each_member)]
    /// struct Cache;
    ///
    /// #[handlers]
    /// impl Cache {
    ///     #[handler]
    ///     fn flush(&mut self, _: Flush) {}
    /// }
    /// ```
    pub const fn each_member(mut self) -> Self {
        self.each_member = true;
        self
    }

    /// True if each member of a fleet is to tick.
    pub(crate) fn is_for_each_member(&self) -> bool {
        self.each_member
    }

    /// True if ticks run only while the system serves.
    pub(crate) fn is_while_serving(&self) -> bool {
        self.while_serving
    }

    const fn new(when: When) -> Self {
        Self {
            when,
            first: First::Now,
            missed: Missed::Skip,
            jitter: Duration::ZERO,
            while_serving: false,
            each_member: false,
        }
    }

    /// True if the interval is longer than zero.
    pub(crate) fn is_valid(&self) -> bool {
        self.when != When::Every(Duration::ZERO)
    }

    /// The first tick of a series that begins at `now`.
    pub(crate) fn start(&self, now: impl Now) -> Due {
        match &self.when {
            When::Every(interval) => {
                let grid = match self.first {
                    First::Now => now.instant(),
                    First::After => later(now.instant(), *interval),
                };
                self.regular(*interval, grid)
            }
            #[cfg(feature = "cron")]
            When::Cron(cron) => {
                let now = now.on_both_clocks();
                let series = cron.start(self, now).unwrap_or_else(|error| {
                    tracing::error!(%error, "a tick never comes");
                    None
                });
                Due::of_calendar(series, now)
            }
        }
    }

    /// Decides on a tick whose `due.at` is reached at `now`.
    pub(crate) fn decide(&self, due: &Due, now: impl Now) -> TickDecision {
        match &due.series {
            SeriesKind::Regular { interval, grid } => TickDecision {
                runs: true,
                next: self.regular(*interval, self.next(*interval, *grid, now.instant())),
            },
            #[cfg(feature = "cron")]
            SeriesKind::Calendar(series) => {
                let now = now.on_both_clocks();
                let (runs, series) = series.judge(self, now);
                TickDecision {
                    runs,
                    next: Due::of_calendar(series, now),
                }
            }
            #[cfg(feature = "cron")]
            SeriesKind::Over => TickDecision {
                runs: false,
                next: Due::of_calendar(None, now.on_both_clocks()),
            },
        }
    }

    /// The tick after one whose `due.at` is reached at `now`, while the system does not serve. An interval's
    /// is the same tick, due again at the next look at the system: one for all moments that pass until
    /// then. A moment of the calendar passes.
    pub(crate) fn defer(&self, due: &Due, now: impl Now) -> Due {
        match &due.series {
            SeriesKind::Regular { interval, grid } => {
                let grid = match self.missed {
                    Missed::Burst => latest(*interval, *grid, now.instant()),
                    Missed::Skip | Missed::Delay => *grid,
                };
                Due {
                    series: SeriesKind::Regular {
                        interval: *interval,
                        grid,
                    },
                    at: later(now.instant(), SERVICE_CHECK.min(*interval)),
                }
            }
            #[cfg(feature = "cron")]
            SeriesKind::Calendar(_) | SeriesKind::Over => self.decide(due, now).next,
        }
    }

    /// The moment after `last`, if `last` is run at `now`.
    fn next(&self, interval: Duration, last: Instant, now: Instant) -> Instant {
        let next = later(last, interval);
        match self.missed {
            _ if next > now => next, // not late
            Missed::Burst => next,
            Missed::Delay => later(now, interval),
            Missed::Skip => later(latest(interval, next, now), interval),
        }
    }

    fn regular(&self, interval: Duration, grid: Instant) -> Due {
        Due {
            series: SeriesKind::Regular { interval, grid },
            at: later(grid, self.delay()),
        }
    }

    /// A random part of the jitter.
    fn delay(&self) -> Duration {
        if self.jitter.is_zero() {
            Duration::ZERO
        } else {
            self.jitter.min(NEVER).mul_f64(fastrand::f64())
        }
    }
}

/// Shows the moments: `every 500ms`, or `cron` and the expression.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::Every(interval) => write!(f, "every {interval:?}"),
            #[cfg(feature = "cron")]
            When::Cron(cron) => write!(f, "cron {cron}"),
        }
    }
}

impl From<Duration> for Schedule {
    fn from(interval: Duration) -> Self {
        Self::every(interval)
    }
}

/// A time that is as good as endless: 30 years. Beyond it, clocks and timers overflow at some point.
const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The longest time between two looks of a waiting tick at whether its system serves.
const SERVICE_CHECK: Duration = Duration::from_secs(1);

/// The latest moment of the series through `moment` that is not after `now`; `moment` itself, if that is
/// later.
fn latest(interval: Duration, moment: Instant, now: Instant) -> Instant {
    let steps = now.saturating_duration_since(moment).as_nanos() / interval.as_nanos().max(1);
    let ahead = interval.as_nanos().saturating_mul(steps);
    later(
        moment,
        Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX)),
    )
}

/// `moment + by`, or so far ahead that it never comes.
pub(crate) fn later(moment: Instant, by: Duration) -> Instant {
    moment + by.min(NEVER)
}

/// The next tick of a series.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    /// The base from which the tick after it is counted.
    series: SeriesKind,
    /// The time of the decision: that of the tick with its jitter, or earlier, to look at the
    /// system's clock.
    pub(crate) at: Instant,
}

#[derive(Debug, Clone)]
enum SeriesKind {
    /// At an interval: `grid` is the tick's moment without its jitter, from which the next is counted.
    Regular { interval: Duration, grid: Instant },
    /// Of the calendar.
    #[cfg(feature = "cron")]
    Calendar(cron::Series),
    /// No further tick comes.
    #[cfg(feature = "cron")]
    Over,
}

#[cfg(feature = "cron")]
impl Due {
    fn of_calendar(series: Option<cron::Series>, now: WallInstant) -> Self {
        match series {
            Some(series) => Self {
                at: series.next_check(),
                series: SeriesKind::Calendar(series),
            },
            None => Self {
                at: later(now.instant(), Duration::MAX),
                series: SeriesKind::Over,
            },
        }
    }
}

/// The decision at a moment that was waited for.
#[derive(Debug)]
pub(crate) struct TickDecision {
    /// True if the tick runs; false if its time has not come yet by the system's clock.
    pub(crate) runs: bool,
    /// The tick after it.
    pub(crate) next: Due,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn offsets(schedule: &Schedule, start: Instant, runs: &[f64]) -> Vec<f64> {
        let mut due = schedule.start(start);
        let mut out = vec![(due.at - start).as_secs_f64()];
        for run in runs {
            let now = start + Duration::from_secs_f64(*run);
            let TickDecision { runs, next } = schedule.decide(&due, now);
            assert!(runs);
            due = next;
            out.push((due.at - start).as_secs_f64());
        }
        out
    }

    #[test]
    fn intervals_do_not_drift() {
        let schedule = Schedule::every(SECOND);
        let seen = offsets(&schedule, Instant::now(), &[0.1, 1.2, 2.3, 3.4]);
        assert_eq!(seen, [0.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn first_after_one_interval() {
        let schedule = Schedule::every(SECOND).first(First::After);
        assert_eq!(offsets(&schedule, Instant::now(), &[]), [1.0]);
    }

    #[test]
    fn missed_ticks_are_skipped_caught_up_or_delayed() {
        let start = Instant::now();
        let with = |missed| Schedule::every(SECOND).missed(missed);
        // The tick of second 1 runs at 3.5.
        assert_eq!(
            offsets(&with(Missed::Skip), start, &[0.0, 3.5]),
            [0.0, 1.0, 4.0]
        );
        assert_eq!(
            offsets(&with(Missed::Burst), start, &[0.0, 3.5, 3.5, 3.5]),
            [0.0, 1.0, 2.0, 3.0, 4.0]
        );
        assert_eq!(
            offsets(&with(Missed::Delay), start, &[0.0, 3.5]),
            [0.0, 1.0, 4.5]
        );
    }

    #[test]
    fn tick_at_the_time_of_the_next_skips_to_the_one_after() {
        let schedule = Schedule::every(SECOND);
        assert_eq!(offsets(&schedule, Instant::now(), &[1.0]), [0.0, 2.0]);
    }

    #[test]
    fn tick_that_waits_for_the_service_runs_once_and_the_series_continues() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let offset = |due: &Due| u64::try_from((due.at - start).as_millis()).unwrap();
        for (missed, expected) in [
            (Missed::Skip, 25_000),
            (Missed::Burst, 25_000),
            (Missed::Delay, 27_500),
        ] {
            let schedule = Schedule::every(5 * SECOND).missed(missed);
            let mut due = schedule.start(at(0));
            // It serves at 22.
            while offset(&due) < 22_000 {
                let next = schedule.defer(&due, at(offset(&due)));
                assert_eq!(offset(&next), offset(&due) + 1000);
                due = next;
            }
            let TickDecision { runs, next } = schedule.decide(&due, at(22_500));
            assert!(runs);
            assert_eq!(offset(&next), expected, "{missed:?}");
        }
        let often = Schedule::every(SECOND / 10).first(First::After);
        let due = often.start(at(0));
        assert_eq!(offset(&often.defer(&due, at(100))), 200);
    }

    #[test]
    fn jitter_delays_but_does_not_accumulate() {
        let schedule = Schedule::every(SECOND).jitter(SECOND / 2);
        let start = Instant::now();
        let mut due = schedule.start(start);
        for n in 0..100_u32 {
            let offset = due.at - start;
            assert!(offset >= SECOND * n && offset <= SECOND * n + SECOND / 2);
            due = schedule.decide(&due, due.at).next;
        }
    }

    #[test]
    fn endless_interval_never_comes() {
        let now = Instant::now();
        for interval in [
            Duration::MAX,
            Duration::from_secs(i64::MAX as u64 - 1_000_000),
        ] {
            let schedule = Schedule::every(interval)
                .first(First::After)
                .jitter(interval);
            let first = schedule.start(now);
            assert!(first.at > now + SECOND * 1_000_000);
            let next = schedule.decide(&first, first.at).next;
            assert!(next.at > first.at + SECOND * 1_000_000);
        }
    }
}
