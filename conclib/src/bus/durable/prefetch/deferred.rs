//! What there is no room for in the hand: only its place in the stream is kept.

use std::collections::VecDeque;

use crate::bus::durable::prefetch::{Load, Prefetch, ReceivedMessage, has_room};
use crate::bus::transport::stream::{Attempts, EntryId};

/// How many parked messages are asked for at a time.
const RESUME_COUNT: usize = 128;

/// A lane in which more wait is left alone: each question to the bus is to bring many.
const LOW: usize = 32;

/// How many lanes are looked at for that.
const LANES: usize = 64;

/// A message of which only the place is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deferred {
    id: EntryId,
    /// How often it was delivered before.
    attempts: Attempts,
    bytes: usize,
}

impl Deferred {
    /// What was taken to be delivered, and was not.
    pub(super) fn of(message: &ReceivedMessage) -> Self {
        Self {
            id: message.id,
            attempts: message.attempts.before(),
            bytes: message.frame.len(),
        }
    }
}

/// A parked message for which there is room now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resumable {
    pub(crate) urn: String,
    pub(crate) id: EntryId,
    /// How often it was delivered before.
    pub(crate) attempts: Attempts,
}

impl Prefetch {
    pub(super) fn defer(
        &mut self,
        urn: &str,
        deferred: Deferred,
        put: impl FnOnce(&mut VecDeque<Deferred>, Deferred),
    ) {
        let queue = self.queues.entry(urn.to_owned()).or_default();
        if !std::mem::replace(&mut queue.has_turn, true) {
            self.rotation.push_back(urn.to_owned());
        }
        put(&mut queue.deferred, deferred);
        self.deferred.insert(deferred.id);
    }

    /// The parked messages for which there is room now, those of a lane in their order. The bus is
    /// to be asked for them; they stay parked until they are [`resumed`](Self::resumed).
    pub(crate) fn resumable(&mut self) -> Vec<Resumable> {
        let mut resumable = Vec::new();
        // What is asked for counts as if it were there.
        let mut all = Load {
            deliveries: self.deliveries.len(),
            bytes: self.bytes,
        };
        for _ in 0..LANES.min(self.rotation.len()) {
            let Some(urn) = self.rotation.pop_front() else {
                break;
            };
            let Some(queue) = self.queues.get_mut(&urn) else {
                continue;
            };
            if queue.deferred.is_empty() {
                queue.has_turn = false;
                self.drop_lane_if_empty(&urn);
                continue;
            }
            let mut own = queue.load;
            let most = if queue.waiting.len() <= LOW {
                RESUME_COUNT
            } else {
                0
            };
            for deferred in &queue.deferred {
                if resumable.len() >= most || !has_room(own, deferred.bytes, all) {
                    break;
                }
                own.add(deferred.bytes);
                all.add(deferred.bytes);
                resumable.push(Resumable {
                    urn: urn.clone(),
                    id: deferred.id,
                    attempts: deferred.attempts,
                });
            }
            self.rotation.push_back(urn);
        }
        resumable
    }

    /// The bus has given it out, or does not have it any more.
    pub(crate) fn resumed(&mut self, resumable: &Resumable) {
        self.deferred.remove(&resumable.id);
        if let Some(queue) = self.queues.get_mut(&resumable.urn)
            && let Some(place) = queue.deferred.iter().position(|one| one.id == resumable.id)
        {
            queue.deferred.remove(place); // it is the first
        }
    }

    /// Cards that are not with their actors go back to the front of what is parked: what was known
    /// of them may not be so any more.
    pub(crate) fn defer_again(&mut self, tickets: &[u64]) {
        for ticket in tickets.iter().rev() {
            let Some(delivery) = self.settle(*ticket) else {
                continue;
            };
            // The repetitions come again when they are due.
            self.release(&delivery.ids());
            for (id, attempts) in delivery.attempts().into_iter().skip(1) {
                self.rest(id, attempts.before());
            }
            let deferred = Deferred::of(&delivery.message);
            self.defer(&delivery.message.urn, deferred, VecDeque::push_front);
        }
    }

    /// The same for all of them.
    pub(crate) fn defer_all_waiting(&mut self) {
        let queues = self.waiting.iter().filter_map(|urn| self.queues.get(urn));
        let tickets: Vec<_> = queues.flat_map(|queue| &queue.waiting).copied().collect();
        self.defer_again(&tickets);
    }

    /// Takes everything out that is not with its actor; how often it was delivered without that.
    pub(crate) fn give_back(&mut self) -> Vec<(EntryId, Attempts)> {
        let queues = self.waiting.iter().filter_map(|urn| self.queues.get(urn));
        let tickets: Vec<_> = queues.flat_map(|queue| &queue.waiting).copied().collect();
        let mut back = Vec::new();
        for ticket in tickets {
            let Some(delivery) = self.settle(ticket) else {
                continue;
            };
            self.release(&delivery.ids());
            let attempts = delivery.attempts().into_iter();
            back.extend(attempts.map(|(id, attempts)| (id, attempts.before())));
        }
        for urn in std::mem::take(&mut self.rotation) {
            if let Some(queue) = self.queues.get_mut(&urn) {
                queue.has_turn = false;
                let deferred = std::mem::take(&mut queue.deferred).into_iter();
                back.extend(deferred.map(|deferred| (deferred.id, deferred.attempts)));
            }
            self.drop_lane_if_empty(&urn);
        }
        self.deferred.clear();
        back
    }
}
