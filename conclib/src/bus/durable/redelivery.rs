//! What becomes of a durable message that was not answered with a value.

use std::time::Duration;

use crate::bus::transport::stream::{Attempts, PendingEntry};
use crate::error::AskError;
use crate::time::backoff::Backoff;

/// Pauses before a message is offered again to an actor that has not taken it.
pub(crate) const OFFER_BACKOFF: Backoff =
    Backoff::starting_at(Duration::from_millis(2)).up_to(Duration::from_millis(500));

/// Pauses before an operation on the stream is tried again after the bus has failed.
pub(crate) const STREAM_BACKOFF: Backoff =
    Backoff::starting_at(Duration::from_millis(25)).up_to(Duration::from_secs(5));

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// It is given to the actor again when the visibility time is over.
    Again,
    /// It becomes a dead letter.
    DeadLetter,
}

/// Judges a message that ended in an error when it was delivered for the `deliveries`-th time.
pub(crate) fn decide_retry(error: &AskError, deliveries: u32, most: u32) -> RetryDecision {
    let is_hopeless = matches!(
        error,
        AskError::BadRequest { .. }
            | AskError::BadResponse { .. }
            | AskError::Unhandled { .. }
            | AskError::TooLarge { .. }
            | AskError::Incompatible { .. }
    );
    if is_hopeless || deliveries >= most {
        RetryDecision::DeadLetter
    } else {
        RetryDecision::Again
    }
}

/// The decide_redelivery of a message that was given to a consumer and has shown no sign of life since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redelivery {
    /// It is delivered again. It counts as delivered so often before.
    Deliver(Attempts),
    /// The same, but with no other message beside it: it is its last delivery, and processes have
    /// ended while they had it. If one more does, this message was the only one that an actor had.
    DeliverAlone(Attempts),
    /// It was delivered as often as is allowed, and no process has lived to say how that ended: it
    /// becomes a dead letter.
    DeadLetter(Attempts),
}

/// Judges a message that is due again. `redelivery` is what this process knows of a delivery that ended
/// in an error.
pub(crate) fn decide_redelivery(
    pending: &PendingEntry,
    redelivery: Option<Attempts>,
    most: u32,
) -> Redelivery {
    if let Some(attempts) = redelivery {
        return Redelivery::Deliver(attempts);
    }
    if pending.is_own {
        return Redelivery::Deliver(attempts_of_lost_read(pending.attempts));
    }
    let attempts = pending.attempts;
    if attempts.deliveries >= most {
        Redelivery::DeadLetter(attempts)
    } else if attempts.unfinished() > 0 && attempts.next().deliveries == most {
        Redelivery::DeliverAlone(attempts)
    } else {
        Redelivery::Deliver(attempts)
    }
}

/// The deliveries of a message that a consumer has, according to the bus, and does not know.
/// The reply that would have brought it is lost, so that no actor had it; unless its last delivery
/// has ended in an error.
pub(crate) fn attempts_of_lost_read(attempts: Attempts) -> Attempts {
    if attempts.unfinished() > 0 {
        attempts.before()
    } else {
        attempts
    }
}

/// The reason of a dead letter whose last delivery has not ended.
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
    use crate::bus::transport::stream::EntryId;

    #[test]
    fn what_may_succeed_is_tried_until_the_last_delivery() {
        let failed = AskError::Failed { cause: None };
        for error in [failed, AskError::NoReply, AskError::ActorStopped] {
            assert_eq!(decide_retry(&error, 1, 3), RetryDecision::Again);
            assert_eq!(decide_retry(&error, 2, 3), RetryDecision::Again);
            assert_eq!(decide_retry(&error, 3, 3), RetryDecision::DeadLetter);
            assert_eq!(decide_retry(&error, 4, 3), RetryDecision::DeadLetter);
        }
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again() {
        let reason = String::new();
        let hopeless = [
            AskError::BadRequest {
                reason: reason.clone(),
            },
            AskError::BadResponse { reason },
            AskError::TooLarge { size: 2, limit: 1 },
        ];
        for error in hopeless {
            assert_eq!(decide_retry(&error, 1, 3), RetryDecision::DeadLetter);
        }
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
    fn last_delivery_after_process_ends_is_alone() {
        let judged = |deliveries, failures| decide_redelivery(&due(deliveries, failures), None, 3);
        let attempts = |deliveries, failures| due(deliveries, failures).attempts;
        assert_eq!(judged(0, 0), Redelivery::Deliver(attempts(0, 0)));
        assert_eq!(judged(1, 0), Redelivery::Deliver(attempts(1, 0)));
        assert_eq!(judged(2, 0), Redelivery::DeliverAlone(attempts(2, 0)));
        assert_eq!(judged(2, 1), Redelivery::DeliverAlone(attempts(2, 1)));
        // No process has ended with it.
        assert_eq!(judged(2, 2), Redelivery::Deliver(attempts(2, 2)));
        for (deliveries, failures) in [(3, 0), (3, 2), (4, 0)] {
            let expected = Redelivery::DeadLetter(attempts(deliveries, failures));
            assert_eq!(judged(deliveries, failures), expected);
        }
        assert_eq!(
            decide_redelivery(&due(0, 0), None, 1),
            Redelivery::Deliver(attempts(0, 0))
        );
        assert_eq!(
            decide_redelivery(&due(1, 0), None, 1),
            Redelivery::DeadLetter(attempts(1, 0))
        );
    }

    #[test]
    fn what_this_process_had_ended_no_process() {
        let redelivery = Attempts {
            deliveries: 2,
            failures: 2,
        };
        let judged = decide_redelivery(&due(2, 0), Some(redelivery), 3);
        assert_eq!(judged, Redelivery::Deliver(redelivery));
        let own = |deliveries, failures| PendingEntry {
            is_own: true,
            ..due(deliveries, failures)
        };
        for (deliveries, before) in [(1, 0), (2, 1), (3, 2)] {
            let judged = decide_redelivery(&own(deliveries, 0), None, 3);
            assert_eq!(judged, Redelivery::Deliver(Attempts::new(before)));
        }
        let failed = own(2, 2);
        assert_eq!(
            decide_redelivery(&failed, None, 3),
            Redelivery::Deliver(failed.attempts)
        );
    }

    #[test]
    fn reason_tells_ends_from_failures() {
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
