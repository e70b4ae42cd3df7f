//! Which durable messages a consumer has in hand, and which wait behind them. No I/O.
//!
//! A message in hand is with its actor, or waits in the *lane* of its actor because the mailbox is
//! full or the actor is not there. A lane takes no more than the room that is left: so an actor
//! that is slow, or stuck, holds at most half of what there is, two hold a third each, and there
//! is always room for the others. What comes for a lane that has no room is *parked*: only its
//! place in the stream is kept, and the bus is asked for it when its turn comes. So each lane keeps
//! its order.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use deferred::Deferred;
use delivery::Duplicate;
pub(crate) use delivery::{Caller, Delivery, ReceivedMessage};

use crate::bus::durable::redelivery::OFFER_BACKOFF;
use crate::bus::transport::stream::{Attempts, EntryId};

/// About how many messages are in hand …
const MESSAGES: usize = 256;

/// … and how many bytes.
const BYTES: usize = 16 * 1024 * 1024;

/// A lane that has nothing in hand takes one message even if there is no room, until this many
/// times as much is in hand: then more than a thousand actors are stuck.
const PRESSED: usize = 4;

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntrySource {
    /// The stream: it goes behind those that wait.
    Stream,
    /// It was parked, and its turn has come.
    Deferred,
    /// It is for its actor at once, and does not wait in the lane.
    Alone,
}

/// How a message was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Into the lane of its actor, under this number.
    ActorQueue(u64),
    /// To the same message, which is in hand.
    Duplicate,
    /// There is no room.
    Deferred,
    /// It was not: another message of the same scope is in hand, with other contents.
    Conflicts(Box<ReceivedMessage>),
}

#[derive(Default)]
pub(crate) struct Prefetch {
    deliveries: HashMap<u64, Delivery>,
    /// The number of the last card.
    last: u64,
    /// What the frames of all cards come to.
    bytes: usize,
    /// The cards by scope.
    dedup_keys: HashMap<String, u64>,
    /// By the actor's URN.
    queues: HashMap<String, ActorQueue>,
    /// Those in which something waits.
    waiting: BTreeSet<String>,
    /// Those that have parked messages, or had some a moment ago, the one whose turn it is first.
    rotation: VecDeque<String>,
    /// What is parked.
    deferred: HashSet<EntryId>,
    /// How often actors had what rests until it is due again, for all that is known here: the bus
    /// may count more.
    resting: HashMap<EntryId, Attempts>,
    /// What is not to be taken from this consumer: the cards, and what is about to be removed from
    /// the stream.
    held: HashSet<EntryId>,
}

#[derive(Default)]
struct ActorQueue {
    /// Its cards, those with the actor included.
    load: Load,
    /// What the actor is to be offered, in order.
    waiting: VecDeque<u64>,
    /// How often the actor has not taken the first of them.
    attempt: u32,
    /// When it is offered again; now, if that is over.
    again: Option<Instant>,
    deferred: VecDeque<Deferred>,
    /// It has a turn when parked messages are asked for.
    has_turn: bool,
}

/// How much is in hand.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    deliveries: usize,
    /// What their frames come to.
    bytes: usize,
}

impl Load {
    fn add(&mut self, bytes: usize) {
        self.deliveries += 1;
        self.bytes += bytes;
    }
}

impl ActorQueue {
    fn is_empty(&self) -> bool {
        self.load.deliveries == 0 && self.deferred.is_empty() && !self.has_turn
    }
}

impl Prefetch {
    /// Takes a message in.
    pub(crate) fn admit(
        &mut self,
        message: ReceivedMessage,
        source: EntrySource,
        now: Instant,
    ) -> Admission {
        self.resting.remove(&message.id);
        if let Some(delivery) = self
            .dedup_keys
            .get(&message.dedup_key)
            .and_then(|ticket| self.deliveries.get_mut(ticket))
        {
            self.held.insert(message.id);
            if delivery.message.fingerprint != message.fingerprint {
                return Admission::Conflicts(Box::new(message));
            }
            delivery.duplicates.push(Duplicate::of(&message));
            return Admission::Duplicate;
        }
        let size = message.frame.len();
        let all = Load {
            deliveries: self.deliveries.len(),
            bytes: self.bytes,
        };
        let queue = self.queues.entry(message.urn.clone()).or_default();
        let waits = queue.deferred.is_empty() && has_room(queue.load, size, all);
        if source == EntrySource::Stream && !waits {
            let deferred = Deferred::of(&message);
            self.defer(&message.urn, deferred, VecDeque::push_back);
            return Admission::Deferred;
        }
        self.last += 1;
        queue.load.add(size);
        if source != EntrySource::Alone {
            queue.waiting.push_back(self.last);
            self.waiting.insert(message.urn.clone());
        }
        self.bytes += size;
        self.held.insert(message.id);
        self.dedup_keys.insert(message.dedup_key.clone(), self.last);
        self.deliveries
            .insert(self.last, Delivery::new(message, now));
        Admission::ActorQueue(self.last)
    }

    /// True if a message of this scope is in hand.
    pub(crate) fn has(&self, dedup_key: &str) -> bool {
        self.dedup_keys.contains_key(dedup_key)
    }

    /// A message in hand.
    pub(crate) fn delivery(&self, ticket: u64) -> Option<&Delivery> {
        self.deliveries.get(&ticket)
    }

    /// The numbers of the messages that wait in no lane: actors have them.
    pub(crate) fn in_progress(&self) -> HashSet<u64> {
        let mut tickets: HashSet<_> = self.deliveries.keys().copied().collect();
        let queues = self.waiting.iter().filter_map(|urn| self.queues.get(urn));
        for ticket in queues.flat_map(|queue| &queue.waiting) {
            tickets.remove(ticket);
        }
        tickets
    }

    /// True if something waits for an actor, or for room.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.deferred.is_empty()
    }

    /// The lanes whose first message is to be offered now.
    pub(crate) fn due(&self, now: Instant) -> Vec<String> {
        let is_due = |urn: &&String| {
            let queue = self.queues.get(*urn);
            queue.is_some_and(|queue| queue.again.is_none_or(|again| again <= now))
        };
        self.waiting.iter().filter(is_due).cloned().collect()
    }

    /// When the next lane is due.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let queues = self.waiting.iter().filter_map(|urn| self.queues.get(urn));
        queues.map(|queue| queue.again.unwrap_or(now)).min()
    }

    /// The first message that waits in a lane.
    pub(crate) fn first(&self, urn: &str) -> Option<(u64, &Delivery)> {
        let ticket = *self.queues.get(urn)?.waiting.front()?;
        Some((ticket, self.deliveries.get(&ticket)?))
    }

    /// The actor has taken the first.
    pub(crate) fn delivered(&mut self, urn: &str) {
        if let Some(queue) = self.queues.get_mut(urn) {
            queue.waiting.pop_front();
            queue.attempt = 0;
            queue.again = None;
            if queue.waiting.is_empty() {
                self.waiting.remove(urn);
            }
        }
    }

    /// The actor has not taken it.
    pub(crate) fn refused(&mut self, urn: &str, now: Instant) {
        if let Some(queue) = self.queues.get_mut(urn) {
            queue.again = Some(now + OFFER_BACKOFF.delay(queue.attempt));
            queue.attempt = queue.attempt.saturating_add(1);
        }
    }

    /// Takes a card out. Its places stay held until they are released.
    pub(crate) fn settle(&mut self, ticket: u64) -> Option<Delivery> {
        let delivery = self.deliveries.remove(&ticket)?;
        let ReceivedMessage {
            urn,
            dedup_key,
            frame,
            ..
        } = &delivery.message;
        self.dedup_keys.remove(dedup_key);
        self.bytes -= frame.len();
        if let Some(queue) = self.queues.get_mut(urn) {
            queue.load.deliveries -= 1;
            queue.load.bytes -= frame.len();
            let waited = queue.waiting.len();
            queue.waiting.retain(|waiting| *waiting != ticket);
            if queue.waiting.len() == waited {
                // The actor had it: there is room in its mailbox now.
                queue.attempt = 0;
                queue.again = None;
            }
            if queue.waiting.is_empty() {
                self.waiting.remove(urn);
            }
        }
        self.drop_lane_if_empty(urn);
        Some(delivery)
    }

    fn drop_lane_if_empty(&mut self, urn: &str) {
        if self.queues.get(urn).is_some_and(ActorQueue::is_empty) {
            self.queues.remove(urn);
        }
    }

    /// Holds a place that is about to be removed from the stream.
    pub(crate) fn hold(&mut self, id: EntryId) {
        self.resting.remove(&id);
        self.held.insert(id);
    }

    /// Lets go of places.
    pub(crate) fn release(&mut self, ids: &[EntryId]) {
        for id in ids {
            self.held.remove(id);
        }
    }

    /// A message that actors had so often, and that is to be delivered again when it is due.
    pub(crate) fn rest(&mut self, id: EntryId, attempts: Attempts) {
        self.resting.insert(id, attempts);
    }

    /// How often actors had a message that rests.
    pub(crate) fn redelivery(&self, id: EntryId) -> Option<Attempts> {
        self.resting.get(&id).copied()
    }

    /// These do not rest any more: they were asked for.
    pub(crate) fn wake(&mut self, ids: &[EntryId]) {
        for id in ids {
            self.resting.remove(id);
        }
    }

    /// Another may have had it meanwhile, whatever rests.
    pub(crate) fn forget_what_rests(&mut self) {
        self.resting.clear();
    }

    /// True if it is held or parked.
    pub(crate) fn knows(&self, id: EntryId) -> bool {
        self.held.contains(&id) || self.deferred.contains(&id)
    }

    /// What is held.
    pub(crate) fn held(&self) -> Vec<EntryId> {
        self.held.iter().copied().collect()
    }

    /// How many are parked.
    #[cfg(test)]
    pub(crate) fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// How many are held or parked.
    pub(crate) fn known(&self) -> usize {
        self.held.len() + self.deferred.len()
    }

    /// How many rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    /// True if no card is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The messages with their actors, and how often they were delivered; they are forgotten.
    pub(crate) fn abandon(&mut self) -> Vec<(EntryId, Attempts)> {
        let deliveries = std::mem::take(self).deliveries.into_values();
        deliveries
            .flat_map(|delivery| delivery.attempts())
            .collect()
    }
}

/// Whether a lane takes one more: it may have as much as is left for all.
fn has_room(queue: Load, size: usize, all: Load) -> bool {
    let is_fair = queue.deliveries < MESSAGES.saturating_sub(all.deliveries)
        && queue.bytes + size <= BYTES.saturating_sub(all.bytes);
    let is_first =
        queue.deliveries == 0 && all.deliveries < PRESSED * MESSAGES && all.bytes < PRESSED * BYTES;
    is_fair || is_first
}

mod deferred;
mod delivery;
#[cfg(test)]
mod tests;
