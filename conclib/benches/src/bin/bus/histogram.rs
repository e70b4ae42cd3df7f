//! Times of very many asks in little memory, so that they do not show in the
//! memory of the process that is measured.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::float;

/// Buckets per doubling: a bucket is 0.8 % wide or less.
const PER_DOUBLING: usize = 128;

/// The same among times.
const WIDTH: u64 = PER_DOUBLING as u64;

/// Doublings above the first bucket's: up to 17 s.
const DOUBLINGS: usize = 27;

/// Buckets of one shard.
const BUCKETS: usize = (DOUBLINGS + 1) * PER_DOUBLING;

/// Callers of different shards do not touch the same memory.
const SHARDS: usize = 8;

/// Counts of times.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Shard after shard, each all buckets in order.
    counts: Vec<AtomicU32>,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        let mut counts = Vec::new();
        counts.resize_with(SHARDS * BUCKETS, AtomicU32::default);
        Self { counts }
    }

    /// Counts a time of the caller with this number.
    pub(crate) fn count(&self, caller: usize, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = caller % SHARDS * BUCKETS + bucket(nanos);
        self.counts[at].fetch_add(1, Relaxed);
    }

    /// The number of times.
    pub(crate) fn total(&self) -> u64 {
        self.counts
            .iter()
            .map(|count| u64::from(count.load(Relaxed)))
            .sum()
    }

    /// The time below which `part` of all times lie, in microseconds; 0 if there is none.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let wanted = float(self.total()) * part;
        let mut seen = 0.0;
        for bucket in 0..BUCKETS {
            let here: u64 = (0..SHARDS)
                .map(|shard| u64::from(self.counts[shard * BUCKETS + bucket].load(Relaxed)))
                .sum();
            if here == 0 {
                continue;
            }
            let (low, high) = bounds(bucket);
            if seen + float(here) >= wanted {
                let within = (wanted - seen) / float(here);
                return (float(low) + float(high - low) * within) / 1000.0;
            }
            seen += float(here);
        }
        0.0
    }
}

/// The bucket of a time: linear at first, then as many buckets for each doubling.
fn bucket(nanos: u64) -> usize {
    let doubling = (nanos / WIDTH).checked_ilog2().map_or(0, |log| log + 1);
    let within = if doubling == 0 {
        nanos
    } else {
        (nanos >> (doubling - 1)) - WIDTH
    };
    let at = u64::from(doubling) * WIDTH + within;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The times of a bucket, from the first one to the first one of the next bucket.
fn bounds(bucket: usize) -> (u64, u64) {
    let (doubling, within) = (bucket as u64 / WIDTH, bucket as u64 % WIDTH);
    if doubling == 0 {
        return (within, within + 1);
    }
    let width = 1 << (doubling - 1);
    let low = (WIDTH + within) * width;
    (low, low + width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_within_the_bounds_of_its_bucket() {
        for nanos in [0, 1, 127, 128, 129, 255, 256, 1_000, 99_999, 5_000_000_000] {
            let (low, high) = bounds(bucket(nanos));
            assert!(low <= nanos && nanos < high, "{nanos} in {low}..{high}");
            assert!((high - low) * WIDTH <= low.max(WIDTH));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn buckets_follow_each_other() {
        for bucket in 1..BUCKETS {
            assert_eq!(bounds(bucket - 1).1, bounds(bucket).0);
        }
    }

    #[test]
    fn percentiles_are_as_exact_as_a_bucket() {
        let times = Histogram::new();
        for micros in 1..=1000 {
            times.count(micros, Duration::from_micros(micros as u64));
        }
        assert_eq!(times.total(), 1000);
        for (part, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = times.percentile(part);
            assert!((found / expected - 1.0).abs() < 0.01, "{part}: {found}");
        }
    }

    #[test]
    fn nothing_counted_is_zero() {
        assert!(Histogram::new().percentile(0.5).abs() < f64::EPSILON);
    }
}
