//! Senders that wait for room in a mailbox.

use std::collections::VecDeque;
use std::task::Waker;

use crate::mailbox::receiver::{is_large, shrink};

/// The waiting line. Most mailboxes never have one, and then it takes a word.
pub(super) struct Line<T>(Option<Box<Places<T>>>);

struct Places<T> {
    /// In order of their tickets.
    waiting: VecDeque<Waiting<T>>,
    /// The ticket of the next sender that waits: none is given twice.
    next_ticket: u64,
}

/// A sender that waits, with its message.
pub(super) struct Waiting<T> {
    ticket: Ticket,
    pub(super) item: T,
    pub(super) waker: Waker,
}

/// A place in the waiting line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Ticket(u64);

impl<T> Line<T> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        match &self.0 {
            None => true,
            Some(places) => places.waiting.is_empty(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |places| places.waiting.len())
    }

    /// Joins at the end.
    pub(super) fn join(&mut self, item: T, waker: Waker) -> Ticket {
        let places = self.0.get_or_insert_with(|| {
            Box::new(Places {
                waiting: VecDeque::new(),
                next_ticket: 0,
            })
        });
        let ticket = Ticket(places.next_ticket);
        places.next_ticket += 1;
        places.waiting.push_back(Waiting {
            ticket,
            item,
            waker,
        });
        ticket
    }

    pub(super) fn has(&self, ticket: Ticket) -> bool {
        self.0
            .as_ref()
            .is_some_and(|places| places.place_of(ticket).is_some())
    }

    /// The waker of the sender with this ticket.
    pub(super) fn waker_mut(&mut self, ticket: Ticket) -> Option<&mut Waker> {
        let places = self.0.as_mut()?;
        let place = places.place_of(ticket)?;
        Some(&mut places.waiting.get_mut(place)?.waker)
    }

    /// Leaves the line, wherever in it.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waiting<T>> {
        let places = self.0.as_mut()?;
        let place = places.place_of(ticket)?;
        places.waiting.remove(place)
    }

    /// Leaves the line at its head.
    pub(super) fn pop_front(&mut self) -> Option<Waiting<T>> {
        self.0.as_mut()?.waiting.pop_front()
    }

    /// Everybody's.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        let places = self.0.iter();
        let waiting = places.flat_map(|places| &places.waiting);
        waiting.map(|waiting| waiting.waker.clone()).collect()
    }

    /// Gives back what a crowd has taken.
    pub(super) fn shrink(&mut self) {
        if let Some(places) = &mut self.0
            && is_large(&places.waiting)
        {
            shrink(&mut places.waiting);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let places = self.0.as_ref();
        places.map_or(0, |places| {
            places.waiting.capacity() * size_of::<Waiting<T>>()
        })
    }
}

impl<T> Places<T> {
    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&ticket, |waiting| waiting.ticket)
            .ok()
    }
}
