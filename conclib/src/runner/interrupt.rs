//! Runs an actor's code: catches its panics, and interrupts it on a kill, a restart or a stop.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tracing::error;

use crate::actor::Handlers;
use crate::actor::cell::ActorCell;
use crate::deadlock::current::Current;
use crate::deadlock::current::TaskContext;
use crate::error::Failure;
use crate::error::panics;
use crate::error::panics::into_failure;
use crate::reply::dropped;
use crate::stop_reason::StopReason;

/// The reason that an actor's code ended before it returned.
pub(super) enum Interrupted {
    /// The actor was killed, or its incarnation was cut short.
    Aborted,
    /// The actor was asked to stop, and its stop does not wait for this code.
    Stopped,
    /// The code panicked.
    Panicked(Failure),
}

/// The result of an actor's code.
pub(super) trait Output {
    /// The failure that it returned.
    fn failure(&self) -> Option<&Failure>;
}

impl<T> Output for Result<T, Failure> {
    fn failure(&self) -> Option<&Failure> {
        self.as_ref().err()
    }
}

impl Output for Result<(), StopReason> {
    fn failure(&self) -> Option<&Failure> {
        self.as_ref().err()?.failure()
    }
}

impl Output for () {
    fn failure(&self) -> Option<&Failure> {
        None
    }
}

/// An actor's code, pinned in its place, and dropped there once it has ended.
pub(super) type Code<'a, F> = Pin<&'a mut Option<F>>;

/// Runs an actor's code with the actor as the current one, catches its panics, and interrupts it
/// between two polls if the actor is killed or its incarnation cut short. While a handler waits,
/// the mailbox admits waiting senders.
pub(super) fn guarded<A: Handlers, F: Future<Output: Output>>(
    cell: &Arc<ActorCell<A>>,
    code: Code<'_, F>,
) -> impl Future<Output = Result<F::Output, Interrupted>> {
    let cut = |cell: &ActorCell<A>| {
        cell.control
            .is_interrupted()
            .then_some(Interrupted::Aborted)
    };
    guarded_unless(cell, cut, code)
}

/// Like [`guarded`], but also interrupted if the actor is asked to stop.
pub(super) fn until_stopped<A: Handlers, F: Future<Output: Output>>(
    cell: &Arc<ActorCell<A>>,
    code: Code<'_, F>,
) -> impl Future<Output = Result<F::Output, Interrupted>> {
    let cut_or_stopped = |cell: &ActorCell<A>| {
        let cut = cell
            .control
            .is_interrupted()
            .then_some(Interrupted::Aborted);
        cut.or_else(|| stopped(cell))
    };
    guarded_unless(cell, cut_or_stopped, code)
}

/// Like [`until_stopped`], but between two incarnations: a signal that cuts an incarnation short
/// was meant for the last one, and is ignored.
pub(super) fn between_incarnations<A: Handlers, F: Future<Output: Output>>(
    cell: &Arc<ActorCell<A>>,
    code: Code<'_, F>,
) -> impl Future<Output = Result<F::Output, Interrupted>> {
    let killed_or_stopped = |cell: &ActorCell<A>| {
        let killed = cell.control.is_killed().then_some(Interrupted::Aborted);
        killed.or_else(|| stopped(cell))
    };
    guarded_unless(cell, killed_or_stopped, code)
}

fn stopped<A: Handlers>(cell: &ActorCell<A>) -> Option<Interrupted> {
    let is_closed = cell.mailbox.is_closed();
    is_closed.then_some(Interrupted::Stopped)
}

/// Polls the code unless `interrupted` returns a reason. Built on a closure, since an `async fn`
/// stores each of its arguments twice.
///
/// # Panics
///
/// If it is polled after completion.
fn guarded_unless<A: Handlers, F: Future<Output: Output>>(
    cell: &Arc<ActorCell<A>>,
    interrupted: impl Fn(&ActorCell<A>) -> Option<Interrupted>,
    mut code: Code<'_, F>,
) -> impl Future<Output = Result<F::Output, Interrupted>> {
    let mut me = TaskContext::of(cell.clone());
    poll_fn(move |cx| {
        let ended = match (interrupted(cell), code.as_mut().as_pin_mut()) {
            (Some(interrupted), _) => Err(interrupted),
            (None, None) => panic!("an actor's code polled after completion"),
            (None, Some(running)) => {
                cell.stats.polled();
                let _current = Current::enter(cell.id(), &mut me);
                match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
                    Ok(Poll::Ready(output)) => {
                        dropped::resolve(&**cell, output.failure());
                        Ok(output)
                    }
                    Ok(Poll::Pending) => {
                        dropped::resolve(&**cell, None);
                        // Without a current message, the actor admits waiting senders by itself.
                        if cell.stats.is_busy() {
                            cell.mailbox.admit_before_waiting();
                        }
                        return Poll::Pending;
                    }
                    Err(panic) => {
                        let failure = into_failure(panic);
                        dropped::resolve(&**cell, Some(&failure));
                        Err(Interrupted::Panicked(failure))
                    }
                }
            }
        };
        me.end_trace();
        // Drops the values that an interrupted handler held; their drop may panic as well.
        if let Err(failure) = panics::catch(|| code.set(None)) {
            error!(urn = %cell.name(), %failure, "dropping a handler panicked");
        }
        Poll::Ready(ended)
    })
}
