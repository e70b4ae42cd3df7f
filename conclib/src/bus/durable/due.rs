//! Decides about the due times of messages. No I/O.

use std::time::Duration;

use crate::bus::transport::ServerTime;
use crate::bus::transport::stream::MAX_DELAY;

/// The difference between two clocks that is allowed for a due time.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The decision about the due time of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DueTime {
    /// The entry is to be delivered.
    Now,
    Later(ServerTime),
    /// No client sets such a time.
    TooFar,
}

/// Decides about an entry with this due time.
pub(crate) fn judge_due(due: Option<ServerTime>, now: ServerTime) -> DueTime {
    let most = (MAX_DELAY + CLOCK_TOLERANCE).as_millis();
    match due {
        Some(due) if u128::from(due.0.saturating_sub(now.0)) > most => DueTime::TooFar,
        Some(due) if due > now => DueTime::Later(due),
        _ => DueTime::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_judged() {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let now = ServerTime(1_000);
        assert_eq!(judge_due(None, now), DueTime::Now);
        for due in [0, 999, 1_000] {
            assert_eq!(judge_due(Some(ServerTime(due)), now), DueTime::Now);
        }
        for due in [1_001, 1_000 + 367 * DAY] {
            let due = ServerTime(due);
            assert_eq!(judge_due(Some(due), now), DueTime::Later(due));
        }
        for due in [1_001 + 367 * DAY, u64::MAX] {
            assert_eq!(judge_due(Some(ServerTime(due)), now), DueTime::TooFar);
        }
    }
}
