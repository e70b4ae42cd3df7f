//! Deadlock detection: an actor that would wait for itself gets an error instead.
//!
//! Code that waits within a handler or a hook first records the wait as an *edge* of its own actor, and
//! then walks the edges of the actor that it waits for. Of actors that begin to wait for each other at
//! the same moment, the last to record its edge sees all the others. Code that passes an ask on, as a
//! pool does, moves the asker's edge and walks as well.
//!
//! An edge counts only until the event that it waits for has come, so that an actor whose reply has
//! arrived and is not yet polled blocks no other. It belongs to the actor that polls, in the
//! [`Execution`] in which it polls: a future that is stored for later, or moved to another task, blocks
//! no other actor either.
//!
//! Actors are known here by the trait [`Participant`], and asks by [`PendingReply`].

use std::sync::Arc;

use crate::mailbox::Ticket;

use current::Current;
pub(crate) use cycle::Cycle;
use cycle::Step;
pub(crate) use participant::{ActiveWait, ActorId, Execution, Participant, PendingReply};

pub(crate) mod current;
mod cycle;
mod participant;
#[cfg(test)]
mod tests;

/// An event that an actor waits for.
#[derive(Clone)]
pub(crate) enum Edge {
    /// A reply. It leads to the actor that is to reply, which changes when the ask is passed on.
    Reply(Arc<dyn PendingReply>),
    /// A state of an actor.
    Actor(Arc<dyn Participant>, WaitFor),
}

/// The state that an actor waits for another to reach.
#[derive(Clone, Copy)]
pub(crate) enum WaitFor {
    /// Capacity in its mailbox.
    Capacity(Ticket),
    /// Capacity in its mailbox for a message that is passed on. In a cycle, the message is admitted
    /// past the capacity.
    ForwardCapacity(Ticket),
    /// The actor has started.
    Started,
    /// The actor has stopped, or is about to stop and waits for the waiting actor.
    Stopped,
    /// The actor has stopped; the waiting actor stops after it.
    StoppedFirst,
}

/// The kind of event that an actor waits for, for those who look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "bus"),
    allow(dead_code, reason = "only inspection over the bus shows waits")
)]
pub(crate) enum AwaitedEvent {
    Reply,
    Capacity,
    Start,
    Stop,
}

/// The waits of an actor's code that hold now: each with the actor that it leads to.
#[cfg_attr(
    not(feature = "bus"),
    allow(dead_code, reason = "only inspection over the bus shows waits")
)]
pub(crate) fn current_waits(
    actor: &(impl Participant + ?Sized),
) -> Vec<(Arc<dyn Participant>, AwaitedEvent)> {
    let waits = actor.active_waits();
    if waits.is_empty() {
        return Vec::new();
    }
    // Read after the waits, as in the search for cycles.
    let now = actor.execution();
    let current = waits.into_iter().filter(|wait| wait.execution == now);
    let shown = current.filter_map(|wait| {
        let target = wait.edge.target().or_else(|| wait.edge.keeper())?;
        Some((target, wait.edge.event()))
    });
    shown.collect()
}

impl Edge {
    fn event(&self) -> AwaitedEvent {
        match self {
            Self::Reply(_) => AwaitedEvent::Reply,
            Self::Actor(_, WaitFor::Capacity(_) | WaitFor::ForwardCapacity(_)) => {
                AwaitedEvent::Capacity
            }
            Self::Actor(_, WaitFor::Started) => AwaitedEvent::Start,
            Self::Actor(_, WaitFor::Stopped | WaitFor::StoppedFirst) => AwaitedEvent::Stop,
        }
    }

    pub(crate) fn new(actor: Arc<dyn Participant>, state: WaitFor) -> Self {
        Self::Actor(actor, state)
    }

    /// The actor that the edge leads to; `None` once the event has come.
    fn target(&self) -> Option<Arc<dyn Participant>> {
        let target = match self {
            Self::Reply(pending) => pending.responder()?,
            Self::Actor(actor, state) if state.is_pending(&**actor) => actor.clone(),
            Self::Actor(..) => return None,
        };
        (!target.has_ended()).then_some(target)
    }

    /// The actor whose handler keeps the reply that the edge waits for.
    fn keeper(&self) -> Option<Arc<dyn Participant>> {
        let keeper = match self {
            Self::Reply(pending) => pending.keeper()?,
            Self::Actor(..) => return None,
        };
        (!keeper.has_ended()).then_some(keeper)
    }

    fn waits_for(&self, pending: &Arc<dyn PendingReply>) -> bool {
        matches!(self, Self::Reply(own) if std::ptr::addr_eq(Arc::as_ptr(own), Arc::as_ptr(pending)))
    }
}

impl WaitFor {
    /// True while the actor has not reached the state.
    fn is_pending(self, actor: &dyn Participant) -> bool {
        match self {
            Self::Capacity(ticket) | Self::ForwardCapacity(ticket) => actor.is_waiting(ticket),
            Self::Started => actor.is_starting(),
            Self::Stopped | Self::StoppedFirst => true,
        }
    }
}

/// A wait in progress, recorded with its actor. Dropping it ends the wait.
struct RecordedWait {
    actor: Arc<dyn Participant>,
    number: u64,
    execution: Execution,
}

impl RecordedWait {
    /// Records that an actor waits. Returns the cycle as well, if the actor waits for itself now.
    fn begin(actor: Arc<dyn Participant>, edge: Edge) -> (Self, Option<Cycle>) {
        let execution = actor.execution();
        let recorded = edge.clone();
        let number = actor.begin_wait(execution, edge);
        let wait = Self {
            actor,
            number,
            execution,
        };
        let first = recorded.target();
        let cycle = first.and_then(|first| wait.cycle_over(&first));
        (wait, cycle)
    }

    /// The cycle that the wait closes, if the actor that it leads to waits for this one.
    fn cycle_over(&self, first: &Arc<dyn Participant>) -> Option<Cycle> {
        Cycle::find(first, |step| self.is_step(step))
    }

    /// True if the actor has this id and is still in the execution that began the wait.
    fn is_current_of(&self, id: ActorId) -> bool {
        self.actor.id() == id && self.actor.execution() == self.execution
    }

    fn is_step(&self, step: &Step) -> bool {
        step.number == self.number && step.from.id() == self.actor.id()
    }
}

impl Drop for RecordedWait {
    fn drop(&mut self) {
        self.actor.end_wait(self.number);
    }
}

/// The wait of a future, which different actors may poll. Boxed, because most futures never wait.
#[derive(Default)]
pub(crate) struct Wait(Option<Box<RecordedWait>>);

impl Wait {
    /// Records, for a pending poll, that the current actor waits. Returns the cycle if that actor waits
    /// for itself now. To be called at each pending poll.
    pub(crate) fn record(&mut self, edge: impl FnOnce() -> Edge) -> Option<Cycle> {
        match (&self.0, Current::id()) {
            (None, None) => return None,
            (Some(wait), Some(id)) if wait.is_current_of(id) => return None,
            _ => self.end(),
        }
        let (wait, cycle) = RecordedWait::begin(Current::actor()?, edge());
        self.0 = Some(Box::new(wait));
        cycle
    }

    /// The cycle over a recorded wait for this actor, if another wait has closed one since.
    pub(crate) fn cycle_over(&self, first: &Arc<dyn Participant>) -> Option<Cycle> {
        self.0.as_ref()?.cycle_over(first)
    }

    /// Ends the recorded wait, if there is one.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

/// Makes another actor the one that is to reply.
///
/// # Errors
///
/// The cycle, if that actor waits for the asker.
pub(crate) fn assign_reply(
    actor: &Arc<dyn Participant>,
    pending: &Arc<dyn PendingReply>,
) -> Result<(), Cycle> {
    pending.assign_to(actor);
    match Cycle::find(actor, |step| step.edge.waits_for(pending)) {
        Some(cycle) => Err(cycle),
        None => Ok(()),
    }
}
