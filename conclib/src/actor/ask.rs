//! Asks within the process.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::actor::Recipient;
use crate::actor::blocking::block_on;
use crate::actor::send::MailboxSend;
use crate::deadlock::Wait;
use crate::deadlock::current::Current;
use crate::error::{AskError, Delivered};
use crate::mailbox::Closed;
use crate::message::ActorMessage;
use crate::reply::{Reply, ReplyReceiver};
use crate::time::deadline::Timeout;

const POLLED_AFTER_COMPLETION: &str = "`Ask` polled after completion";

/// An ask in progress: the future that [`ActorRef::ask`](crate::ActorRef::ask) returns. It sends
/// when it is awaited.
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Cancel safety
///
/// An ask that is dropped before it completes gives its reply up. A message that is already in the
/// mailbox is handled all the same, unless the ask has a deadline and the handler has not started.
/// A running handler can notice by [`Context::cancelled`](crate::Context::cancelled).
#[must_use = "an ask is sent when it is awaited"]
pub struct Ask<M: ActorMessage> {
    state: AskState<M>,
    /// The longest wait for the reply.
    timeout: Timeout,
    /// The wait for the reply, recorded while an actor's code polls this.
    wait: Wait,
}

enum AskState<M: ActorMessage> {
    /// New, waiting for room, or delivered. There is a receiver from the first poll on.
    Asking(MailboxSend<M>, Option<ReplyReceiver<M::Response>>),
    /// Failed before it began. `None` once the error is returned.
    Refused(Option<AskError>),
}

impl<M: ActorMessage> Ask<M> {
    pub(crate) fn new(to: Recipient<M>, message: M) -> Self {
        Self {
            // The first poll replaces the reply: only then is the asker's waker known. Until then, the
            // reply of a tell has the attributes.
            state: AskState::Asking(MailboxSend::new(to, message, Reply::for_tell()), None),
            timeout: Timeout::default(),
            wait: Wait::default(),
        }
    }

    /// An ask for the URN of an actor that was just found there: see [`MailboxSend::set_by_urn`].
    pub(crate) fn by_urn(found: Recipient<M>, message: M) -> Self {
        let mut ask = Self::new(found, message);
        if let AskState::Asking(sending, _) = &mut ask.state {
            sending.set_by_urn();
        }
        ask
    }

    pub(crate) fn refused(error: AskError) -> Self {
        Self {
            state: AskState::Refused(Some(error)),
            timeout: Timeout::default(),
            wait: Wait::default(),
        }
    }

    /// Limits the ask. When `timeout` has passed since the ask was first polled, it ends with
    /// [`AskError::Timeout`]. A message whose handler has not started by then is not handled at all,
    /// which [`Delivered::No`] says.
    ///
    /// On an ask that was already polled (in a `select!`, say), `timeout` counts from this call, and
    /// can only shorten the wait. If the ask had no deadline before, its message stays in the mailbox
    /// and is handled, which [`Delivered::Accepted`] says.
    ///
    /// # Within handlers
    ///
    /// A handler's ask takes no longer than the asker of the current message waits, with or without
    /// this call: a shorter timeout counts, a longer one is cut. The same holds for the handler of
    /// that ask, so that a chain of asks ends by the first deadline.
    ///
    /// This applies to the handler's own task, until the handler returns. Futures that it spawns,
    /// [pipes](crate::Context::pipe) or [attaches](crate::Context::attach) have only their own
    /// deadlines, on whichever runtime they run. A future that the handler blocks on
    /// (`Handle::block_on` within tokio's `block_in_place`) runs in the handler's task, and keeps to its
    /// deadline.
    ///
    /// # Panics
    ///
    /// The ask panics when it is polled, if it has to wait and there is no tokio runtime with a
    /// timer. Outside of one, use [`blocking`](Self::blocking).
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// use conclib::error::Delivered;
    /// use std::time::Duration;
    ///
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Nap;
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// # #[handlers]
    /// # impl Worker {
    /// #     #[handler]
    /// #     async fn nap(&mut self, _: Nap) { std::future::pending().await }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// # let worker = system.spawn(Worker).await?;
    /// let late = worker.ask(Nap).timeout(Duration::from_millis(10)).await;
    /// assert_eq!(late, Err(AskError::Timeout { delivered: Delivered::Accepted }));
    /// # worker.kill();
    /// # Ok(()) }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout.limit(timeout);
        self
    }

    /// Adds an attribute, such as a tenant or a trace id. The handler reads it by
    /// [`Context::attributes`](crate::Context::attributes). On an ask that was already polled, this has
    /// no effect.
    ///
    /// More than [`Attributes::MAX_LEN`](crate::envelope::Attributes::MAX_LEN) of them, or more than
    /// [`Attributes::MAX_BYTES`](crate::envelope::Attributes::MAX_BYTES), are not sent: the ask ends with
    /// [`BadRequest`](AskError::BadRequest) or [`TooLarge`](AskError::TooLarge), as across the bus.
    pub fn attribute(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes([(name, value)])
    }

    /// Adds all of these attributes. A handler passes on those of its own message by
    /// [`attributes(ctx.attributes())`](crate::Context::attributes).
    pub fn attributes<K: Into<String>, V: Into<String>>(
        mut self,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        if let AskState::Asking(sending, None) = &mut self.state
            && let Some((_, reply)) = &mut sending.envelope
            && let Err(error) = reply.add_attributes(attributes)
        {
            self.state = AskState::Refused(Some(error));
        }
        self
    }

    /// Asks from a thread that runs no asynchronous tasks, and blocks it until the reply is there.
    /// A [`timeout`](Self::timeout) holds. No runtime is needed.
    ///
    /// # Errors
    ///
    /// The same as from awaiting the ask.
    ///
    /// # Panics
    ///
    /// On a thread that runs asynchronous tasks, and so within handlers: like
    /// [`blocking_recv`](tokio::sync::oneshot::Receiver::blocking_recv). Within
    /// [`spawn_blocking`](tokio::task::spawn_blocking) it may be called.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # #[message(response = u32)]
    /// # struct Double { n: u32 }
    /// # #[derive(Actor)]
    /// # struct Doubler;
    /// # #[handlers]
    /// # impl Doubler {
    /// #     #[handler]
    /// #     fn double(&mut self, message: Double) -> u32 { message.n * 2 }
    /// # }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// # let doubler = system.spawn(Doubler).await?;
    /// let answer = tokio::task::spawn_blocking(move || doubler.ask(Double { n: 21 }).blocking());
    /// assert_eq!(answer.await?, Ok(42));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn blocking(mut self) -> Result<M::Response, AskError> {
        let end = self.timeout.end();
        let ended = block_on(end, |cx| self.step(cx));
        ended.unwrap_or_else(|| self.give_up())
    }

    /// Sends the message, or polls for its reply.
    #[inline]
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Response, AskError>> {
        match &mut self.state {
            AskState::Asking(sending, Some(receiver)) => {
                if sending.is_waiting() {
                    return self.step_waiting(cx);
                }
                receiver.poll_or_cycle(&mut self.wait, cx)
            }
            AskState::Asking(..) => self.begin(cx),
            AskState::Refused(error) => {
                Poll::Ready(Err(error.take().expect(POLLED_AFTER_COMPLETION)))
            }
        }
    }

    /// Sends the message once there is room for it. The reply is polled for as well: the ask may end by a cycle.
    #[cold]
    fn step_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Response, AskError>> {
        let AskState::Asking(sending, Some(receiver)) = &mut self.state else {
            unreachable!("only a message that was sent waits for room");
        };
        if sending.poll(cx) == Poll::Ready(Err(Closed)) {
            return self.closed(cx);
        }
        let polled = receiver.poll_or_cycle(&mut self.wait, cx);
        if let Poll::Ready(Err(error)) = &polled {
            sending.give_up(error);
        }
        polled
    }

    /// Sends the message. The receiver need not be polled for the reply to wake the asker: the reply
    /// slot is made with the asker's waker.
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Response, AskError>> {
        let AskState::Asking(sending, receiver) = &mut self.state else {
            unreachable!("`step` begins an ask only if it is not refused");
        };
        let (_, envelope_reply) = sending.envelope.as_mut().expect(POLLED_AFTER_COMPLETION);
        let deadline = self.timeout.begin(Current::deadline());
        let attributes = envelope_reply.take_attributes();
        let (reply, waiting) =
            Reply::for_ask(|| sending.to.actor(), cx.waker(), deadline, attributes);
        if let Some(cycle) = waiting.record_wait(&mut self.wait) {
            reply.forget();
            sending.envelope = None;
            let error = cycle.error();
            sending.count_lost(&error);
            return Poll::Ready(Err(error));
        }
        *envelope_reply = reply;
        *receiver = Some(waiting);
        match sending.poll(cx) {
            Poll::Ready(Err(Closed)) => self.closed(cx),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Ends an ask whose mailbox is closed, or sends its message to the next actor at the URN.
    #[cold]
    fn closed(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Response, AskError>> {
        let AskState::Asking(sending, receiver) = &mut self.state else {
            unreachable!("a refused ask sends nothing");
        };
        loop {
            let redirected = sending
                .redirect()
                .and_then(|()| sending.assign_reply().map_err(|cycle| cycle.error()));
            if let Err(error) = redirected {
                sending.count_lost(&error);
                *receiver = None;
                if let Some((_message, reply)) = sending.take_back() {
                    reply.forget();
                }
                return Poll::Ready(Err(error));
            }
            if sending.poll(cx) != Poll::Ready(Err(Closed)) {
                return Poll::Pending;
            }
        }
    }

    /// Ends an ask whose time has run out. The error says how far the message had come.
    fn give_up(&mut self) -> Result<M::Response, AskError> {
        let AskState::Asking(sending, receiver) = &mut self.state else {
            unreachable!("a refused ask does not wait");
        };
        let Some(mut waiting) = receiver.take() else {
            unreachable!("an ask that waits has a receiver");
        };
        let delivered = match sending.take_back() {
            Some((_message, reply)) => {
                reply.forget();
                let delivered = Delivered::No;
                sending.count_lost(&AskError::Timeout { delivered });
                delivered
            }
            // The message is in the mailbox, or was admitted since the last poll. There it is skipped
            // unless its handler has started. The reply may have come meanwhile.
            None => match waiting.give_up() {
                Ok(reply) => return reply,
                Err(delivered) => delivered,
            },
        };
        Err(AskError::Timeout { delivered })
    }
}

// No field is structurally pinned.
impl<M: ActorMessage> Unpin for Ask<M> {}

impl<M: ActorMessage> Future for Ask<M> {
    type Output = Result<M::Response, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(reply) = self.step(cx) {
            return Poll::Ready(reply);
        }
        ready!(self.timeout.poll(cx));
        Poll::Ready(self.give_up())
    }
}

impl<M: ActorMessage> fmt::Debug for Ask<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask<{}>", M::NAME)
    }
}
