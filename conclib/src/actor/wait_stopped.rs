//! Waits for the end of an actor.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::any::AnyActor;
use crate::deadlock::{Edge, Participant, Wait, WaitFor};
use crate::stop_reason::StopReason;

/// Waits until an actor has stopped, and returns the reason. May be dropped and called again.
pub(crate) async fn ended(actor: &dyn AnyActor) -> &StopReason {
    loop {
        if let Some(reason) = actor.stop_reason() {
            return reason;
        }
        let end = actor.end_notify();
        // From here on a notification is seen, and an end from before is seen below.
        let notified = end.notified();
        if actor.stop_reason().is_none() {
            notified.await;
        }
    }
}

/// Waits until an actor has stopped, and returns the reason.
///
/// In a cycle another wait ends, if one can: a tell is admitted, an ask gets
/// [`AskError::AskCycle`](crate::AskError::AskCycle), a wait for an actor that is about to stop ends.
/// Otherwise this one does, as soon as the actor is about to stop.
pub(crate) async fn stopped(actor: Arc<dyn AnyActor>) -> StopReason {
    let mut wait = Wait::default();
    let mut end = pin!(ended(&*actor));
    let participant: Arc<dyn Participant> = actor.clone();
    poll_fn(|cx| {
        // Before the edge is recorded: from there on the wait that closes a cycle can wake this task.
        if let Poll::Ready(reason) = end.as_mut().poll(cx) {
            return Poll::Ready(reason.clone());
        }
        let reason = match wait.record(|| Edge::new(participant.clone(), WaitFor::Stopped)) {
            Some(cycle) => cycle.ends_early(&participant),
            None => wait
                .cycle_over(&participant)
                .and_then(|cycle| cycle.end_of(&participant)),
        };
        reason.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Waits until an actor has stopped, for an actor that stops after it.
///
/// In a cycle another wait ends, as with [`stopped`]; this one does not.
pub(crate) async fn stopped_first(actor: Arc<dyn AnyActor>) {
    let mut wait = Wait::default();
    let mut end = pin!(ended(&*actor));
    poll_fn(|cx| {
        if end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(cycle) = wait.record(|| Edge::new(actor.clone(), WaitFor::StoppedFirst)) {
            cycle.break_up();
        }
        Poll::Pending
    })
    .await;
}
