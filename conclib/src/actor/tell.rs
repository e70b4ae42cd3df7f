//! Tells within the process.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::poll_proceed;

use crate::actor::Recipient;
use crate::actor::blocking::block_on;
use crate::actor::send::MailboxSend;
use crate::deadlock::current::Current;
use crate::deadlock::{Cycle, Wait};
use crate::error::{AskError, Delivered, TellError};
use crate::mailbox::Closed;
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::time::deadline::Timeout;

const POLLED_AFTER_COMPLETION: &str = "`Tell` polled after completion";

/// A tell in progress: the future that [`ActorRef::tell`](crate::ActorRef::tell) returns. It sends
/// when it is awaited.
///
/// # Actors that tell each other
///
/// Two actors with full mailboxes, each in a handler that tells the other, would wait for ever.
/// The last one to begin its wait gets [`AskCycle`](crate::AskError::AskCycle) and its message
/// back. The same applies to longer cycles, and to cycles that include an ask.
///
/// Such cycles occur only under load: a handler that passes every test may fail there if it uses
/// `?`. Handle the error where messages go both ways. A larger mailbox makes it rarer. A
/// [`try_tell`](crate::ActorRef::try_tell) that stores the returned message for later never waits:
///
/// ```
/// use conclib::prelude::*;
/// use std::collections::VecDeque;
/// use std::time::Duration;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Work(u32);
///
/// #[derive(ActorMessage)]
/// #[message(local)]
/// struct Retry;
///
/// /// Passes work on to a peer, which passes its own work back.
/// #[derive(Actor)]
/// struct Stage { peer: Recipient<Work>, unsent: VecDeque<Work> }
///
/// #[handlers]
/// impl Stage {
///     #[handler]
///     fn work(&mut self, work: Work, ctx: &mut Context<Self>) {
///         self.unsent.push_back(work);
///         if self.unsent.len() == 1 {
///             self.retry(Retry, ctx);       // else a retry is scheduled
///         }
///     }
///
///     /// Sends as much as there is room for, in order, and schedules the rest.
///     #[handler]
///     fn retry(&mut self, _: Retry, ctx: &mut Context<Self>) {
///         while let Some(work) = self.unsent.pop_front() {
///             let Err(back) = self.peer.try_tell(work) else { continue };
///             if matches!(back.reason(), AskError::Overloaded { .. }) {
///                 self.unsent.push_front(back.into_message());
///                 ctx.after(Duration::from_millis(10), Retry);
///                 return;
///             }
///         }
///     }
/// }
/// # #[derive(ActorMessage)]
/// # #[message(local, response = u32)]
/// # struct Sum;
/// # #[derive(Actor)]
/// # #[actor(mailbox = 1)]
/// # struct Peer(u32);
/// # #[handlers]
/// # impl Peer {
/// #     #[handler]
/// #     fn work(&mut self, Work(n): Work) { self.0 += n; }
/// #     #[handler]
/// #     fn sum(&mut self, _: Sum) -> u32 { self.0 }
/// # }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// # let peer = system.spawn(Peer(0)).await?;
/// # let stage = Stage { peer: peer.recipient(), unsent: VecDeque::new() };
/// # let stage = system.spawn(stage).await?;
/// for n in 1..=4 {
///     stage.tell(Work(n)).await?;
/// }
/// # tokio::time::sleep(Duration::from_secs(1)).await;
/// # assert_eq!(peer.ask(Sum).await?, 10);
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Cancel safety
///
/// A tell that is dropped before it completes has sent nothing. One exception: a tell that waited
/// for room may be dropped just as the mailbox admits its message.
#[must_use = "a tell is sent when it is awaited"]
pub struct Tell<M: ActorMessage> {
    state: TellState<M>,
    /// The longest wait for room.
    timeout: Timeout,
    /// The wait for room, recorded while an actor's code polls this.
    wait: Wait,
}

enum TellState<M: ActorMessage> {
    Sending(MailboxSend<M>),
    /// Failed before it began. `None` once the error is returned.
    Refused(Option<TellError<M>>),
}

impl<M: ActorMessage> Tell<M> {
    pub(crate) fn new(to: Recipient<M>, message: M) -> Self {
        Self::from_state(TellState::Sending(MailboxSend::new(
            to,
            message,
            Reply::for_tell(),
        )))
    }

    /// A tell for the URN of an actor that was just found there: see [`MailboxSend::set_by_urn`].
    pub(crate) fn by_urn(found: Recipient<M>, message: M) -> Self {
        let mut sending = MailboxSend::new(found, message, Reply::for_tell());
        sending.set_by_urn();
        Self::from_state(TellState::Sending(sending))
    }

    pub(crate) fn refused(message: M, reason: AskError) -> Self {
        Self::from_state(TellState::Refused(Some(TellError::new(message, reason))))
    }

    fn from_state(state: TellState<M>) -> Self {
        Self {
            state,
            timeout: Timeout::default(),
            wait: Wait::default(),
        }
    }

    /// Limits the wait for room. When `timeout` has passed since the tell was first polled, it ends
    /// with [`AskError::Timeout`] and gives the message back.
    ///
    /// On a tell that is already waiting, `timeout` counts from this call, and can only shorten the
    /// wait. Within a handler, a tell waits no longer than the asker of the current message does,
    /// with or without this call.
    ///
    /// # Panics
    ///
    /// The tell panics when it is polled, if it has to wait and there is no tokio runtime with a
    /// timer. Outside of one, use [`blocking`](Self::blocking).
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// use conclib::error::Delivered;
    /// use std::time::Duration;
    ///
    /// # #[derive(ActorMessage, Serialize, Deserialize, Debug, PartialEq)]
    /// # struct Job(u32);
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Nap;
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// # #[handlers]
    /// # impl Worker {
    /// #     #[handler]
    /// #     fn job(&mut self, _: Job) {}
    /// #     #[handler]
    /// #     async fn nap(&mut self, _: Nap) { std::future::pending().await }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let worker = system.spawn(Worker).mailbox(1).await?;
    /// # worker.tell(Nap).await?;
    /// # tokio::task::yield_now().await;
    /// worker.tell(Job(1)).await?;
    /// // The worker is busy, and its mailbox is full.
    /// let back = worker.tell(Job(2)).timeout(Duration::from_millis(10)).await.unwrap_err();
    /// assert_eq!(back.reason(), &AskError::Timeout { delivered: Delivered::No });
    /// assert_eq!(back.into_message(), Job(2));
    /// # worker.kill();
    /// # Ok(()) }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout.limit(timeout);
        self
    }

    /// Adds an attribute, such as a tenant or a trace id. The handler reads it by
    /// [`Context::attributes`](crate::Context::attributes). On a tell that was already polled, this has
    /// no effect.
    ///
    /// More than [`Attributes::MAX_LEN`](crate::envelope::Attributes::MAX_LEN) of them, or more than
    /// [`Attributes::MAX_BYTES`](crate::envelope::Attributes::MAX_BYTES), are not sent: the tell ends
    /// with [`BadRequest`](AskError::BadRequest) or [`TooLarge`](AskError::TooLarge), as across the bus.
    pub fn attribute(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes([(name, value)])
    }

    /// Adds all of these attributes. A handler passes on those of its own message by
    /// [`attributes(ctx.attributes())`](crate::Context::attributes).
    pub fn attributes<K: Into<String>, V: Into<String>>(
        mut self,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        if let TellState::Sending(sending) = &mut self.state
            && sending.is_new()
            && let Some((_, reply)) = &mut sending.envelope
            && let Err(error) = reply.add_attributes(attributes)
            && let Some((message, _)) = sending.take_back()
        {
            self.state = TellState::Refused(Some(TellError::new(message, error)));
        }
        self
    }

    /// Sends from a thread that runs no asynchronous tasks, and blocks it while the mailbox is full.
    /// A [`timeout`](Self::timeout) holds. No runtime is needed.
    ///
    /// # Errors
    ///
    /// The same as from awaiting the tell.
    ///
    /// # Panics
    ///
    /// On a thread that runs asynchronous tasks, and so within handlers: like
    /// [`blocking_send`](tokio::sync::mpsc::Sender::blocking_send). Within
    /// [`spawn_blocking`](tokio::task::spawn_blocking) it may be called.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Line(String);
    /// # #[derive(Actor)]
    /// # struct Log;
    /// # #[handlers]
    /// # impl Log {
    /// #     #[handler]
    /// #     fn line(&mut self, _: Line) {}
    /// # }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// # let log = system.spawn(Log).await?;
    /// let thread = std::thread::spawn(move || log.tell(Line("hello".to_owned())).blocking());
    /// assert!(thread.join().unwrap().is_ok());
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn blocking(mut self) -> Result<(), TellError<M>> {
        let end = self.timeout.end();
        let ended = block_on(end, |cx| self.step(cx));
        ended.unwrap_or_else(|| self.give_up())
    }

    /// Polls a tell that is not done at its first poll. The error is boxed so that the result takes no
    /// more room than a tell that succeeds needs.
    #[cold]
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Box<TellError<M>>>> {
        if let Poll::Ready(sent) = self.step(cx) {
            return Poll::Ready(sent.map_err(Box::new));
        }
        self.timeout.begin(Current::deadline());
        ready!(self.timeout.poll(cx));
        Poll::Ready(self.give_up().map_err(Box::new))
    }

    /// Tries to get the message into the mailbox.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TellError<M>>> {
        let sending = match &mut self.state {
            TellState::Sending(sending) => sending,
            TellState::Refused(error) => {
                return Poll::Ready(Err(error.take().expect(POLLED_AFTER_COMPLETION)));
            }
        };
        let is_completed = !sending.is_new() && !sending.is_waiting();
        assert!(!is_completed, "{POLLED_AFTER_COMPLETION}");
        let mut sent = sending.poll(cx);
        while sent == Poll::Ready(Err(Closed)) {
            if let Err(reason) = sending.redirect() {
                return Poll::Ready(Err(Self::closed(sending, reason)));
            }
            sent = sending.poll(cx);
        }
        if sent.is_ready() {
            return Poll::Ready(Ok(()));
        }
        match sending.record_wait(&mut self.wait) {
            Some(cycle) => Poll::Ready(self.refuse(&cycle)),
            None => Poll::Pending,
        }
    }

    /// The error for a message that a closed mailbox has given back.
    fn closed(sending: &mut MailboxSend<M>, reason: AskError) -> TellError<M> {
        let Some((message, _reply)) = sending.take_back() else {
            panic!("`Handler::unwrap` does not return the message that `Handler::wrap` was given");
        };
        sending.count_lost(&reason);
        TellError::new(message, reason)
    }

    /// Ends a wait that closes a cycle. Succeeds if the message was admitted since the last poll.
    fn refuse(&mut self, cycle: &Cycle) -> Result<(), TellError<M>> {
        self.end_wait(|| cycle.error())
    }

    /// Ends a wait whose time has run out. Succeeds if the message was admitted since the last poll.
    fn give_up(&mut self) -> Result<(), TellError<M>> {
        let delivered = Delivered::No;
        self.end_wait(|| AskError::Timeout { delivered })
    }

    fn end_wait(&mut self, reason: impl FnOnce() -> AskError) -> Result<(), TellError<M>> {
        self.wait.end();
        let TellState::Sending(sending) = &mut self.state else {
            unreachable!("a refused tell does not wait");
        };
        let Some((message, _reply)) = sending.take_back() else {
            return Ok(());
        };
        let reason = reason();
        sending.count_lost(&reason);
        Err(TellError::new(message, reason))
    }
}

// No field is structurally pinned.
impl<M: ActorMessage> Unpin for Tell<M> {}

impl<M: ActorMessage> Future for Tell<M> {
    type Output = Result<(), TellError<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Takes part in tokio's cooperative scheduling: a task that tells in a loop yields now and then.
        let budget = ready!(poll_proceed(cx));
        let sent = match &mut self.state {
            // Nearly always done here, and then no result has to be moved.
            TellState::Sending(sending) if sending.is_new() => sending.poll(cx),
            _ => Poll::Pending,
        };
        if sent == Poll::Ready(Ok(())) {
            budget.made_progress();
            return Poll::Ready(Ok(()));
        }
        let sent = ready!(self.poll_slow(cx));
        budget.made_progress();
        Poll::Ready(sent.map_err(|error| *error))
    }
}

impl<M: ActorMessage> fmt::Debug for Tell<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tell<{}>", M::NAME)
    }
}
