//! Waiting for the end of an actor.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::any::AnyActor;
use crate::deadlock::{Edge, Participant, Wait, WaitFor};
use crate::stop_reason::StopReason;

/// Waits until an actor has stopped, and returns the reason. Cancel safe.
pub(crate) async fn ended(actor: &dyn AnyActor) -> StopReason {
    loop {
        if let Some(reason) = actor.stop_reason() {
            return reason;
        }
        let end = actor.end_notify();
        // `notified` sees notifications from here on; an earlier end is seen below.
        let notified = end.notified();
        if actor.stop_reason().is_none() {
            notified.await;
        }
    }
}

/// Waits until an actor has stopped, and returns the reason.
///
/// If the wait closes a cycle, another wait of the cycle ends, if one can: a tell is admitted, an ask
/// gets [`AskError::AskCycle`](crate::AskError::AskCycle), or a wait for an actor that is about to stop
/// ends. Otherwise this wait ends, as soon as the actor is about to stop.
pub(crate) async fn stopped(actor: Arc<dyn AnyActor>) -> StopReason {
    let mut wait = Wait::default();
    let mut end = pin!(ended(&*actor));
    let participant: Arc<dyn Participant> = actor.clone();
    poll_fn(|cx| {
        // Polled before the edge is recorded, so that a wait that closes a cycle later can wake this
        // task.
        if let Poll::Ready(reason) = end.as_mut().poll(cx) {
            return Poll::Ready(reason);
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

/// Waits until an actor has stopped, for an actor that must stop after it.
///
/// If the wait closes a cycle, another wait of the cycle ends, as with [`stopped`]; this one does not.
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
