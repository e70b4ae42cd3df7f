//! Messages that the consumer has claimed for delivery, and those deferred behind them. No I/O.
//!
//! A prefetched message is with its actor, or waits in the *queue* of its actor because the mailbox is
//! full. Messages of a missing actor occupy no room: they are deferred until it is there. A queue takes no more than the room that is left: so an actor
//! that is slow, or stuck, occupies at most half of the prefetch, two occupy a third each, and there
//! is always room for others. A message for a queue without room is *deferred*: only its entry id is
//! kept, and it is claimed again when its turn comes. So each queue keeps its order.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use crate::bus::transport::stream::{Attempts, EntryId};

use actor_queues::{ActorQueues, QueueLoad};
use deferred::Deferred;
pub(crate) use deferred::Resumable;
use delivery::Duplicate;
pub(crate) use delivery::{Caller, Delivery, DeliveryTicket, ReceivedMessage};
pub(crate) use redeliveries::FailurePause;
use redeliveries::Redeliveries;

mod actor_queues;
mod deferred;
mod delivery;
mod missing;
mod redeliveries;
#[cfg(test)]
mod tests;

/// The maximum number of prefetched messages, apart from [`MAX_OVERSHOOT`].
const MAX_MESSAGES: usize = 256;

/// The maximum size of their frames together.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A queue without prefetched messages takes one even if there is no room, until this many times the
/// maxima are prefetched: then more than a thousand actors are stuck.
const MAX_OVERSHOOT: usize = 4;

/// The way by which a message was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntrySource {
    /// From the stream: it goes behind the messages that wait.
    Stream,
    /// It was deferred, and its turn has come.
    Deferred,
    /// It is to be delivered isolated from others, and does not wait in the queue.
    Isolated,
}

/// The result of admitting a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is prefetched, under this ticket.
    Prefetched(DeliveryTicket),
    /// It is a duplicate of a prefetched message, and shares the outcome of that.
    Duplicate,
    /// There is no room: only its id is kept.
    Deferred,
    /// It was not admitted: a message with the same dedup key and other contents is prefetched.
    Conflict(Box<ReceivedMessage>),
}

#[derive(Default)]
pub(crate) struct Prefetch {
    deliveries: Deliveries,
    queues: ActorQueues,
    /// The ids of all deferred messages.
    deferred: HashSet<EntryId>,
    /// The messages that are to be claimed again.
    pub(crate) redeliveries: Redeliveries,
}

/// The prefetched messages, by ticket, dedup key and entry.
#[derive(Default)]
struct Deliveries {
    by_ticket: HashMap<DeliveryTicket, Delivery>,
    by_dedup_key: HashMap<String, DeliveryTicket>,
    /// The entries of all messages and duplicates.
    claimed: HashSet<EntryId>,
    last_ticket: DeliveryTicket,
    /// The bytes of the messages' frames.
    bytes: usize,
}

impl Prefetch {
    /// Admits a claimed message.
    pub(crate) fn admit(&mut self, message: ReceivedMessage, source: EntrySource) -> Admission {
        self.redeliveries.forget(message.id);
        if let Some(first) = self.deliveries.same_key_mut(&message.dedup_key) {
            if first.message.fingerprint != message.fingerprint {
                return Admission::Conflict(Box::new(message));
            }
            first.duplicates.push(Duplicate::of(&message));
            self.deliveries.claimed.insert(message.id);
            return Admission::Duplicate;
        }
        let size = message.frame.len();
        let total = self.deliveries.load();
        let queue = self.queues.by_urn.entry(message.urn.clone()).or_default();
        let fits = queue.deferred.is_empty() && has_room(queue.load, size, total);
        if source == EntrySource::Stream && !fits {
            let deferred = Deferred::of(&message);
            self.defer(&message.urn, deferred, VecDeque::push_back);
            return Admission::Deferred;
        }
        queue.load.add(size);
        let urn = message.urn.clone();
        let ticket = self.deliveries.insert(message);
        if source != EntrySource::Isolated {
            self.queues.push(&urn, ticket);
        }
        Admission::Prefetched(ticket)
    }

    /// True if a message with this dedup key is prefetched.
    pub(crate) fn has_key(&self, dedup_key: &str) -> bool {
        self.deliveries.by_dedup_key.contains_key(dedup_key)
    }

    pub(crate) fn get(&self, ticket: DeliveryTicket) -> Option<&Delivery> {
        self.deliveries.by_ticket.get(&ticket)
    }

    /// The messages that wait in no queue: actors have them.
    pub(crate) fn with_actors(&self) -> HashSet<DeliveryTicket> {
        let mut tickets: HashSet<_> = self.deliveries.by_ticket.keys().copied().collect();
        for ticket in self.queues.waiting_tickets() {
            tickets.remove(&ticket);
        }
        tickets
    }

    /// True if a message waits for room in its actor's mailbox, or here.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.queues.waiting.is_empty() || !self.queues.rotation.is_empty()
    }

    /// The URNs of the actors that are to be offered a message now.
    pub(crate) fn due(&self, now: Instant) -> Vec<String> {
        self.queues.due(now)
    }

    /// The time at which the next actor is to be offered a message.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.queues.next_due(now)
    }

    /// The first message that waits for an actor.
    pub(crate) fn front(&self, urn: &str) -> Option<(DeliveryTicket, &Delivery)> {
        let ticket = self.queues.front(urn)?;
        Some((ticket, self.get(ticket)?))
    }

    /// The actor has accepted the first message of its queue.
    pub(crate) fn accepted(&mut self, urn: &str) {
        self.queues.accepted(urn);
    }

    /// The actor has no room for the first message of its queue.
    pub(crate) fn refused(&mut self, urn: &str, now: Instant) {
        self.queues.refused(urn, now);
    }

    /// Removes a message and its duplicates.
    pub(crate) fn remove(&mut self, ticket: DeliveryTicket) -> Option<Delivery> {
        let delivery = self.deliveries.remove(ticket)?;
        let message = &delivery.message;
        self.queues
            .remove(&message.urn, ticket, message.frame.len());
        Some(delivery)
    }

    /// True if an entry is prefetched or deferred.
    pub(crate) fn knows(&self, id: EntryId) -> bool {
        self.deliveries.claimed.contains(&id) || self.deferred.contains(&id)
    }

    /// The number of entries that are prefetched or deferred.
    pub(crate) fn known_count(&self) -> usize {
        self.deliveries.claimed.len() + self.deferred.len()
    }

    /// The prefetched entries, whose claims are to be extended.
    pub(crate) fn claimed(&self) -> impl Iterator<Item = EntryId> {
        self.deliveries.claimed.iter().copied()
    }

    /// The number of deferred messages.
    pub(crate) fn deferred_count(&self) -> usize {
        self.deferred.len()
    }

    /// True if no message is prefetched.
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.by_ticket.is_empty()
    }

    /// Removes everything, and returns the prefetched entries with their deliveries.
    pub(crate) fn abandon(&mut self) -> Vec<(EntryId, Attempts)> {
        let deliveries = std::mem::take(self).deliveries.by_ticket.into_values();
        deliveries
            .flat_map(|delivery| delivery.attempts())
            .collect()
    }
}

impl Deliveries {
    fn same_key_mut(&mut self, dedup_key: &str) -> Option<&mut Delivery> {
        let ticket = self.by_dedup_key.get(dedup_key)?;
        self.by_ticket.get_mut(ticket)
    }

    fn insert(&mut self, message: ReceivedMessage) -> DeliveryTicket {
        self.last_ticket.0 += 1;
        let ticket = self.last_ticket;
        self.bytes += message.frame.len();
        self.claimed.insert(message.id);
        self.by_dedup_key.insert(message.dedup_key.clone(), ticket);
        self.by_ticket.insert(ticket, Delivery::new(message));
        ticket
    }

    fn remove(&mut self, ticket: DeliveryTicket) -> Option<Delivery> {
        let delivery = self.by_ticket.remove(&ticket)?;
        self.by_dedup_key.remove(&delivery.message.dedup_key);
        self.bytes -= delivery.message.frame.len();
        for id in delivery.ids() {
            self.claimed.remove(&id);
        }
        Some(delivery)
    }

    fn load(&self) -> QueueLoad {
        QueueLoad {
            deliveries: self.by_ticket.len(),
            bytes: self.bytes,
        }
    }
}

/// True if a queue may take one more message: it may have as much as is left for all.
fn has_room(queue: QueueLoad, size: usize, total: QueueLoad) -> bool {
    let is_fair = queue.deliveries < MAX_MESSAGES.saturating_sub(total.deliveries)
        && queue.bytes + size <= MAX_BYTES.saturating_sub(total.bytes);
    let is_first = queue.deliveries == 0
        && total.deliveries < MAX_OVERSHOOT * MAX_MESSAGES
        && total.bytes < MAX_OVERSHOOT * MAX_BYTES;
    is_fair || is_first
}
