//! The queues of prefetched messages in front of actors: one per URN.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::durable::prefetch::DeliveryTicket;
use crate::bus::durable::prefetch::deferred::Deferred;
use crate::time::backoff::Backoff;

/// Pauses before a message is offered again to an actor that has not accepted it.
const OFFER_BACKOFF: Backoff =
    Backoff::starting_at(Duration::from_millis(2)).up_to(Duration::from_millis(500));

/// The queues of all actors with prefetched or deferred messages.
#[derive(Default)]
pub(super) struct ActorQueues {
    pub(super) by_urn: HashMap<String, ActorQueue>,
    /// The URNs of the queues in which messages wait.
    pub(super) waiting: BTreeSet<String>,
    /// The URNs of the queues with deferred messages (some may have none left), the next one first.
    pub(super) rotation: VecDeque<String>,
    /// The URNs of the queues that wait for an actor, the next one to be checked first.
    pub(super) without_actor: VecDeque<String>,
}

/// The prefetched and deferred messages of one actor.
#[derive(Default)]
pub(super) struct ActorQueue {
    /// The prefetched messages, including those that the actor has.
    pub(super) load: QueueLoad,
    /// The messages to be offered to the actor, in order.
    pub(super) waiting: VecDeque<DeliveryTicket>,
    /// The pause of offers, while the actor does not accept the first message.
    pub(super) pause: OfferPause,
    pub(super) deferred: VecDeque<Deferred>,
    /// The URN is in the rotation.
    pub(super) in_rotation: bool,
    /// The time since which no actor has the URN, as far as is known.
    pub(super) missing_since: Option<Instant>,
    /// All messages are deferred until an actor has the URN, and the URN is in no rotation.
    pub(super) waits_for_actor: bool,
}

#[derive(Default)]
pub(super) struct OfferPause {
    /// The number of offers in a row that were refused.
    refusals: u32,
    /// The earliest time of the next offer; `None`: now.
    until: Option<Instant>,
}

/// An amount of prefetched messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QueueLoad {
    pub(super) deliveries: usize,
    /// The bytes of their frames.
    pub(super) bytes: usize,
}

impl ActorQueues {
    /// The URNs of the queues whose first message is to be offered now.
    pub(super) fn due(&self, now: Instant) -> Vec<String> {
        let is_due = |urn: &&String| {
            let queue = self.by_urn.get(*urn);
            queue.is_some_and(|queue| queue.pause.until.is_none_or(|until| until <= now))
        };
        self.waiting.iter().filter(is_due).cloned().collect()
    }

    /// The time at which the next queue is due.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let queues = self.waiting.iter().filter_map(|urn| self.by_urn.get(urn));
        queues.map(|queue| queue.pause.until.unwrap_or(now)).min()
    }

    pub(super) fn front(&self, urn: &str) -> Option<DeliveryTicket> {
        self.by_urn.get(urn)?.waiting.front().copied()
    }

    pub(super) fn push(&mut self, urn: &str, ticket: DeliveryTicket) {
        let queue = self.by_urn.entry(urn.to_owned()).or_default();
        queue.waiting.push_back(ticket);
        self.waiting.insert(urn.to_owned());
    }

    /// The actor has accepted the first message.
    pub(super) fn accepted(&mut self, urn: &str) {
        if let Some(queue) = self.by_urn.get_mut(urn) {
            queue.waiting.pop_front();
            queue.pause = OfferPause::default();
            queue.missing_since = None;
            if queue.waiting.is_empty() {
                self.waiting.remove(urn);
            }
        }
    }

    /// The actor has no room for the first message.
    pub(super) fn refused(&mut self, urn: &str, now: Instant) {
        if let Some(queue) = self.by_urn.get_mut(urn) {
            queue.missing_since = None;
            queue.pause.lengthen(now);
        }
    }

    /// Removes a message with a frame of `bytes`, which may wait or be with the actor.
    pub(super) fn remove(&mut self, urn: &str, ticket: DeliveryTicket, bytes: usize) {
        if let Some(queue) = self.by_urn.get_mut(urn) {
            queue.load.deliveries -= 1;
            queue.load.bytes -= bytes;
            let before = queue.waiting.len();
            queue.waiting.retain(|waiting| *waiting != ticket);
            if queue.waiting.len() == before {
                // The actor had the message: there is room in its mailbox now.
                queue.pause = OfferPause::default();
            }
            if queue.waiting.is_empty() {
                self.waiting.remove(urn);
            }
        }
        self.drop_if_empty(urn);
    }

    /// The tickets of the messages that wait in all queues.
    pub(super) fn waiting_tickets(&self) -> Vec<DeliveryTicket> {
        let queues = self.waiting.iter().filter_map(|urn| self.by_urn.get(urn));
        queues.flat_map(|queue| &queue.waiting).copied().collect()
    }

    pub(super) fn drop_if_empty(&mut self, urn: &str) {
        if self.by_urn.get(urn).is_some_and(ActorQueue::is_empty) {
            self.by_urn.remove(urn);
        }
    }
}

impl ActorQueue {
    fn is_empty(&self) -> bool {
        let is_listed = self.in_rotation || self.waits_for_actor;
        self.load.deliveries == 0 && self.deferred.is_empty() && !is_listed
    }
}

impl OfferPause {
    pub(super) fn lengthen(&mut self, now: Instant) {
        self.until = Some(now + OFFER_BACKOFF.delay(self.refusals));
        self.refusals = self.refusals.saturating_add(1);
    }
}

impl QueueLoad {
    pub(super) fn add(&mut self, bytes: usize) {
        self.deliveries += 1;
        self.bytes += bytes;
    }
}
