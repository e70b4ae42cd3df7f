//! The recorder of durations, with the feature `metrics`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{DurationBucket, DurationHistogram};

/// The first bucket is for durations below 2^10 ns, about a microsecond.
const FIRST_OCTAVE: u32 = 10;

/// The durations of an octave, from a power of two up to the next one, have four buckets of the same width.
const PARTS: u32 = 4;

/// The last bucket begins at about two hours, and has all longer durations too.
const OCTAVES: u32 = 33;

/// The number of buckets.
const BUCKETS: usize = (1 + OCTAVES * PARTS) as usize;

/// Counts durations.
#[derive(Default)]
pub(crate) struct DurationRecorder {
    /// Allocated for the first duration: most recorders never have one.
    counters: OnceLock<Box<Counters>>,
}

/// About a kilobyte.
struct Counters {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl DurationRecorder {
    /// Adds a duration.
    pub(crate) fn record(&self, duration: Duration) {
        let none = || {
            Box::new(Counters {
                buckets: [const { AtomicU64::new(0) }; BUCKETS],
                sum_nanos: AtomicU64::new(0),
            })
        };
        let counters = self.counters.get_or_init(none);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        counters.buckets[place_of(nanos)].fetch_add(1, Ordering::Relaxed);
        counters.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The durations so far.
    pub(crate) fn read(&self) -> DurationHistogram {
        let Some(counters) = self.counters.get() else {
            return DurationHistogram::default();
        };
        let counts = counters.buckets.iter().enumerate();
        let counts = counts.map(|(place, count)| (place, count.load(Ordering::Relaxed)));
        let counts = counts.filter(|(_, count)| *count > 0);
        DurationHistogram {
            buckets: counts
                .map(|(place, count)| DurationBucket {
                    from: Duration::from_nanos(start_of(place)),
                    to: Duration::from_nanos(start_of(place + 1)),
                    count,
                })
                .collect(),
            sum: Duration::from_nanos(counters.sum_nanos.load(Ordering::Relaxed)),
        }
    }
}

/// A moment from which on a time is measured.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stopwatch {
    since: Option<Instant>,
}

impl Stopwatch {
    /// Begins to measure, unless it has begun.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Records the time since the start, if it has begun.
    #[inline]
    pub(crate) fn record(self, recorder: &DurationRecorder) {
        if let Some(since) = self.since {
            recorder.record(since.elapsed());
        }
    }
}

/// The bucket of a duration.
fn place_of(nanos: u64) -> usize {
    let log = nanos.checked_ilog2();
    let Some(octave) = log.and_then(|log| log.checked_sub(FIRST_OCTAVE)) else {
        return 0;
    };
    let part = (nanos >> (octave + FIRST_OCTAVE - 2)) % u64::from(PARTS);
    let place = 1 + (octave * PARTS) as usize + usize::try_from(part).unwrap_or(0);
    place.min(BUCKETS - 1)
}

/// The least duration of a bucket, in nanoseconds.
fn start_of(place: usize) -> u64 {
    let Some(above) = place.checked_sub(1) else {
        return 0;
    };
    let above = u64::try_from(above).unwrap_or(u64::MAX);
    let (octave, part) = (above / u64::from(PARTS), above % u64::from(PARTS));
    (u64::from(PARTS) + part) << (u64::from(FIRST_OCTAVE) - 2 + octave)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        for place in 0..BUCKETS {
            let (from, to) = (start_of(place), start_of(place + 1));
            assert_eq!((place_of(from), place_of(to - 1)), (place, place));
            assert!(place == 0 || to - from <= from / 4, "{from}..{to}");
        }
        assert_eq!(place_of(u64::MAX), BUCKETS - 1);
        assert!(Duration::from_nanos(start_of(BUCKETS - 1)) > Duration::from_secs(2 * 60 * 60));
    }

    #[test]
    fn durations_are_read_back() {
        let recorder = DurationRecorder::default();
        assert_eq!(recorder.read(), DurationHistogram::default());
        for millis in 1..=100 {
            recorder.record(Duration::from_millis(millis));
        }
        let histogram = recorder.read();
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.mean(), Some(Duration::from_micros(50_500)));
        for (part, millis) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            let found = histogram.quantile(part).unwrap().as_secs_f64() * 1_000.0;
            assert!((found - millis).abs() <= millis / 8.0, "{part}: {found} ms");
        }
    }
}
