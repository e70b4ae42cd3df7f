//! The wait of a spawn for the start of its actor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use tokio::sync::oneshot;

use crate::actor::cell::ActorCell;
use crate::actor::{Actor, ActorRef};
use crate::deadlock::{Edge, Wait, WaitFor};
use crate::stop_reason::StopReason;

/// The result of a start: the reason of the end, if the actor ended before it had started.
pub(super) type StartResult = Result<(), StopReason>;

/// The wait for an actor that is starting.
pub(super) struct Starting {
    /// Receives the result of the start.
    started: oneshot::Receiver<StartResult>,
    /// Records, if the spawner is an actor, that it waits for the new actor.
    wait: Wait,
}

impl Starting {
    /// The wait for an actor before its task is spawned. Such an actor waits for no other, so
    /// this wait closes no cycle.
    pub(super) fn new<A: Actor>(
        cell: &Arc<ActorCell<A>>,
        started: oneshot::Receiver<StartResult>,
    ) -> Self {
        let mut wait = Wait::default();
        wait.record(|| Edge::new(cell.clone(), WaitFor::Started));
        Self { started, wait }
    }

    pub(super) fn poll<A: Actor>(
        &mut self,
        actor: &ActorRef<A>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<StartResult, oneshot::error::RecvError>> {
        let started = Pin::new(&mut self.started).poll(cx);
        let edge = || Edge::new(actor.cell().clone(), WaitFor::Started);
        // This wait closes a cycle only if the new actor has begun to wait since it was spawned.
        if started.is_pending()
            && let Some(cycle) = self.wait.record(edge)
        {
            cycle.break_up();
        }
        started
    }
}
