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

use deferred::Parked;
use delivery::Joined;
pub(crate) use delivery::{Asker, Card, Taken};

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
pub(crate) enum Source {
    /// The stream: it goes behind those that wait.
    Stream,
    /// It was parked, and its turn has come.
    Parked,
    /// It is for its actor at once, and does not wait in the lane.
    Alone,
}

/// How a message was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Into the lane of its actor, under this number.
    Lane(u64),
    /// To the same message, which is in hand.
    Joined,
    /// There is no room.
    Parked,
    /// It was not: another message of the same scope is in hand, with other contents.
    Conflicts(Box<Taken>),
}

#[derive(Default)]
pub(crate) struct Hand {
    cards: HashMap<u64, Card>,
    /// The number of the last card.
    last: u64,
    /// What the frames of all cards come to.
    bytes: usize,
    /// The cards by scope.
    scopes: HashMap<String, u64>,
    /// By the actor's URN.
    lanes: HashMap<String, Lane>,
    /// Those in which something waits.
    waiting: BTreeSet<String>,
    /// Those that have parked messages, or had some a moment ago, the one whose turn it is first.
    parking: VecDeque<String>,
    /// What is parked.
    parked: HashSet<EntryId>,
    /// How often actors had what rests until it is due again, for all that is known here: the bus
    /// may count more.
    resting: HashMap<EntryId, Attempts>,
    /// What is not to be taken from this consumer: the cards, and what is about to be removed from
    /// the stream.
    held: HashSet<EntryId>,
}

#[derive(Default)]
struct Lane {
    /// Its cards, those with the actor included.
    load: Load,
    /// What the actor is to be offered, in order.
    waiting: VecDeque<u64>,
    /// How often the actor has not taken the first of them.
    attempt: u32,
    /// When it is offered again; now, if that is over.
    again: Option<Instant>,
    parked: VecDeque<Parked>,
    /// It has a turn when parked messages are asked for.
    has_turn: bool,
}

/// How much is in hand.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    cards: usize,
    /// What their frames come to.
    bytes: usize,
}

impl Load {
    fn add(&mut self, bytes: usize) {
        self.cards += 1;
        self.bytes += bytes;
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.load.cards == 0 && self.parked.is_empty() && !self.has_turn
    }
}

impl Hand {
    /// Takes a message in.
    pub(crate) fn admit(&mut self, message: Taken, source: Source, now: Instant) -> Admitted {
        self.resting.remove(&message.id);
        if let Some(card) = self
            .scopes
            .get(&message.scope)
            .and_then(|ticket| self.cards.get_mut(ticket))
        {
            self.held.insert(message.id);
            if card.message.fingerprint != message.fingerprint {
                return Admitted::Conflicts(Box::new(message));
            }
            card.joined.push(Joined::of(&message));
            return Admitted::Joined;
        }
        let size = message.frame.len();
        let all = Load {
            cards: self.cards.len(),
            bytes: self.bytes,
        };
        let lane = self.lanes.entry(message.urn.clone()).or_default();
        let waits = lane.parked.is_empty() && has_room(lane.load, size, all);
        if source == Source::Stream && !waits {
            let parked = Parked::of(&message);
            self.park(&message.urn, parked, VecDeque::push_back);
            return Admitted::Parked;
        }
        self.last += 1;
        lane.load.add(size);
        if source != Source::Alone {
            lane.waiting.push_back(self.last);
            self.waiting.insert(message.urn.clone());
        }
        self.bytes += size;
        self.held.insert(message.id);
        self.scopes.insert(message.scope.clone(), self.last);
        self.cards.insert(self.last, Card::new(message, now));
        Admitted::Lane(self.last)
    }

    /// True if a message of this scope is in hand.
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.contains_key(scope)
    }

    /// A message in hand.
    pub(crate) fn card(&self, ticket: u64) -> Option<&Card> {
        self.cards.get(&ticket)
    }

    /// The numbers of the messages that wait in no lane: actors have them.
    pub(crate) fn with_actors(&self) -> HashSet<u64> {
        let mut tickets: HashSet<_> = self.cards.keys().copied().collect();
        let lanes = self.waiting.iter().filter_map(|urn| self.lanes.get(urn));
        for ticket in lanes.flat_map(|lane| &lane.waiting) {
            tickets.remove(ticket);
        }
        tickets
    }

    /// True if something waits for an actor, or for room.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.parked.is_empty()
    }

    /// The lanes whose first message is to be offered now.
    pub(crate) fn due(&self, now: Instant) -> Vec<String> {
        let is_due = |urn: &&String| {
            let lane = self.lanes.get(*urn);
            lane.is_some_and(|lane| lane.again.is_none_or(|again| again <= now))
        };
        self.waiting.iter().filter(is_due).cloned().collect()
    }

    /// When the next lane is due.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let lanes = self.waiting.iter().filter_map(|urn| self.lanes.get(urn));
        lanes.map(|lane| lane.again.unwrap_or(now)).min()
    }

    /// The first message that waits in a lane.
    pub(crate) fn first(&self, urn: &str) -> Option<(u64, &Card)> {
        let ticket = *self.lanes.get(urn)?.waiting.front()?;
        Some((ticket, self.cards.get(&ticket)?))
    }

    /// The actor has taken the first.
    pub(crate) fn delivered(&mut self, urn: &str) {
        if let Some(lane) = self.lanes.get_mut(urn) {
            lane.waiting.pop_front();
            lane.attempt = 0;
            lane.again = None;
            if lane.waiting.is_empty() {
                self.waiting.remove(urn);
            }
        }
    }

    /// The actor has not taken it.
    pub(crate) fn refused(&mut self, urn: &str, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(urn) {
            lane.again = Some(now + OFFER_BACKOFF.delay(lane.attempt));
            lane.attempt = lane.attempt.saturating_add(1);
        }
    }

    /// Takes a card out. Its places stay held until they are released.
    pub(crate) fn settle(&mut self, ticket: u64) -> Option<Card> {
        let card = self.cards.remove(&ticket)?;
        let Taken {
            urn, scope, frame, ..
        } = &card.message;
        self.scopes.remove(scope);
        self.bytes -= frame.len();
        if let Some(lane) = self.lanes.get_mut(urn) {
            lane.load.cards -= 1;
            lane.load.bytes -= frame.len();
            let waited = lane.waiting.len();
            lane.waiting.retain(|waiting| *waiting != ticket);
            if lane.waiting.len() == waited {
                // The actor had it: there is room in its mailbox now.
                lane.attempt = 0;
                lane.again = None;
            }
            if lane.waiting.is_empty() {
                self.waiting.remove(urn);
            }
        }
        self.drop_lane_if_empty(urn);
        Some(card)
    }

    fn drop_lane_if_empty(&mut self, urn: &str) {
        if self.lanes.get(urn).is_some_and(Lane::is_empty) {
            self.lanes.remove(urn);
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
    pub(crate) fn rested(&self, id: EntryId) -> Option<Attempts> {
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
        self.held.contains(&id) || self.parked.contains(&id)
    }

    /// What is held.
    pub(crate) fn held(&self) -> Vec<EntryId> {
        self.held.iter().copied().collect()
    }

    /// How many are parked.
    #[cfg(test)]
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// How many are held or parked.
    pub(crate) fn known(&self) -> usize {
        self.held.len() + self.parked.len()
    }

    /// How many rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    /// True if no card is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// The messages with their actors, and how often they were delivered; they are forgotten.
    pub(crate) fn abandon(&mut self) -> Vec<(EntryId, Attempts)> {
        let cards = std::mem::take(self).cards.into_values();
        cards.flat_map(|card| card.attempts()).collect()
    }
}

/// Whether a lane takes one more: it may have as much as is left for all.
fn has_room(lane: Load, size: usize, all: Load) -> bool {
    let is_fair = lane.cards < MESSAGES.saturating_sub(all.cards)
        && lane.bytes + size <= BYTES.saturating_sub(all.bytes);
    let is_first = lane.cards == 0 && all.cards < PRESSED * MESSAGES && all.bytes < PRESSED * BYTES;
    is_fair || is_first
}

mod deferred;
mod delivery;
#[cfg(test)]
mod tests;
