//! The data of an actor's task, and its cleanup, whatever ends the task.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actor::any::AnyActor;
use crate::actor::cell::ActorCell;
use crate::actor::host::ActorEnds;
use crate::actor::links::EssentialEnd;
use crate::actor::type_counters::TypeCounter;
use crate::actor::{Actor, Context, FailedActor};
use crate::error::AskError;
use crate::error::panics::{catch, drop_quietly};
use crate::mailbox::Batch;
use crate::reply::dropped::refuse_with;
use crate::runner::handled::HandledRun;
use crate::runner::is_lost;
use crate::stop_reason::StopReason;

/// Tells the spawner whether the actor has started, or why it ended before that.
type Started = oneshot::Sender<Result<(), StopReason>>;

/// The drop guard of an actor. Whatever ends the actor's task (the runtime may just drop it), the
/// guard closes the mailbox, drops the state, refuses the queued messages, frees the URN, and wakes
/// the tasks that wait for the stop or the start, in this order.
pub(crate) struct ActorGuard<A: Actor> {
    pub(super) cell: Arc<ActorCell<A>>,
    pub(super) parts: ActorParts<A>,
    /// Tells the spawner of the start; `None` once it has been told, and if it does not wait. Boxed,
    /// since idle actors have none.
    started: Option<Box<Started>>,
}

/// The parts of an actor that its code works on. Together, so that the code of an idle actor holds one
/// reference. In the guard, outside of the code that may unwind, so that a panic fails only the current
/// message.
pub(super) struct ActorParts<A: Actor> {
    /// The state.
    pub(super) actor: Option<A>,
    pub(super) ctx: Context<A>,
    /// Messages taken from the mailbox and not handled yet.
    pub(super) batch: Batch<A::Inbox>,
    /// Messages that were handled and not counted yet; without the feature `metrics`, of no size.
    pub(super) handled: HandledRun,
}

impl<A: Actor> ActorGuard<A> {
    /// A guard for an actor that is registered; `started` is told of its start.
    pub(crate) fn new(ctx: Context<A>, actor: Option<A>, started: Option<Started>) -> Self {
        Self {
            cell: ctx.cell().clone(),
            parts: ActorParts {
                actor,
                ctx,
                batch: Batch::default(),
                handled: HandledRun::default(),
            },
            started: started.map(Box::new),
        }
    }

    /// Tells the spawner that the actor has started.
    pub(super) fn tell_spawner(&mut self) {
        if let Some(started) = self.started.take() {
            drop(started.send(Ok(()))); // fails if the `Spawn` was dropped
        }
    }

    /// Ends the actor, for this reason.
    pub(crate) fn end(mut self, reason: StopReason) {
        self.clean_up(reason);
    }

    fn clean_up(&mut self, reason: StopReason) {
        let cell = &*self.cell;
        self.parts.handled.count(cell.actor_type());
        // Noted before the mailbox closes, so that later senders get the same error as queued ones.
        let refusal = self.refusal(&reason);
        if refusal != AskError::ActorStopped {
            cell.links().note_ending(&reason);
        }
        cell.mailbox.close();
        drop_quietly(self.parts.actor.take());
        refuse(cell, &mut self.parts.batch, refusal);
        // There are children only if the runtime dropped the task.
        for child in cell.links().children() {
            child.kill();
        }
        cell.mailbox.forget_receiver();
        self.report_end(&reason);
        cell.end(&reason);
        if let Some(started) = self.started.take() {
            drop(started.send(Err(reason))); // fails if the `Spawn` was dropped
        }
    }

    /// Frees the URN, and reports the end to the system.
    fn report_end(&self, reason: &StopReason) {
        let cell = &*self.cell;
        let Some(system) = self.parts.ctx.system_link().ends() else {
            return;
        };
        let gave_up = cell.gave_up(reason);
        if gave_up {
            let actor = FailedActor::new(cell.snapshot(), reason);
            system.note_failed(actor, cell.is_private());
        }
        system.release(cell);
        // After the release: a reader that sees the actor in neither place reports the former sum.
        let actor_type = cell.actor_type();
        actor_type.add(TypeCounter::Handled, cell.stats.read().handled);
        actor_type.count(TypeCounter::Stopped(reason.kind()));
        if gave_up && cell.escalates_to_system() && !cell.options().essential {
            system.escalate(cell.urn().clone(), reason.clone());
        }
        report_essential(cell, system, reason, gave_up);
    }

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
        if !self.cell.links().has_ended() {
            self.clean_up(StopReason::Killed);
        }
    }
}

/// Reports the ends of essential actors: of this one, and of those that ended with it. Its URN is
/// free by now.
fn report_essential<A: Actor>(
    cell: &ActorCell<A>,
    system: &dyn ActorEnds,
    reason: &StopReason,
    gave_up: bool,
) {
    let mut ends = cell.links().take_essential_ends();
    if cell.options().essential {
        let (urn, reason) = (cell.urn().clone(), reason.clone());
        ends.push(EssentialEnd { urn, reason });
    }
    if ends.is_empty() || matches!(reason, StopReason::Shutdown) {
        return;
    }
    // A parent that ends as well may do so in a shutdown, or start again with new children.
    let is_ending =
        |parent: &Arc<dyn AnyActor>| !parent.has_ended() && parent.pending_stop_reason().is_some();
    if let Some(parent) = cell.parent().filter(is_ending) {
        parent.add_essential_ends(ends);
    } else if gave_up || !system.is_closing() {
        for EssentialEnd { urn, reason } in ends {
            system.escalate(urn, reason);
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
        let kind = refusal.kind();
        let mut messages = 0;
        refuse_with(refusal, || {
            for inbox in queued {
                let mut inbox = Some(inbox);
                let is_lost = catch(|| is_lost::<A>(&mut inbox)).unwrap_or(true);
                messages += u64::from(is_lost);
                drop_quietly(inbox);
            }
        });
        cell.count_lost(kind, messages);
    }
}
