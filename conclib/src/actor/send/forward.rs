//! Tells that carry the reply of another's ask.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::poll_proceed;

use crate::actor::Recipient;
use crate::actor::blocking::block_on;
use crate::actor::cell::Envelope;
use crate::actor::send::Sending;
use crate::deadlock::current::Current;
use crate::deadlock::{Cycle, Edge, Participant, Wait, WaitFor, assign_reply};
use crate::error::{AskError, Delivered, Failure};
use crate::mailbox::Closed;
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::time::deadline::Timeout;

/// A message on its way to another actor, with the reply that its asker waits for: made by
/// [`forward`](crate::ActorRef::forward), sent when awaited.
///
/// # Cancel safety
///
/// Dropped before it is ready, it has sent nothing; unless it waited for room, and the mailbox let
/// its message in at that very moment. The reply of what was not sent is dropped with it.
#[must_use = "a message is forwarded when this is awaited"]
pub struct Forward<M: ActorMessage> {
    sending: Sending<M>,
    /// The actor there owes the answer.
    assigned: bool,
    /// Its limit on waiting for room.
    patience: Timeout,
    /// Says that an actor waits for room, while it does.
    wait: Wait,
}

impl<M: ActorMessage> Forward<M> {
    pub(crate) fn new(to: Recipient<M>, message: M, reply: Reply<M::Response>) -> Self {
        Self {
            sending: Sending::new(to, message, reply.detach()),
            assigned: false,
            patience: Timeout::default(),
            wait: Wait::default(),
        }
    }

    /// Ends the wait for room with [`AskError::Timeout`] when it has taken this long; like
    /// [`Tell::timeout`](crate::Tell::timeout). Message and reply come back.
    ///
    /// # Panics
    ///
    /// The forward does, if it has to wait outside a tokio runtime with a timer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.patience.limit(timeout);
        self
    }

    /// Forwards on a thread that is not tokio's; like [`Tell::blocking`](crate::Tell::blocking).
    ///
    /// # Errors
    ///
    /// Those of the forward.
    ///
    /// # Panics
    ///
    /// On a thread that runs asynchronous tasks, so within handlers too.
    #[track_caller]
    pub fn blocking(mut self) -> Result<(), ForwardError<M>> {
        let end = self.patience.end();
        let ended = block_on(end, |cx| self.step(cx));
        ended.unwrap_or_else(|| self.give_up())
    }

    /// One step into the mailbox.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError<M>>> {
        if !self.assigned {
            self.assigned = true;
            if let Err(cycle) = self.assign_reply() {
                return Poll::Ready(self.give_back(|| cycle.error()));
            }
        }
        match self.sending.poll(cx) {
            Poll::Ready(Ok(())) => {
                self.wait.end();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(Closed)) => {
                let to = self.sending.to.clone();
                Poll::Ready(self.give_back(|| to.target().refusal()))
            }
            Poll::Pending => self.wait_for_room(),
        }
    }

    /// From now on the actor there owes the answer.
    fn assign_reply(&self) -> Result<(), Cycle> {
        let reply = self.sending.envelope.as_ref().map(|(_, reply)| reply);
        let Some(pending) = reply.and_then(Reply::tracked) else {
            return Ok(());
        };
        let actor: Arc<dyn Participant> = self.sending.to.actor();
        assign_reply(&actor, &pending)
    }

    /// The mailbox is full: waits, unless the actor there waits for the one whose code this is.
    fn wait_for_room(&mut self) -> Poll<Result<(), ForwardError<M>>> {
        let Some(ticket) = self.sending.ticket else {
            return Poll::Pending; // polled after completion
        };
        let to = &self.sending.to;
        match (self.wait).record(|| Edge::new(to.actor(), WaitFor::Capacity(ticket))) {
            Some(cycle) => Poll::Ready(self.give_back(|| cycle.error())),
            None => Poll::Pending,
        }
    }

    /// Leaves the waiting line.
    fn give_up(&mut self) -> Result<(), ForwardError<M>> {
        let delivered = Delivered::No;
        self.give_back(|| AskError::Timeout { delivered })
    }

    /// Message and reply come back, unless the mailbox has let them in meanwhile.
    fn give_back(&mut self, reason: impl FnOnce() -> AskError) -> Result<(), ForwardError<M>> {
        self.wait.end();
        let Some((message, reply)) = self.sending.take_back() else {
            return Ok(());
        };
        // The handler owns it again.
        let envelope = Some((message, reply.attach_handler()));
        let reason = reason();
        Err(ForwardError { envelope, reason })
    }
}

// Nothing in it is ever pinned.
impl<M: ActorMessage> Unpin for Forward<M> {}

impl<M: ActorMessage> Future for Forward<M> {
    type Output = Result<(), ForwardError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A task that forwards and forwards would keep the thread to itself.
        let budget = ready!(poll_proceed(cx));
        let mut sent = self.step(cx);
        if sent.is_pending() {
            self.patience.begin(Current::deadline());
            ready!(self.patience.poll(cx));
            sent = Poll::Ready(self.give_up());
        }
        budget.made_progress();
        sent
    }
}

impl<M: ActorMessage> fmt::Debug for Forward<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward<{}>", M::NAME)
    }
}

/// A message that was not forwarded: it comes back with its reply, and the reason. The actor that it
/// was for has not handled it and will not, so it may go to another.
///
/// The asker still waits. Dropped, the error tells it the reason. By `?`, which makes a [`Failure`]
/// of it, the handler fails, and its asker hears [`Failed`](AskError::Failed) with the cause. To
/// answer otherwise, take the reply [out](Self::into_parts).
///
/// It is no [`Error`](std::error::Error), since those are kept and boxed, and the asker would wait
/// meanwhile. Where one is needed, `.map_err(AskError::from)` gives the reason.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = String)]
/// struct Find(u32);
///
/// /// Asks the archive what the cache does not know.
/// #[derive(Actor)]
/// struct Cache { archive: Recipient<Find> }
///
/// #[handlers]
/// impl Cache {
///     #[handler]
///     async fn find(&mut self, message: Find, reply: Reply<String>) {
///         if let Err(back) = self.archive.forward(message, reply).await {
///             let (Find(number), reply) = back.into_parts();
///             reply.send(format!("nothing is known of {number}"));
///         }
///     }
/// }
/// # #[derive(Actor)]
/// # struct Archive;
/// # #[handlers]
/// # impl Archive {
/// #     #[handler]
/// #     fn find(&mut self, Find(number): Find) -> String { format!("the text of {number}") }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// let archive = system.spawn(Archive).await?;
/// let cache = system.spawn(Cache { archive: archive.recipient() }).await?;
/// assert_eq!(cache.ask(Find(7)).await?, "the text of 7");
///
/// archive.stop();
/// archive.wait_stopped().await;
/// assert_eq!(cache.ask(Find(7)).await?, "nothing is known of 7");
/// # Ok(()) }
/// ```
#[must_use = "an asker waits for the answer"]
pub struct ForwardError<M: ActorMessage> {
    /// Present until it is taken out.
    envelope: Option<Envelope<M>>,
    reason: AskError,
}

impl<M: ActorMessage> ForwardError<M> {
    /// The reason: [`ActorStopped`](AskError::ActorStopped),
    /// [`Timeout`](AskError::Timeout) or [`AskCycle`](AskError::AskCycle).
    pub fn reason(&self) -> &AskError {
        &self.reason
    }

    /// The message, unhandled, and its reply.
    pub fn into_parts(mut self) -> (M, Reply<M::Response>) {
        match self.envelope.take() {
            Some(envelope) => envelope,
            None => unreachable!("only what consumes the error takes it"),
        }
    }
}

impl<M: ActorMessage> Drop for ForwardError<M> {
    fn drop(&mut self) {
        let Some((_message, reply)) = self.envelope.take() else {
            return;
        };
        reply.refuse(match &self.reason {
            // The handler that wanted to forward it has begun with it.
            AskError::Timeout { .. } => AskError::Timeout {
                delivered: Delivered::Accepted,
            },
            reason => reason.clone(),
        });
    }
}

impl<M: ActorMessage> From<ForwardError<M>> for AskError {
    /// The reason, which the asker hears as well.
    fn from(error: ForwardError<M>) -> Self {
        error.reason.clone()
    }
}

/// The part of it that a failure keeps.
#[derive(Debug, thiserror::Error)]
#[error("the message was not forwarded")]
struct NotForwarded(#[source] AskError);

impl<M: ActorMessage> From<ForwardError<M>> for Failure {
    /// Drops the reply: within a handler that fails by this, the asker hears so.
    fn from(mut error: ForwardError<M>) -> Self {
        drop(error.envelope.take());
        NotForwarded(error.reason.clone()).into()
    }
}

impl<M: ActorMessage> fmt::Display for ForwardError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message was not forwarded: {}", self.reason)
    }
}

// By hand, so that a message need not be `Debug`.
impl<M: ActorMessage> fmt::Debug for ForwardError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
