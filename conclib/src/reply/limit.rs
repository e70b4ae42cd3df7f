//! Askers that wait until a deadline, and what hears that they have gone.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::error::{AskError, Delivered};
use crate::reply::cancelled::{Awaited, Cancelled, Key};
use crate::reply::remote::Responder;
use crate::reply::{Answer, Reply, Slot, To};

/// A message's deadline, and the asker that waits until then: what
/// [`Handlers::limit`](crate::Handlers::limit) finds in the mailbox.
pub struct Limit<'a>(Question<'a>);

enum Question<'a> {
    Local(&'a dyn Limited),
    Remote(&'a Responder),
}

/// A question with a deadline, in this process.
trait Limited {
    /// Its message is about to be handled; or `None` if it is not to be, since its asker has gone
    /// or its deadline has passed.
    fn begin(&self) -> Option<Instant>;
}

impl Limit<'_> {
    /// The message is about to be handled: until when its asker waits. `None` if it is not to be
    /// handled any more; its asker has its answer then.
    pub(crate) fn begin(&self) -> Option<Instant> {
        match self.0 {
            Question::Local(question) => question.begin(),
            Question::Remote(responder) if responder.is_too_late() => None,
            Question::Remote(responder) => responder.awaited_until(),
        }
    }
}

impl fmt::Debug for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limit")
    }
}

impl<R: Send + 'static> Reply<R> {
    /// The deadline of its asker, if that has one: for those who write
    /// [`Handlers::limit`](crate::Handlers::limit) by hand.
    #[inline]
    pub fn limit(&self) -> Option<Limit<'_>> {
        match &self.to {
            To::Nobody => None,
            To::Local(asker) if !asker.limited => None,
            To::Local(asker) => {
                let slot: &Slot<R> = asker.slot()?;
                Some(Limit(Question::Local(slot)))
            }
            To::Remote { responder, .. } => {
                responder.awaited_until()?;
                Some(Limit(Question::Remote(responder)))
            }
        }
    }

    /// Completes when nobody waits for the answer any more: the asker has gone (its future was
    /// dropped, or an HTTP client disconnected from the server that asked), or its deadline has
    /// passed. For a tell it never completes, since nobody has ever waited.
    ///
    /// Work that is only worth its answer stops there; the reply may then be dropped.
    ///
    /// ```
    /// use conclib::Reply;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (reply, answer) = Reply::<u32>::channel();
    /// let work = tokio::spawn(async move {
    ///     tokio::select! {
    ///         () = std::future::pending() => reply.send(42), // it takes long
    ///         () = reply.cancelled() => {}
    ///     }
    /// });
    /// drop(answer);
    /// work.await.unwrap();
    /// # }
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled::new(self.question_of_asker())
    }

    /// Nobody's, for a tell.
    pub(crate) fn question_of_asker(&self) -> Option<Arc<dyn Awaited>> {
        match &self.to {
            To::Nobody => None,
            To::Local(asker) => Some(asker.slot.clone()?),
            To::Remote { responder, .. } => responder.as_question(),
        }
    }
}

impl Responder {
    /// Nobody's, for a tell.
    pub(crate) fn as_question(self: &Arc<Self>) -> Option<Arc<dyn Awaited>> {
        if self.is_ask() {
            Some(self.clone())
        } else {
            None
        }
    }
}

impl<R> Limited for Slot<R> {
    fn begin(&self) -> Option<Instant> {
        let deadline = self.deadline?;
        let mut place = self.lock();
        if !matches!(place.answer, Answer::Awaited) {
            return None;
        }
        if deadline <= Instant::now() {
            // One that had it before may have handed it on.
            let delivered = if place.begun {
                Delivered::Accepted
            } else {
                Delivered::No
            };
            drop(place);
            self.fill(Err(AskError::Timeout { delivered }));
            return None;
        }
        // From here on, an asker that gives up has to say that it may have been executed.
        place.begun = true;
        Some(deadline)
    }
}

impl<R: Send + 'static> Awaited for Slot<R> {
    fn poll_over(self: Arc<Self>, key: &mut Option<Key>, cx: &Context<'_>) -> Poll<()> {
        let mut place = self.lock();
        if !matches!(place.answer, Answer::Awaited) {
            return Poll::Ready(());
        }
        let before = place.watchers.keep(key, cx.waker());
        drop(place);
        drop(before); // outside the lock
        Poll::Pending
    }

    fn unwatch(&self, key: Key) {
        let waker = self.lock().watchers.remove(key);
        drop(waker); // outside the lock
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expire(&self) {
        let delivered = Delivered::Accepted;
        self.fill(Err(AskError::Timeout { delivered }));
    }
}
