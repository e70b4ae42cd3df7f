//! Advice on when to ask an actor again whose mailbox was full. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::any::AnyActor;
use crate::deadlock::ActorId;

/// Time after which an actor is measured again.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Advice before the first measurement.
const INITIAL: Duration = Duration::from_millis(50);

/// The shortest and the longest advice.
const MIN: Duration = Duration::from_millis(10);
const MAX: Duration = Duration::from_secs(5);

/// Number of actors that are remembered.
const MAX_ACTORS: usize = 4096;

/// Measures how fast actors work whose mailboxes are full.
#[derive(Default)]
pub(super) struct RetryAdvisor {
    actors: HashMap<ActorId, ActorRate>,
}

/// The last measurement of an actor.
struct ActorRate {
    at: Instant,
    /// Number of messages that it had handled by then.
    handled: u64,
    advice: Duration,
}

impl RetryAdvisor {
    /// The time in which the actor will have handled half of its mailbox at its current rate; longer by
    /// a random part of up to one half, so that clients do not come back at once.
    pub(super) fn retry_after(&mut self, actor: &dyn AnyActor, now: Instant) -> Duration {
        let (handled, capacity) = actor.handled_and_capacity();
        let advice = self.advice(actor.id(), handled, capacity, now);
        advice.mul_f64(1.0 + fastrand::f64() / 2.0)
    }

    fn advice(&mut self, id: ActorId, handled: u64, capacity: usize, now: Instant) -> Duration {
        if self.actors.len() >= MAX_ACTORS && !self.actors.contains_key(&id) {
            self.actors.clear();
        }
        let rate = self.actors.entry(id).or_insert(ActorRate {
            at: now,
            handled,
            advice: INITIAL,
        });
        let span = now.duration_since(rate.at);
        if span >= SAMPLE_INTERVAL {
            let done = handled.saturating_sub(rate.handled);
            let advice = time_for_half(capacity, done, span);
            *rate = ActorRate {
                at: now,
                handled,
                advice,
            };
        }
        rate.advice
    }
}

/// The time that half of a mailbox takes an actor that handled `done` messages in `span`.
#[expect(clippy::cast_precision_loss, reason = "an advice need not be exact")]
fn time_for_half(capacity: usize, done: u64, span: Duration) -> Duration {
    let half = capacity.div_ceil(2) as f64;
    // Without a single message, each is taken to need the whole span.
    let seconds = span.as_secs_f64() * half / done.max(1) as f64;
    let advice = Duration::try_from_secs_f64(seconds).unwrap_or(MAX);
    advice.clamp(MIN, MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn advice_is_the_time_for_half_of_the_mailbox() {
        assert_eq!(time_for_half(1000, 100, 100 * MS), 500 * MS);
        assert_eq!(time_for_half(1, 1, 100 * MS), 100 * MS);
        assert_eq!(time_for_half(16, 1_000_000, 100 * MS), MIN);
        assert_eq!(time_for_half(1000, 0, 100 * MS), MAX);
        assert_eq!(time_for_half(usize::MAX, 1, 100 * MS), MAX);
    }

    #[test]
    fn actor_is_measured_at_intervals() {
        let mut advisor = RetryAdvisor::default();
        let start = Instant::now();
        let id = ActorId(1);
        let mut advice = |handled, after| advisor.advice(id, handled, 100, start + after);
        assert_eq!(advice(0, Duration::ZERO), INITIAL);
        assert_eq!(advice(50, 50 * MS), INITIAL);
        assert_eq!(advice(100, 100 * MS), 50 * MS);
        assert_eq!(advice(100, 150 * MS), 50 * MS);
        assert_eq!(advice(110, 200 * MS), 500 * MS);
    }

    #[test]
    fn number_of_actors_is_bounded() {
        let mut advisor = RetryAdvisor::default();
        for number in 0..3 * MAX_ACTORS {
            advisor.advice(ActorId(number), 0, 1, Instant::now());
        }
        assert!(advisor.actors.len() <= MAX_ACTORS);
    }
}
