//! When it is worth asking an actor again whose mailbox was full. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::any::AnyActor;
use crate::deadlock::ActorId;

/// How long a look at an actor is good for.
const SPAN: Duration = Duration::from_millis(100);

/// The advice while nothing is known.
const FIRST: Duration = Duration::from_millis(50);

/// The shortest and the longest advice.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);

/// How many actors are kept in mind.
const MAX_ACTORS: usize = 4096;

/// How fast those actors work whose mailboxes are full.
#[derive(Default)]
pub(super) struct Pace {
    actors: HashMap<ActorId, Seen>,
}

/// What was seen of an actor.
struct Seen {
    at: Instant,
    /// How many messages it had handled then.
    handled: u64,
    advice: Duration,
}

impl Pace {
    /// When half of what the actor has before it will be done, if it goes on as it has in the last
    /// moments; and up to half as long again, so that not all come back at once.
    pub(super) fn retry_after(&mut self, actor: &dyn AnyActor, now: Instant) -> Duration {
        let (handled, capacity) = actor.pace();
        let advice = self.advice(actor.id(), handled, capacity, now);
        advice.mul_f64(1.0 + fastrand::f64() / 2.0)
    }

    fn advice(&mut self, id: ActorId, handled: u64, capacity: usize, now: Instant) -> Duration {
        if self.actors.len() >= MAX_ACTORS && !self.actors.contains_key(&id) {
            self.actors.clear();
        }
        let seen = self.actors.entry(id).or_insert(Seen {
            at: now,
            handled,
            advice: FIRST,
        });
        let span = now.duration_since(seen.at);
        if span >= SPAN {
            let done = handled.saturating_sub(seen.handled);
            let advice = time_for_half(capacity, done, span);
            *seen = Seen {
                at: now,
                handled,
                advice,
            };
        }
        seen.advice
    }
}

/// How long half of a mailbox takes an actor that has handled so many in that time.
#[expect(clippy::cast_precision_loss, reason = "an advice need not be exact")]
fn time_for_half(capacity: usize, done: u64, span: Duration) -> Duration {
    let half = capacity.div_ceil(2) as f64;
    // If it was not even one, each takes that long at least.
    let seconds = span.as_secs_f64() * half / done.max(1) as f64;
    let advice = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST);
    advice.clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_advice_is_the_time_for_half_of_the_mailbox() {
        assert_eq!(time_for_half(1000, 100, 100 * MS), 500 * MS);
        assert_eq!(time_for_half(1, 1, 100 * MS), 100 * MS);
        assert_eq!(time_for_half(16, 1_000_000, 100 * MS), SHORTEST);
        assert_eq!(time_for_half(1000, 0, 100 * MS), LONGEST);
        assert_eq!(time_for_half(usize::MAX, 1, 100 * MS), LONGEST);
    }

    #[test]
    fn an_actor_is_looked_at_now_and_then() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let id = ActorId(1);
        let mut advice = |handled, after| pace.advice(id, handled, 100, start + after);
        assert_eq!(advice(0, Duration::ZERO), FIRST);
        assert_eq!(advice(50, 50 * MS), FIRST);
        assert_eq!(advice(100, 100 * MS), 50 * MS);
        assert_eq!(advice(100, 150 * MS), 50 * MS);
        assert_eq!(advice(110, 200 * MS), 500 * MS);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut pace = Pace::default();
        for number in 0..3 * MAX_ACTORS {
            pace.advice(ActorId(number), 0, 1, Instant::now());
        }
        assert!(pace.actors.len() <= MAX_ACTORS);
    }
}
