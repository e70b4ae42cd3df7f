//! Moments of the calendar.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::time::schedule::wall::WallInstant;
use crate::time::schedule::{Missed, Schedule, later};

/// Wait no longer than this before looking at the system's clock again: it may have been set.
const LOOK: Duration = Duration::from_secs(60);

/// A clock that is set by more than this was wrong, and the series starts anew. By less, it was
/// adjusted, and no moment comes twice.
const WRONG: Duration = Duration::from_secs(3 * 60 * 60);

/// A cron expression: moments of the calendar, in UTC.
///
/// Six fields say at which second, minute, hour, day of the month, month and day of the week
/// (0 to 7, where 0 and 7 are Sunday; or `MON` to `SUN`):
///
/// | expression | moments |
/// |---|---|
/// | `"0 */5 * * * *"` | every five minutes |
/// | `"30 0 9-17 * * MON-FRI"` | half a minute past each hour from 9 to 17, on working days |
/// | `"0 0 3 1,15 * *"` | at 3 o'clock on the 1st and the 15th |
/// | `"0 0 0 L * *"` | at the beginning of the last day of each month |
///
/// The classic five fields mean second 0, and a seventh field is the year. Where both a day of the
/// month and a day of the week are given, either is enough. There are also `@hourly`, `@daily`,
/// `@weekly`, `@monthly` and `@yearly`. The fields are those of the crate
/// [croner](https://docs.rs/croner).
///
/// [`Schedule::cron`] reads one that is known at run time. In a table that is written by hand,
/// [`Cron::from_static`] stands in a [`When::Cron`](super::When::Cron).
#[derive(Clone)]
pub struct Cron(Source);

#[derive(Clone)]
enum Source {
    /// A constant, which is read when a series begins.
    Static(&'static str),
    /// It has been read.
    Read(Arc<Expression>),
}

/// An expression that has been understood.
#[derive(Debug)]
struct Expression {
    /// As it was written.
    text: String,
    /// As it was understood.
    cron: croner::Cron,
}

impl Cron {
    /// An expression in a constant.
    ///
    /// `#[periodic(cron = "…")]` has checked it when the program was built. If it is written by
    /// hand and wrong, an error is logged when its series should begin, and no tick comes.
    pub const fn from_static(expression: &'static str) -> Self {
        Self(Source::Static(expression))
    }

    /// Reads and checks an expression.
    pub(super) fn read(text: &str) -> Result<Self, CronError> {
        Expression::read(text).map(|expression| Self(Source::Read(Arc::new(expression))))
    }

    /// The series that begins at `now`; `None` if it is over already.
    pub(super) fn start(
        &self,
        schedule: &Schedule,
        now: WallInstant,
    ) -> Result<Option<Series>, CronError> {
        let expression = match &self.0 {
            Source::Static(text) => Arc::new(Expression::read(text)?),
            Source::Read(expression) => Arc::clone(expression),
        };
        Ok(Series::after(expression, now.wall, schedule, now))
    }

    fn text(&self) -> &str {
        match &self.0 {
            Source::Static(text) => text,
            Source::Read(expression) => &expression.text,
        }
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}

impl Expression {
    fn read(text: &str) -> Result<Self, CronError> {
        let wrong = |problem: &str| CronError {
            text: text.to_owned(),
            problem: problem.trim_end_matches('.').to_owned(),
        };
        let cron = text
            .parse::<croner::Cron>()
            .map_err(|error| wrong(&error.to_string()))?;
        let expression = Self {
            text: text.to_owned(),
            cron,
        };
        if expression.after(SystemTime::UNIX_EPOCH).is_none() {
            return Err(wrong("no such moment ever comes"));
        }
        Ok(expression)
    }

    /// The first moment after `moment`, if one comes. A time before 1970 counts as 1970.
    fn after(&self, moment: SystemTime) -> Option<SystemTime> {
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let second = DateTime::<Utc>::from_timestamp(i64::try_from(since.as_secs()).ok()?, 0)?;
        let next = self.cron.find_next_occurrence(&second, false).ok()?;
        let next = Duration::from_secs(u64::try_from(next.timestamp()).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(next)
    }
}

/// A text that is no cron expression, or one whose moments never come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no cron schedule: {problem}; write for example \"0 */5 * * * *\"")]
pub struct CronError {
    text: String,
    problem: String,
}

/// A series of moments that is under way.
#[derive(Debug, Clone)]
pub(super) struct Series {
    expression: Arc<Expression>,
    /// The moment that comes next; the one after it is counted from here.
    moment: SystemTime,
    /// The moment with its jitter.
    target: SystemTime,
    /// The clocks when they were looked at last.
    seen: WallInstant,
}

impl Series {
    fn after(
        expression: Arc<Expression>,
        after: SystemTime,
        schedule: &Schedule,
        now: WallInstant,
    ) -> Option<Self> {
        let moment = expression.after(after)?;
        Some(Self {
            expression,
            moment,
            target: moment.checked_add(schedule.delay())?,
            seen: now,
        })
    }

    /// When the clock is to be looked at again.
    pub(super) fn look(&self) -> Instant {
        let ahead = self.target.duration_since(self.seen.wall);
        later(self.seen.instant, ahead.unwrap_or_default().min(LOOK))
    }

    /// Whether the tick runs at `now`, and how the series goes on, if it does.
    pub(super) fn judge(&self, schedule: &Schedule, now: WallInstant) -> (bool, Option<Self>) {
        let runs = now.wall >= self.target;
        let anew = now.clock_set_since(self.seen) > WRONG;
        let after = match schedule.missed {
            Missed::Burst if runs && !anew => self.moment,
            _ if runs || anew => now.wall,
            _ => {
                let waits = Self {
                    seen: now,
                    ..self.clone()
                };
                return (false, Some(waits));
            }
        };
        let next = Self::after(Arc::clone(&self.expression), after, schedule, now);
        (runs, next)
    }
}

#[cfg(test)]
mod tests;
