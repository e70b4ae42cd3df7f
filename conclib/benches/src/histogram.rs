//! Times of very many asks in little memory, so that they do not show in the
//! memory of the process that is measured.

use std::array;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram as Counts;

use crate::float;

/// Significant digits of a time: a bucket is 0.8 % wide or less.
const DIGITS: u8 = 2;

/// The longest time that is told apart, in nanoseconds; longer ones count as this one.
const LONGEST: u64 = 17_000_000_000;

/// Callers of different shards do not wait for each other.
const SHARDS: usize = 8;

/// Counts of times.
#[derive(Debug)]
pub struct Histogram {
    shards: [Shard; SHARDS],
}

/// The counts of some of the callers. Aligned so that no two shards share a cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Shard(Mutex<Counts<u32>>);

impl Default for Histogram {
    /// Without a time.
    fn default() -> Self {
        Self {
            shards: array::from_fn(|_| Shard(Mutex::new(no_counts()))),
        }
    }
}

impl Histogram {
    /// Counts a time of the caller with this number.
    pub fn count(&self, caller: usize, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.shards[caller % SHARDS].lock().saturating_record(nanos);
    }

    /// The number of times.
    pub fn total(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// The time that `part` of all times do not exceed, in microseconds; 0 if there is none.
    pub fn percentile(&self, part: f64) -> f64 {
        let mut all = no_counts();
        for shard in &self.shards {
            all += &*shard.lock();
        }
        float(all.median_equivalent(all.value_at_quantile(part))) / 1000.0
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Counts<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts for one shard, or for the sum of all: 14 KiB.
fn no_counts() -> Counts<u32> {
    Counts::new_with_max(LONGEST, DIGITS).expect("the bounds are those of a histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_to_one_percent() {
        let times = Histogram::default();
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
    fn endless_time_counts_as_the_longest() {
        let times = Histogram::default();
        times.count(0, Duration::MAX);
        assert_eq!(times.total(), 1);
        let found = times.percentile(0.5) * 1000.0 / float(LONGEST);
        assert!((found - 1.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn nothing_counted_is_zero() {
        assert!(Histogram::default().percentile(0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn histogram_takes_little_memory() {
        let buckets = SHARDS * no_counts().distinct_values();
        assert!(buckets * size_of::<u32>() <= 128 * 1024, "{buckets}");
    }
}
