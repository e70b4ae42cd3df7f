//! Backpressure from a full inbox. No I/O.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::coarse::CoarseInstant;

/// Number of requests that may wait in an inbox. A running actor system takes requests at once, even
/// if its actors are busy: this number is reached only if the system is suspended, or far too slow.
const MAX_WAITING: u64 = 65_536;

/// Time for which no request is sent then. The first request afterwards shows if there is room again.
const PAUSE: Duration = Duration::from_millis(100);

/// The moment until which no request is to be sent.
#[derive(Default)]
pub(super) struct InboxBackpressure {
    /// The bits of a [`CoarseInstant`]; zero if the inbox was not full when it was last seen.
    until: AtomicU64,
    /// The length of the inbox when it was last seen.
    length: AtomicU64,
}

impl InboxBackpressure {
    /// Records the length of the inbox.
    pub(super) fn record(&self, waiting: u64) {
        let until = if waiting > MAX_WAITING {
            (CoarseInstant::now() + PAUSE).to_bits()
        } else {
            0
        };
        self.until.store(until, Ordering::Relaxed);
        self.length.store(waiting, Ordering::Relaxed);
    }

    /// The length of the inbox when it was last seen.
    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// True if no request is to be sent now.
    pub(super) fn is_full(&self) -> bool {
        self.retry_after().is_some()
    }

    /// Time until the next request may be sent, if the inbox was full.
    #[inline]
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let left = CoarseInstant::from_bits(until).since(CoarseInstant::now());
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_inbox_gets_no_requests_until_it_has_room() {
        let inbox = InboxBackpressure::default();
        inbox.record(MAX_WAITING);
        assert_eq!(inbox.retry_after(), None);
        inbox.record(MAX_WAITING + 1);
        assert!(inbox.retry_after().is_some_and(|after| after <= PAUSE));
        inbox.record(1);
        assert_eq!(inbox.retry_after(), None);
    }
}
