//! What is shared between an actor's task and everybody who refers to it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::actor::control::{Control, StopCause};
use crate::actor::links::Relations;
use crate::actor::stats::{Phase, Turn, Vitals};
use crate::actor::{Handler, Handlers, StopReason, Terminated, Wanted};
use crate::deadlock::current::Current;
use crate::envelope::RequestEnvelope;
use crate::error::panics;
use crate::error::{AskError, Failure, TellError};
use crate::mailbox::{Closed, Mailbox, Refused, Ticket};
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::system::{ActorSnapshot, RunningHandler};
use crate::urn::Urn;

/// An actor, seen from outside its task.
///
/// In this order, so that what its own task writes for each message comes together, and that apart
/// from what senders write.
#[repr(C)]
pub(crate) struct ActorCell<A: Handlers> {
    pub(crate) mailbox: Mailbox<A::Inbox>,
    pub(crate) vitals: Vitals,
    pub(crate) control: Control,
    pub(crate) urn: Urn,
    /// Its place in the order of spawning.
    pub(crate) sequence: u64,
    pub(crate) relations: Relations,
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
    pub(crate) lives_again: bool,
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
            vitals: Vitals::default(),
            control: Control::default(),
            urn,
            sequence,
            relations: Relations::default(),
            special,
        }
    }

    /// Closes the mailbox: what is queued is handled, then the actor stops.
    pub(crate) fn stop(&self, cause: StopCause) {
        self.control.note(cause);
        self.mailbox.close();
        self.control.wake(); // it may wait to start again
        self.relations.look_again();
    }

    /// The actor stops itself.
    pub(crate) fn stop_itself(&self) {
        if self.kind().lives_again {
            self.control.end_life();
            self.relations.look_again();
        } else {
            self.stop(StopCause::Requested);
        }
    }

    /// Sends a message past the bound, if the actor still takes any.
    pub(crate) fn push<M: ActorMessage>(&self, message: M)
    where
        A: Handler<M>,
    {
        let make = || Some(A::wrap(message, Reply::nobody()));
        // Closed: nobody wants it any more.
        if let Err(failure) = panics::catch(|| self.mailbox.push_past_bound(make)) {
            self.fail(failure);
        }
    }

    /// The actor fails after the message in hand: code of it has panicked outside of its task.
    pub(super) fn fail(&self, failure: Failure) {
        self.relations.escalate(failure);
        self.control.escalate();
    }

    pub(crate) fn parent(&self) -> Option<Arc<dyn AnyActor>> {
        let parent = self.special.as_ref()?.parent.as_ref();
        parent.and_then(Weak::upgrade)
    }

    fn kind(&self) -> Kind {
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
        match self.relations.reason() {
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
            parent.relations().escalate(failure);
            parent.control().escalate();
        }
        for watcher in self.relations.end(reason) {
            (watcher.tell)(Terminated {
                urn: self.urn.clone(),
                reason: reason.clone(),
            });
        }
        // At last: a parent stops when it has no children, and they are to count as stopped then.
        if let Some(parent) = parent {
            parent.relations().disown(self.sequence);
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

    /// The identity of a living actor, for [`Current`].
    pub(crate) fn id(&self) -> ActorId {
        ActorId(std::ptr::from_ref(self).addr())
    }

    /// Sends, or waits for room; an actor that sends to itself does not wait.
    pub(crate) fn poll_send<M: ActorMessage>(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        parcel: &mut Option<Parcel<M>>,
    ) -> Poll<Result<(), Closed>>
    where
        A: Handler<M>,
    {
        if ticket.is_none() {
            match self.push_now(parcel) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Refused::Closed) => return Poll::Ready(Err(Closed)),
                Err(Refused::Full) => {}
            }
        }
        self.poll_in_line(cx, ticket, parcel)
    }

    /// Joins the waiting line, or waits on in it.
    #[cold]
    fn poll_in_line<M: ActorMessage>(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        parcel: &mut Option<Parcel<M>>,
    ) -> Poll<Result<(), Closed>>
    where
        A: Handler<M>,
    {
        let mut item = parcel
            .take()
            .map(|(message, reply)| A::wrap(message, reply));
        let sent = self.mailbox.poll_push(cx, ticket, &mut item);
        if let Poll::Ready(Err(Closed)) = sent {
            *parcel = item.and_then(A::unwrap);
        }
        sent
    }

    /// Sends if nobody has to wait for it; an actor that sends to itself needs no room.
    pub(crate) fn try_tell<M: ActorMessage>(&self, message: M) -> Result<(), TellError<M>>
    where
        A: Handler<M>,
    {
        let mut parcel = Some((message, Reply::nobody()));
        let reason = match self.push_now(&mut parcel) {
            Ok(()) => return Ok(()),
            Err(Refused::Full) => AskError::overloaded(),
            Err(Refused::Closed) => self.refusal(),
        };
        match parcel {
            Some((message, _nobody)) => Err(TellError::new(message, reason)),
            None => Ok(()), // not reached: it was not taken
        }
    }

    /// Sends if nobody has to wait for it, and takes the parcel then.
    #[inline(always)]
    fn push_now<M: ActorMessage>(&self, parcel: &mut Option<Parcel<M>>) -> Result<(), Refused>
    where
        A: Handler<M>,
    {
        if parcel.is_none() {
            return Ok(()); // it was sent before
        }
        let make = || {
            let (message, reply) = parcel.take()?;
            Some(A::wrap(message, reply))
        };
        if Current::is(self.id()) {
            self.mailbox.push_past_bound(make)
        } else {
            self.mailbox.try_push(make)
        }
    }

    pub(crate) fn withdraw<M: ActorMessage>(&self, ticket: Ticket) -> Option<Parcel<M>>
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
pub(crate) type Parcel<M> = (M, Reply<<M as ActorMessage>::Response>);

/// Drops a value; a panic of its drop is logged and goes no further.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        let failure = crate::Failure::from_panic(&*panic);
        tracing::error!(%failure, "dropping a {} panicked", std::any::type_name::<T>());
        // The payload's own drop may panic as well: it is not worth a third attempt.
        std::mem::forget(panic);
    }
}

/// An actor of any type, as the registry and the proxy see it.
pub(crate) trait AnyActor: Send + Sync {
    fn urn(&self) -> &Urn;
    fn sequence(&self) -> u64;
    fn id(&self) -> ActorId;
    fn stop(&self, cause: StopCause);
    fn kill(&self);
    fn control(&self) -> &Control;
    fn relations(&self) -> &Relations;
    /// The actor that spawned it, if that is another's child and its parent lives.
    fn parent(&self) -> Option<Arc<dyn AnyActor>>;
    /// The reason for which it is about to stop, or to begin another life; nothing while it is not.
    fn stops_for(&self) -> Option<StopReason>;
    /// Has its life end after the message in hand, for the sake of its group.
    fn regroup(&self);
    /// True while `on_start` has not run yet, in this life.
    fn is_starting(&self) -> bool;
    /// Which of its handlers or hooks runs.
    fn turn(&self) -> Turn;
    /// True while the sender with this place waits for room.
    fn is_in_line(&self, ticket: Ticket) -> bool;
    /// Lets that sender in, past the bound.
    fn let_in(&self, ticket: Ticket);
    /// True if it is not there for whoever asks over the bus.
    fn is_private(&self) -> bool;
    /// Puts a request from the bus into the mailbox.
    fn deliver(&self, envelope: Box<RequestEnvelope>) -> Result<(), Undelivered>;
    /// Fills in a recipient for the wanted message, if the actor handles it.
    fn recipient(&self, wanted: &mut Wanted<'_>);
    /// For a typed lookup.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// The actor's type, for errors.
    fn type_name(&self) -> &'static str;
    /// What it is doing.
    fn snapshot(&self) -> ActorSnapshot;
    /// How many messages it has handled, and how many its mailbox holds.
    fn pace(&self) -> (u64, usize);
}

/// A request that did not get into the mailbox.
pub(crate) enum Undelivered {
    Full(Box<RequestEnvelope>),
    Stopped(Box<RequestEnvelope>),
}

impl<A: Handlers> AnyActor for ActorCell<A> {
    fn urn(&self) -> &Urn {
        &self.urn
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn id(&self) -> ActorId {
        ActorCell::id(self)
    }

    fn stop(&self, cause: StopCause) {
        ActorCell::stop(self, cause);
    }

    fn kill(&self) {
        ActorCell::kill(self);
    }

    fn control(&self) -> &Control {
        &self.control
    }

    fn relations(&self) -> &Relations {
        &self.relations
    }

    fn parent(&self) -> Option<Arc<dyn AnyActor>> {
        ActorCell::parent(self)
    }

    fn stops_for(&self) -> Option<StopReason> {
        self.relations.ending().or_else(|| self.control.stops_for())
    }

    fn regroup(&self) {
        self.control.regroup();
        self.relations.look_again();
    }

    fn is_starting(&self) -> bool {
        matches!(self.vitals.phase(), Phase::Starting | Phase::Restarting)
    }

    fn turn(&self) -> Turn {
        self.vitals.turn()
    }

    fn is_in_line(&self, ticket: Ticket) -> bool {
        self.mailbox.is_waiting(ticket)
    }

    fn let_in(&self, ticket: Ticket) {
        self.mailbox.admit_past_bound(ticket);
    }

    fn is_private(&self) -> bool {
        self.kind().private
    }

    fn deliver(&self, envelope: Box<RequestEnvelope>) -> Result<(), Undelivered> {
        let mut envelope = Some(envelope);
        let frame = || envelope.take().map(A::frame);
        let pushed = panics::catch(|| self.mailbox.try_push(frame));
        match (pushed, envelope) {
            (Ok(Err(Refused::Full)), Some(envelope)) => Err(Undelivered::Full(envelope)),
            (Ok(Err(Refused::Closed)), Some(envelope)) => Err(Undelivered::Stopped(envelope)),
            (Ok(_), _) => Ok(()),
            // The asker has heard of it by the drop of the envelope.
            (Err(failure), _) => {
                self.fail(failure);
                Ok(())
            }
        }
    }

    fn recipient(&self, wanted: &mut Wanted<'_>) {
        A::recipient(wanted);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<A>()
    }

    fn snapshot(&self) -> ActorSnapshot {
        let load = self.mailbox.load();
        let vitals = self.vitals.read();
        ActorSnapshot {
            urn: self.urn.clone(),
            actor_type: std::any::type_name::<A>(),
            parent: self.parent().map(|parent| parent.urn().clone()),
            phase: vitals.phase,
            running: vitals.running.map(|(handler, elapsed)| RunningHandler {
                name: panics::catch(|| A::handler_name(handler)).unwrap_or("handler"),
                elapsed,
            }),
            depth: load.depth,
            capacity: load.capacity,
            senders: load.senders,
            oldest: load.oldest,
            handled: vitals.handled,
            failed: vitals.failed,
            restarts: vitals.restarts,
        }
    }

    fn pace(&self) -> (u64, usize) {
        (self.vitals.read().handled, self.mailbox.load().capacity)
    }
}

/// The identity of an actor while it lives: where its cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ActorId(usize);

#[cfg(test)]
impl ActorId {
    pub(crate) fn for_test(number: usize) -> Self {
        Self(number)
    }
}

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
        parcel: &mut Option<Parcel<M>>,
    ) -> Poll<Result<(), Closed>> {
        ActorCell::poll_send(self, cx, ticket, parcel)
    }

    fn withdraw(&self, ticket: Ticket) -> Option<Parcel<M>> {
        ActorCell::withdraw(self, ticket)
    }

    fn try_tell(&self, message: M) -> Result<(), TellError<M>> {
        ActorCell::try_tell(self, message)
    }

    fn refusal(&self) -> AskError {
        ActorCell::refusal(self)
    }

    fn has_ended(&self) -> bool {
        self.relations.has_ended()
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
