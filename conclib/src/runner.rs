//! The event loop of an actor: one life after another, each from `on_start` to its last hook. The
//! only place that runs handlers and catches their panics.

#![expect(
    clippy::manual_async_fn,
    reason = "an `async fn` has room for each of its arguments twice, and so would every actor"
)]

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{debug, error};

use crate::actor::FailedActor;
use crate::actor::any::AnyActor;
use crate::actor::cell::ActorCell;
use crate::actor::control::StopCause;
use crate::actor::stats::Phase;
use crate::actor::wait_stopped::{ended, stopped_first};
use crate::actor::{Actor, Context};
use crate::core::SystemCore;
use crate::deadlock::current::Current;
use crate::error::Failure;
use crate::error::panics::drop_quietly;
use crate::mailbox::Batch;
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::sealed::Source;
use crate::supervision::log_last_failure;

use events::{Events, Next};
use guard::{Interrupted, between_incarnations, guarded, until_stopped};

mod events;
mod guard;

/// Whom the spawn has to hear from: how the start went.
type Started = oneshot::Sender<Result<(), StopReason>>;

/// Runs an actor to its end.
pub(crate) fn run<A: Actor, S: Source<A>>(
    mut guard: ActorGuard<A>,
    mut ctx: Context<A>,
    mut source: S,
) -> impl Future<Output = ()> + Send {
    async move {
        let end = loop {
            source.begin();
            let end = run_incarnation(&mut guard, &mut ctx, &mut source).await;
            if S::RUNS_ONCE {
                break end;
            }
            drop_quietly(guard.actor.take());
            let cell = &guard.cell;
            // Who stops or kills an actor from outside means it.
            if cell.control.is_killed() || cell.mailbox.is_closed() {
                break match end {
                    StopReason::Restarted => no_restart_follows(cell),
                    end => end,
                };
            }
            cell.stats.enter(Phase::Restarting);
            let next = pin!(Some(source.next(&cell.urn, end.clone())));
            match between_incarnations(cell, next).await {
                Ok(Ok(())) => cell.stats.restarted(),
                Ok(Err(end)) => break end,
                Err(interrupted) => {
                    let end = interruption::<A, S>(cell, &ctx, interrupted);
                    if end.is_failure() {
                        log_last_failure(&cell.urn, &end, "it could not wait for its restart");
                    }
                    break end;
                }
            }
        };
        guard.reason = Some(end);
        drop(guard);
        drop_quietly(source); // its group hears of it, when the URN is free
    }
}

/// Why an actor ends whose life was to be followed by another.
fn no_restart_follows<A: Actor>(cell: &ActorCell<A>) -> StopReason {
    if cell.control.is_killed() {
        StopReason::Killed
    } else {
        cell.control.cause()
    }
}

/// One life: its state, `on_start`, messages, its last hook. Why it ended.
///
/// What comes once, at its end, is in boxes: every actor that waits for a message would have room
/// for it.
fn run_incarnation<A: Actor, S: Source<A>>(
    guard: &mut ActorGuard<A>,
    ctx: &mut Context<A>,
    source: &mut S,
) -> impl Future<Output = StopReason> + Send {
    async move {
        begin(&guard.cell);
        if let Err(end) = start(guard, ctx, source).await {
            return end;
        }
        let Some(actor) = &mut guard.actor else {
            return guard.cell.control.cause(); // not reached: it has started
        };
        let events = Events::new(&guard.cell, &mut guard.batch);
        let service = serve(events, actor, ctx);
        let served = guarded(&guard.cell, pin!(Some(service))).await;
        ctx.set_pending(None); // a handler may not have returned
        let end = match served {
            Ok(Ok(())) => end_of_service::<A, S>(&guard.cell, ctx),
            Ok(Err(failure)) => failed::<A, S>(&guard.cell, ctx, failure),
            Err(interrupted) => interruption::<A, S>(&guard.cell, ctx, interrupted),
        };
        if S::RUNS_ONCE {
            refuse(&guard.cell, &mut guard.batch);
        }
        Box::pin(last_hook::<A, S>(guard, ctx, end)).await
    }
}

/// The state, if it has to be made, and `on_start`; or why there is no life.
fn start<A: Actor, S: Source<A>>(
    guard: &mut ActorGuard<A>,
    ctx: &mut Context<A>,
    source: &mut S,
) -> impl Future<Output = Result<(), StopReason>> + Send {
    async move {
        let cell = &guard.cell;
        let actor = match &mut guard.actor {
            Some(actor) => actor,
            // `make` is called within: also what it does before there is a future may panic.
            place => match until_stopped(cell, pin!(Some(async { source.make().await }))).await {
                Ok(Ok(made)) => place.insert(made),
                Ok(Err(failure)) => return Err(failed::<A, S>(cell, ctx, failure)),
                Err(interrupted) => return Err(interruption::<A, S>(cell, ctx, interrupted)),
            },
        };
        let started = guarded(cell, pin!(Some(async { actor.on_start(ctx).await }))).await;
        let end = match started {
            Ok(Ok(())) => {
                cell.stats.enter(Phase::Running);
                source.started();
                if let Some(started) = guard.started.take() {
                    drop(started.send(Ok(()))); // nobody listens if the spawn was dropped
                }
                return Ok(());
            }
            Ok(Err(failure)) => failed::<A, S>(cell, ctx, failure),
            Err(interrupted) => interruption::<A, S>(cell, ctx, interrupted),
        };
        cell.links.note_ending(&end);
        Box::pin(wind_down(cell, ctx)).await;
        Err(end)
    }
}

/// Ends what waits in the mailbox of an actor that does not live again: nobody should wait for the
/// end of its children and its last hook. Each on its own: a message whose drop panics takes no
/// other with it.
fn refuse<A: Actor>(cell: &ActorCell<A>, batch: &mut Batch<A::Inbox>) {
    let waiting = cell.mailbox.close_and_drain(batch);
    waiting.for_each(drop_quietly);
}

fn begin<A: Actor>(cell: &ActorCell<A>) {
    cell.control.begin_incarnation();
    cell.links.open();
    // One that starts at once is running already.
    if cell.stats.phase() != Phase::Running {
        cell.stats.enter(Phase::Starting);
    }
}

/// Handles messages and ticks until there are none any more, a handler fails, or the life is
/// interrupted.
fn serve<A: Actor>(
    mut events: Events<'_, A>,
    actor: &mut A,
    ctx: &mut Context<A>,
) -> impl Future<Output = Result<(), Failure>> + Send {
    async move {
        events.start_ticks(); // here, where its panics are the actor's
        let stats = events.stats();
        loop {
            let inbox = match events.next(ctx) {
                Next::Message(inbox) => inbox,
                Next::Nothing => {
                    events.wait(ctx).await;
                    continue;
                }
                Next::End => return Ok(()),
            };
            open::<A>(inbox);
            if let Some(message) = inbox {
                stats.begin(A::which(message));
                actor.dispatch(inbox, ctx).await?;
                // Nothing of it is kept in the task while the handler runs: each byte counts there.
                if Current::deadline().is_some() {
                    Current::set_deadline(None);
                }
                stats.handled();
            }
            // A handler that never waits would keep the thread to itself.
            tokio::task::coop::consume_budget().await;
        }
    }
}

/// Makes a message of what is in hand, or nothing if nobody wants it any more, and says to the thread
/// until when its asker waits, if that is limited.
fn open<A: Actor>(inbox: &mut Option<A::Inbox>) {
    if let Some(envelope) = A::unframe(inbox) {
        if !envelope.is_too_late() {
            let deadline = envelope.responder.awaited_until();
            *inbox = A::decode(envelope);
            if inbox.is_some() && deadline.is_some() {
                Current::set_deadline(deadline);
            }
        }
    } else if let Some(limit) = inbox.as_ref().and_then(A::limit) {
        match limit.start() {
            None => *inbox = None,
            deadline => Current::set_deadline(deadline),
        }
    }
}

/// Why an actor that has not failed handles no more messages.
fn end_of_service<A: Actor, S: Source<A>>(cell: &ActorCell<A>, ctx: &Context<A>) -> StopReason {
    if cell.control.is_interrupted() {
        return interruption::<A, S>(cell, ctx, Interrupted::Aborted);
    }
    match cell.links.take_escalated() {
        Some(failure) => failed::<A, S>(cell, ctx, failure),
        // Unless it is stopped for good meanwhile.
        None if cell.control.restarts_with_group() && !cell.mailbox.is_closed() => {
            StopReason::Restarted
        }
        None => cell.control.cause(),
    }
}

fn failed<A: Actor, S: Source<A>>(
    cell: &ActorCell<A>,
    ctx: &Context<A>,
    failure: Failure,
) -> StopReason {
    let urn = &cell.urn;
    if S::RUNS_ONCE {
        error!(%urn, %failure, "`{urn}` failed and will not start again: it is not supervised");
    } else {
        error!(%urn, %failure, "actor failed"); // its source says what follows
    }
    ctx.failed(&failure);
    cell.stats.failed();
    StopReason::Failed(failure)
}

fn interruption<A: Actor, S: Source<A>>(
    cell: &ActorCell<A>,
    ctx: &Context<A>,
    interrupted: Interrupted,
) -> StopReason {
    cell.stats.idle();
    match interrupted {
        Interrupted::Panicked(failure) => failed::<A, S>(cell, ctx, failure),
        Interrupted::Aborted if cell.control.is_killed() => {
            debug!(urn = %cell.urn, "actor was killed");
            StopReason::Killed
        }
        Interrupted::Aborted => StopReason::Restarted,
        Interrupted::Stopped => cell.control.cause(),
    }
}

/// Ends what belongs to the life, runs the hook that fits how it ended, and says why it did.
async fn last_hook<A: Actor, S: Source<A>>(
    guard: &mut ActorGuard<A>,
    ctx: &mut Context<A>,
    end: StopReason,
) -> StopReason {
    let cell = &guard.cell;
    let urn = &cell.urn;
    cell.links.note_ending(&end);
    wind_down(cell, ctx).await;
    if cell.control.is_interrupted() {
        return interruption::<A, S>(cell, ctx, Interrupted::Aborted);
    }
    let Some(actor) = &mut guard.actor else {
        return end; // not reached: it has lived
    };
    let hook = match &end {
        StopReason::Failed(failure) => {
            guarded(
                cell,
                pin!(Some(async { actor.on_failure(ctx, failure).await })),
            )
            .await
        }
        reason => {
            debug!(%urn, %reason, "actor stops");
            guarded(cell, pin!(Some(async { actor.on_stop(ctx, reason).await }))).await
        }
    };
    // What the hook has set up.
    wind_down(cell, ctx).await;
    match hook {
        Ok(()) => end,
        Err(Interrupted::Panicked(failure)) => {
            error!(%urn, %failure, "the last hook of an actor failed");
            ctx.failed(&failure);
            end
        }
        Err(interrupted) => interruption::<A, S>(cell, ctx, interrupted),
    }
}

/// Ends what belongs to the life: timers and tasks, then children, the newest first.
async fn wind_down<A: Actor>(cell: &Arc<ActorCell<A>>, ctx: &mut Context<A>) {
    cell.stats.enter(Phase::Stopping);
    let orderly = async {
        ctx.end_incarnation().await;
        while let Some(child) = cell.links.newest_child_or_close() {
            child.stop(StopCause::ParentStopped);
            // It may wait for this actor: for an answer that comes in the next life only, or for
            // the end.
            stopped_first(child.clone()).await;
            remove_child(&*child, cell);
        }
    };
    let orderly = guarded(cell, pin!(Some(orderly))).await;
    if orderly.is_ok() {
        return;
    }
    // Killed: so are they, all at once.
    for child in cell.links.children() {
        child.kill();
    }
    ctx.end_incarnation().await;
    while let Some(child) = cell.links.newest_child_or_close() {
        child.kill();
        ended(&*child).await;
        remove_child(&*child, cell);
    }
}

/// It did so itself, unless it had another parent.
fn remove_child<A: Actor>(child: &dyn AnyActor, parent: &ActorCell<A>) {
    parent.links.remove_child(child.sequence());
}

/// An actor's stay in its system. When it ends, whatever ended it (the runtime may just drop the
/// task), the mailbox is closed, the state is dropped, what waits is refused, the URN is free, and
/// those who wait for the stop or the start hear of it, in this order.
pub(crate) struct ActorGuard<A: Actor> {
    cell: Arc<ActorCell<A>>,
    system: Arc<SystemCore>,
    /// The state. Here, and not in the code that may unwind, so that it is dropped on its own.
    actor: Option<A>,
    /// The messages in hand that are not handled yet. Here, so that a panic fails no other
    /// message than the one that is being handled.
    batch: Batch<A::Inbox>,
    /// Who waits for the start, until that has gone well or the actor has ended.
    started: Option<Started>,
    /// Why the actor stopped, once that is known.
    reason: Option<StopReason>,
}

impl<A: Actor> ActorGuard<A> {
    /// `started` hears how the start went, if somebody waits for it.
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
}

impl<A: Actor> Drop for ActorGuard<A> {
    fn drop(&mut self) {
        self.cell.mailbox.close();
        drop_quietly(self.actor.take());
        refuse(&self.cell, &mut self.batch);
        // Only if the runtime dropped the task: otherwise they have stopped.
        for child in self.cell.links.children() {
            child.kill();
        }
        let (cell, system) = (&self.cell, &self.system);
        let reason = self.reason.take().unwrap_or(StopReason::Killed);
        let gave_up = cell.gave_up(&reason);
        if gave_up {
            let actor = FailedActor::new(cell.snapshot(), &reason);
            system.registry.note_failed(actor, cell.is_private());
        }
        system.registry.release(cell.urn.as_str(), cell.id());
        cell.control.forget_task();
        if gave_up && cell.escalates_to_system() {
            system.escalate(cell.urn.clone(), reason.clone());
        }
        cell.end(&reason);
        if let Some(started) = self.started.take() {
            drop(started.send(Err(reason))); // nobody listens if the spawn was dropped
        }
    }
}
