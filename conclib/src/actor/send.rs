//! The part that tells, asks and forwards share: a message on its way into a mailbox.

use std::task::{Context, Poll};

use crate::actor::Recipient;
use crate::actor::cell::Envelope;
use crate::deadlock::{Cycle, Edge, Wait, WaitFor};
use crate::mailbox::{Closed, Ticket};
use crate::message::ActorMessage;
use crate::reply::Reply;

/// A message on its way into a mailbox. Dropped early, it leaves the mailbox's wait queue.
pub(super) struct MailboxSend<M: ActorMessage> {
    pub(super) to: Recipient<M>,
    /// The message with its reply, until it is in the mailbox or in the wait queue.
    pub(super) envelope: Option<Envelope<M>>,
    /// The place in the wait queue.
    ticket: Option<Ticket>,
}

impl<M: ActorMessage> MailboxSend<M> {
    pub(super) fn new(to: Recipient<M>, message: M, reply: Reply<M::Response>) -> Self {
        Self {
            to,
            envelope: Some((message, reply)),
            ticket: None,
        }
    }

    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.to
            .target()
            .poll_send(cx, &mut self.ticket, &mut self.envelope)
    }

    /// True until the message is given to the mailbox.
    #[inline]
    pub(super) fn is_new(&self) -> bool {
        self.ticket.is_none() && self.envelope.is_some()
    }

    /// True while the message waits for room.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.ticket.is_some()
    }

    /// Records, after a pending poll, that the current actor waits for room. Returns the cycle if that
    /// actor waits for itself now.
    pub(super) fn record_wait(&self, wait: &mut Wait) -> Option<Cycle> {
        let Some(ticket) = self.ticket else {
            unreachable!("a pending send has a ticket");
        };
        wait.record(|| Edge::new(self.to.actor(), WaitFor::Capacity(ticket)))
    }

    /// Leaves the wait queue. Returns the envelope, unless the mailbox has taken the message.
    pub(super) fn take_back(&mut self) -> Option<Envelope<M>> {
        let waiting = self
            .ticket
            .take()
            .and_then(|ticket| self.to.target().withdraw(ticket));
        self.envelope.take().or(waiting)
    }
}

impl<M: ActorMessage> Drop for MailboxSend<M> {
    fn drop(&mut self) {
        if self.envelope.is_none() && self.ticket.is_none() {
            return; // as nearly always: the mailbox has taken the message
        }
        // The reply of a forward belongs to the handler that forwards: its asker gets `NoReply`.
        if let Some((_message, reply)) = self.take_back() {
            drop(reply.attach_handler());
        }
    }
}

#[cfg(test)]
mod tests;
