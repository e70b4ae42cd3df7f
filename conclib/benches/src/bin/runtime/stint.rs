//! Repetition of work for a given time. Pure: the time is reported by the caller.

use std::time::Duration;

use crate::work::float;

/// A warm-up, then a measurement, each for its time.
#[derive(Debug)]
pub(crate) struct Stint {
    /// The time left of the warm-up.
    warm: Duration,
    /// The time to measure.
    time: Duration,
    /// The time measured so far.
    took: Duration,
    /// The number of operations in that time.
    operations: u64,
}

impl Stint {
    /// Measures for `time`, after warming up for a quarter of it.
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            warm: time / 4,
            time,
            took: Duration::ZERO,
            operations: 0,
        }
    }

    /// True until there is enough; at least one burst is measured.
    pub(crate) fn goes_on(&self) -> bool {
        self.operations == 0 || self.took < self.time
    }

    /// Reports the time of a burst of `operations`.
    pub(crate) fn add(&mut self, operations: u64, took: Duration) {
        if self.warm.is_zero() {
            self.operations += operations;
            self.took += took;
        } else {
            self.warm = self.warm.saturating_sub(took);
        }
    }

    /// The time of one operation.
    pub(crate) fn nanoseconds(&self) -> f64 {
        self.took.as_secs_f64() * 1e9 / float(self.operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn warming_up_does_not_count() {
        let mut stint = Stint::new(8 * MS);
        stint.add(1, MS);
        stint.add(1, 5 * MS);
        assert!(stint.goes_on());
        stint.add(4_000, 4 * MS);
        assert!(stint.goes_on());
        stint.add(4_000, 4 * MS);
        assert!(!stint.goes_on());
        assert!((stint.nanoseconds() - 1_000.0).abs() < 1e-6);
    }

    #[test]
    fn no_time_is_one_burst() {
        let mut stint = Stint::new(Duration::ZERO);
        assert!(stint.goes_on());
        stint.add(10, MS);
        assert!(!stint.goes_on());
    }
}
