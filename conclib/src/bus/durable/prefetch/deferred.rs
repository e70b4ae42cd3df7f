//! What there is no room for in the hand: only its place in the stream is kept.

use std::collections::VecDeque;

use crate::bus::durable::prefetch::{Hand, Load, Taken, has_room};
use crate::bus::transport::stream::{Attempts, EntryId};

/// How many parked messages are asked for at a time.
const UNPARK: usize = 128;

/// A lane in which more wait is left alone: each question to the bus is to bring many.
const LOW: usize = 32;

/// How many lanes are looked at for that.
const LANES: usize = 64;

/// A message of which only the place is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parked {
    id: EntryId,
    /// How often it was delivered before.
    attempts: Attempts,
    bytes: usize,
}

impl Parked {
    /// What was taken to be delivered, and was not.
    pub(super) fn of(message: &Taken) -> Self {
        Self {
            id: message.id,
            attempts: message.attempts.before(),
            bytes: message.frame.len(),
        }
    }
}

/// A parked message for which there is room now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) urn: String,
    pub(crate) id: EntryId,
    /// How often it was delivered before.
    pub(crate) attempts: Attempts,
}

impl Hand {
    pub(super) fn park(
        &mut self,
        urn: &str,
        parked: Parked,
        put: impl FnOnce(&mut VecDeque<Parked>, Parked),
    ) {
        let lane = self.lanes.entry(urn.to_owned()).or_default();
        if !std::mem::replace(&mut lane.has_turn, true) {
            self.parking.push_back(urn.to_owned());
        }
        put(&mut lane.parked, parked);
        self.parked.insert(parked.id);
    }

    /// The parked messages for which there is room now, those of a lane in their order. The bus is
    /// to be asked for them; they stay parked until they are [`unparked`](Self::unparked).
    pub(crate) fn wanted(&mut self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        // What is asked for counts as if it were there.
        let mut all = Load {
            cards: self.cards.len(),
            bytes: self.bytes,
        };
        for _ in 0..LANES.min(self.parking.len()) {
            let Some(urn) = self.parking.pop_front() else {
                break;
            };
            let Some(lane) = self.lanes.get_mut(&urn) else {
                continue;
            };
            if lane.parked.is_empty() {
                lane.has_turn = false;
                self.drop_lane_if_empty(&urn);
                continue;
            }
            let mut own = lane.load;
            let most = if lane.waiting.len() <= LOW { UNPARK } else { 0 };
            for parked in &lane.parked {
                if wanted.len() >= most || !has_room(own, parked.bytes, all) {
                    break;
                }
                own.add(parked.bytes);
                all.add(parked.bytes);
                wanted.push(Wanted {
                    urn: urn.clone(),
                    id: parked.id,
                    attempts: parked.attempts,
                });
            }
            self.parking.push_back(urn);
        }
        wanted
    }

    /// The bus has given it out, or does not have it any more.
    pub(crate) fn unparked(&mut self, wanted: &Wanted) {
        self.parked.remove(&wanted.id);
        if let Some(lane) = self.lanes.get_mut(&wanted.urn)
            && let Some(place) = lane.parked.iter().position(|one| one.id == wanted.id)
        {
            lane.parked.remove(place); // it is the first
        }
    }

    /// Cards that are not with their actors go back to the front of what is parked: what was known
    /// of them may not be so any more.
    pub(crate) fn park_again(&mut self, tickets: &[u64]) {
        for ticket in tickets.iter().rev() {
            let Some(card) = self.settle(*ticket) else {
                continue;
            };
            // The repetitions come again when they are due.
            self.release(&card.ids());
            for (id, attempts) in card.attempts().into_iter().skip(1) {
                self.rest(id, attempts.before());
            }
            let parked = Parked::of(&card.message);
            self.park(&card.message.urn, parked, VecDeque::push_front);
        }
    }

    /// The same for all of them.
    pub(crate) fn park_all_that_waits(&mut self) {
        let lanes = self.waiting.iter().filter_map(|urn| self.lanes.get(urn));
        let tickets: Vec<_> = lanes.flat_map(|lane| &lane.waiting).copied().collect();
        self.park_again(&tickets);
    }

    /// Takes everything out that is not with its actor; how often it was delivered without that.
    pub(crate) fn give_back(&mut self) -> Vec<(EntryId, Attempts)> {
        let lanes = self.waiting.iter().filter_map(|urn| self.lanes.get(urn));
        let tickets: Vec<_> = lanes.flat_map(|lane| &lane.waiting).copied().collect();
        let mut back = Vec::new();
        for ticket in tickets {
            let Some(card) = self.settle(ticket) else {
                continue;
            };
            self.release(&card.ids());
            let attempts = card.attempts().into_iter();
            back.extend(attempts.map(|(id, attempts)| (id, attempts.before())));
        }
        for urn in std::mem::take(&mut self.parking) {
            if let Some(lane) = self.lanes.get_mut(&urn) {
                lane.has_turn = false;
                let parked = std::mem::take(&mut lane.parked).into_iter();
                back.extend(parked.map(|parked| (parked.id, parked.attempts)));
            }
            self.drop_lane_if_empty(&urn);
        }
        self.parked.clear();
        back
    }
}
