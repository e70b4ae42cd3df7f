//! The time of the next attempt at an operation that has failed on the bus. No I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::time::backoff::Backoff;

/// Pauses before an operation on the stream of durable messages is tried again.
pub(crate) const STREAM_BACKOFF: Backoff =
    Backoff::starting_at(Duration::from_millis(25)).up_to(Duration::from_secs(5));

/// The time of the next attempt, and the number of failures before it.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    /// The earliest time of the next attempt; `None`: now.
    next: Option<Instant>,
    /// Failures since the last success.
    failures: u32,
}

impl Retry {
    /// True if an attempt may be made now. [`next`](Self::next) is `None` from then on.
    pub(crate) fn begins(&mut self, now: Instant) -> bool {
        let waits = self.next.is_some_and(|next| now < next);
        if !waits {
            self.next = None;
        }
        !waits
    }

    pub(crate) fn has_failed(&mut self, now: Instant) {
        self.next = Some(now + STREAM_BACKOFF.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// True if the attempt before has failed.
    pub(crate) fn has_succeeded(&mut self) -> bool {
        self.next = None;
        std::mem::take(&mut self.failures) > 0
    }

    /// True between a failure and the next success.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The time of the next attempt, if one has failed.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_until_one_succeeds() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert!(retry.begins(now) && !retry.has_succeeded());
        retry.has_failed(now);
        let first = retry.next().unwrap();
        assert!(!retry.begins(now) && retry.is_failing());
        assert!(retry.begins(first));
        assert_eq!(retry.next(), None);
        retry.has_failed(first);
        let second = retry.next().unwrap();
        assert!(second - first > first - now && second - first < Duration::from_secs(5));
        assert!(retry.has_succeeded());
        assert!(retry.begins(first) && !retry.is_failing());
    }
}
