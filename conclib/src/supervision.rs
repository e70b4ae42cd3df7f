//! Whether a failed actor starts again, and when: decisions without a clock of their own.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use crate::error::Failure;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

pub use crate::time::backoff::Backoff;

pub(crate) mod lifecycle;

/// After which ends an actor starts again.
///
/// Who stops or kills it from outside means it: those ends are final under every policy, and so is
/// the end of its parent or its system.
///
/// Restarts are for faults that pass. A message that makes its handler fail does so again in the next
/// life, and too many of them spend the budget: see [`Failure`](crate::Failure) for what is to be a
/// response instead, and [`ActorSystem::supervise`](crate::ActorSystem::supervise) for what happens
/// then.
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

impl Restart {
    /// True if a life that ended so is followed by another, as far as this policy goes.
    pub(crate) fn follows(self, end: &StopReason) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => end.is_failure(),
            Self::Never => false,
        }
    }

    /// Logs that no life follows a failure under this policy.
    pub(crate) fn log_last_failure(self, urn: &Urn, end: &StopReason) {
        if end.is_failure() {
            log_last_failure(urn, end, &format!("its policy is Restart::{self:?}"));
        }
    }
}

/// Logs that an actor will not start again, and why.
pub(crate) fn log_last_failure(urn: &Urn, end: &StopReason, why: &str) {
    let last = end
        .failure()
        .map_or_else(|| end.to_string(), Failure::to_string);
    error!(%urn, failure = %last, "`{urn}` will not start again: {why}");
}

/// How many restarts within how long are taken for bad luck. One more, and the actor (or the group)
/// is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) restarts: u32,
    pub(crate) within: Duration,
}

impl Budget {
    /// The ends that have spent it, this one last: `4 failures within 5 s`.
    pub(crate) fn spent_by(self, end: &StopReason) -> String {
        let count = u64::from(self.restarts) + 1;
        let what = if end.is_failure() { "failure" } else { "end" };
        let plural = if count == 1 { "" } else { "s" };
        let seconds = self.within.as_secs_f64();
        format!("{count} {what}{plural} within {seconds} s")
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            restarts: 3,
            within: Duration::from_secs(5),
        }
    }
}

/// What becomes of an actor, or of a group, whose life has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It starts again, after this long.
    Restart(Duration),
    /// It has failed more often than its budget allows.
    Exhausted,
}

/// The restarts so far.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// When they were, as far as they are within the window.
    restarts: VecDeque<Instant>,
    /// How many followed each other without a long life in between.
    streak: u32,
}

impl History {
    /// Judges a life that ended at `now` after it had `lived` so long.
    pub(crate) fn judge(
        &mut self,
        budget: Budget,
        backoff: Backoff,
        uptime: Duration,
        now: Instant,
        jitter: f64,
    ) -> Verdict {
        let is_old = |at: &Instant| now.duration_since(*at) >= budget.within;
        while self.restarts.front().is_some_and(is_old) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= budget.restarts as usize {
            return Verdict::Exhausted;
        }
        if uptime >= budget.within {
            self.streak = 0;
        }
        let wait = backoff.jittered_delay(self.streak, jitter);
        self.restarts.push_back(now);
        self.streak = self.streak.saturating_add(1);
        Verdict::Restart(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What is said of lives that end at these moments, each after it had lived since the last.
    fn verdicts(budget: Budget, backoff: Backoff, ends: &[f64]) -> Vec<Verdict> {
        let start = Instant::now();
        let mut history = History::default();
        let mut before = start;
        ends.iter()
            .map(|end| {
                let now = start + Duration::from_secs_f64(*end);
                let uptime = now - before;
                before = now;
                history.judge(budget, backoff, uptime, now, 0.0)
            })
            .collect()
    }

    fn restart(seconds: f64) -> Verdict {
        Verdict::Restart(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn three_restarts_in_five_seconds_are_allowed() {
        let seen = verdicts(Budget::default(), Backoff::none(), &[0.0, 1.0, 2.0, 3.0]);
        assert_eq!(seen[..3], [restart(0.0); 3]);
        assert_eq!(seen[3], Verdict::Exhausted);
    }

    #[test]
    fn a_restart_leaves_the_window_when_that_has_passed() {
        let seen = verdicts(Budget::default(), Backoff::none(), &[0.0, 1.0, 2.0, 5.0]);
        assert_eq!(seen, [restart(0.0); 4]);
        let seen = verdicts(Budget::default(), Backoff::none(), &[0.0, 1.0, 2.0, 4.9]);
        assert_eq!(seen[3], Verdict::Exhausted);
    }

    #[test]
    fn no_restarts_means_none() {
        let budget = Budget {
            restarts: 0,
            within: SECOND,
        };
        assert_eq!(
            verdicts(budget, Backoff::none(), &[0.0]),
            [Verdict::Exhausted]
        );
    }

    #[test]
    fn waits_double_up_to_the_most_and_begin_anew_after_a_long_life() {
        let budget = Budget {
            restarts: 100,
            within: 10 * SECOND,
        };
        let backoff = Backoff::from_secs(1).up_to(5 * SECOND);
        let seen = verdicts(budget, backoff, &[0.0, 1.0, 2.0, 3.0, 4.0, 14.0, 15.0]);
        assert_eq!(seen, [1.0, 2.0, 4.0, 5.0, 5.0, 1.0, 2.0].map(restart));
    }
}
