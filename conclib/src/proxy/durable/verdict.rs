//! What becomes of a durable message that was not answered with a value.

use std::time::Duration;

use crate::error::AskError;

/// The shortest and the longest pause before a message is offered again to an actor that does not
/// take it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(500));

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Verdict {
    /// It is given to the actor again when the visibility time is over.
    Again,
    /// It becomes a dead letter.
    Bury,
}

/// Judges a message that ended in an error when it was delivered for the `deliveries`-th time.
pub(in crate::proxy) fn judge(error: &AskError, deliveries: u32, most: u32) -> Verdict {
    let is_hopeless = matches!(
        error,
        AskError::BadRequest { .. }
            | AskError::BadResponse { .. }
            | AskError::Unhandled { .. }
            | AskError::TooLarge { .. }
            | AskError::Incompatible { .. }
    );
    if is_hopeless || deliveries >= most {
        Verdict::Bury
    } else {
        Verdict::Again
    }
}

/// How long to wait before an actor is offered a message again that it has not taken this time, nor
/// the `before` times before.
pub(in crate::proxy) fn pause_between_offers(before: u32) -> Duration {
    let (shortest, longest) = PAUSES;
    shortest.saturating_mul(1 << before.min(16)).min(longest)
}

/// How long to wait when the bus has failed, after it had failed `before` times in a row.
pub(in crate::proxy) fn pause_after_failure(before: u32) -> Duration {
    let shortest = Duration::from_millis(25);
    let longest = Duration::from_secs(5);
    shortest.saturating_mul(1 << before.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_is_tried_until_the_last_delivery() {
        let failed = AskError::Failed { cause: None };
        for error in [failed, AskError::NoReply, AskError::ActorStopped] {
            assert_eq!(judge(&error, 1, 3), Verdict::Again);
            assert_eq!(judge(&error, 2, 3), Verdict::Again);
            assert_eq!(judge(&error, 3, 3), Verdict::Bury);
            assert_eq!(judge(&error, 4, 3), Verdict::Bury);
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
            assert_eq!(judge(&error, 1, 3), Verdict::Bury);
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!(pause_between_offers(0), PAUSES.0);
        assert_eq!(pause_between_offers(3), 8 * PAUSES.0);
        assert_eq!(pause_between_offers(u32::MAX), PAUSES.1);
        assert_eq!(pause_after_failure(0), Duration::from_millis(25));
        assert_eq!(pause_after_failure(u32::MAX), Duration::from_secs(5));
    }
}
