//! The bus' clock, seen from here: deadlines cross the bus as its time, since the clocks of two
//! machines need not agree.
//!
//! Each answer of the bus that holds its time is a sample. The one with the shortest round trip of
//! the last few is the most precise and counts.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::transport::BusTime;

/// How many samples are kept.
const SAMPLES: usize = 16;

/// Clocks that differ by more than the round trips explain and this have not just drifted: one was
/// set, or another server answers.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Samples with a longer round trip say too little, unless there is none yet, or they contradict
/// what is known.
const LONGEST: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(crate) struct BusClock {
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    all: VecDeque<Sample>,
    /// The one that counts: looked at for each request, and found when a sample comes.
    best: Option<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    round_trip: Duration,
    /// Half-way between asking and hearing, here …
    here: Instant,
    /// … which was this moment there.
    there: BusTime,
}

impl BusClock {
    /// Takes the time that was asked for at `sent` and came at `received`.
    pub(crate) fn learn(&self, sent: Instant, received: Instant, there: BusTime) {
        let round_trip = received.duration_since(sent);
        let sample = Sample {
            round_trip,
            here: sent + round_trip / 2,
            there,
        };
        let mut samples = self.lock();
        match samples.best {
            Some(best) if best.contradicts(sample) => samples.all.clear(),
            Some(_) if round_trip > LONGEST => return,
            _ => {}
        }
        if samples.all.len() == SAMPLES {
            samples.all.pop_front();
        }
        samples.all.push_back(sample);
        let shortest = samples.all.iter().min_by_key(|sample| sample.round_trip);
        samples.best = shortest.copied();
    }

    /// That moment on the bus' clock; `None` before the first sample.
    pub(crate) fn to_bus(&self, moment: Instant) -> Option<BusTime> {
        self.best().map(|best| best.there_at(moment))
    }

    /// That moment on this process' clock. Whatever a peer wrote, it is at most `horizon` ahead of
    /// `now`; a moment before this process began is `now`.
    pub(crate) fn to_local(&self, there: BusTime, now: Instant, horizon: Duration) -> Instant {
        let latest = now + horizon;
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

    fn best(&self) -> Option<Sample> {
        self.lock().best
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    /// What it says about a moment here.
    fn there_at(self, moment: Instant) -> BusTime {
        let Self { here, there, .. } = self;
        BusTime(match moment.checked_duration_since(here) {
            Some(ahead) => there.0.saturating_add(millis(ahead)),
            None => there.0.saturating_sub(millis(here.duration_since(moment))),
        })
    }

    /// True if the two cannot be of the same clock.
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
    fn the_shortest_round_trip_counts() {
        let clock = BusClock::default();
        let start = Instant::now();
        assert_eq!(clock.to_bus(start), None);
        clock.learn(start, start + MS * 40, BusTime(5_000)); // half-way: 20 ms
        assert_eq!(clock.to_bus(start + MS * 20), Some(BusTime(5_000)));
        clock.learn(start + MS * 100, start + MS * 102, BusTime(5_090)); // half-way: 101 ms
        assert_eq!(clock.to_bus(start + MS * 111), Some(BusTime(5_100)));
        clock.learn(start + MS * 200, start + MS * 900, BusTime(5_800)); // far too slow
        assert_eq!(clock.to_bus(start + MS * 111), Some(BusTime(5_100)));
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let clock = BusClock::default();
        let start = Instant::now();
        let later = start + DAY;
        for there in [DAY, 2 * DAY, DAY / 2] {
            let there = BusTime(millis(there));
            clock.learn(start, start + MS, BusTime(0));
            // However slow the line has become.
            clock.learn(later - MS * 80, later + MS * 80, there);
            let now = clock.to_bus(later).unwrap();
            assert!(now.0.abs_diff(there.0) <= 1, "{now:?} is not {there:?}");
        }
    }

    #[test]
    fn both_directions_agree() {
        let clock = BusClock::default();
        let start = Instant::now();
        clock.learn(start, start, BusTime(10_000));
        for offset in [0_u32, 1, 500, 5_000] {
            let moment = start + MS * offset;
            let there = clock.to_bus(moment).unwrap();
            assert_eq!(clock.to_local(there, start, DAY), moment);
        }
    }

    #[test]
    fn a_deadline_from_a_peer_is_bounded() {
        let clock = BusClock::default();
        let now = Instant::now();
        clock.learn(now, now, BusTime(10_000));
        assert_eq!(clock.to_local(BusTime(u64::MAX), now, DAY), now + DAY);
        assert!(clock.to_local(BusTime(0), now, DAY) <= now);
    }
}
