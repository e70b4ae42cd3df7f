//! The end of an incarnation: its reason, its last hook, its timers, tasks and children.

use std::pin::pin;
use std::sync::Arc;

use tracing::{Span, debug, error};

use crate::actor::any::AnyActor;
use crate::actor::cell::ActorCell;
use crate::actor::control::StopCause;
use crate::actor::failure_event::handler_names;
use crate::actor::stats::Phase;
use crate::actor::stopped::{ended, stopped_first};
use crate::actor::type_counters::TypeCounter;
use crate::actor::{Actor, Context, FailureEvent, HandlerNames};
use crate::deadlock::current::enter_last_span;
use crate::error::{AskErrorKind, Failure};
use crate::runner::guard::{ActorGuard, ActorParts};
use crate::runner::interrupt::{Interrupted, guarded};
use crate::runner::spans;
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::sealed::StateSource;

/// Ends the timers, tasks and children of the incarnation, and runs `on_failure` or `on_stop`.
/// Returns the reason of the end.
pub(super) async fn last_hook<A: Actor, S: StateSource<A>>(
    guard: &mut ActorGuard<A>,
    end: StopReason,
) -> StopReason {
    let (cell, ActorParts { actor, ctx, .. }) = (&guard.cell, &mut guard.parts);
    let urn = cell.name();
    cell.links().note_ending(&end);
    wind_down(cell, ctx).await;
    if cell.control.is_interrupted() {
        return interruption::<A, S>(cell, ctx, Interrupted::Aborted);
    }
    let Some(actor) = actor else {
        unreachable!("an incarnation that has started has a state");
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
    // Ends timers, tasks and children of the hook.
    wind_down(cell, ctx).await;
    match hook {
        Ok(()) => end,
        Err(Interrupted::Panicked(failure)) => {
            error!(%urn, %failure, "the last hook of an actor panicked; the actor ends all the same");
            report::<A, S>(cell, ctx, &failure);
            count_failure(cell, &failure);
            end
        }
        Err(interrupted) => interruption::<A, S>(cell, ctx, interrupted),
    }
}

/// Ends the timers and tasks of the incarnation, and then its children, the newest first.
pub(super) async fn wind_down<A: Actor>(cell: &Arc<ActorCell<A>>, ctx: &mut Context<A>) {
    cell.stats.enter(Phase::Stopping);
    let orderly = async {
        ctx.end_incarnation().await;
        while let Some(child) = cell.links().newest_child_or_close() {
            child.stop(StopCause::ParentStopped);
            // The child may be waiting for this actor: for a reply from the next incarnation, or
            // for the end of this one.
            stopped_first(child.clone()).await;
            remove_child(&*child, cell);
        }
    };
    let orderly = guarded(cell, pin!(Some(orderly))).await;
    if orderly.is_ok() {
        return;
    }
    // This actor was killed: so are its children, all at once.
    for child in cell.links().children() {
        child.kill();
    }
    ctx.end_incarnation().await;
    while let Some(child) = cell.links().newest_child_or_close() {
        child.kill();
        ended(&*child).await;
        remove_child(&*child, cell);
    }
}

/// Removes a child from its parent. A child that has ended normally has removed itself already.
fn remove_child<A: Actor>(child: &dyn AnyActor, parent: &ActorCell<A>) {
    parent.links().remove_child(child.sequence());
}

/// The stop reason of an actor that was to restart with its group, or was idle, but was stopped or
/// killed.
pub(super) fn no_restart_follows<A: Actor>(cell: &ActorCell<A>) -> StopReason {
    if cell.control.is_killed() {
        StopReason::Killed
    } else {
        cell.control.cause()
    }
}

/// The reason that an actor stops handling messages without a failure of its handlers.
pub(super) fn end_of_service<A: Actor, S: StateSource<A>>(
    cell: &ActorCell<A>,
    ctx: &Context<A>,
) -> StopReason {
    if cell.control.is_interrupted() {
        return interruption::<A, S>(cell, ctx, Interrupted::Aborted);
    }
    match cell.links().take_escalated() {
        Some(failure) => failed::<A, S>(cell, ctx, failure),
        // A stop from outside takes precedence.
        None if cell.control.restarts_with_group() && !cell.mailbox.is_closed() => {
            StopReason::Restarted
        }
        None if cell.control.is_idle() && !cell.mailbox.is_closed() => StopReason::Idle,
        None => cell.control.cause(),
    }
}

/// Logs and counts a failure.
pub(super) fn failed<A: Actor, S: StateSource<A>>(
    cell: &ActorCell<A>,
    ctx: &Context<A>,
    failure: Failure,
) -> StopReason {
    let urn = cell.name();
    let _span = enter_last_span();
    if ctx.system_link().is_traced() {
        spans::mark_error(&Span::current(), AskErrorKind::Failed);
    }
    let names = running(cell);
    let (handler, message_name) = (
        names.map(|names| names.method),
        names.and_then(|names| names.message),
    );
    if S::RUNS_ONCE {
        error!(%urn, handler, message_name, %failure, "`{urn}` failed and will not start again: it is not supervised");
    } else {
        error!(%urn, handler, message_name, %failure, "actor failed"); // its lifecycle logs whether it restarts
    }
    report::<A, S>(cell, ctx, &failure);
    #[cfg(feature = "metrics")]
    if let Some((handler, _)) = cell.stats.read().running {
        cell.actor_type().add_failed(handler);
    }
    count_failure(cell, &failure);
    StopReason::Failed(failure)
}

/// Counts a failure.
pub(super) fn count_failure<A: Actor>(cell: &ActorCell<A>, failure: &Failure) {
    cell.stats.failed();
    cell.actor_type().count(TypeCounter::Failures);
    if failure.is_panic() {
        cell.actor_type().count(TypeCounter::Panics);
    }
}

/// Reports a failure to the observers of the system, with the handler that still counts as running.
pub(super) fn report<A: Actor, S: StateSource<A>>(
    cell: &ActorCell<A>,
    ctx: &Context<A>,
    failure: &Failure,
) {
    let names = running(cell);
    ctx.report(&FailureEvent {
        urn: cell.urn().clone(),
        actor_type: std::any::type_name::<A>(),
        phase: cell.stats.phase(),
        handler: names.map(|names| names.method),
        message: names.and_then(|names| names.message),
        failure: failure.clone(),
        is_supervised: !S::RUNS_ONCE,
    });
}

/// The names of the handler that still counts as running, if one does.
fn running<A: Actor>(cell: &ActorCell<A>) -> Option<HandlerNames> {
    let (handler, _) = cell.stats.read().running?;
    Some(handler_names::<A>(handler))
}

/// The reason of the end after an interruption.
pub(super) fn interruption<A: Actor, S: StateSource<A>>(
    cell: &ActorCell<A>,
    ctx: &Context<A>,
    interrupted: Interrupted,
) -> StopReason {
    let _span = enter_last_span();
    if !matches!(interrupted, Interrupted::Panicked(_)) {
        cell.stats.idle(); // a failure is reported with its handler first
    }
    match interrupted {
        Interrupted::Panicked(failure) => failed::<A, S>(cell, ctx, failure),
        Interrupted::Aborted if cell.control.is_killed() => {
            debug!(urn = %cell.name(), "actor was killed");
            StopReason::Killed
        }
        Interrupted::Aborted => StopReason::Restarted,
        Interrupted::Stopped => cell.control.cause(),
    }
}
