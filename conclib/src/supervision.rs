//! Decisions about restarts: policy, budget and delay, without a clock of their own.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use crate::actor::supervision::{RestartBudget, Supervision};
use crate::error::Failure;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

#[doc(no_inline)]
pub use crate::Backoff;

pub(crate) mod lifecycle;

/// The restart policy of a supervised actor: the ends after which it starts again.
///
/// A stop or kill from outside is final under every policy, and so is the end of the actor's parent
/// or system.
///
/// Restarts help against faults that pass. A message that makes its handler fail does so again
/// after the restart, and too many such messages spend the budget: see [`Failure`]
/// for errors that belong in a response instead, and
/// [`ActorSystem::supervise`](crate::ActorSystem::supervise) for the effect of a spent budget.
///
/// ```
/// # use conclib::prelude::*;
/// # use conclib::supervision::Restart;
/// # #[derive(Actor)]
/// # struct Feed;
/// # #[handlers]
/// # impl Feed {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// let feed = system.supervise(|| async { Feed }).restart(Restart::Always).await?;
/// # drop(feed);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Restart {
    /// After each failure, and after it has stopped itself with
    /// [`Context::stop`](crate::Context::stop).
    Always,
    /// After each failure: a panic, or an `Err` of its factory, of `on_start` or of a handler.
    #[default]
    OnFailure,
    /// Never.
    Never,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Always => "always",
            Self::OnFailure => "on failure",
            Self::Never => "never",
        })
    }
}

impl Restart {
    /// The policy as it is shown.
    pub(crate) fn shown(self) -> Supervision {
        match self {
            Self::Always => Supervision::Always,
            Self::OnFailure => Supervision::OnFailure,
            Self::Never => Supervision::Never,
        }
    }

    /// True if this policy allows a restart after such an end.
    pub(crate) fn follows(self, end: &StopReason) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => end.is_failure(),
            Self::Never => false,
        }
    }

    /// Logs that this policy allows no restart after a failure.
    pub(crate) fn log_last_failure(self, urn: &Urn, end: &StopReason) {
        if end.is_failure() {
            log_last_failure(urn, end, &format!("its policy is Restart::{self:?}"));
        }
    }
}

/// Logs that an actor will not start again, and the reason.
pub(crate) fn log_last_failure(urn: &Urn, end: &StopReason, why: &str) {
    let last = end
        .failure()
        .map_or_else(|| end.to_string(), Failure::to_string);
    error!(%urn, failure = %last, "`{urn}` will not start again: {why}");
}

/// The most restarts within a window of time. One failure more, and the actor (or the group) stops
/// for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// `None`: without a limit.
    restarts: Option<u32>,
    /// The window. An incarnation that lasts as long ends the streak of failures, also without a limit.
    within: Duration,
}

impl Budget {
    pub(crate) fn new(restarts: u32, within: Duration) -> Self {
        Self {
            restarts: Some(restarts),
            within,
        }
    }

    /// The budget without its limit, and with its window.
    pub(crate) fn unlimited(self) -> Self {
        Self {
            restarts: None,
            ..self
        }
    }

    /// The budget as it is shown.
    pub(crate) fn shown(self) -> RestartBudget {
        RestartBudget::new(self.restarts, self.within)
    }

    /// The text for the end that has spent the budget: `4 failures within 5 s`.
    pub(crate) fn spent_by(self, end: &StopReason) -> String {
        let count = self.restarts.map_or(0, u64::from) + 1;
        let what = if end.is_failure() { "failure" } else { "end" };
        let plural = if count == 1 { "" } else { "s" };
        let seconds = self.within.as_secs_f64();
        format!("{count} {what}{plural} within {seconds} s")
    }
}

impl Default for Budget {
    fn default() -> Self {
        let RestartBudget { restarts, within } = RestartBudget::DEFAULT;
        Self { restarts, within }
    }
}

/// The decision at the end of an incarnation of an actor or of a group's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartDecision {
    /// Start again, after this delay.
    Restart(Duration),
    /// Stop: the budget of restarts is spent.
    Exhausted,
}

/// The past restarts of an actor or a group.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The times of the restarts within the window; empty without a limit.
    restarts: VecDeque<Instant>,
    /// The number of restarts since an incarnation last lasted for a whole window.
    streak: u32,
}

impl History {
    /// Decides about an incarnation that ended at `now` and had lasted for `uptime`.
    pub(crate) fn decide(
        &mut self,
        budget: Budget,
        backoff: Backoff,
        uptime: Duration,
        now: Instant,
        jitter: f64,
    ) -> RestartDecision {
        if let Some(limit) = budget.restarts {
            let is_old = |at: &Instant| now.duration_since(*at) >= budget.within;
            while self.restarts.front().is_some_and(is_old) {
                self.restarts.pop_front();
            }
            if self.restarts.len() >= limit as usize {
                return RestartDecision::Exhausted;
            }
            self.restarts.push_back(now);
        }
        if uptime >= budget.within {
            self.streak = 0;
        }
        let wait = backoff.jittered_delay(self.streak, jitter);
        self.streak = self.streak.saturating_add(1);
        RestartDecision::Restart(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The decisions for incarnations that end at these times, each started when the last one
    /// ended.
    fn decisions(budget: Budget, backoff: Backoff, ends: &[f64]) -> Vec<RestartDecision> {
        let start = Instant::now();
        let mut history = History::default();
        let mut before = start;
        ends.iter()
            .map(|end| {
                let now = start + Duration::from_secs_f64(*end);
                let uptime = now - before;
                before = now;
                history.decide(budget, backoff, uptime, now, 0.0)
            })
            .collect()
    }

    fn restart(seconds: f64) -> RestartDecision {
        RestartDecision::Restart(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn three_restarts_in_five_seconds_are_allowed() {
        let seen = decisions(Budget::default(), Backoff::none(), &[0.0, 1.0, 2.0, 3.0]);
        assert_eq!(seen[..3], [restart(0.0); 3]);
        assert_eq!(seen[3], RestartDecision::Exhausted);
    }

    #[test]
    fn restarts_older_than_the_window_do_not_count() {
        let seen = decisions(Budget::default(), Backoff::none(), &[0.0, 1.0, 2.0, 5.0]);
        assert_eq!(seen, [restart(0.0); 4]);
        let seen = decisions(Budget::default(), Backoff::none(), &[0.0, 1.0, 2.0, 4.9]);
        assert_eq!(seen[3], RestartDecision::Exhausted);
    }

    #[test]
    fn budget_of_zero_allows_no_restart() {
        let budget = Budget::new(0, SECOND);
        assert_eq!(
            decisions(budget, Backoff::none(), &[0.0]),
            [RestartDecision::Exhausted]
        );
    }

    #[test]
    fn delays_double_up_to_the_maximum_and_reset_after_a_long_incarnation() {
        let limited = Budget::new(100, 10 * SECOND);
        let backoff = Backoff::from_secs(1).up_to(5 * SECOND);
        for budget in [limited, limited.unlimited()] {
            let seen = decisions(budget, backoff, &[0.0, 1.0, 2.0, 3.0, 4.0, 14.0, 15.0]);
            assert_eq!(seen, [1.0, 2.0, 4.0, 5.0, 5.0, 1.0, 2.0].map(restart));
        }
    }

    #[test]
    fn restarts_without_a_limit_take_no_memory() {
        let budget = Budget::default().unlimited();
        let mut history = History::default();
        let now = Instant::now();
        for _ in 0..10_000 {
            let decision = history.decide(budget, Backoff::none(), Duration::ZERO, now, 0.0);
            assert_eq!(decision, restart(0.0));
        }
        assert_eq!(history.restarts.capacity(), 0);
    }
}
