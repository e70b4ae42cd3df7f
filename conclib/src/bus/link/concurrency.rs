//! How many batches may be under way at a time. No I/O.
//!
//! Near the bus one is best: what comes meanwhile gathers, and a large batch costs little more than
//! a small one. Far from it that would leave the line idle for most of the time.

use std::time::Duration;

use tokio::time::Instant;

/// A bus that answers within this time is near.
const NEAR: Duration = Duration::from_micros(300);

/// How many batches are under way at a time when the bus is far.
const FAR: usize = 4;

/// Round trips are remembered for this time at least, and twice as long at most.
const SPAN: Duration = Duration::from_secs(5);

/// The windows of one end of the bus, decided by the smallest round trip of the last seconds: the
/// others say how busy everybody is, not how far the bus is.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// When the span of the moment began.
    began: Option<Instant>,
    /// The smallest round trip in it, …
    smallest: Option<Duration>,
    /// … and in the span before.
    before: Option<Duration>,
}

impl Windows {
    /// Learns how long a batch took from being sent to being confirmed.
    pub(crate) fn learn(&mut self, now: Instant, round_trip: Duration) {
        let age = self.began.map(|began| now.saturating_duration_since(began));
        if age.is_none_or(|age| age >= SPAN) {
            // What was measured in a span that is long gone counts no more.
            let is_fresh = age.is_some_and(|age| age < 2 * SPAN);
            self.before = self.smallest.take().filter(|_| is_fresh);
            self.began = Some(now);
        }
        self.smallest = Some(smaller(self.smallest, round_trip));
    }

    /// True as long as nothing else is known.
    pub(crate) fn is_near(&self) -> bool {
        match (self.smallest, self.before) {
            (Some(smallest), before) => smaller(before, smallest) < NEAR,
            (None, _) => true,
        }
    }

    /// How many batches may be under way.
    pub(crate) fn allowed(&self) -> usize {
        if self.is_near() { 1 } else { FAR }
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
    fn the_smallest_round_trip_decides() {
        let mut windows = Windows::default();
        let start = Instant::now();
        assert_eq!(windows.allowed(), 1);
        windows.learn(start, 1_000 * MICRO);
        assert_eq!(windows.allowed(), FAR);
        windows.learn(start + SPAN / 2, 299 * MICRO);
        assert_eq!(windows.allowed(), 1);
        windows.learn(start + SPAN / 2, 20_000 * MICRO); // only busy
        assert_eq!(windows.allowed(), 1);
    }

    #[test]
    fn a_bus_that_moves_away_is_noticed_and_so_is_its_return() {
        let mut windows = Windows::default();
        let start = Instant::now();
        windows.learn(start, 100 * MICRO);
        windows.learn(start + SPAN, 2_000 * MICRO);
        assert_eq!(windows.allowed(), 1, "it was near a moment ago");
        windows.learn(start + 2 * SPAN, 2_000 * MICRO);
        assert_eq!(windows.allowed(), FAR);
        windows.learn(start + 2 * SPAN + SPAN / 2, 100 * MICRO);
        assert_eq!(windows.allowed(), 1);
    }

    #[test]
    fn what_was_measured_before_a_long_silence_does_not_count() {
        let mut windows = Windows::default();
        let start = Instant::now();
        windows.learn(start, 100 * MICRO);
        windows.learn(start + 60 * SPAN, 2_000 * MICRO);
        assert_eq!(windows.allowed(), FAR);
    }
}
