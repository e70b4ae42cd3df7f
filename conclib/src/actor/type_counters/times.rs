//! The times of an actor type's messages: from the bus to the handler, and in the handler.
//!
//! All threads record together, unlike with counters: a time is recorded for a message from the bus, which costs far
//! more than the two additions, or for a sample of the others.

#[cfg(feature = "metrics")]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "metrics")]
use std::time::Duration;

use super::TypeCounts;
#[cfg(feature = "metrics")]
use super::{TypeCounters, TypeNumber};
use crate::time::durations::{DurationHistogram, DurationRecorder};

/// The times of a type's messages. Without the feature `metrics`, none are recorded.
pub(super) struct TypeTimes {
    /// From the pop off the bus to the handler.
    queue: DurationRecorder,
    /// In each handler.
    handlers: Box<[DurationRecorder]>,
    /// One local message in so many is timed; 0 for none.
    #[cfg(feature = "metrics")]
    sampled_one_in: AtomicU64,
}

impl TypeTimes {
    pub(super) fn new(handlers: usize) -> Self {
        Self {
            queue: DurationRecorder::default(),
            handlers: std::iter::repeat_with(DurationRecorder::default)
                .take(handlers)
                .collect(),
            #[cfg(feature = "metrics")]
            sampled_one_in: AtomicU64::new(0),
        }
    }

    /// The number of handlers.
    pub(super) fn handlers(&self) -> usize {
        self.handlers.len()
    }

    /// True if the message after these is one of the sample; `before` is the number of those that came earlier.
    #[cfg(feature = "metrics")]
    pub(super) fn is_next_sampled(&self, before: u64, messages: u64) -> bool {
        let one_in = self.sampled_one_in.load(Ordering::Relaxed);
        one_in != 0 && before / one_in != (before + messages) / one_in
    }
}

#[cfg(feature = "metrics")]
impl TypeCounters {
    /// Has one local message in so many timed, of each handler.
    pub(crate) fn sample_local(&self, one_in: u32) {
        let sampled = &self.times.sampled_one_in;
        sampled.store(one_in.into(), Ordering::Relaxed);
    }
}

impl TypeCounts {
    /// The times from the bus to the handlers.
    pub(crate) fn queue_times(&self) -> DurationHistogram {
        self.0.times.queue.read()
    }

    /// The times in the handler at this place.
    pub(crate) fn handler_times(&self, place: usize) -> DurationHistogram {
        let recorder = self.0.times.handlers.get(place);
        recorder.map(DurationRecorder::read).unwrap_or_default()
    }
}

#[cfg(feature = "metrics")]
impl TypeNumber {
    /// Records the time that a message has waited between the bus and its handler.
    pub(crate) fn record_queue_time(self, time: Duration) {
        self.with_counters(|counters| counters.times.queue.record(time));
    }

    /// Records the time that a message has taken in its handler.
    pub(crate) fn record_handler_time(self, handler: u16, time: Duration) {
        self.with_counters(|counters| {
            if let Some(recorder) = counters.times.handlers.get(counters.place_of(handler)) {
                recorder.record(time);
            }
        });
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn one_message_in_so_many_is_sampled() {
        let times = TypeTimes::new(1);
        let sampled = |one_in: u64, run: u64| {
            times.sampled_one_in.store(one_in, Ordering::Relaxed);
            let runs = (0..1_000).map(|n| times.is_next_sampled(n * run, run));
            runs.filter(|is_sampled| *is_sampled).count()
        };
        assert_eq!(sampled(0, 1), 0);
        assert_eq!(sampled(1, 1), 1_000);
        assert_eq!(sampled(64, 1), 15);
        assert_eq!(sampled(64, 16), 250);
        assert_eq!(sampled(64, 128), 1_000, "one in a run is the most");
    }
}
