//! Finds actors on demand that have been idle for long enough: looks at each about once per idle time,
//! so that messages cost nothing.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::actor::any::{Activity, AnyActor};

/// The longest idle time; a longer one means the same as this.
const MAX_IDLE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The part of the idle time after which an actor in use is looked at again.
const STEPS: u32 = 8;

/// The shortest time between two looks.
const MIN_STEP: Duration = Duration::from_millis(1);

/// The most actors that are looked at without a pause.
const CHECKS_AT_ONCE: usize = 256;

/// The idle time of a pattern.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleTime {
    idle: Duration,
    /// The time after which an actor in use is looked at again; the search for idle actors is not
    /// exacter than this.
    step: Duration,
}

impl IdleTime {
    pub(super) fn new(idle: Duration) -> Self {
        let idle = idle.min(MAX_IDLE);
        let step = (idle / STEPS).max(MIN_STEP);
        Self { idle, step }
    }
}

/// The running actors of a pattern, by the times of their next looks.
pub(super) struct IdleQueue {
    time: IdleTime,
    entries: Mutex<BinaryHeap<QueuedActor>>,
    /// Notified when the queue is no longer empty.
    added: Notify,
}

/// An actor, with the signs of use that were seen at the last look.
struct QueuedActor {
    /// The time of the next look.
    due: Instant,
    actor: Weak<dyn AnyActor>,
    last: LastUse,
}

/// The last use of an actor, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastUse {
    /// The actor's [progress](Activity::progress).
    progress: u32,
    at: Instant,
}

/// The decision about an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdleDecision {
    /// The actor was idle for long enough.
    Idle,
    /// It was not; the next look is due then.
    Again(Instant),
}

impl LastUse {
    /// Decides if the actor was idle for long enough by `now`.
    ///
    /// The arrival of its last messages counts as its last use. If that is longer ago than the idle time
    /// and yet messages were handled since the last look, a handler took that long, and this look counts.
    fn decide(&mut self, activity: Activity, time: IdleTime, now: Instant) -> IdleDecision {
        if activity.progress != self.progress {
            self.progress = activity.progress;
            let arrived = now.checked_sub(activity.since_arrival);
            let is_recent = activity.since_arrival < time.idle;
            self.at = arrived.filter(|_| is_recent).unwrap_or(now).max(self.at);
        }
        let due = self.at + time.idle;
        if activity.is_occupied {
            IdleDecision::Again(due.max(now + time.step))
        } else if due <= now {
            IdleDecision::Idle
        } else {
            IdleDecision::Again(due)
        }
    }
}

impl IdleQueue {
    pub(super) fn new(time: IdleTime) -> Self {
        Self {
            time,
            entries: Mutex::default(),
            added: Notify::new(),
        }
    }

    /// Adds an actor that has started. `live` is the number of actors that are live: entries of
    /// others are removed before they are as many again.
    pub(super) fn add(&self, actor: Weak<dyn AnyActor>, live: usize) {
        let now = Instant::now();
        let progress = match actor.upgrade() {
            Some(actor) => actor.activity().progress,
            None => return,
        };
        let entry = QueuedActor {
            due: now + self.time.idle.max(self.time.step),
            actor,
            last: LastUse { progress, at: now },
        };
        let mut entries = self.entries.lock();
        if entries.len() > live.saturating_mul(2).saturating_add(CHECKS_AT_ONCE) {
            entries.retain(QueuedActor::is_live);
        }
        let was_empty = entries.is_empty();
        entries.push(entry);
        drop(entries);
        if was_empty {
            self.added.notify_one();
        }
    }

    /// Signals idle actors for ever.
    pub(super) async fn signal_idle(&self) {
        loop {
            let Some(due) = self.earliest() else {
                self.added.notified().await;
                continue;
            };
            let soon = Instant::now() + self.time.step / 2; // many at once
            tokio::time::sleep_until(due.max(soon)).await;
            while self.check_due(Instant::now()) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn earliest(&self) -> Option<Instant> {
        self.entries.lock().peek().map(|entry| entry.due)
    }

    /// Looks at actors whose time has come; true if there may be more of them.
    fn check_due(&self, now: Instant) -> bool {
        let mut due = Vec::new();
        let mut entries = self.entries.lock();
        while due.len() < CHECKS_AT_ONCE && entries.peek().is_some_and(|entry| entry.due <= now) {
            due.extend(entries.pop());
        }
        if entries.is_empty() {
            entries.shrink_to_fit();
        }
        drop(entries);
        let is_full = due.len() == CHECKS_AT_ONCE;
        due.retain_mut(|entry| entry.check(self.time, now));
        self.entries.lock().extend(due);
        is_full
    }
}

impl QueuedActor {
    /// Looks at the actor, and signals it if it is idle. False if it has ended.
    fn check(&mut self, time: IdleTime, now: Instant) -> bool {
        let actor = self.actor.upgrade().filter(|actor| !actor.has_ended());
        let Some(actor) = actor else { return false };
        self.due = match self.last.decide(actor.activity(), time, now) {
            IdleDecision::Again(at) => at,
            IdleDecision::Idle => {
                actor.signal_idle();
                now + time.step // it may have something to do that only its task knows
            }
        };
        true
    }

    fn is_live(&self) -> bool {
        let actor = self.actor.upgrade();
        actor.is_some_and(|actor| !actor.has_ended())
    }
}

// The earliest is the greatest.
impl Ord for QueuedActor {
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for QueuedActor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for QueuedActor {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for QueuedActor {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn activity(progress: u32, since_arrival: u64) -> Activity {
        Activity {
            progress,
            since_arrival: Duration::from_secs(since_arrival),
            is_occupied: false,
        }
    }

    #[test]
    fn actor_is_idle_after_the_idle_time_since_its_last_message() {
        let (start, time) = (Instant::now(), IdleTime::new(8 * SECOND));
        let at = |seconds: u32| start + seconds * SECOND;
        let mut last = LastUse {
            progress: 0,
            at: start,
        };
        // A message came 3 s before the look.
        assert_eq!(
            last.decide(activity(1, 3), time, at(8)),
            IdleDecision::Again(at(13))
        );
        assert_eq!(
            last.decide(activity(1, 8), time, at(13)),
            IdleDecision::Idle
        );
        // Without a message.
        assert_eq!(
            last.decide(activity(1, 9), time, at(14)),
            IdleDecision::Idle
        );
        // Its handler took longer than the idle time.
        assert_eq!(
            last.decide(activity(2, 9), time, at(20)),
            IdleDecision::Again(at(28))
        );
        assert_eq!(
            last.decide(activity(2, 17), time, at(28)),
            IdleDecision::Idle
        );
    }

    #[test]
    fn actor_in_use_is_looked_at_again_after_a_step() {
        let (start, time) = (Instant::now(), IdleTime::new(8 * SECOND));
        let mut last = LastUse {
            progress: 0,
            at: start,
        };
        let mut occupied = activity(0, 100);
        occupied.is_occupied = true;
        let now = start + 10 * SECOND;
        assert_eq!(
            last.decide(occupied, time, now),
            IdleDecision::Again(now + SECOND)
        );
        occupied.is_occupied = false;
        assert_eq!(
            last.decide(occupied, time, now + SECOND),
            IdleDecision::Idle
        );
    }

    #[test]
    fn extreme_idle_times_have_looks() {
        let now = Instant::now();
        for idle in [Duration::ZERO, Duration::MAX] {
            let time = IdleTime::new(idle);
            assert!(time.step >= MIN_STEP);
            assert!(now + time.idle + time.step > now);
        }
    }
}
