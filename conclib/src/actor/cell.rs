//! What is shared between an actor's task and everybody who refers to it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::actor::any::AnyActor;
use crate::actor::control::{Control, StopCause};
use crate::actor::links::Links;
use crate::actor::stats::Stats;
use crate::actor::{Handler, Handlers};
use crate::deadlock::ActorId;
use crate::deadlock::current::Current;
use crate::error::panics;
use crate::error::{AskError, Failure, TellError};
use crate::mailbox::{Closed, Mailbox, Refused, Ticket};
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::stop_reason::{StopReason, Terminated};
use crate::urn::Urn;

/// An actor, seen from outside its task.
///
/// In this order, so that what its own task writes for each message comes together, and that apart
/// from what senders write.
#[repr(C)]
pub(crate) struct ActorCell<A: Handlers> {
    pub(crate) mailbox: Mailbox<A::Inbox>,
    pub(crate) stats: Stats,
    pub(crate) control: Control,
    pub(crate) urn: Urn,
    /// Its place in the order of spawning.
    pub(crate) sequence: u64,
    pub(crate) links: Links,
    /// Nothing for an actor that is nobody's child and spawned as most are.
    special: Option<Box<Special>>,
}

/// What few actors have.
struct Special {
    /// Counts references if the actor lives only while somebody refers to it.
    references: Option<AtomicUsize>,
    /// The actor that spawned it, and stops after it.
    parent: Option<Weak<dyn AnyActor>>,
    kind: Kind,
}

/// How an actor is spawned, beyond its URN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kind {
    /// It stops when nobody refers to it.
    pub(crate) while_referenced: bool,
    /// When its failure is its parent's.
    pub(crate) escalation: Escalation,
    /// When it stops itself, another life follows.
    pub(crate) restarts_itself: bool,
    /// Nobody finds it over the bus.
    pub(crate) private: bool,
}

/// When an actor's failure is its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Escalation {
    #[default]
    Never,
    /// Then another takes its place.
    UntilAskedToStop,
    Always,
}

impl<A: Handlers> ActorCell<A> {
    pub(crate) fn new(
        urn: Urn,
        sequence: u64,
        capacity: usize,
        parent: Option<Weak<dyn AnyActor>>,
        kind: Kind,
    ) -> Self {
        let is_special = parent.is_some() || kind != Kind::default();
        let special = is_special.then(|| {
            let references = kind.while_referenced.then(AtomicUsize::default);
            Box::new(Special {
                references,
                parent,
                kind,
            })
        });
        Self {
            mailbox: Mailbox::new(capacity),
            stats: Stats::default(),
            control: Control::default(),
            urn,
            sequence,
            links: Links::default(),
            special,
        }
    }

    /// Closes the mailbox: what is queued is handled, then the actor stops.
    pub(crate) fn stop(&self, cause: StopCause) {
        self.control.note_cause(cause);
        self.mailbox.close();
        self.control.wake(); // it may wait to start again
        self.links.wake_stop_waiters();
    }

    /// The actor stops itself.
    pub(crate) fn stop_itself(&self) {
        if self.kind().restarts_itself {
            self.control.end_incarnation();
            self.links.wake_stop_waiters();
        } else {
            self.stop(StopCause::Requested);
        }
    }

    /// Sends a message past the bound, if the actor still takes any.
    pub(crate) fn push<M: ActorMessage>(&self, message: M)
    where
        A: Handler<M>,
    {
        let make = || Some(A::wrap(message, Reply::for_tell()));
        // Closed: nobody wants it any more.
        if let Err(failure) = panics::catch(|| self.mailbox.push_past_bound(make)) {
            self.fail(failure);
        }
    }

    /// The actor fails after the message in hand: code of it has panicked outside of its task.
    pub(super) fn fail(&self, failure: Failure) {
        self.links.escalate(failure);
        self.control.escalate();
    }

    pub(crate) fn parent(&self) -> Option<Arc<dyn AnyActor>> {
        let parent = self.special.as_ref()?.parent.as_ref();
        parent.and_then(Weak::upgrade)
    }

    pub(super) fn kind(&self) -> Kind {
        let special = self.special.as_ref();
        special.map_or_else(Kind::default, |special| special.kind)
    }

    fn references(&self) -> Option<&AtomicUsize> {
        self.special.as_ref()?.references.as_ref()
    }

    fn escalates(&self) -> bool {
        match self.kind().escalation {
            Escalation::Never => false,
            Escalation::UntilAskedToStop => !self.control.is_asked_to_stop(),
            Escalation::Always => true,
        }
    }

    /// True if this end is a failure of an actor that was not asked to stop: it will not start again.
    pub(crate) fn gave_up(&self, reason: &StopReason) -> bool {
        reason.is_failure() && !self.control.is_asked_to_stop()
    }

    /// True if it has no parent, and its failure is its system's.
    pub(crate) fn escalates_to_system(&self) -> bool {
        let special = self.special.as_ref();
        special.is_some_and(|special| {
            special.parent.is_none() && special.kind.escalation != Escalation::Never
        })
    }

    /// The error for a message that its closed mailbox does not take.
    pub(crate) fn refusal(&self) -> AskError {
        match self.links.reason() {
            Some(reason) if self.gave_up(reason) => AskError::ActorFailed {
                urn: self.urn.clone(),
            },
            _ => AskError::ActorStopped,
        }
    }

    /// The actor has ended, its URN is free: who is to hear of it does.
    pub(crate) fn end(&self, reason: &StopReason) {
        let parent = self.parent();
        if self.escalates()
            && let Some(parent) = &parent
            && let Some(failure) = reason.failure()
        {
            let urn = &self.urn;
            let failure = Failure::msg(format!("its child `{urn}` failed: {failure}"));
            parent.child_failed(failure);
        }
        for watcher in self.links.end(reason) {
            (watcher.tell)(Terminated {
                urn: self.urn.clone(),
                reason: reason.clone(),
            });
        }
        // At last: a parent stops when it has no children, and they are to count as stopped then.
        if let Some(parent) = parent {
            parent.remove_child(self.sequence);
        }
    }

    /// Ends the running handler at its next await, and the actor with it.
    pub(crate) fn kill(&self) {
        self.control.kill();
        self.mailbox.close();
    }

    pub(crate) fn add_reference(&self) {
        if let Some(references) = self.references() {
            references.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn drop_reference(&self) {
        if let Some(references) = self.references()
            && references.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.stop(StopCause::Unreferenced);
        }
    }

    pub(crate) fn id(&self) -> ActorId {
        ActorId(std::ptr::from_ref(self).addr())
    }

    /// Sends, or waits for room; an actor that sends to itself does not wait.
    pub(crate) fn poll_send<M: ActorMessage>(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        envelope: &mut Option<Envelope<M>>,
    ) -> Poll<Result<(), Closed>>
    where
        A: Handler<M>,
    {
        if ticket.is_none() {
            match self.push_now(envelope) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Refused::Closed) => return Poll::Ready(Err(Closed)),
                Err(Refused::Full) => {}
            }
        }
        self.poll_in_line(cx, ticket, envelope)
    }

    /// Joins the waiting line, or waits on in it.
    #[cold]
    fn poll_in_line<M: ActorMessage>(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        envelope: &mut Option<Envelope<M>>,
    ) -> Poll<Result<(), Closed>>
    where
        A: Handler<M>,
    {
        let mut item = envelope
            .take()
            .map(|(message, reply)| A::wrap(message, reply));
        let sent = self.mailbox.poll_push(cx, ticket, &mut item);
        if let Poll::Ready(Err(Closed)) = sent {
            *envelope = item.and_then(A::unwrap);
        }
        sent
    }

    /// Sends if nobody has to wait for it; an actor that sends to itself needs no room.
    pub(crate) fn try_tell<M: ActorMessage>(&self, message: M) -> Result<(), TellError<M>>
    where
        A: Handler<M>,
    {
        let mut envelope = Some((message, Reply::for_tell()));
        let reason = match self.push_now(&mut envelope) {
            Ok(()) => return Ok(()),
            Err(Refused::Full) => AskError::overloaded(),
            Err(Refused::Closed) => self.refusal(),
        };
        match envelope {
            Some((message, _nobody)) => Err(TellError::new(message, reason)),
            None => Ok(()), // not reached: it was not taken
        }
    }

    /// Sends if nobody has to wait for it, and takes the parcel then.
    #[inline(always)]
    fn push_now<M: ActorMessage>(&self, envelope: &mut Option<Envelope<M>>) -> Result<(), Refused>
    where
        A: Handler<M>,
    {
        if envelope.is_none() {
            return Ok(()); // it was sent before
        }
        let make = || {
            let (message, reply) = envelope.take()?;
            Some(A::wrap(message, reply))
        };
        if Current::is(self.id()) {
            self.mailbox.push_past_bound(make)
        } else {
            self.mailbox.try_push(make)
        }
    }

    pub(crate) fn withdraw<M: ActorMessage>(&self, ticket: Ticket) -> Option<Envelope<M>>
    where
        A: Handler<M>,
    {
        self.mailbox.withdraw(ticket).and_then(A::unwrap)
    }
}

impl<A: Handlers> fmt::Debug for ActorCell<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorCell")
            .field("urn", &self.urn)
            .finish_non_exhaustive()
    }
}

/// A message on its way, with where its answer goes.
pub(crate) type Envelope<M> = (M, Reply<<M as ActorMessage>::Response>);

impl<A: Handler<M>, M: ActorMessage> crate::actor::recipient::Receives<M> for ActorCell<A> {
    fn urn(&self) -> &Urn {
        &self.urn
    }

    fn actor(self: Arc<Self>) -> Arc<dyn AnyActor> {
        self
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        envelope: &mut Option<Envelope<M>>,
    ) -> Poll<Result<(), Closed>> {
        ActorCell::poll_send(self, cx, ticket, envelope)
    }

    fn withdraw(&self, ticket: Ticket) -> Option<Envelope<M>> {
        ActorCell::withdraw(self, ticket)
    }

    fn try_tell(&self, message: M) -> Result<(), TellError<M>> {
        ActorCell::try_tell(self, message)
    }

    fn refusal(&self) -> AskError {
        ActorCell::refusal(self)
    }

    fn has_ended(&self) -> bool {
        self.links.has_ended()
    }

    fn add_reference(&self) {
        ActorCell::add_reference(self);
    }

    fn drop_reference(&self) {
        ActorCell::drop_reference(self);
    }
}

#[cfg(test)]
mod tests;
