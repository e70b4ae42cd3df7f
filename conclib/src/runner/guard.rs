//! The cleanup of an actor, whatever ends its task.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actor::any::AnyActor;
use crate::actor::cell::ActorCell;
use crate::actor::links::EssentialEnd;
use crate::actor::{Actor, FailedActor};
use crate::core::SystemCore;
use crate::error::AskError;
use crate::error::panics::drop_quietly;
use crate::mailbox::Batch;
use crate::reply::dropped::refuse_with;
use crate::stop_reason::StopReason;

/// Tells the spawner whether the actor has started, or why it ended before that.
type Started = oneshot::Sender<Result<(), StopReason>>;

/// The drop guard of an actor. Whatever ends the actor's task (the runtime may just drop it), the
/// guard closes the mailbox, drops the state, refuses the queued messages, frees the URN, and wakes
/// the tasks that wait for the stop or the start, in this order.
pub(crate) struct ActorGuard<A: Actor> {
    pub(super) cell: Arc<ActorCell<A>>,
    system: Arc<SystemCore>,
    /// The state. Kept here, outside the code that may unwind, so that it is dropped separately.
    pub(super) actor: Option<A>,
    /// Messages taken from the mailbox and not handled yet. Kept here, so that a panic fails only
    /// the current message.
    pub(super) batch: Batch<A::Inbox>,
    /// Tells the spawner of the start; `None` once it has been told, and if it does not wait.
    pub(super) started: Option<Started>,
    /// The reason of the stop, once it is known.
    pub(super) reason: Option<StopReason>,
}

impl<A: Actor> ActorGuard<A> {
    /// A guard for an actor that is registered; `started` is told of its start.
    pub(crate) fn new(
        cell: Arc<ActorCell<A>>,
        system: Arc<SystemCore>,
        actor: Option<A>,
        started: Option<Started>,
    ) -> Self {
        Self {
            cell,
            system,
            actor,
            batch: Batch::default(),
            started,
            reason: None,
        }
    }

    /// Ends an actor whose task was not spawned.
    pub(crate) fn end_unstarted(mut self, reason: StopReason) {
        self.reason = Some(reason);
    }

    /// Reports the ends of essential actors: of this one, and of those that ended with it. Its URN is
    /// free by now.
    fn report_essential(&self, reason: &StopReason, gave_up: bool) {
        let (cell, system) = (&self.cell, &self.system);
        let mut ends = cell.links.take_essential_ends();
        if cell.options().essential {
            let (urn, reason) = (cell.urn.clone(), reason.clone());
            ends.push(EssentialEnd { urn, reason });
        }
        if ends.is_empty() || matches!(reason, StopReason::Shutdown) {
            return;
        }
        // A parent that ends as well may do so in a shutdown, or start again with new children.
        let is_ending = |parent: &Arc<dyn AnyActor>| {
            !parent.has_ended() && parent.pending_stop_reason().is_some()
        };
        if let Some(parent) = cell.parent().filter(is_ending) {
            parent.add_essential_ends(ends);
        } else if gave_up || !system.is_closing() {
            for EssentialEnd { urn, reason } in ends {
                system.escalate(urn, reason);
            }
        }
    }
}

impl<A: Actor> ActorGuard<A> {
    /// The error of the queued messages: a certain one if the actor has never started, or if it was on
    /// demand, whose next message starts it again.
    fn refusal(&self, reason: &StopReason) -> AskError {
        if self.started.is_some() || self.cell.is_on_demand() {
            self.cell.refusal_after(reason)
        } else {
            AskError::ActorStopped
        }
    }
}

impl<A: Actor> Drop for ActorGuard<A> {
    fn drop(&mut self) {
        let reason = self.reason.take().unwrap_or(StopReason::Killed);
        // Noted before the mailbox closes, so that later senders get the same error as queued ones.
        let refusal = self.refusal(&reason);
        if refusal != AskError::ActorStopped {
            self.cell.links.note_ending(&reason);
        }
        self.cell.mailbox.close();
        drop_quietly(self.actor.take());
        refuse(&self.cell, &mut self.batch, refusal);
        // There are children only if the runtime dropped the task.
        for child in self.cell.links.children() {
            child.kill();
        }
        let (cell, system) = (&self.cell, &self.system);
        let gave_up = cell.gave_up(&reason);
        if gave_up {
            let actor = FailedActor::new(cell.snapshot(), &reason);
            system.registry.note_failed(actor, cell.is_private());
        }
        system.registry.release(cell.urn.as_str(), cell.id());
        cell.control.forget_task();
        if gave_up && cell.escalates_to_system() && !cell.options().essential {
            system.escalate(cell.urn.clone(), reason.clone());
        }
        self.report_essential(&reason, gave_up);
        cell.end(&reason);
        if let Some(started) = self.started.take() {
            drop(started.send(Err(reason))); // fails if the `Spawn` was dropped
        }
    }
}

/// Closes the mailbox of an actor that will not start again, and drops the queued messages: their
/// askers get the error now, and not only after the end of children and the last hook. Each message
/// is dropped separately, so that a panic of its drop affects no other message.
pub(super) fn refuse<A: Actor>(
    cell: &ActorCell<A>,
    batch: &mut Batch<A::Inbox>,
    refusal: AskError,
) {
    let mut queued = cell.mailbox.close_and_drain(batch).peekable();
    if queued.peek().is_some() {
        refuse_with(refusal, || queued.for_each(drop_quietly));
    }
}
