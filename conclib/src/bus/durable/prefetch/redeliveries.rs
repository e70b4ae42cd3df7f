//! Messages that stay in the stream until another delivery here. No I/O.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::transport::stream::{Attempts, EntryId};

/// Messages are claimed this much later than they are due, together with those that become due
/// meanwhile.
const COLLECT_TIME: Duration = Duration::from_millis(50);

/// Messages that this process has given up for now, with their deliveries: the bus may count more.
///
/// A scheduled message is claimed at its time. It gets no heartbeat until then: only the owner of the
/// lease claims entries, and passes over those that it has scheduled. Any other message is due when the
/// visibility time has passed.
#[derive(Debug, Default)]
pub(crate) struct Redeliveries {
    by_id: HashMap<EntryId, Redelivery>,
    /// The scheduled messages, the next one first.
    schedule: BTreeSet<(Instant, EntryId)>,
    /// The first of the scheduled messages with each dedup key whose last delivery has failed. Two keys with
    /// one hash cost a repetition of the one a pause, and nothing else.
    failed: HashMap<u64, EntryId>,
    /// Hashes the dedup keys: a million of them are to take little room.
    hasher: RandomState,
}

/// The pause after a delivery that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailurePause {
    /// The deliveries so far.
    pub(crate) attempts: Attempts,
    /// The time of the next one.
    pub(crate) due: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Redelivery {
    /// The deliveries before the next one.
    attempts: Attempts,
    /// The time at which the message is to be claimed; `None`: the visibility time.
    due: Option<Instant>,
    /// The hash of the dedup key, if the last delivery has failed.
    failed: Option<u64>,
}

impl Redeliveries {
    /// Remembers the deliveries of a message that could not be delivered. If it is scheduled, it stays so.
    pub(crate) fn remember(&mut self, id: EntryId, attempts: Attempts) {
        let new = Redelivery {
            attempts,
            due: None,
            failed: None,
        };
        self.by_id.entry(id).or_insert(new).attempts = attempts;
    }

    /// Schedules a message for this time.
    pub(crate) fn schedule(&mut self, id: EntryId, attempts: Attempts, due: Instant) {
        self.forget(id);
        let scheduled = Redelivery {
            attempts,
            due: Some(due),
            failed: None,
        };
        self.by_id.insert(id, scheduled);
        self.schedule.insert((due, id));
    }

    /// Schedules a message whose last delivery has failed. Repetitions of it share its
    /// [`pause_of`](Self::pause_of).
    pub(crate) fn schedule_failed(&mut self, id: EntryId, pause: FailurePause, dedup_key: &str) {
        self.schedule(id, pause.attempts, pause.due);
        let hash = self.hasher.hash_one(dedup_key);
        if let Some(scheduled) = self.by_id.get_mut(&id) {
            scheduled.failed = Some(hash);
        }
        self.failed.entry(hash).or_insert(id);
    }

    /// The pause of the message with this dedup key, if its last delivery has failed.
    pub(crate) fn pause_of(&self, dedup_key: &str) -> Option<FailurePause> {
        let id = self.failed.get(&self.hasher.hash_one(dedup_key))?;
        let Redelivery { attempts, due, .. } = *self.by_id.get(id)?;
        Some(FailurePause {
            attempts,
            due: due?,
        })
    }

    /// The remembered deliveries of a message.
    pub(crate) fn attempts(&self, id: EntryId) -> Option<Attempts> {
        self.by_id.get(&id).map(|one| one.attempts)
    }

    /// True if the message is to be claimed at a time of its own.
    pub(crate) fn is_scheduled(&self, id: EntryId) -> bool {
        self.by_id.get(&id).is_some_and(|one| one.due.is_some())
    }

    /// Up to `count` scheduled messages that are due. They stay scheduled until they are
    /// [forgotten](Self::forget).
    pub(crate) fn due(&self, now: Instant, count: usize) -> Vec<(EntryId, Attempts)> {
        let due = self.schedule.iter().take_while(|(due, _)| *due <= now);
        let due = due.filter_map(|(_, id)| Some((*id, self.attempts(*id)?)));
        due.take(count).collect()
    }

    /// The time at which scheduled messages are to be claimed.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.schedule.first().map(|(due, _)| *due + COLLECT_TIME)
    }

    /// Forgets a message: it was claimed.
    pub(crate) fn forget(&mut self, id: EntryId) {
        let Some(Redelivery { due, failed, .. }) = self.by_id.remove(&id) else {
            return;
        };
        if let Some(due) = due {
            self.schedule.remove(&(due, id));
        }
        if let Some(hash) = failed
            && self.failed.get(&hash) == Some(&id)
        {
            self.failed.remove(&hash);
        }
    }

    /// Forgets the messages that other consumers have claimed.
    pub(crate) fn forget_all(&mut self, is_foreign: impl Fn(EntryId) -> bool) {
        let all = self.by_id.keys().copied();
        let foreign: Vec<_> = all.filter(|id| is_foreign(*id)).collect();
        for id in foreign {
            self.forget(id);
        }
    }

    /// Forgets all messages, and returns them with their deliveries.
    pub(crate) fn take_all(&mut self) -> Vec<(EntryId, Attempts)> {
        let all = std::mem::take(self).by_id.into_iter();
        all.map(|(id, one)| (id, one.attempts)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u64) -> EntryId {
        EntryId(number, 0)
    }

    #[test]
    fn scheduled_messages_are_due_in_the_order_of_their_times() {
        let (mut all, now) = (Redeliveries::default(), Instant::now());
        for (number, seconds) in [(1, 3), (2, 1), (3, 2)] {
            all.schedule(id(number), Attempts::new(1), now + seconds * SECOND);
        }
        all.remember(id(4), Attempts::new(2));
        assert_eq!(all.wakes_at(), Some(now + SECOND + COLLECT_TIME));
        assert!(all.due(now, 9).is_empty());
        let due = |all: &Redeliveries, seconds, count| -> Vec<u64> {
            let due = all.due(now + seconds * SECOND, count).into_iter();
            due.map(|(id, _)| id.0).collect()
        };
        assert_eq!(due(&all, 2, 9), [2, 3]);
        assert_eq!(due(&all, 9, 1), [2]);
        // A failed claim leaves them scheduled.
        all.remember(id(2), Attempts::new(1));
        assert!(all.is_scheduled(id(2)) && !all.is_scheduled(id(4)));
        all.forget(id(2));
        assert_eq!(due(&all, 9, 9), [3, 1]);
        assert_eq!(all.attempts(id(4)), Some(Attempts::new(2)));
        assert_eq!(all.take_all().len(), 3);
        assert_eq!((all.len(), all.wakes_at()), (0, None));
    }

    #[test]
    fn pause_of_a_key_is_that_of_its_first_message() {
        let (mut all, now) = (Redeliveries::default(), Instant::now());
        let pause = |deliveries, seconds| FailurePause {
            attempts: Attempts::new(deliveries).failed(),
            due: now + seconds * SECOND,
        };
        all.schedule_failed(id(1), pause(2, 5), "a");
        all.schedule_failed(id(2), pause(1, 9), "a");
        all.schedule(id(3), Attempts::new(1), now);
        assert_eq!(all.pause_of("a"), Some(pause(2, 5)));
        assert_eq!(all.pause_of("b"), None);
        assert_eq!(all.due(now + 9 * SECOND, 9).len(), 3);
        all.forget(id(2));
        assert_eq!(all.pause_of("a"), Some(pause(2, 5)));
        all.forget_all(|id| id.0 == 1);
        assert_eq!((all.pause_of("a"), all.len()), (None, 1));
    }

    #[test]
    fn message_is_scheduled_once() {
        let (mut all, now) = (Redeliveries::default(), Instant::now());
        all.schedule(id(1), Attempts::new(1), now);
        all.schedule(id(1), Attempts::new(2), now + SECOND);
        assert!(all.due(now, 9).is_empty());
        assert_eq!(all.due(now + SECOND, 9), [(id(1), Attempts::new(2))]);
        all.forget(id(1));
        assert_eq!(all.wakes_at(), None);
    }
}
