//! The asker's end of a reply.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::slot::{Slot, SlotOutcome};
use crate::deadlock::{Cycle, Edge, Wait};
use crate::error::panics::drop_quietly;
use crate::error::{AskError, Delivered};

/// The answer to a message: a future of `Result<R, AskError>`, made by [`Reply::channel`].
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Cancel safety
///
/// Dropping it gives up the answer: [`Reply::is_wanted`] returns false from then on.
///
/// [`Reply::channel`]: crate::Reply::channel
/// [`Reply::is_wanted`]: crate::Reply::is_wanted
#[must_use = "futures do nothing unless they are awaited"]
pub struct ReplyReceiver<R> {
    /// `None` once the answer has been taken.
    slot: Option<Arc<Slot<R>>>,
}

impl<R> Future for ReplyReceiver<R> {
    type Output = Result<R, AskError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.take().expect("polled after completion");
        match Slot::take(slot, cx) {
            SlotOutcome::Answer(answer) => Poll::Ready(answer),
            SlotOutcome::Pending(slot) => {
                self.slot = Some(slot);
                Poll::Pending
            }
        }
    }
}

impl<R> ReplyReceiver<R> {
    pub(super) fn new(slot: Arc<Slot<R>>) -> Self {
        Self { slot: Some(slot) }
    }

    /// Ends the ask.
    ///
    /// # Errors
    ///
    /// The progress of the message, if there is no answer yet.
    pub(crate) fn give_up(&mut self) -> Result<Result<R, AskError>, Delivered> {
        match self.slot.take() {
            Some(slot) => slot.give_up(),
            None => unreachable!("an ask is given up only while it waits"),
        }
    }
}

impl<R> Drop for ReplyReceiver<R> {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot
            && let Ok(answer) = slot.give_up()
        {
            drop_quietly(answer);
        }
    }
}

impl<R> fmt::Debug for ReplyReceiver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyReceiver")
    }
}

impl<R: Send + 'static> ReplyReceiver<R> {
    /// Records that the current actor waits for the answer. Returns the cycle if the actor would
    /// wait for itself.
    #[inline]
    pub(crate) fn record_wait(&self, wait: &mut Wait) -> Option<Cycle> {
        let pending = Slot::tracked(self.slot.as_ref()?)?;
        wait.record(|| Edge::Reply(pending))
    }

    /// Polls for the answer. If the wait would close a cycle, returns the error of the deadlock.
    #[inline]
    pub(crate) fn poll_or_cycle(
        &mut self,
        wait: &mut Wait,
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, AskError>> {
        if let Poll::Ready(answer) = Pin::new(&mut *self).poll(cx) {
            return Poll::Ready(answer);
        }
        match self.record_wait(wait) {
            Some(cycle) => Poll::Ready(Err(cycle.error())),
            None => Poll::Pending,
        }
    }

    #[cfg(test)]
    pub(super) fn slot(&self) -> Arc<Slot<R>> {
        self.slot.clone().unwrap()
    }
}
