//! Forwards: tells that carry the reply of an ask.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::poll_proceed;

use crate::actor::Recipient;
use crate::actor::blocking::block_on;
use crate::actor::cell::Envelope;
use crate::actor::send::MailboxSend;
use crate::deadlock::Wait;
use crate::deadlock::current::Current;
use crate::error::{AskError, Delivered, Failure};
use crate::mailbox::Closed;
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::time::deadline::Timeout;

/// A forward in progress: the future that [`ActorRef::forward`](crate::ActorRef::forward) returns.
/// It sends the message, with the reply that its asker waits for, when it is awaited.
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Cancel safety
///
/// A forward that is dropped before it completes has sent nothing; the reply is dropped with the
/// message, and its asker gets [`NoReply`](AskError::NoReply). One exception: a forward that waited
/// for room may be dropped just as the mailbox admits its message.
#[must_use = "a message is forwarded when this is awaited"]
pub struct Forward<M: ActorMessage> {
    sending: MailboxSend<M>,
    /// True once polled: from then on, the actor that is sent to is the one to reply.
    assigned: bool,
    /// The longest wait for room.
    timeout: Timeout,
    /// The wait for room, recorded while an actor's code polls this.
    wait: Wait,
}

impl<M: ActorMessage> Forward<M> {
    pub(crate) fn new(to: Recipient<M>, message: M, reply: Reply<M::Response>) -> Self {
        Self {
            sending: MailboxSend::new(to, message, reply.detach()),
            assigned: false,
            timeout: Timeout::default(),
            wait: Wait::default(),
        }
    }

    /// Limits the wait for room, like [`Tell::timeout`](crate::actor::Tell::timeout). When `timeout` has
    /// passed, the forward ends with [`AskError::Timeout`] and gives message and reply back.
    ///
    /// # Panics
    ///
    /// The forward panics when it is polled, if it has to wait and there is no tokio runtime with a
    /// timer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout.limit(timeout);
        self
    }

    /// Forwards from a thread that runs no asynchronous tasks, like
    /// [`Tell::blocking`](crate::actor::Tell::blocking).
    ///
    /// # Errors
    ///
    /// The same as from awaiting the forward.
    ///
    /// # Panics
    ///
    /// On a thread that runs asynchronous tasks, and so within handlers.
    #[track_caller]
    pub fn blocking(mut self) -> Result<(), ForwardError<M>> {
        let end = self.timeout.end();
        let ended = block_on(end, |cx| self.step(cx));
        ended.unwrap_or_else(|| self.give_up())
    }

    /// Tries to get the message into the mailbox.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError<M>>> {
        if self.assigned {
            let is_completed = !self.sending.is_waiting();
            assert!(!is_completed, "`Forward` polled after completion");
        } else {
            self.assigned = true;
            if let Err(cycle) = self.sending.assign_reply() {
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
            Poll::Pending => match self.sending.record_wait(&mut self.wait) {
                Some(cycle) => Poll::Ready(self.give_back(|| cycle.error())),
                None => Poll::Pending,
            },
        }
    }

    /// Ends a wait whose time has run out.
    fn give_up(&mut self) -> Result<(), ForwardError<M>> {
        let delivered = Delivered::No;
        self.give_back(|| AskError::Timeout { delivered })
    }

    /// Ends the forward with message and reply. Succeeds if the message was admitted since the last
    /// poll.
    fn give_back(&mut self, reason: impl FnOnce() -> AskError) -> Result<(), ForwardError<M>> {
        self.wait.end();
        let Some((message, reply)) = self.sending.take_back() else {
            return Ok(());
        };
        // From here on, the code that forwards owns the reply again.
        let reply = reply.give_back(Current::actor().as_ref());
        let envelope = Some((message, reply));
        let reason = reason();
        self.sending.count_lost(&reason);
        Err(ForwardError { envelope, reason })
    }
}

// No field is structurally pinned.
impl<M: ActorMessage> Unpin for Forward<M> {}

impl<M: ActorMessage> Future for Forward<M> {
    type Output = Result<(), ForwardError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Takes part in tokio's cooperative scheduling, like `Tell`.
        let budget = ready!(poll_proceed(cx));
        let mut sent = self.step(cx);
        if sent.is_pending() {
            self.timeout.begin(Current::deadline());
            ready!(self.timeout.poll(cx));
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

/// The error of a failed forward. It holds the message, its reply, and the reason.
///
/// The actor that was sent to has not handled the message and will not: it may be forwarded to
/// another actor. Its asker still waits:
///
/// - Dropping the error ends the ask with the reason.
/// - `?` turns the error into a [`Failure`]: the handler fails, and the asker gets
///   [`Failed`](AskError::Failed) with the cause.
/// - [`into_parts`](Self::into_parts) returns the reply, for any other response.
///
/// The type does not implement [`Error`](std::error::Error): errors tend to be boxed and stored, and
/// the asker would wait as long. Where one is needed, `.map_err(AskError::from)` gives the reason.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = String)]
/// struct Find(u32);
///
/// /// Forwards to the archive.
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
/// archive.stopped().await;
/// assert_eq!(cache.ask(Find(7)).await?, "nothing is known of 7");
/// # Ok(()) }
/// ```
#[must_use = "an asker waits for the reply"]
pub struct ForwardError<M: ActorMessage> {
    /// `None` only while the error is consumed.
    envelope: Option<Envelope<M>>,
    reason: AskError,
}

impl<M: ActorMessage> ForwardError<M> {
    /// The reason of the failure: [`ActorStopped`](AskError::ActorStopped),
    /// [`Timeout`](AskError::Timeout) or [`AskCycle`](AskError::AskCycle).
    pub fn reason(&self) -> &AskError {
        &self.reason
    }

    /// Returns the message, which was not handled, and its reply.
    pub fn into_parts(mut self) -> (M, Reply<M::Response>) {
        match self.envelope.take() {
            Some(envelope) => envelope,
            None => unreachable!("the envelope is taken only by methods that consume the error"),
        }
    }
}

impl<M: ActorMessage> Drop for ForwardError<M> {
    fn drop(&mut self) {
        let Some((_message, reply)) = self.envelope.take() else {
            return;
        };
        reply.refuse(match &self.reason {
            // `Accepted`, since the handler that forwards has started on the request.
            AskError::Timeout { .. } => AskError::Timeout {
                delivered: Delivered::Accepted,
            },
            reason => reason.clone(),
        });
    }
}

impl<M: ActorMessage> From<ForwardError<M>> for AskError {
    /// Returns the reason. The asker gets it as well.
    fn from(error: ForwardError<M>) -> Self {
        error.reason.clone()
    }
}

/// The cause of a [`Failure`] that was made of a [`ForwardError`].
#[derive(Debug, thiserror::Error)]
#[error("the message was not forwarded")]
struct NotForwarded(#[source] AskError);

impl<M: ActorMessage> From<ForwardError<M>> for Failure {
    /// Drops the reply. If a handler fails with this, the asker gets [`AskError::Failed`].
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

// Not derived: a message need not be `Debug`.
impl<M: ActorMessage> fmt::Debug for ForwardError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
