//! Forwarding of a message from a pool to its worker.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::actor::Handlers;
use crate::actor::cell::ActorCell;
use crate::deadlock::{Edge, Wait, WaitFor};
use crate::mailbox::{Closed, Ticket};

/// Sends a message to a worker's mailbox, and returns it if the worker has stopped.
pub(super) struct ForwardToWorker<W: Handlers> {
    worker: Arc<ActorCell<W>>,
    message: Option<W::Inbox>,
    /// The place in the queue of waiting senders.
    ticket: Option<Ticket>,
    /// Records that the pool waits for the worker.
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

    /// Records the wait for room in the worker's mailbox. If the worker waits for the pool, the
    /// message is admitted past the bound instead.
    fn wait_for_room(&mut self) {
        let Some(ticket) = self.ticket else {
            unreachable!("a pending push has a ticket");
        };
        let worker = &self.worker;
        let edge = || Edge::new(worker.clone(), WaitFor::ForwardCapacity(ticket));
        // If this closed a cycle, the message has been admitted past the bound, and all actors go
        // on.
        self.wait.record(edge);
    }
}

// No field is ever pinned.
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
            // The drop of the reply tells the asker.
            drop(self.worker.mailbox.withdraw(ticket));
        }
    }
}
