//! Decides between another delivery and a dead letter for a durable message that was not answered with
//! a response. No I/O.

use std::time::Duration;

use crate::bus::transport::ServerTime;
use crate::bus::transport::stream::{Attempts, EntryId, PendingEntry};
use crate::error::AskError;
use crate::time::backoff::Backoff;

/// The decision about a delivery that ended in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// The message is delivered again after a [pause](retry_pause).
    Retry,
    /// The message becomes a dead letter.
    DeadLetter,
}

/// Decides about a message whose `deliveries`-th delivery ended in an error.
pub(crate) fn decide_retry(
    error: &AskError,
    deliveries: u32,
    max_deliveries: u32,
) -> RetryDecision {
    let is_permanent = matches!(
        error,
        AskError::BadRequest { .. }
            | AskError::InvalidUrn { .. }
            | AskError::InvalidKey { .. }
            | AskError::KeyReused { .. }
            | AskError::BadResponse { .. }
            | AskError::Unhandled { .. }
            | AskError::TooLarge { .. }
            | AskError::Incompatible { .. }
    );
    if is_permanent || deliveries >= max_deliveries {
        RetryDecision::DeadLetter
    } else {
        RetryDecision::Retry
    }
}

/// The pause of a message whose last delivery has failed, counted by `attempts`; `jitter` is in
/// `0.0..=1.0`.
pub(crate) fn retry_pause(backoff: Backoff, attempts: Attempts, jitter: f64) -> Duration {
    backoff.jittered_delay(attempts.failures.saturating_sub(1), jitter)
}

/// The time for which no actor has had the URN of a message: since the message was stored, and the
/// actor is known to be missing. Both are times of the bus.
pub(crate) fn missing_time(since: ServerTime, id: EntryId, now: ServerTime) -> Duration {
    Duration::from_millis(now.0.saturating_sub(since.0.max(id.0)))
}

/// True if the next delivery of a message is to be [isolated](RedeliveryDecision::DeliverIsolated).
pub(crate) fn needs_isolation(attempts: Attempts, max_deliveries: u32) -> bool {
    attempts.unfinished() > 0 && attempts.next().deliveries == max_deliveries
}

/// The decision about an entry whose consumer has sent no heartbeat for the visibility time. The
/// attempts are those before the next delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedeliveryDecision {
    /// The message is delivered again.
    Deliver(Attempts),
    /// The message is delivered again, with no other message beside it: this is its last delivery,
    /// and processes have ended during earlier ones. If another process ends, this message was the
    /// only one with an actor.
    DeliverIsolated(Attempts),
    /// The message was delivered as often as is allowed, and its process ended before it could report
    /// the outcome: it becomes a dead letter.
    DeadLetter(Attempts),
}

/// Decides about an entry that is due again. `known` are the attempts that this process has recorded
/// when its own delivery ended in an error.
pub(crate) fn decide_redelivery(
    pending: &PendingEntry,
    known: Option<Attempts>,
    max_deliveries: u32,
) -> RedeliveryDecision {
    if let Some(attempts) = known {
        return RedeliveryDecision::Deliver(attempts);
    }
    if pending.is_own {
        return RedeliveryDecision::Deliver(attempts_of_lost_read(pending.attempts));
    }
    let attempts = pending.attempts;
    if attempts.deliveries >= max_deliveries {
        RedeliveryDecision::DeadLetter(attempts)
    } else if needs_isolation(attempts, max_deliveries) {
        RedeliveryDecision::DeliverIsolated(attempts)
    } else {
        RedeliveryDecision::Deliver(attempts)
    }
}

/// The attempts of an entry that the bus assigned to this consumer in a reply that was lost. The
/// delivery does not count, because no actor was given the message; unless the last delivery is
/// recorded as failed.
pub(crate) fn attempts_of_lost_read(attempts: Attempts) -> Attempts {
    if attempts.unfinished() > 0 {
        attempts.undelivered()
    } else {
        attempts
    }
}

/// The reason of a dead letter whose process ended during its last delivery.
pub(crate) fn process_end_reason(attempts: Attempts) -> String {
    let ends = format!(
        "its process ended {} before it was handled",
        times(attempts.unfinished())
    );
    match attempts.failures {
        0 => ends,
        failures => format!("its delivery failed {}, and {ends}", times(failures)),
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_errors_are_retried_until_the_last_delivery() {
        let failed = AskError::Failed { cause: None };
        for error in [failed, AskError::NoReply, AskError::ActorStopped] {
            assert_eq!(decide_retry(&error, 1, 3), RetryDecision::Retry);
            assert_eq!(decide_retry(&error, 2, 3), RetryDecision::Retry);
            assert_eq!(decide_retry(&error, 3, 3), RetryDecision::DeadLetter);
            assert_eq!(decide_retry(&error, 4, 3), RetryDecision::DeadLetter);
        }
    }

    #[test]
    fn permanent_errors_are_not_retried() {
        let reason = String::new();
        let permanent = [
            AskError::BadRequest {
                reason: reason.clone(),
            },
            AskError::BadResponse { reason },
            AskError::TooLarge { size: 2, limit: 1 },
        ];
        for error in permanent {
            assert_eq!(decide_retry(&error, 1, 3), RetryDecision::DeadLetter);
        }
    }

    #[test]
    fn pauses_grow_with_the_failures() {
        let backoff = Backoff::from_secs(5).up_to(Duration::from_secs(60));
        let pause = |deliveries, failures, jitter| {
            let attempts = due(deliveries, failures).attempts;
            retry_pause(backoff, attempts, jitter).as_millis()
        };
        let pauses = [(1, 1), (2, 2), (3, 3), (9, 9)].map(|(all, failed)| pause(all, failed, 0.0));
        assert_eq!(pauses, [5_000, 10_000, 20_000, 60_000]);
        // The end of a process is no failure of the message.
        assert_eq!(pause(4, 1, 0.0), 5_000);
        assert_eq!(pause(1, 1, 1.0), 2_500);
        assert_eq!(pause(0, 0, 0.0), 5_000);
    }

    #[test]
    fn time_without_an_actor_counts_from_the_later_event() {
        let missing = |since, stored, now| {
            let id = EntryId(stored, 7);
            missing_time(ServerTime(since), id, ServerTime(now)).as_millis()
        };
        assert_eq!(missing(1_000, 400, 5_000), 4_000);
        assert_eq!(missing(1_000, 3_000, 5_000), 2_000);
        // The bus' clock was set back.
        assert_eq!(missing(1_000, 9_000, 5_000), 0);
    }

    fn due(deliveries: u32, failures: u32) -> PendingEntry {
        PendingEntry {
            id: EntryId::default(),
            attempts: Attempts {
                deliveries,
                failures,
            },
            is_own: false,
        }
    }

    #[test]
    fn last_delivery_after_process_ends_is_isolated() {
        let judged = |deliveries, failures| decide_redelivery(&due(deliveries, failures), None, 3);
        let attempts = |deliveries, failures| due(deliveries, failures).attempts;
        assert_eq!(judged(0, 0), RedeliveryDecision::Deliver(attempts(0, 0)));
        assert_eq!(judged(1, 0), RedeliveryDecision::Deliver(attempts(1, 0)));
        assert_eq!(
            judged(2, 0),
            RedeliveryDecision::DeliverIsolated(attempts(2, 0))
        );
        assert_eq!(
            judged(2, 1),
            RedeliveryDecision::DeliverIsolated(attempts(2, 1))
        );
        // No process has ended during a delivery.
        assert_eq!(judged(2, 2), RedeliveryDecision::Deliver(attempts(2, 2)));
        for (deliveries, failures) in [(3, 0), (3, 2), (4, 0)] {
            let expected = RedeliveryDecision::DeadLetter(attempts(deliveries, failures));
            assert_eq!(judged(deliveries, failures), expected);
        }
        assert_eq!(
            decide_redelivery(&due(0, 0), None, 1),
            RedeliveryDecision::Deliver(attempts(0, 0))
        );
        assert_eq!(
            decide_redelivery(&due(1, 0), None, 1),
            RedeliveryDecision::DeadLetter(attempts(1, 0))
        );
    }

    #[test]
    fn deliveries_of_this_process_ended_no_process() {
        let known = Attempts {
            deliveries: 2,
            failures: 2,
        };
        let judged = decide_redelivery(&due(2, 0), Some(known), 3);
        assert_eq!(judged, RedeliveryDecision::Deliver(known));
        let own = |deliveries, failures| PendingEntry {
            is_own: true,
            ..due(deliveries, failures)
        };
        for (deliveries, expected) in [(1, 0), (2, 1), (3, 2)] {
            let judged = decide_redelivery(&own(deliveries, 0), None, 3);
            assert_eq!(judged, RedeliveryDecision::Deliver(Attempts::new(expected)));
        }
        let failed = own(2, 2);
        assert_eq!(
            decide_redelivery(&failed, None, 3),
            RedeliveryDecision::Deliver(failed.attempts)
        );
    }

    #[test]
    fn reason_counts_process_ends_and_failures() {
        let reason = |deliveries, failures| process_end_reason(due(deliveries, failures).attempts);
        assert_eq!(
            reason(3, 0),
            "its process ended 3 times before it was handled"
        );
        assert_eq!(reason(1, 0), "its process ended once before it was handled");
        assert_eq!(
            reason(5, 2),
            "its delivery failed 2 times, and its process ended 3 times before it was handled"
        );
    }
}
