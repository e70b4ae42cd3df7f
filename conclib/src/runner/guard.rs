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
    Panicked(Failure),
}

/// Runs an actor's code: with the actor marked as the current one, stopped by a kill between two
/// polls, its panics caught. A handler that waits lets senders in meanwhile.
pub(super) async fn guarded<A: Handlers, F: Future>(
    cell: &Arc<ActorCell<A>>,
    code: F,
) -> Result<F::Output, Interrupted> {
    let mut code = pin!(Some(code));
    let mut waker = None;
    let mut me: Option<Arc<dyn AnyActor>> = Some(cell.clone());
    let outcome = poll_fn(|cx| {
        cell.control.register(cx.waker(), &mut waker);
        if cell.control.is_cut() {
            return Poll::Ready(Err(Interrupted::Cut));
        }
        let Some(running) = code.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        cell.vitals.polled();
        let _current = Current::enter(cell.id(), &mut me);
        match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => {
                cell.mailbox.admit_before_waiting();
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

/// Like [`guarded`], and given up when the actor is asked to stop: `None`.
pub(super) async fn until_stopped<A: Handlers, F: Future>(
    cell: &Arc<ActorCell<A>>,
    code: F,
) -> Result<Option<F::Output>, Interrupted> {
    let mut code = pin!(code);
    let unless_stopped = poll_fn(|cx| {
        if cell.mailbox.is_closed() {
            return Poll::Ready(None);
        }
        code.as_mut().poll(cx).map(Some)
    });
    guarded(cell, unless_stopped).await
}

fn caught(panic: Box<dyn std::any::Any + Send>) -> Failure {
    let failure = Failure::from_panic(&*panic);
    drop_quietly(panic);
    failure
}
