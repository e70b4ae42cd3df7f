//! The way of a message from a pool to its worker.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::actor::Handlers;
use crate::actor::cell::ActorCell;
use crate::deadlock::{Edge, Wait, WaitFor};
use crate::mailbox::{Closed, Ticket};

/// A message on its way into a worker's mailbox; it comes back if the worker has stopped.
pub(super) struct ForwardToWorker<W: Handlers> {
    worker: Arc<ActorCell<W>>,
    message: Option<W::Inbox>,
    /// The place in the waiting line.
    ticket: Option<Ticket>,
    /// Says that the pool waits for the worker, while it does.
    wait: Wait,
}

impl<W: Handlers> ForwardToWorker<W> {
    pub(super) fn new(worker: Arc<ActorCell<W>>, message: W::Inbox) -> Self {
        Self {
            worker,
            message: Some(message),
            ticket: None,
            wait: Wait::default(),
        }
    }

    /// The worker's mailbox is full: waits, unless that worker waits for the pool.
    fn wait_for_room(&mut self) {
        let Some(ticket) = self.ticket else {
            return; // polled after completion
        };
        let worker = &self.worker;
        let edge = || Edge::new(worker.clone(), WaitFor::ForwardCapacity(ticket));
        // A cycle has let it in by now: one message past the bound, so that all go on.
        self.wait.record(edge);
    }
}

// Nothing in it is ever pinned.
impl<W: Handlers> Unpin for ForwardToWorker<W> {}

impl<W: Handlers> Future for ForwardToWorker<W> {
    type Output = Option<W::Inbox>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let pushed = this
            .worker
            .mailbox
            .poll_push(cx, &mut this.ticket, &mut this.message);
        match pushed {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            Poll::Ready(Err(Closed)) => Poll::Ready(this.message.take()),
            Poll::Pending => {
                this.wait_for_room();
                Poll::Pending
            }
        }
    }
}

impl<W: Handlers> Drop for ForwardToWorker<W> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // Its asker hears of it by the drop of the reply.
            drop(self.worker.mailbox.withdraw(ticket));
        }
    }
}
