//! The number of batches that may be under way at a time: of requests, of pops, and of replies. No I/O.
//!
//! Near the bus one is best: further requests gather meanwhile, and a large batch costs little more
//! than a small one. Far from the bus that would leave the line idle for most of the time.

use std::time::Duration;

use tokio::time::Instant;

/// A bus with a shorter round trip is near.
const NEAR: Duration = Duration::from_micros(300);

/// Number of batches under way at a time when the bus is far.
const FAR_BATCHES: usize = 4;

/// Round trips count for this time at least, and twice as long at most.
const SPAN: Duration = Duration::from_secs(5);

/// Decides on the number of batches by the smallest round trip of the last seconds: larger ones
/// measure load, and not distance.
#[derive(Debug, Default)]
pub(crate) struct BatchConcurrency {
    /// Start of the current span.
    began: Option<Instant>,
    /// The smallest round trip in the current span …
    smallest: Option<Duration>,
    /// … and in the one before.
    before: Option<Duration>,
}

impl BatchConcurrency {
    /// Records the round trip of a batch.
    pub(crate) fn record(&mut self, now: Instant, round_trip: Duration) {
        let age = self.began.map(|began| now.saturating_duration_since(began));
        if age.is_none_or(|age| age >= SPAN) {
            // Round trips from before a long pause do not count.
            let is_fresh = age.is_some_and(|age| age < 2 * SPAN);
            self.before = self.smallest.take().filter(|_| is_fresh);
            self.began = Some(now);
        }
        self.smallest = Some(smaller(self.smallest, round_trip));
    }

    /// True if the bus is near, or its distance is unknown.
    pub(crate) fn is_near(&self) -> bool {
        match (self.smallest, self.before) {
            (Some(smallest), before) => smaller(before, smallest) < NEAR,
            (None, _) => true,
        }
    }

    /// Number of batches that may be under way.
    pub(crate) fn allowed(&self) -> usize {
        if self.is_near() { 1 } else { FAR_BATCHES }
    }
}

fn smaller(known: Option<Duration>, new: Duration) -> Duration {
    known.map_or(new, |known| known.min(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn smallest_round_trip_decides() {
        let mut concurrency = BatchConcurrency::default();
        let start = Instant::now();
        assert_eq!(concurrency.allowed(), 1);
        concurrency.record(start, 1_000 * MICRO);
        assert_eq!(concurrency.allowed(), FAR_BATCHES);
        concurrency.record(start + SPAN / 2, 299 * MICRO);
        assert_eq!(concurrency.allowed(), 1);
        concurrency.record(start + SPAN / 2, 20_000 * MICRO); // under load
        assert_eq!(concurrency.allowed(), 1);
    }

    #[test]
    fn change_of_distance_is_noticed() {
        let mut concurrency = BatchConcurrency::default();
        let start = Instant::now();
        concurrency.record(start, 100 * MICRO);
        concurrency.record(start + SPAN, 2_000 * MICRO);
        assert_eq!(concurrency.allowed(), 1, "it was near a moment ago");
        concurrency.record(start + 2 * SPAN, 2_000 * MICRO);
        assert_eq!(concurrency.allowed(), FAR_BATCHES);
        concurrency.record(start + 2 * SPAN + SPAN / 2, 100 * MICRO);
        assert_eq!(concurrency.allowed(), 1);
    }

    #[test]
    fn round_trips_before_a_long_pause_do_not_count() {
        let mut concurrency = BatchConcurrency::default();
        let start = Instant::now();
        concurrency.record(start, 100 * MICRO);
        concurrency.record(start + 60 * SPAN, 2_000 * MICRO);
        assert_eq!(concurrency.allowed(), FAR_BATCHES);
    }
}
