//! When to try again what the bus has not done. No I/O.

use tokio::time::Instant;

use crate::bus::durable::redelivery::STREAM_BACKOFF;

/// When to try again what the bus has not done.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    /// Not before; now, if that is over.
    again: Option<Instant>,
    /// How often in a row it has failed.
    failures: u32,
}

impl Retry {
    /// Whether to try now. From then on there is nothing to wait for.
    pub(crate) fn begins(&mut self, now: Instant) -> bool {
        let waits = self.again.is_some_and(|again| now < again);
        if !waits {
            self.again = None;
        }
        !waits
    }

    pub(crate) fn has_failed(&mut self, now: Instant) {
        self.again = Some(now + STREAM_BACKOFF.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// True if it had failed before.
    pub(crate) fn has_succeeded(&mut self) -> bool {
        self.again = None;
        std::mem::take(&mut self.failures) > 0
    }

    /// True if it has failed, and not succeeded since.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// When there is another attempt to make.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
