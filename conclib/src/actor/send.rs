//! The part that tells, asks and forwards share: a message on its way into a mailbox.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::actor::Recipient;
use crate::actor::cell::Envelope;
use crate::deadlock::{Cycle, Edge, Participant, Wait, WaitFor, assign_reply};
use crate::error::AskError;
use crate::mailbox::{Closed, Ticket};
use crate::message::ActorMessage;
use crate::reply::Reply;

/// The most actors to which a message by URN is sent, one after another, because each of them ends before it
/// has the message. Each was started anew, so that a second one is already rare.
const MAX_SENDS: u8 = 8;

/// A message on its way into a mailbox. Dropped early, it leaves the mailbox's wait queue.
pub(super) struct MailboxSend<M: ActorMessage> {
    pub(super) to: Recipient<M>,
    /// The message with its reply, until it is in the mailbox or in the wait queue.
    pub(super) envelope: Option<Envelope<M>>,
    /// The place in the wait queue.
    ticket: Option<Ticket>,
    /// The number of further actors to which the message may be sent, if it is one by URN; 0 for one by
    /// a reference, which leads to one actor only.
    sends_left: u8,
}

impl<M: ActorMessage> MailboxSend<M> {
    pub(super) fn new(to: Recipient<M>, message: M, reply: Reply<M::Response>) -> Self {
        Self {
            to,
            envelope: Some((message, reply)),
            ticket: None,
            sends_left: 0,
        }
    }

    /// Declares that the message is for the URN of its actor. If the actor was on demand and has ended
    /// since it was found, the message is for the next one there.
    pub(super) fn set_by_urn(&mut self) {
        self.sends_left = MAX_SENDS;
    }

    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.to
            .target()
            .poll_send(cx, &mut self.ticket, &mut self.envelope)
    }

    /// Turns to the actor that follows the closed one at its URN. Nothing has been sent.
    ///
    /// # Errors
    ///
    /// The error of the message, if there is no such actor.
    #[cold]
    pub(super) fn redirect(&mut self) -> Result<(), AskError> {
        let successor = match self.sends_left {
            0 => None,
            _ => self.to.actor().successor(),
        };
        let Some(successor) = successor else {
            return Err(self.to.target().refusal());
        };
        self.sends_left -= 1;
        if self.sends_left == 0 {
            return Err(AskError::overloaded());
        }
        let successor = successor?;
        self.to = Recipient::of(&successor).ok_or_else(|| AskError::Unhandled {
            urn: successor.urn().clone(),
            message: std::any::type_name::<M>().to_owned(),
        })?;
        Ok(())
    }

    /// Makes the actor that is sent to the one that is to reply.
    ///
    /// # Errors
    ///
    /// The cycle, if that actor waits for the asker.
    pub(super) fn assign_reply(&self) -> Result<(), Cycle> {
        let reply = self.envelope.as_ref().map(|(_, reply)| reply);
        let Some(pending) = reply.and_then(Reply::tracked) else {
            return Ok(());
        };
        let actor: Arc<dyn Participant> = self.to.actor();
        assign_reply(&actor, &pending)
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

    /// Counts the message as lost, with the error that its sender gets.
    pub(super) fn count_lost(&self, error: &AskError) {
        self.to.target().count_lost(error.kind());
    }

    /// Ends an ask whose message waits for room with an error. Does nothing if the mailbox has taken the message.
    #[cold]
    pub(super) fn give_up(&mut self, error: &AskError) {
        if let Some((_message, reply)) = self.take_back() {
            reply.forget();
            self.count_lost(error);
        }
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
