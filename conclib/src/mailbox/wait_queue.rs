//! The wait queue of a mailbox: senders that wait for room, with their messages. `Mailbox::poll_push`
//! makes a sender wait here, and the receiving end admits the first one when there is room.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::task::Waker;

use crate::mailbox::receiver::{is_large, shrink};

/// Senders that wait for room, first come first. Most mailboxes never have any: then it is one word.
pub(super) struct WaitQueue<T>(Option<Box<Waiters<T>>>);

struct Waiters<T> {
    /// In order of their tickets.
    waiting: VecDeque<WaitingSender<T>>,
    /// The ticket of the next sender that waits; no ticket is given twice.
    next_ticket: NonZeroU64,
}

/// A sender that waits, with its message.
pub(super) struct WaitingSender<T> {
    ticket: Ticket,
    pub(super) item: T,
    pub(super) waker: Waker,
}

/// The identity of a sender in the wait queue. Not zero, so that an optional one is a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(NonZeroU64);

#[cfg(test)]
impl Default for Ticket {
    fn default() -> Self {
        Self(NonZeroU64::MIN)
    }
}

impl<T> WaitQueue<T> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        match &self.0 {
            None => true,
            Some(waiters) => waiters.waiting.is_empty(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiters| waiters.waiting.len())
    }

    /// Adds a sender at the end.
    pub(super) fn push_back(&mut self, item: T, waker: Waker) -> Ticket {
        let waiters = self.0.get_or_insert_with(|| {
            Box::new(Waiters {
                waiting: VecDeque::new(),
                next_ticket: NonZeroU64::MIN,
            })
        });
        let ticket = Ticket(waiters.next_ticket);
        waiters.next_ticket = ticket.0.saturating_add(1); // takes centuries to get there
        waiters.waiting.push_back(WaitingSender {
            ticket,
            item,
            waker,
        });
        ticket
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.0
            .as_ref()
            .is_some_and(|waiters| waiters.position(ticket).is_some())
    }

    /// The waker of the sender with this ticket.
    pub(super) fn waker_mut(&mut self, ticket: Ticket) -> Option<&mut Waker> {
        let waiters = self.0.as_mut()?;
        let index = waiters.position(ticket)?;
        Some(&mut waiters.waiting.get_mut(index)?.waker)
    }

    /// Removes a sender from any place.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<WaitingSender<T>> {
        let waiters = self.0.as_mut()?;
        let index = waiters.position(ticket)?;
        waiters.waiting.remove(index)
    }

    /// Removes the first sender.
    pub(super) fn pop_front(&mut self) -> Option<WaitingSender<T>> {
        self.0.as_mut()?.waiting.pop_front()
    }

    /// The wakers of all waiting senders.
    pub(super) fn wakers(&self) -> Vec<Waker> {
        let waiters = self.0.iter();
        let waiting = waiters.flat_map(|waiters| &waiters.waiting);
        waiting.map(|waiting| waiting.waker.clone()).collect()
    }

    /// Gives back the memory that many waiting senders took.
    pub(super) fn shrink(&mut self) {
        if let Some(waiters) = &mut self.0
            && is_large(&waiters.waiting)
        {
            shrink(&mut waiters.waiting);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let waiters = self.0.as_ref();
        waiters.map_or(0, |waiters| {
            waiters.waiting.capacity() * size_of::<WaitingSender<T>>()
        })
    }
}

impl<T> Waiters<T> {
    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&ticket, |waiting| waiting.ticket)
            .ok()
    }
}
