//! Whether more requests wait in the inbox than is good. No I/O.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::coarse::CoarseInstant;

/// How many requests may wait in an inbox. An actor system that lives takes them at once, whatever its
/// actors do: so many wait only if it is suspended, or far too slow.
const MAX_WAITING: u64 = 65_536;

/// How long nothing is sent then. What is sent first afterwards shows whether there is room again.
const PAUSE: Duration = Duration::from_millis(100);

/// Until when nothing is to be sent.
#[derive(Default)]
pub(super) struct Crowd {
    /// The bits of a [`CoarseInstant`]; zero if the inbox was not full when it was last seen.
    until: AtomicU64,
}

impl Crowd {
    /// Learns how many wait.
    pub(super) fn learn(&self, waiting: u64) {
        let until = if waiting > MAX_WAITING {
            (CoarseInstant::now() + PAUSE).to_bits()
        } else {
            0
        };
        self.until.store(until, Ordering::Relaxed);
    }

    /// When to come back, if it was full.
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
    fn a_full_inbox_is_left_alone_until_it_is_seen_with_room() {
        let crowd = Crowd::default();
        crowd.learn(MAX_WAITING);
        assert_eq!(crowd.retry_after(), None);
        crowd.learn(MAX_WAITING + 1);
        assert!(crowd.retry_after().is_some_and(|after| after <= PAUSE));
        crowd.learn(1);
        assert_eq!(crowd.retry_after(), None);
    }
}
