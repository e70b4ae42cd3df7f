//! The end of an incarnation: its last hook, its timers, tasks and children.

use std::pin::pin;
use std::sync::Arc;

use tracing::{debug, error};

use crate::actor::any::AnyActor;
use crate::actor::cell::ActorCell;
use crate::actor::control::StopCause;
use crate::actor::stats::Phase;
use crate::actor::stopped::{ended, stopped_first};
use crate::actor::{Actor, Context};
use crate::runner::guard::{ActorGuard, ActorParts};
use crate::runner::interrupt::{Interrupted, guarded};
use crate::runner::{interruption, report};
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
