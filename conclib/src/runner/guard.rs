//! Runs an actor's code so that its panics end nothing but itself.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tracing::error;

use crate::actor::Handlers;
use crate::actor::cell::{ActorCell, AnyActor, drop_quietly};
use crate::actor::current::Current;
use crate::error::Failure;

/// What ended an actor's code before it returned.
pub(super) enum Interrupted {
    /// The actor was killed, or its life was cut short.
    Cut,
    /// The actor was asked to stop, and the code is not worth to wait for.
    Stopped,
    Panicked(Failure),
}

/// Runs an actor's code: with the actor marked as the current one, stopped by a kill between two
/// polls, its panics caught. A handler that waits lets senders in meanwhile.
pub(super) async fn guarded<A: Handlers, F: Future>(
    cell: &Arc<ActorCell<A>>,
    code: F,
) -> Result<F::Output, Interrupted> {
    let cut = || cell.control.is_cut().then_some(Interrupted::Cut);
    guarded_unless(cell, cut, code).await
}

/// Like [`guarded`], but given up when the actor is asked to stop.
pub(super) async fn until_stopped<A: Handlers, F: Future>(
    cell: &Arc<ActorCell<A>>,
    code: F,
) -> Result<F::Output, Interrupted> {
    let cut_or_stopped = || {
        let cut = cell.control.is_cut().then_some(Interrupted::Cut);
        cut.or_else(|| stopped(cell))
    };
    guarded_unless(cell, cut_or_stopped, code).await
}

/// Like [`until_stopped`], between two lives: there is none to be cut short, and a signal that was
/// meant for the last one means nothing any more.
pub(super) async fn between_lives<A: Handlers, F: Future>(
    cell: &Arc<ActorCell<A>>,
    code: F,
) -> Result<F::Output, Interrupted> {
    let killed_or_stopped = || {
        let killed = cell.control.is_killed().then_some(Interrupted::Cut);
        killed.or_else(|| stopped(cell))
    };
    guarded_unless(cell, killed_or_stopped, code).await
}

fn stopped<A: Handlers>(cell: &ActorCell<A>) -> Option<Interrupted> {
    let is_closed = cell.mailbox.is_closed();
    is_closed.then_some(Interrupted::Stopped)
}

async fn guarded_unless<A: Handlers, F: Future>(
    cell: &Arc<ActorCell<A>>,
    interrupted: impl Fn() -> Option<Interrupted>,
    code: F,
) -> Result<F::Output, Interrupted> {
    let mut code = pin!(Some(code));
    let mut waker = None;
    let mut me: Option<Arc<dyn AnyActor>> = Some(cell.clone());
    let outcome = poll_fn(|cx| {
        cell.control.register(cx.waker(), &mut waker);
        if let Some(interrupted) = interrupted() {
            return Poll::Ready(Err(interrupted));
        }
        let Some(running) = code.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        cell.vitals.polled();
        let _current = Current::enter(cell.id(), &mut me);
        match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => {
                // Without a message in hand it has looked after those who wait itself.
                if cell.vitals.is_busy() {
                    cell.mailbox.admit_before_waiting();
                }
                Poll::Pending
            }
            Err(panic) => Poll::Ready(Err(Interrupted::Panicked(caught(panic)))),
        }
    })
    .await;
    // What a killed handler held is dropped now, and may panic as well.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| code.set(None))) {
        error!(urn = %cell.urn, failure = %caught(panic), "dropping a handler panicked");
    }
    outcome
}

fn caught(panic: Box<dyn std::any::Any + Send>) -> Failure {
    let failure = Failure::from_panic(&*panic);
    drop_quietly(panic);
    failure
}
