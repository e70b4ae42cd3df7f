//! Durations, counted in buckets: recorded with two additions, and read as plain data.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use recorder::DurationRecorder;
#[cfg(feature = "bus")]
pub(crate) use recorder::Stopwatch;

#[cfg(feature = "metrics")]
mod recorder;
#[cfg(not(feature = "metrics"))]
#[path = "durations/no_recorder.rs"]
mod recorder;

/// Durations, counted in buckets that are each at most a quarter wider than their shortest duration.
///
/// ```
/// use conclib::metrics::DurationHistogram;
///
/// let none = DurationHistogram::default();
/// assert_eq!((none.count(), none.mean(), none.quantile(0.99)), (0, None, None));
/// ```
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DurationHistogram {
    /// The sum of all durations.
    pub sum: Duration,
    /// The buckets that are not empty, in ascending order.
    pub buckets: Vec<DurationBucket>,
}

/// A number of similar durations, in a [`DurationHistogram`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DurationBucket {
    /// The least duration of the bucket.
    pub from: Duration,
    /// The upper bound of the bucket, which belongs to the next one. The last possible bucket, from 2 h on, has all
    /// longer durations too.
    pub to: Duration,
    /// The number of durations.
    pub count: u64,
}

impl DurationHistogram {
    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// The mean duration; `None` if there is none.
    pub fn mean(&self) -> Option<Duration> {
        let count = self.count();
        let mean = u128::checked_div(self.sum.as_nanos(), count.into())?;
        Some(Duration::from_nanos(
            u64::try_from(mean).unwrap_or(u64::MAX),
        ))
    }

    /// The duration that this part of all durations does not exceed: 0.99 for all but one in a hundred. Exact to an
    /// eighth; `None` if there is no duration.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank need not be exact"
        )]
        let rank = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        let reaches = |bucket: &&DurationBucket| {
            seen += bucket.count;
            seen >= rank
        };
        self.buckets
            .iter()
            .find(reaches)
            .map(DurationBucket::middle)
    }

    /// Adds the durations of another histogram.
    pub fn add(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        for added in &other.buckets {
            let place = self
                .buckets
                .binary_search_by_key(&added.from, |bucket| bucket.from);
            match place {
                Ok(place) => self.buckets[place].count += added.count,
                Err(place) => self.buckets.insert(place, *added),
            }
        }
    }
}

impl DurationBucket {
    /// The middle of the bucket: at most an eighth away from each of its durations.
    pub fn middle(&self) -> Duration {
        self.from + self.to.saturating_sub(self.from) / 2
    }
}

impl fmt::Debug for DurationHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurationHistogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("p99", &self.quantile(0.99))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_added() {
        let millis = Duration::from_millis;
        let histogram = |buckets: &[(u64, u64)]| DurationHistogram {
            sum: Duration::from_secs(1),
            buckets: buckets
                .iter()
                .map(|(from, count)| DurationBucket {
                    from: millis(*from),
                    to: millis(*from + 1),
                    count: *count,
                })
                .collect(),
        };
        let mut all = histogram(&[(3, 1), (9, 4)]);
        all.add(&histogram(&[(1, 1), (3, 2)]));
        let mut sum = histogram(&[(1, 1), (3, 3), (9, 4)]);
        sum.sum *= 2;
        assert_eq!(all, sum);
        assert_eq!(all.mean(), Some(millis(250)));
        assert_eq!(all.quantile(0.5), Some(Duration::from_micros(3_500)));
    }
}
