//! Deferred messages: there is no room for them, so that only their entry ids are kept.

use std::collections::VecDeque;

use crate::bus::durable::prefetch::{DeliveryTicket, Prefetch, ReceivedMessage, has_room};
use crate::bus::transport::stream::{Attempts, EntryId};

/// The maximum number of deferred messages that are resumed at a time.
const RESUME_COUNT: usize = 128;

/// A queue in which more messages wait is not resumed: each claim is to bring many.
const LOW_WATER: usize = 32;

/// The maximum number of queues that are considered at a time.
const MAX_QUEUES: usize = 64;

/// A deferred message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deferred {
    pub(super) id: EntryId,
    /// The deliveries before the next one.
    attempts: Attempts,
    bytes: usize,
}

impl Deferred {
    /// Defers a message that was claimed for a delivery and not delivered.
    pub(super) fn of(message: &ReceivedMessage) -> Self {
        Self {
            id: message.id,
            attempts: message.attempts.undelivered(),
            bytes: message.frame.len(),
        }
    }

    /// Defers a message that was not claimed, and whose size is not known.
    pub(super) fn unclaimed(id: EntryId, attempts: Attempts) -> Self {
        Self {
            id,
            attempts,
            bytes: 0,
        }
    }

    pub(super) fn of_queue(self, urn: &str) -> Resumable {
        Resumable {
            urn: urn.to_owned(),
            id: self.id,
            attempts: self.attempts,
        }
    }
}

/// A deferred message for which there is room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resumable {
    pub(crate) urn: String,
    pub(crate) id: EntryId,
    /// The deliveries before the next one.
    pub(crate) attempts: Attempts,
}

impl Prefetch {
    pub(super) fn defer(
        &mut self,
        urn: &str,
        deferred: Deferred,
        put: impl FnOnce(&mut VecDeque<Deferred>, Deferred),
    ) {
        let queue = self.queues.by_urn.entry(urn.to_owned()).or_default();
        if !queue.waits_for_actor && !std::mem::replace(&mut queue.in_rotation, true) {
            self.queues.rotation.push_back(urn.to_owned());
        }
        put(&mut queue.deferred, deferred);
        self.deferred.insert(deferred.id);
    }

    /// The deferred messages for which there is room now, those of a queue in their order. They are to
    /// be claimed, and stay deferred until they are [`resumed`](Self::resumed).
    pub(crate) fn resumable(&mut self) -> Vec<Resumable> {
        let mut resumable = Vec::new();
        // Messages about to be claimed count as prefetched.
        let mut total = self.deliveries.load();
        for _ in 0..MAX_QUEUES.min(self.queues.rotation.len()) {
            let Some(urn) = self.queues.rotation.pop_front() else {
                break;
            };
            let Some(queue) = self.queues.by_urn.get_mut(&urn) else {
                continue;
            };
            if queue.deferred.is_empty() || queue.waits_for_actor {
                queue.in_rotation = false;
                self.queues.drop_if_empty(&urn);
                continue;
            }
            let mut load = queue.load;
            let most = if queue.waiting.len() <= LOW_WATER {
                RESUME_COUNT
            } else {
                0
            };
            for deferred in &queue.deferred {
                if resumable.len() >= most || !has_room(load, deferred.bytes, total) {
                    break;
                }
                load.add(deferred.bytes);
                total.add(deferred.bytes);
                resumable.push(deferred.of_queue(&urn));
            }
            self.queues.rotation.push_back(urn);
        }
        resumable
    }

    /// Ends the deferral of a message that was claimed, or that is no longer in the stream.
    pub(crate) fn resumed(&mut self, message: &Resumable) {
        self.deferred.remove(&message.id);
        if let Some(queue) = self.queues.by_urn.get_mut(&message.urn)
            && let Some(place) = queue.deferred.iter().position(|one| one.id == message.id)
        {
            queue.deferred.remove(place); // it is the first
        }
    }

    /// Defers prefetched messages that no actor has, in front of the deferred messages of their queues:
    /// the cached results and foreign claims found for them may be outdated.
    pub(crate) fn defer_again(&mut self, tickets: &[DeliveryTicket]) {
        for ticket in tickets.iter().rev() {
            let Some(delivery) = self.remove(*ticket) else {
                continue;
            };
            // Duplicates are claimed again when they are due.
            for (id, attempts) in delivery.undelivered().into_iter().skip(1) {
                self.redeliveries.remember(id, attempts);
            }
            let deferred = Deferred::of(&delivery.message);
            self.defer(&delivery.message.urn, deferred, VecDeque::push_front);
        }
    }

    /// Defers all prefetched messages that no actor has.
    pub(crate) fn defer_all_waiting(&mut self) {
        self.defer_again(&self.queues.waiting_tickets());
    }

    /// Removes all messages that no actor has, and returns their entries with the deliveries so far.
    pub(crate) fn take_undelivered(&mut self) -> Vec<(EntryId, Attempts)> {
        let mut undelivered = Vec::new();
        for ticket in self.queues.waiting_tickets() {
            if let Some(delivery) = self.remove(ticket) {
                undelivered.extend(delivery.undelivered());
            }
        }
        let without_actor = std::mem::take(&mut self.queues.without_actor);
        let queues = std::mem::take(&mut self.queues.rotation).into_iter();
        for urn in queues.chain(without_actor) {
            if let Some(queue) = self.queues.by_urn.get_mut(&urn) {
                queue.in_rotation = false;
                queue.waits_for_actor = false;
                let deferred = std::mem::take(&mut queue.deferred).into_iter();
                undelivered.extend(deferred.map(|deferred| (deferred.id, deferred.attempts)));
            }
            self.queues.drop_if_empty(&urn);
        }
        self.deferred.clear();
        undelivered
    }
}
