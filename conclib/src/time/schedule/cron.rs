//! Moments of the calendar.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::time::schedule::wall::WallInstant;
use crate::time::schedule::{Missed, Schedule, later};

/// Longest wait before the system's clock is read again: it may have been set meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Longest adjustment of the clock, after which no moment comes twice. A clock that is set by more
/// was wrong, and the series starts anew.
const MAX_ADJUSTMENT: Duration = Duration::from_secs(3 * 60 * 60);

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
/// [`Schedule::cron`] parses an expression that is known at run time. In a table that is written by hand,
/// [`Cron::from_static`] goes into [`Schedule::calendar`].
#[derive(Clone)]
pub struct Cron(Text);

#[derive(Clone)]
enum Text {
    /// A constant, which is parsed when a series begins.
    Static(&'static str),
    /// Already parsed.
    Parsed(Arc<Expression>),
}

/// A parsed expression.
#[derive(Debug)]
struct Expression {
    /// The expression as it was written.
    text: String,
    /// Its parsed form.
    cron: croner::Cron,
}

impl Cron {
    /// An expression in a constant.
    ///
    /// `#[periodic(cron = "…")]` checks it when the program is built. A wrong expression that is
    /// written by hand is logged as an error when its series should begin, and no tick comes.
    pub const fn from_static(expression: &'static str) -> Self {
        Self(Text::Static(expression))
    }

    /// Parses and checks an expression.
    pub(super) fn parse(text: &str) -> Result<Self, CronError> {
        Expression::parse(text).map(|expression| Self(Text::Parsed(Arc::new(expression))))
    }

    /// The series that begins at `now`; `None` if it is over already.
    pub(super) fn start(
        &self,
        schedule: &Schedule,
        now: WallInstant,
    ) -> Result<Option<Series>, CronError> {
        let expression = match &self.0 {
            Text::Static(text) => Arc::new(Expression::parse(text)?),
            Text::Parsed(expression) => Arc::clone(expression),
        };
        Ok(Series::after(expression, now.wall, schedule, now))
    }

    fn text(&self) -> &str {
        match &self.0 {
            Text::Static(text) => text,
            Text::Parsed(expression) => &expression.text,
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
    fn parse(text: &str) -> Result<Self, CronError> {
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

/// Error of a text that is no cron expression, or one whose moments never come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no cron schedule: {problem}; write for example \"0 */5 * * * *\"")]
pub struct CronError {
    text: String,
    problem: String,
}

/// A series of moments that has begun.
#[derive(Debug, Clone)]
pub(super) struct Series {
    expression: Arc<Expression>,
    /// The next moment, from which the one after it is counted.
    moment: SystemTime,
    /// The moment with its jitter.
    target: SystemTime,
    /// The clocks when they were last read.
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

    /// The time to read the clock again.
    pub(super) fn next_check(&self) -> Instant {
        let ahead = self.target.duration_since(self.seen.wall);
        later(
            self.seen.instant,
            ahead.unwrap_or_default().min(CHECK_INTERVAL),
        )
    }

    /// True if the tick runs at `now`, with the rest of the series, if there is one.
    pub(super) fn judge(&self, schedule: &Schedule, now: WallInstant) -> (bool, Option<Self>) {
        let runs = now.wall >= self.target;
        let anew = now.clock_set_since(self.seen) > MAX_ADJUSTMENT;
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
