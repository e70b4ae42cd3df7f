//! The part of an actor that its task shares with its references: mailbox, stats, control word, links.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};

use crate::actor::any::AnyActor;
use crate::actor::control::{Control, Signal, StopCause};
use crate::actor::host::HostLink;
use crate::actor::links::Links;
use crate::actor::listing::{ListingSlot, NameKind};
use crate::actor::stats::Stats;
use crate::actor::supervision::RestartBudget;
use crate::actor::type_counters::{TypeCounter, TypeNumber};
use crate::actor::{Handler, Handlers};
use crate::deadlock::ActorId;
use crate::deadlock::current::Current;
use crate::error::panics;
use crate::error::{AskError, AskErrorKind, ChildFailure, Failure, TellError};
use crate::mailbox::{Closed, Mailbox, Refused, Ticket};
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::stop_reason::{StopReason, Terminated};
use crate::urn::{ActorName, Urn};

pub(crate) use options::{Escalation, Lifetime, SpawnOptions, Visibility};
pub(crate) use thread::Thread;

/// An actor, as shared between its task and its references.
///
/// The fields are in this order so that those written by the actor's task for each message lie
/// together, and apart from those written by senders.
#[repr(C)]
pub(crate) struct ActorCell<A: Handlers> {
    pub(crate) mailbox: Mailbox<A::Inbox, Profile>,
    pub(crate) stats: Stats,
    pub(crate) control: Control,
}

/// The fields of an actor that are seldom written.
///
/// The extras come first, next to the fields of the senders, which read them with each reference that is
/// made: last, they would share a cache line with the fields that the actor writes for each message.
#[repr(C)]
pub(crate) struct Profile {
    /// Boxed, since most actors have none.
    extras: OnceLock<Box<Extras>>,
    name: ActorName,
    /// The actor's number in the order of spawning.
    sequence: u64,
    links: Links,
}

/// Fields that few actors need: those with a parent or options other than the default, and those whose
/// generated name is read.
#[derive(Default)]
pub(crate) struct Extras {
    /// The generated name, once it is read.
    urn: OnceLock<Urn>,
    /// The number of references, if the lifetime depends on them.
    references: AtomicUsize,
    /// The actor that spawned this one. It stops after this one.
    parent: Option<Weak<dyn AnyActor>>,
    /// The system of an actor on demand, in which the next one takes its place.
    system: Option<HostLink>,
    options: SpawnOptions,
    /// The bound of restarts, unless it is the default one. Boxed, since few actors have it.
    budget: Option<Box<RestartBudget>>,
    /// The place of the name in a fleet, once the system is in one.
    listing: OnceLock<Arc<ListingSlot>>,
}

impl Extras {
    /// The extras of an actor that is spawned; `system` is that of an actor on demand.
    pub(crate) fn new(
        parent: Option<Weak<dyn AnyActor>>,
        options: SpawnOptions,
        system: Option<HostLink>,
    ) -> Self {
        Self {
            parent,
            system,
            options,
            ..Self::default()
        }
    }

    /// Notes the bound of restarts.
    pub(crate) fn with_budget(mut self, budget: Option<RestartBudget>) -> Self {
        let other = budget.filter(|budget| *budget != RestartBudget::DEFAULT);
        self.budget = other.map(Box::new);
        self
    }

    fn are_needed(&self) -> bool {
        self.parent.is_some() || self.options != SpawnOptions::default() || self.budget.is_some()
    }
}

/// Between the fields that senders write or read for each message and those that the actor writes lie 56
/// bytes, which with the alignment of 16 are always in two cache lines.
const _: () = assert!(size_of::<Profile>() - size_of::<OnceLock<Box<Extras>>>() >= 56);

impl<A: Handlers> ActorCell<A> {
    pub(crate) fn new(
        name: ActorName,
        sequence: u64,
        capacity: usize,
        actor_type: TypeNumber,
        extras: Extras,
    ) -> Self {
        let profile = Profile {
            name,
            sequence,
            links: Links::of_type(actor_type),
            extras: if extras.are_needed() {
                OnceLock::from(Box::new(extras))
            } else {
                OnceLock::new()
            },
        };
        Self {
            mailbox: Mailbox::with_owner(capacity, profile),
            stats: Stats::default(),
            control: Control::default(),
        }
    }

    pub(crate) fn name(&self) -> &ActorName {
        &self.profile().name
    }

    /// The URN. A generated one is written out at the first call, and takes memory from then on.
    pub(crate) fn urn(&self) -> &Urn {
        match self.name() {
            ActorName::Given(urn) => urn,
            name @ ActorName::Generated(_) => {
                let extras = self.profile().extras.get_or_init(Box::default);
                extras.urn.get_or_init(|| name.to_urn())
            }
        }
    }

    /// A copy of the URN. A generated one stays unwritten here.
    pub(crate) fn to_urn(&self) -> Urn {
        let written = self.extras().and_then(|extras| extras.urn.get());
        written.map_or_else(|| self.name().to_urn(), Urn::clone)
    }

    /// The actor's number in the order of spawning.
    pub(crate) fn sequence(&self) -> u64 {
        self.profile().sequence
    }

    pub(crate) fn links(&self) -> &Links {
        &self.profile().links
    }

    fn profile(&self) -> &Profile {
        &self.mailbox.owner
    }

    fn extras(&self) -> Option<&Extras> {
        self.profile().extras.get().map(|extras| &**extras)
    }

    /// The number of the actor's type, for its counters.
    pub(crate) fn actor_type(&self) -> TypeNumber {
        self.links().actor_type()
    }

    /// Counts messages that no handler begins, with the error that their senders get.
    pub(crate) fn count_lost(&self, kind: AskErrorKind, messages: u64) {
        self.actor_type().add(TypeCounter::Lost(kind), messages);
    }

    /// Sends a signal to the actor's task.
    pub(crate) fn signal(&self, signal: Signal) {
        self.control.add(signal);
        self.mailbox.wake();
    }

    /// Closes the mailbox: queued messages are handled, then the actor stops.
    pub(crate) fn stop(&self, cause: StopCause) {
        self.control.note_cause(cause);
        self.mailbox.close(); // which wakes the task: it may wait for a restart
        self.links().wake_stop_waiters();
    }

    /// Stops the actor by request of its own code. Under [`Restart::Always`](crate::supervision::Restart::Always),
    /// only the incarnation ends.
    pub(crate) fn stop_itself(&self) {
        if self.options().restarts_itself {
            self.signal(Signal::END);
            self.links().wake_stop_waiters();
        } else {
            self.stop(StopCause::Requested);
        }
    }

    /// Sends a message past the mailbox's capacity. Drops it if the mailbox is closed.
    pub(crate) fn push<M: ActorMessage>(&self, message: M)
    where
        A: Handler<M>,
    {
        let make = || Some(A::wrap(message, Reply::for_tell()));
        if let Err(failure) = panics::catch(|| self.mailbox.push_past_bound(make)) {
            self.fail(failure);
        }
    }

    /// Has the actor fail after the current message, because its code panicked outside of its task.
    pub(super) fn fail(&self, failure: Failure) {
        self.links().escalate(failure);
        self.signal(Signal::ESCALATE);
    }

    pub(crate) fn parent(&self) -> Option<Arc<dyn AnyActor>> {
        let parent = self.extras()?.parent.as_ref();
        parent.and_then(Weak::upgrade)
    }

    pub(crate) fn options(&self) -> SpawnOptions {
        let extras = self.extras();
        extras.map_or_else(SpawnOptions::default, |extras| extras.options)
    }

    /// The bound of restarts, if it is not the default one.
    pub(super) fn budget(&self) -> Option<RestartBudget> {
        self.extras()?.budget.as_deref().copied()
    }

    /// The way in which other processes find the actor by its name.
    pub(crate) fn name_kind(&self) -> NameKind {
        let is_root = self.extras().is_none_or(|extras| extras.parent.is_none());
        let options = self.options();
        let keeps_name = matches!(
            options.lifetime,
            Lifetime::UntilStopped | Lifetime::WhileReferenced
        );
        match self.name() {
            ActorName::Given(_) if is_root && keeps_name => match options.visibility {
                Visibility::Public => NameKind::Listed,
                Visibility::Shared => NameKind::Shared,
                Visibility::Private => NameKind::Local,
            },
            _ => NameKind::Local,
        }
    }

    /// The place of the name in a fleet, if the system has been in one.
    pub(crate) fn listing(&self) -> Option<&Arc<ListingSlot>> {
        self.extras()?.listing.get()
    }

    /// The same, for the part of the system that keeps it up to date.
    pub(crate) fn enter_listing(&self) -> Arc<ListingSlot> {
        let extras = self.profile().extras.get_or_init(Box::default);
        extras.listing.get_or_init(Arc::default).clone()
    }

    fn escalates(&self) -> bool {
        match self.options().escalation {
            Escalation::Never => false,
            Escalation::UntilAskedToStop => !self.control.is_asked_to_stop(),
            Escalation::Always => true,
        }
    }

    /// True if the actor has ended by a failure and was not asked to stop: it will not restart.
    pub(crate) fn gave_up(&self, reason: &StopReason) -> bool {
        reason.is_failure() && !self.control.is_asked_to_stop()
    }

    /// True if the actor has no parent and escalates its failure: to the system.
    pub(crate) fn escalates_to_system(&self) -> bool {
        let extras = self.extras();
        extras.is_some_and(|extras| {
            extras.parent.is_none() && extras.options.escalation != Escalation::Never
        })
    }

    /// Announces the actor's end to its parent and its watchers. Its URN is free by now.
    pub(crate) fn end(&self, reason: &StopReason) {
        let parent = self.parent();
        if self.escalates()
            && let Some(parent) = &parent
            && let Some(failure) = reason.failure()
        {
            let failure = ChildFailure::escalated(self.urn().clone(), failure.clone());
            parent.child_failed(failure.into());
        }
        for watcher in self.links().end(reason) {
            (watcher.notify)(Terminated {
                urn: self.urn().clone(),
                reason: reason.clone(),
            });
        }
        // Last, since a parent stops once it has no children, and they must count as stopped by then.
        if let Some(parent) = parent {
            parent.remove_child(self.sequence());
        }
    }

    /// Ends the actor; its running handler is dropped at its next await.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        self.mailbox.close();
    }

    pub(crate) fn id(&self) -> ActorId {
        ActorId(std::ptr::from_ref(self).addr())
    }

    /// Sends an envelope, or waits for room. An actor that sends to itself does not wait.
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
        self.poll_waiting(cx, ticket, envelope)
    }

    /// Enters the mailbox's wait queue, or polls in it.
    #[cold]
    fn poll_waiting<M: ActorMessage>(
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

    /// Sends if there is room and no other sender waits for it. An actor that sends to itself needs no
    /// room.
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
        self.count_lost(reason.kind(), 1);
        let Some((message, _reply)) = envelope else {
            unreachable!("a refused push leaves the envelope in its place");
        };
        Err(TellError::new(message, reason))
    }

    /// Sends if that needs no wait, and takes the envelope only then.
    #[inline(always)]
    fn push_now<M: ActorMessage>(&self, envelope: &mut Option<Envelope<M>>) -> Result<(), Refused>
    where
        A: Handler<M>,
    {
        if envelope.is_none() {
            return Ok(()); // sent before
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
            .field("name", self.name())
            .finish_non_exhaustive()
    }
}

/// A message with its reply.
pub(crate) type Envelope<M> = (M, Reply<<M as ActorMessage>::Response>);

impl<A: Handler<M>, M: ActorMessage> crate::actor::recipient::Receives<M> for ActorCell<A> {
    fn urn(&self) -> &Urn {
        ActorCell::urn(self)
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

    fn count_lost(&self, kind: AskErrorKind) {
        ActorCell::count_lost(self, kind, 1);
    }

    fn has_ended(&self) -> bool {
        self.links().has_ended() || self.has_retired()
    }

    fn add_reference(&self) {
        ActorCell::add_reference(self);
    }

    fn drop_reference(&self) {
        ActorCell::drop_reference(self);
    }
}

mod demand;
mod options;
mod references;
mod refusal;
mod thread;

#[cfg(test)]
mod tests;
