//! An estimate of the bus' clock: deadlines cross the bus in its time, since the clocks of two machines
//! need not agree. No I/O.
//!
//! Each reply with the bus' time is a sample. Among the last few samples, the one with the shortest
//! round trip is the most precise, and is used.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::transport::ServerTime;
use crate::time::durations::{DurationHistogram, DurationRecorder};

/// Number of samples that are kept.
const SAMPLES: usize = 16;

/// Two samples that differ by more than this, beyond their round trips, show more than drift: a clock
/// was set, or another server answers.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Samples with a longer round trip are ignored, unless there is none yet, or they contradict the
/// current one.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(50);

/// Converts between the bus' time and this process' time.
#[derive(Default)]
pub(crate) struct ServerClock {
    samples: Mutex<Samples>,
    /// The times of the commands that have brought a sample.
    round_trips: DurationRecorder,
}

#[derive(Default)]
struct Samples {
    all: VecDeque<Sample>,
    /// The sample in use: read for each request, and chosen when a sample comes.
    best: Option<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    round_trip: Duration,
    /// The middle between request and reply on this process' clock …
    here: Instant,
    /// … was this time on the bus' clock.
    there: ServerTime,
}

impl ServerClock {
    /// Records the time of a reply that was requested at `sent` and came at `received`.
    pub(crate) fn record(&self, sent: Instant, received: Instant, there: ServerTime) {
        let round_trip = received.duration_since(sent);
        self.round_trips.record(round_trip);
        let sample = Sample {
            round_trip,
            here: sent + round_trip / 2,
            there,
        };
        let mut samples = self.samples.lock();
        match samples.best {
            Some(best) if best.contradicts(sample) => samples.all.clear(),
            Some(_) if round_trip > MAX_ROUND_TRIP => return,
            _ => {}
        }
        if samples.all.len() == SAMPLES {
            samples.all.pop_front();
        }
        samples.all.push_back(sample);
        let shortest = samples.all.iter().min_by_key(|sample| sample.round_trip);
        samples.best = shortest.copied();
    }

    /// A moment as the bus' time; `None` before the first sample.
    pub(crate) fn to_bus(&self, moment: Instant) -> Option<ServerTime> {
        self.best().map(|best| best.there_at(moment))
    }

    /// The bus' time as a moment of this process. It is at most `max_ahead` after `now`, also for times
    /// that a peer invented; a moment before this process began is `now`.
    pub(crate) fn to_local(&self, there: ServerTime, now: Instant, max_ahead: Duration) -> Instant {
        let latest = now + max_ahead;
        let Some(best) = self.best() else {
            return latest;
        };
        let moment = if there >= best.there {
            best.here
                .checked_add(Duration::from_millis(there.0 - best.there.0))
        } else {
            let back = Duration::from_millis(best.there.0 - there.0);
            Some(best.here.checked_sub(back).unwrap_or(now))
        };
        moment.map_or(latest, |moment| moment.min(latest))
    }

    /// The times of commands to the bus, with the feature `metrics`.
    pub(crate) fn round_trips(&self) -> DurationHistogram {
        self.round_trips.read()
    }

    fn best(&self) -> Option<Sample> {
        self.samples.lock().best
    }
}

impl Sample {
    /// The bus' time at a moment of this process.
    fn there_at(self, moment: Instant) -> ServerTime {
        let Self { here, there, .. } = self;
        ServerTime(match moment.checked_duration_since(here) {
            Some(ahead) => there.0.saturating_add(millis(ahead)),
            None => there.0.saturating_sub(millis(here.duration_since(moment))),
        })
    }

    /// True if the two samples cannot be of the same clock.
    fn contradicts(self, other: Self) -> bool {
        let apart = self.there_at(other.here).0.abs_diff(other.there.0);
        let explained = (self.round_trip + other.round_trip) / 2 + TOLERANCE;
        apart > millis(explained)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn shortest_round_trip_counts() {
        let clock = ServerClock::default();
        let start = Instant::now();
        assert_eq!(clock.to_bus(start), None);
        clock.record(start, start + MS * 40, ServerTime(5_000)); // half-way: 20 ms
        assert_eq!(clock.to_bus(start + MS * 20), Some(ServerTime(5_000)));
        clock.record(start + MS * 100, start + MS * 102, ServerTime(5_090)); // half-way: 101 ms
        assert_eq!(clock.to_bus(start + MS * 111), Some(ServerTime(5_100)));
        clock.record(start + MS * 200, start + MS * 900, ServerTime(5_800)); // far too slow
        assert_eq!(clock.to_bus(start + MS * 111), Some(ServerTime(5_100)));
    }

    #[test]
    fn clock_that_was_set_is_adopted_at_once() {
        let clock = ServerClock::default();
        let start = Instant::now();
        let later = start + DAY;
        for there in [DAY, 2 * DAY, DAY / 2] {
            let there = ServerTime(millis(there));
            clock.record(start, start + MS, ServerTime(0));
            // Also with a long round trip.
            clock.record(later - MS * 80, later + MS * 80, there);
            let now = clock.to_bus(later).unwrap();
            assert!(now.0.abs_diff(there.0) <= 1, "{now:?} is not {there:?}");
        }
    }

    #[test]
    fn both_directions_agree() {
        let clock = ServerClock::default();
        let start = Instant::now();
        clock.record(start, start, ServerTime(10_000));
        for offset in [0_u32, 1, 500, 5_000] {
            let moment = start + MS * offset;
            let there = clock.to_bus(moment).unwrap();
            assert_eq!(clock.to_local(there, start, DAY), moment);
        }
    }

    #[test]
    fn deadline_of_a_peer_is_bounded() {
        let clock = ServerClock::default();
        let now = Instant::now();
        clock.record(now, now, ServerTime(10_000));
        assert_eq!(clock.to_local(ServerTime(u64::MAX), now, DAY), now + DAY);
        assert!(clock.to_local(ServerTime(0), now, DAY) <= now);
    }
}
