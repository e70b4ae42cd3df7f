//! The event loop of an actor: one incarnation after another, each from `on_start` to its last
//! hook. Handlers run, and their panics are caught, only here.

#![expect(
    clippy::manual_async_fn,
    reason = "an `async fn` stores each of its arguments twice, which every actor would pay for"
)]

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::time::Instant;

use crate::actor::cell::ActorCell;
use crate::actor::not_handled::NotHandled;
use crate::actor::stats::Phase;
use crate::actor::type_counters::TypeCounter;
use crate::actor::{Actor, Context};
use crate::core::spawn_task;
use crate::deadlock::current::{Current, MessageTrace, last_trace};
use crate::envelope::RequestEnvelope;
use crate::error::panics::{catch, drop_quietly};
use crate::error::{AskError, AskErrorKind, Failure};
use crate::mailbox::Batch;
use crate::reply::remote::last_refusal;
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::Unsupervised;
use crate::supervision::lifecycle::sealed::StateSource;
use crate::supervision::log_last_failure;

use end::{
    count_failure, end_of_service, failed, interruption, last_hook, no_restart_follows, report,
    wind_down,
};
use events::{Events, NextEvent};
use guard::{ActorParts, refuse};
use handled::HandledRun;
use interrupt::{Interrupted, between_incarnations, guarded, until_stopped};
use thread::ActorThread;

pub(crate) use guard::ActorGuard;

mod end;
mod events;
mod guard;
#[cfg(feature = "metrics")]
mod handled;
#[cfg(not(feature = "metrics"))]
#[path = "runner/not_counted.rs"]
mod handled;
mod interrupt;
mod spans;
#[cfg(all(test, not(conclib_loom)))]
mod tests;
mod thread;
mod ticks;

/// Starts the task of an actor: on the current runtime, or on a thread of its own.
///
/// # Errors
///
/// The failure of an actor whose thread could not be started. Its URN is free again.
pub(crate) fn start_task<A: Actor, S: StateSource<A>>(
    guard: ActorGuard<A>,
    source: S,
) -> Result<(), Failure> {
    if !A::THREAD {
        spawn_task(run(guard, source));
        return Ok(());
    }
    let ctx = &guard.parts.ctx;
    match ActorThread::start(ctx.urn().as_str()) {
        Ok(thread) => {
            let actor = guard.cell.clone();
            thread.run(run(guard, source), actor);
            Ok(())
        }
        Err(error) => {
            let failure = Failure::from(error);
            let end = StopReason::Failed(failure.clone());
            log_last_failure(ctx.urn(), &end, "it has no thread");
            report::<A, Unsupervised>(&guard.cell, ctx, &failure); // no supervision starts it again
            count_failure(&guard.cell, &failure);
            guard.end(end);
            Err(failure)
        }
    }
}

/// Runs an actor to its end.
///
/// The futures of a start, an end and a restart are boxed: otherwise every idle actor would reserve
/// room for them.
fn run<A: Actor, S: StateSource<A>>(
    mut guard: ActorGuard<A>,
    mut source: S,
) -> impl Future<Output = ()> + Send {
    async move {
        register(&guard.cell).await;
        let end = loop {
            source.begin();
            begin(&guard.cell);
            let (end, failed_in) = 'incarnation: {
                // Killed before the first poll, the actor has not started: `start` ends it as such.
                let is_killed = guard.cell.control.is_killed();
                if S::RUNS_ONCE && A::STARTS_AT_ONCE && !is_killed {
                    note_started(&mut guard, &mut source);
                } else if let Err(end) = Box::pin(start(&mut guard, &mut source)).await {
                    break 'incarnation (end, None);
                }
                let service = serve(&mut guard.parts);
                let served = guarded(&guard.cell, pin!(Some(service))).await;
                Box::pin(wind_up::<A, S>(&mut guard, served)).await
            };
            if S::RUNS_ONCE {
                break end;
            }
            let next = restart(&mut guard, &mut source, end, failed_in);
            if let Err(end) = Box::pin(next).await {
                break end;
            }
        };
        guard.end(end);
        drop_quietly(source); // reports the end to its group, now that the URN is free
    }
}

/// Registers the waker of the actor's task.
fn register<A: Actor>(cell: &ActorCell<A>) -> impl Future<Output = ()> {
    poll_fn(|cx| {
        cell.mailbox.register(cx.waker());
        Poll::Ready(())
    })
}

/// Waits after the end of an incarnation until the next one may start. A failed one has left the span of its
/// last message, if a subscriber is interested.
///
/// # Errors
///
/// The reason that the actor stops, if it does not start again.
async fn restart<A: Actor, S: StateSource<A>>(
    guard: &mut ActorGuard<A>,
    source: &mut S,
    end: StopReason,
    failed_in: Option<Box<MessageTrace>>,
) -> Result<(), StopReason> {
    let ActorParts {
        actor, ctx, batch, ..
    } = &mut guard.parts;
    drop_quietly(actor.take());
    let cell = &guard.cell;
    // A stop or kill from outside is final.
    if cell.control.is_killed() || cell.mailbox.is_closed() {
        return Err(match end {
            StopReason::Restarted | StopReason::Idle => no_restart_follows(cell),
            end => end,
        });
    }
    cell.stats.enter(Phase::Restarting);
    if end.is_failure() && cell.is_on_demand() {
        remove_abandoned(cell, batch);
    }
    let span = spans::of_restart(ctx, end.failure(), failed_in.as_deref());
    drop(failed_in); // the restart may wait for long
    let next = pin!(Some(source.next(cell.urn(), end.clone())));
    match between_incarnations(cell, next).await {
        // A message came while the actor ended because it was idle: it begins again.
        Ok(Ok(())) if matches!(end, StopReason::Idle) => Ok(()),
        Ok(Ok(())) => {
            cell.stats.restarted();
            cell.actor_type().count(TypeCounter::Restarts);
            if let Some(system) = ctx.system_link().ends() {
                system.note_restart(cell.name());
            }
            Ok(())
        }
        Ok(Err(end)) => {
            spans::mark_error(&span, AskErrorKind::ActorFailed);
            Err(end)
        }
        Err(interrupted) => {
            let end = interruption::<A, S>(cell, ctx, interrupted);
            if end.is_failure() {
                log_last_failure(cell.urn(), &end, "waiting for its restart failed");
            }
            Err(end)
        }
    }
}

/// Begins an incarnation.
fn begin<A: Actor>(cell: &ActorCell<A>) {
    cell.control.begin_incarnation();
    cell.links().open();
    // An actor without `on_start` was set to running when it was spawned.
    if cell.stats.phase() != Phase::Running {
        cell.stats.enter(Phase::Starting);
    }
}

/// Makes the state unless there is one, and runs `on_start`.
///
/// # Errors
///
/// The reason that the incarnation ended before it had started.
async fn start<A: Actor, S: StateSource<A>>(
    guard: &mut ActorGuard<A>,
    source: &mut S,
) -> Result<(), StopReason> {
    let (cell, ActorParts { actor, ctx, .. }) = (&guard.cell, &mut guard.parts);
    let actor = match actor {
        Some(actor) => actor,
        // Called within the async block, since `make` may panic before it returns its future.
        place => match until_stopped(cell, pin!(Some(async { source.make().await }))).await {
            Ok(Ok(Some(made))) => place.insert(made),
            Ok(Ok(None)) => return Err(StopReason::Absent),
            Ok(Err(failure)) => return Err(failed::<A, S>(cell, ctx, failure)),
            Err(interrupted) => return Err(interruption::<A, S>(cell, ctx, interrupted)),
        },
    };
    let started = guarded(cell, pin!(Some(async { actor.on_start(ctx).await }))).await;
    let end = match started {
        Ok(Ok(())) => {
            note_started(guard, source);
            return Ok(());
        }
        Ok(Err(failure)) => failed::<A, S>(cell, ctx, failure),
        Err(interrupted) => interruption::<A, S>(cell, ctx, interrupted),
    };
    cell.links().note_ending(&end);
    wind_down(cell, ctx).await;
    Err(end)
}

/// Records that an incarnation has started.
fn note_started<A: Actor, S: StateSource<A>>(guard: &mut ActorGuard<A>, source: &mut S) {
    guard.cell.stats.enter(Phase::Running);
    source.started();
    guard.tell_spawner();
}

/// Handles messages and ticks until the mailbox is closed and empty, a handler fails, or the
/// incarnation is interrupted.
fn serve<A: Actor>(parts: &mut ActorParts<A>) -> impl Future<Output = Result<(), Failure>> + Send {
    async move {
        let mut events = Events::start(); // here, so that its panic is a failure of the actor
        loop {
            let ActorParts {
                actor,
                ctx,
                batch,
                handled,
            } = &mut *parts;
            let Some(actor) = actor else {
                unreachable!("an incarnation that has started has a state");
            };
            let inbox = match events.next(ctx, batch) {
                NextEvent::Message(inbox) => inbox,
                NextEvent::Idle => {
                    handled.count(ctx.cell().actor_type());
                    events.wait(parts).await;
                    continue;
                }
                NextEvent::End => return Ok(()),
            };
            prepare::<A>(inbox, ctx, handled);
            if let Some(message) = inbox {
                let handler = A::which(message);
                handled.begin(handler, ctx.cell().actor_type());
                ctx.cell().stats.begin(handler);
                let outcome = actor.dispatch(inbox, ctx).await;
                let ActorParts { ctx, handled, .. } = &mut *parts;
                let cell = ctx.cell();
                match outcome {
                    Ok(()) => {
                        Current::end_message();
                        cell.stats.handled();
                        handled.handled(cell.actor_type());
                    }
                    Err(failure) => count_unhandled(cell, failure)?,
                }
            }
            if events.ends_turn() {
                parts.handled.count(parts.ctx.cell().actor_type());
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Counts a message that a pool could give to no worker.
///
/// # Errors
///
/// Any other failure.
#[cold]
fn count_unhandled<A: Actor>(cell: &ActorCell<A>, failure: Failure) -> Result<(), Failure> {
    let Some(NotHandled { lost_as }) = failure.downcast_ref() else {
        return Err(failure);
    };
    Current::end_message();
    cell.stats.idle();
    if let Some(kind) = *lost_as {
        cell.count_lost(kind, 1);
    }
    Ok(())
}

/// Ends an incarnation that has handled its messages, with its last hook. Returns the reason of its end,
/// and the trace of the message whose handler did not return, if there is one.
async fn wind_up<A: Actor, S: StateSource<A>>(
    guard: &mut ActorGuard<A>,
    served: Result<Result<(), Failure>, Interrupted>,
) -> (StopReason, Option<Box<MessageTrace>>) {
    let ActorParts {
        ctx,
        batch,
        handled,
        ..
    } = &mut guard.parts;
    let cell = &guard.cell;
    ctx.set_message(None); // set by a handler that did not return
    let failed_in = last_trace();
    handled.end_timing(cell.actor_type());
    let end = match served {
        Ok(Ok(())) => end_of_service::<A, S>(cell, ctx),
        Ok(Err(failure)) => failed::<A, S>(cell, ctx, failure),
        Err(interrupted) => interruption::<A, S>(cell, ctx, interrupted),
    };
    if S::RUNS_ONCE {
        refuse(cell, batch, AskError::ActorStopped);
    }
    (last_hook::<A, S>(guard, end).await, failed_in)
}

/// Prepares the current message for its handler: decodes a request from the bus, removes the
/// message if its asker no longer waits, and sets the deadline of its asker and the span of the
/// message, if there are any, in the thread.
#[inline]
fn prepare<A: Actor>(inbox: &mut Option<A::Inbox>, ctx: &Context<A>, handled: &mut HandledRun) {
    let cell = ctx.cell();
    if let Some(envelope) = A::unframe(inbox) {
        *inbox = prepare_request::<A>(envelope, cell, handled);
        return;
    }
    if let Some(limit) = inbox.as_ref().and_then(A::limit) {
        match limit.start() {
            Err(refusal) => {
                cell.count_lost(refusal, 1);
                *inbox = None;
            }
            Ok(deadline) => Current::set_deadline(deadline),
        }
    }
    if let Some(message) = inbox {
        spans::begin_local::<A>(ctx, message);
    }
}

/// Prepares a request from the bus; `None` if it must not be handled.
#[inline(never)]
fn prepare_request<A: Actor>(
    envelope: Box<RequestEnvelope>,
    cell: &ActorCell<A>,
    handled: &mut HandledRun,
) -> Option<A::Inbox> {
    let (now, received_at) = (Instant::now(), envelope.received_at);
    let is_durable = envelope.responder.is_durable();
    let count_lost = |kind| {
        if !is_durable {
            cell.count_lost(kind, 1);
        }
    };
    if let Some(kind) = envelope.responder.refuse_if_late(now) {
        count_lost(kind);
        return None;
    }
    if envelope.is_ping() {
        envelope.respond(());
        return None;
    }
    let deadline = envelope.responder.awaited_until();
    let trace = spans::of_request::<A>(cell.name(), &envelope);
    let Some(message) = A::decode(envelope) else {
        let refusal = last_refusal().unwrap_or(AskErrorKind::BadRequest);
        count_lost(refusal);
        spans::mark_error(&trace.span, refusal);
        return None;
    };
    if deadline.is_some() {
        Current::set_deadline(deadline);
    }
    handled.begin_request(received_at, now, cell.actor_type());
    spans::begin(trace);
    Some(message)
}

/// Removes messages that must not be handled, since their askers are gone: no other use keeps an actor on
/// demand whose start fails.
#[cold]
fn remove_abandoned<A: Actor>(cell: &ActorCell<A>, batch: &mut Batch<A::Inbox>) {
    cell.mailbox.retain(batch, |inbox| {
        let Some(refusal) = catch(|| refusal_if_over::<A>(inbox)).unwrap_or(None) else {
            return true;
        };
        if catch(|| is_lost::<A>(inbox)).unwrap_or(true) {
            cell.count_lost(refusal, 1);
        }
        drop_quietly(inbox.take());
        false
    });
}

/// True if the message is lost when it is dropped: a durable one is delivered again.
fn is_lost<A: Actor>(inbox: &mut Option<A::Inbox>) -> bool {
    let Some(envelope) = A::unframe(inbox) else {
        return true;
    };
    let is_durable = envelope.responder.is_durable();
    *inbox = Some(A::frame(envelope));
    !is_durable
}

/// The kind of the error of a message whose asker no longer waits, as far as its deadline or the bus tells.
fn refusal_if_over<A: Actor>(inbox: &mut Option<A::Inbox>) -> Option<AskErrorKind> {
    if let Some(envelope) = A::unframe(inbox) {
        let refusal = envelope.responder.refuse_if_late(Instant::now());
        *inbox = Some(A::frame(envelope));
        return refusal;
    }
    inbox.as_ref().and_then(A::limit)?.refusal_if_over()
}
