//! Actors without their type, for registries, supervisors and the bus.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::cell::{ActorCell, Thread, Visibility};
use super::control::{Signal, StopCause};
use super::failure_event::handler_names;
use super::links::EssentialEnd;
use super::listing::{Listing, ListingSlot, NameKind};
use super::snapshot::{ActorSnapshot, RunningHandler};
use super::stats::Phase;
use super::supervision::{RestartBudget, Supervision};
use super::type_counters::TypeNumber;
use super::{Handlers, RecipientQuery};
use crate::deadlock::{ActiveWait, ActorId, Edge, Execution, Participant};
use crate::envelope::RequestEnvelope;
use crate::error::panics;
use crate::error::{AskError, AskErrorKind, Failure};
use crate::mailbox::{Refused, Ticket};
use crate::stop_reason::StopReason;
use crate::urn::{ActorName, Urn};

/// An actor of any type, for callers that do not know its type.
pub(crate) trait AnyActor: Participant {
    fn name(&self) -> &ActorName;
    /// The actor's number in the order of spawning.
    fn sequence(&self) -> u64;
    fn stop(&self, cause: StopCause);
    fn kill(&self);
    /// Adds a child; false if the actor is ending.
    fn add_child(&self, child: Arc<dyn AnyActor>) -> bool;
    /// The children, the newest first.
    fn children(&self) -> Vec<Arc<dyn AnyActor>>;
    /// The actors that watch this one, by their identities.
    fn watchers(&self) -> Vec<ActorId>;
    /// The effect of a failure, and the bound of restarts.
    fn supervision(&self) -> (Supervision, Option<RestartBudget>);
    /// The child whose end the actor waits for before its last hook, if it does.
    fn awaited_child(&self) -> Option<Arc<dyn AnyActor>>;
    /// Removes a child that has ended.
    fn remove_child(&self, sequence: u64);
    /// Has the actor fail with a child that escalates its failure.
    fn child_failed(&self, failure: Failure);
    /// Adds ends of essential actors below this one, to be reported with its own end.
    fn add_essential_ends(&self, ends: Vec<EssentialEnd>);
    /// Removes a watcher of the actor's end.
    fn unwatch(&self, watcher: ActorId);
    /// The reason for which the actor has stopped, if it has.
    fn stop_reason(&self) -> Option<StopReason>;
    /// Notified when the actor stops, and when tasks that wait for that are to check for cycles.
    fn end_notify(&self) -> Arc<Notify>;
    /// Interrupts the current incarnation at its next await.
    fn interrupt(&self);
    /// True once the current incarnation was interrupted, or the actor killed.
    fn is_interrupted(&self) -> bool;
    /// A number that changes whenever the cancel flags that were made before are to be set.
    fn cancel_epoch(&self) -> u32;
    /// The actor that spawned this one; `None` for a root actor, or if the parent's cell is gone.
    fn parent(&self) -> Option<Arc<dyn AnyActor>>;
    /// Ends the incarnation after the current message, because the actor's group restarts.
    fn restart_with_group(&self);
    /// True if the actor is hidden from other processes.
    fn is_private(&self) -> bool;
    /// The way in which other processes find the actor by its name.
    fn name_kind(&self) -> NameKind;
    /// The place of the name in a fleet, if the system has been in one.
    fn listing(&self) -> Option<&Arc<ListingSlot>>;
    /// The same, for the part of the system that keeps it up to date.
    fn enter_listing(&self) -> Arc<ListingSlot>;
    /// True if the actor has a thread of its own.
    fn has_thread(&self) -> bool;
    /// Puts a request from the bus into the mailbox, without waiting for room.
    fn deliver(&self, envelope: Box<RequestEnvelope>) -> Result<(), Undelivered>;
    /// Fills in a recipient for the wanted message, if the actor handles it.
    fn recipient(&self, query: &mut RecipientQuery<'_>);
    /// The cell, for a downcast to its type.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// The name of the actor's type, for errors and snapshots.
    fn type_name(&self) -> &'static str;
    /// The actor's current state.
    fn snapshot(&self) -> ActorSnapshot;
    /// Counts a request that no handler begins, with the error that its asker gets.
    fn count_lost(&self, kind: AskErrorKind);
    /// The figures of the actor's current state, for the sums of its type.
    fn load(&self) -> ActorLoad;
    /// The number of messages handled so far, and the mailbox's capacity.
    fn handled_and_capacity(&self) -> (u64, usize);
    /// The signs of use of an actor on demand.
    fn activity(&self) -> Activity;
    /// Has an actor on demand look whether it is idle, and end if so.
    fn signal_idle(&self);
    /// True if a message or a sender waits, or a reference exists.
    fn is_awaited(&self) -> bool;
    /// Closes the mailbox of an actor on demand whose incarnation has ended, unless a message waits in
    /// it or `unless` holds; returns whether it did.
    fn retire(&self, unless: Unless) -> bool;
    /// True if the actor was on demand and has ended so that the next message starts another.
    fn has_retired(&self) -> bool;
    /// Finds or starts the actor at the URN of this one, if this one has retired.
    fn successor(&self) -> Option<Result<Arc<dyn AnyActor>, AskError>>;
}

/// The figures of an actor's state.
pub(crate) struct ActorLoad {
    pub(crate) actor_type: TypeNumber,
    pub(crate) phase: Phase,
    pub(crate) handled: u64,
    /// The number of messages in its mailbox.
    pub(crate) queued: usize,
    pub(crate) waiting_senders: usize,
    /// The age of the oldest message in its mailbox.
    pub(crate) oldest: Option<Duration>,
    /// The time for which its handler has run, if one runs.
    pub(crate) running: Option<Duration>,
}

/// A reason, beside a waiting message, for which an actor on demand keeps its URN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unless {
    /// A reference to it exists: it was only idle.
    Referenced,
    /// None: it has stopped itself.
    Never,
}

/// The signs of use of an actor on demand at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    /// A number that changes with each message, other than ticks and timers.
    pub(crate) progress: u32,
    /// The time since the last messages arrived, or slightly less.
    pub(crate) since_arrival: Duration,
    /// The actor starts, runs a handler, has messages or children, or is referenced.
    pub(crate) is_occupied: bool,
}

/// A request that did not get into the mailbox.
pub(crate) enum Undelivered {
    Full(Box<RequestEnvelope>),
    /// The mailbox is closed; the error is the one for messages that came too late.
    Stopped(Box<RequestEnvelope>, AskError),
    /// The actor was on demand and has ended, and no other can start in its place.
    Refused(Box<RequestEnvelope>, AskError),
}

impl<A: Handlers> Participant for ActorCell<A> {
    fn urn(&self) -> &Urn {
        ActorCell::urn(self)
    }

    fn id(&self) -> ActorId {
        ActorCell::id(self)
    }

    fn pending_stop_reason(&self) -> Option<StopReason> {
        self.links()
            .end_reason()
            .or_else(|| self.control.pending_stop_reason())
    }

    fn is_starting(&self) -> bool {
        matches!(self.stats.phase(), Phase::Starting | Phase::Restarting)
    }

    fn execution(&self) -> Execution {
        self.stats.execution()
    }

    fn is_waiting(&self, ticket: Ticket) -> bool {
        self.mailbox.is_waiting(ticket)
    }

    fn admit(&self, ticket: Ticket) {
        self.mailbox.admit_past_bound(ticket);
    }

    fn begin_wait(&self, execution: Execution, edge: Edge) -> u64 {
        self.links().begin_wait(execution, edge)
    }

    fn end_wait(&self, number: u64) {
        self.links().end_wait(number);
    }

    fn active_waits(&self) -> Vec<ActiveWait> {
        self.links().active_waits()
    }

    fn has_ended(&self) -> bool {
        self.links().has_ended()
    }

    fn wake_stop_waiters(&self) {
        self.links().wake_stop_waiters();
    }
}

impl<A: Handlers> AnyActor for ActorCell<A> {
    fn name(&self) -> &ActorName {
        ActorCell::name(self)
    }

    fn sequence(&self) -> u64 {
        ActorCell::sequence(self)
    }

    fn stop(&self, cause: StopCause) {
        ActorCell::stop(self, cause);
    }

    fn kill(&self) {
        ActorCell::kill(self);
    }

    fn add_child(&self, child: Arc<dyn AnyActor>) -> bool {
        self.links().add_child(child)
    }

    fn children(&self) -> Vec<Arc<dyn AnyActor>> {
        self.links().children()
    }

    fn watchers(&self) -> Vec<ActorId> {
        self.links().watchers()
    }

    fn supervision(&self) -> (Supervision, Option<RestartBudget>) {
        let supervision = self.control.supervision();
        let budget = match supervision {
            Supervision::Always | Supervision::OnFailure | Supervision::OnDemand => {
                Some(self.budget().unwrap_or(RestartBudget::DEFAULT))
            }
            _ => None,
        };
        (supervision, budget)
    }

    fn awaited_child(&self) -> Option<Arc<dyn AnyActor>> {
        let is_stopping = self.stats.phase() == Phase::Stopping;
        is_stopping.then(|| self.links().newest_child()).flatten()
    }

    fn remove_child(&self, sequence: u64) {
        self.links().remove_child(sequence);
    }

    fn child_failed(&self, failure: Failure) {
        self.fail(failure);
    }

    fn add_essential_ends(&self, ends: Vec<EssentialEnd>) {
        self.links().add_essential_ends(ends);
    }

    fn unwatch(&self, watcher: ActorId) {
        self.links().unwatch(watcher);
    }

    fn stop_reason(&self) -> Option<StopReason> {
        self.links().reason()
    }

    fn end_notify(&self) -> Arc<Notify> {
        self.links().end_notify()
    }

    fn interrupt(&self) {
        self.signal(Signal::INTERRUPT);
    }

    fn is_interrupted(&self) -> bool {
        self.control.is_interrupted()
    }

    fn cancel_epoch(&self) -> u32 {
        self.control.cancel_epoch()
    }

    fn parent(&self) -> Option<Arc<dyn AnyActor>> {
        ActorCell::parent(self)
    }

    fn restart_with_group(&self) {
        self.signal(Signal::RESTART_WITH_GROUP);
        self.links().wake_stop_waiters();
    }

    fn is_private(&self) -> bool {
        self.options().visibility == Visibility::Private
    }

    fn name_kind(&self) -> NameKind {
        ActorCell::name_kind(self)
    }

    fn listing(&self) -> Option<&Arc<ListingSlot>> {
        ActorCell::listing(self)
    }

    fn enter_listing(&self) -> Arc<ListingSlot> {
        ActorCell::enter_listing(self)
    }

    fn has_thread(&self) -> bool {
        self.options().thread == Thread::Own
    }

    fn deliver(&self, envelope: Box<RequestEnvelope>) -> Result<(), Undelivered> {
        let mut envelope = Some(envelope);
        let frame = || envelope.take().map(A::frame);
        let pushed = panics::catch(|| self.mailbox.try_push(frame));
        match (pushed, envelope) {
            (Ok(Err(Refused::Full)), Some(envelope)) => Err(Undelivered::Full(envelope)),
            (Ok(Err(Refused::Closed)), Some(envelope)) => {
                Err(Undelivered::Stopped(envelope, self.refusal()))
            }
            (Ok(_), _) => Ok(()),
            // The asker got an error when the envelope was dropped.
            (Err(failure), _) => {
                self.fail(failure);
                Ok(())
            }
        }
    }

    fn recipient(&self, query: &mut RecipientQuery<'_>) {
        A::recipient(query);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<A>()
    }

    fn snapshot(&self) -> ActorSnapshot {
        let load = self.mailbox.load();
        let stats = self.stats.read();
        ActorSnapshot {
            urn: self.to_urn(),
            actor_type: std::any::type_name::<A>().into(),
            parent: self.parent().map(|parent| parent.name().to_urn()),
            phase: stats.phase,
            running: stats.running.map(|(handler, elapsed)| {
                let names = handler_names::<A>(handler);
                RunningHandler {
                    name: names.method.into(),
                    message: names.message.map(Into::into),
                    elapsed,
                }
            }),
            queued: load.depth,
            capacity: load.capacity,
            waiting_senders: load.senders,
            oldest: load.oldest,
            handled: stats.handled,
            failures: stats.failures,
            restarts: stats.restarts,
            listing: self
                .listing()
                .map_or(Listing::Local, |listing| listing.get()),
        }
    }

    fn count_lost(&self, kind: AskErrorKind) {
        ActorCell::count_lost(self, kind, 1);
    }

    fn load(&self) -> ActorLoad {
        let load = self.mailbox.load();
        let stats = self.stats.read();
        ActorLoad {
            actor_type: self.actor_type(),
            phase: stats.phase,
            handled: stats.handled,
            queued: load.depth,
            waiting_senders: load.senders,
            oldest: load.oldest,
            running: stats.running.map(|(_, elapsed)| elapsed),
        }
    }

    fn handled_and_capacity(&self) -> (u64, usize) {
        (self.stats.read().handled, self.mailbox.load().capacity)
    }

    fn activity(&self) -> Activity {
        let is_occupied = self.stats.phase() != Phase::Running
            || self.stats.is_busy()
            || self.is_referenced()
            || self.mailbox.is_occupied()
            || self.links().has_children();
        Activity {
            progress: self.stats.progress(),
            since_arrival: self.stats.since_arrival(),
            is_occupied,
        }
    }

    fn signal_idle(&self) {
        self.signal(Signal::IDLE);
    }

    fn is_awaited(&self) -> bool {
        self.mailbox.is_occupied() || self.is_referenced()
    }

    fn retire(&self, unless: Unless) -> bool {
        self.mailbox.close_if_empty(|| {
            let retires = unless == Unless::Never || !self.is_referenced();
            if retires {
                self.control.retire();
            }
            retires
        })
    }

    fn has_retired(&self) -> bool {
        ActorCell::has_retired(self)
    }

    fn successor(&self) -> Option<Result<Arc<dyn AnyActor>, AskError>> {
        ActorCell::successor(self)
    }
}
