//! Tells and asks within the process: futures that own what they need.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::poll_proceed;

use crate::actor::Recipient;
use crate::actor::blocking::block_on;
use crate::actor::cell::Envelope;
use crate::deadlock::current::Current;
use crate::deadlock::{Cycle, Edge, Wait, WaitFor};
use crate::error::{AskError, Delivered, TellError};
use crate::mailbox::{Closed, Ticket};
use crate::message::ActorMessage;
use crate::reply::{Reply, ReplyReceiver};
use crate::time::deadline::Timeout;

pub use forward::{Forward, ForwardError};

mod forward;

/// A message on its way into a mailbox, with the duty to leave the waiting line when dropped.
struct Sending<M: ActorMessage> {
    to: Recipient<M>,
    /// The message until it is in the mailbox or in the waiting line.
    envelope: Option<Envelope<M>>,
    /// The place in the waiting line.
    ticket: Option<Ticket>,
}

impl<M: ActorMessage> Sending<M> {
    fn new(to: Recipient<M>, message: M, reply: Reply<M::Response>) -> Self {
        Self {
            to,
            envelope: Some((message, reply)),
            ticket: None,
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.to
            .target()
            .poll_send(cx, &mut self.ticket, &mut self.envelope)
    }

    /// True before it has been given to the mailbox.
    #[inline]
    fn is_new(&self) -> bool {
        self.ticket.is_none() && self.envelope.is_some()
    }

    #[inline]
    fn is_in_line(&self) -> bool {
        self.ticket.is_some()
    }

    /// The parcel, if it has not got in.
    fn take_back(&mut self) -> Option<Envelope<M>> {
        let waiting = self
            .ticket
            .take()
            .and_then(|ticket| self.to.target().withdraw(ticket));
        self.envelope.take().or(waiting)
    }
}

impl<M: ActorMessage> Drop for Sending<M> {
    fn drop(&mut self) {
        if self.envelope.is_none() && self.ticket.is_none() {
            return; // as nearly always: it has got in
        }
        // A reply that was to be handed on is dropped by whoever had taken it: it says `NoReply`.
        if let Some((_message, reply)) = self.take_back() {
            drop(reply.attach_handler());
        }
    }
}

/// A tell under way: made by `tell`, sent when awaited.
///
/// # Cancel safety
///
/// Dropped before it is ready, it has sent nothing; unless it waited for room, and the mailbox let
/// its message in at that very moment.
#[must_use = "a tell is sent when it is awaited"]
pub struct Tell<M: ActorMessage> {
    state: TellState<M>,
    /// How long it waits for room.
    patience: Timeout,
    /// Says that an actor waits for room, while it does.
    wait: Wait,
}

enum TellState<M: ActorMessage> {
    Sending(Sending<M>),
    /// It failed before it began.
    Refused(Option<TellError<M>>),
}

impl<M: ActorMessage> Tell<M> {
    pub(crate) fn new(to: Recipient<M>, message: M) -> Self {
        Self::from_state(TellState::Sending(Sending::new(
            to,
            message,
            Reply::for_tell(),
        )))
    }

    pub(crate) fn refused(message: M, reason: AskError) -> Self {
        Self::from_state(TellState::Refused(Some(TellError::new(message, reason))))
    }

    fn from_state(state: TellState<M>) -> Self {
        Self {
            state,
            patience: Timeout::default(),
            wait: Wait::default(),
        }
    }

    /// Ends the wait for room with [`AskError::Timeout`] when it has taken this long, counted from
    /// when it is first awaited. The message comes back. Called on a tell that waits already, it
    /// counts from the call, and only shortens the wait. Within a handler it is not longer than the
    /// asker of the message in hand waits, whether this is called or not.
    ///
    /// # Panics
    ///
    /// The tell does, if it has to wait outside a tokio runtime with a timer. There,
    /// [`blocking`](Self::blocking) waits without one.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// use conclib::Delivered;
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
        self.patience.limit(timeout);
        self
    }

    /// Sends on a thread that is not tokio's, which sleeps while the mailbox is full. A
    /// [`timeout`](Self::timeout) holds, and no runtime is needed.
    ///
    /// # Errors
    ///
    /// Those of the tell.
    ///
    /// # Panics
    ///
    /// On a thread that runs asynchronous tasks, so within handlers too: like
    /// [`blocking_send`](tokio::sync::mpsc::Sender::blocking_send). In
    /// [`spawn_blocking`](tokio::task::spawn_blocking) it is at home.
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
        let end = self.patience.end();
        let ended = block_on(end, |cx| self.step(cx));
        ended.unwrap_or_else(|| self.give_up())
    }

    /// What is not done at once. The error is in a box, so that the place of those that are is no
    /// larger than they need.
    #[cold]
    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Box<TellError<M>>>> {
        if let Poll::Ready(sent) = self.step(cx) {
            return Poll::Ready(sent.map_err(Box::new));
        }
        self.patience.begin(Current::deadline());
        ready!(self.patience.poll(cx));
        Poll::Ready(self.give_up().map_err(Box::new))
    }

    /// One step into the mailbox.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TellError<M>>> {
        match &mut self.state {
            TellState::Sending(sending) => match sending.poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                Poll::Ready(Err(Closed)) => match sending.take_back() {
                    Some((message, _nobody)) => {
                        let reason = sending.to.target().refusal();
                        Poll::Ready(Err(TellError::new(message, reason)))
                    }
                    None => Poll::Pending, // polled after completion
                },
                Poll::Pending => self.wait_for_room(),
            },
            TellState::Refused(error) => error
                .take()
                .map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }

    /// The mailbox is full: waits, unless the actor there waits for the one whose code this is.
    fn wait_for_room(&mut self) -> Poll<Result<(), TellError<M>>> {
        let TellState::Sending(sending) = &self.state else {
            return Poll::Pending; // not reached
        };
        let Some(ticket) = sending.ticket else {
            return Poll::Pending; // polled after completion
        };
        match (self.wait).record(|| Edge::new(sending.to.actor(), WaitFor::Capacity(ticket))) {
            Some(cycle) => Poll::Ready(self.refuse(&cycle)),
            None => Poll::Pending,
        }
    }

    /// Would wait for itself. The message comes back, unless it was let in since we looked.
    fn refuse(&mut self, cycle: &Cycle) -> Result<(), TellError<M>> {
        let Some((message, _nobody)) = self.take_back() else {
            return Ok(());
        };
        Err(TellError::new(message, cycle.error()))
    }

    fn take_back(&mut self) -> Option<Envelope<M>> {
        self.wait.end();
        match &mut self.state {
            TellState::Sending(sending) => sending.take_back(),
            TellState::Refused(_) => None, // not reached: it does not wait
        }
    }

    /// Leaves the waiting line, unless the message was let in since we looked.
    fn give_up(&mut self) -> Result<(), TellError<M>> {
        let Some((message, _nobody)) = self.take_back() else {
            return Ok(());
        };
        let reason = AskError::Timeout {
            delivered: Delivered::No,
        };
        Err(TellError::new(message, reason))
    }
}

// Nothing in it is ever pinned.
impl<M: ActorMessage> Unpin for Tell<M> {}

impl<M: ActorMessage> Future for Tell<M> {
    type Output = Result<(), TellError<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A task that tells and tells would keep the thread to itself.
        let budget = ready!(poll_proceed(cx));
        let sent = match &mut self.state {
            // As nearly always: at once, and then no result has to be moved.
            TellState::Sending(sending) if sending.is_new() => sending.poll(cx),
            _ => Poll::Pending,
        };
        if sent == Poll::Ready(Ok(())) {
            budget.made_progress();
            return Poll::Ready(Ok(()));
        }
        let sent = ready!(self.poll_on(cx));
        budget.made_progress();
        Poll::Ready(sent.map_err(|error| *error))
    }
}

impl<M: ActorMessage> fmt::Debug for Tell<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tell<{}>", M::NAME)
    }
}

/// An ask under way: made by `ask`, sent when awaited.
///
/// # Cancel safety
///
/// Dropped before it is ready, it gives the answer up. If the mailbox had taken the message, it is
/// handled all the same; one with a deadline only if its handler had begun. A handler that is at
/// it hears so by [`Context::cancelled`](crate::Context::cancelled).
#[must_use = "an ask is sent when it is awaited"]
pub struct Ask<M: ActorMessage> {
    state: AskState<M>,
    /// How long it waits for its answer.
    patience: Timeout,
    /// Says that an actor waits for the answer, while it does.
    wait: Wait,
}

enum AskState<M: ActorMessage> {
    /// Not polled yet, in the waiting line, or delivered.
    Asking(Sending<M>, Option<ReplyReceiver<M::Response>>),
    /// It failed before it began.
    Refused(AskError),
}

impl<M: ActorMessage> Ask<M> {
    pub(crate) fn new(to: Recipient<M>, message: M) -> Self {
        Self {
            // Where its answer goes is not known before somebody waits for it.
            state: AskState::Asking(Sending::new(to, message, Reply::for_tell()), None),
            patience: Timeout::default(),
            wait: Wait::default(),
        }
    }

    pub(crate) fn refused(error: AskError) -> Self {
        Self {
            state: AskState::Refused(error),
            patience: Timeout::default(),
            wait: Wait::default(),
        }
    }

    /// Ends the ask with [`AskError::Timeout`] when it has taken this long, counted from when it is
    /// first awaited. A message that nobody has begun to handle by then is taken back, which
    /// [`Delivered::No`] says.
    ///
    /// Called on an ask that is under way (it was polled in a `select!`, say), it counts from the
    /// call, and only shortens the wait. If the ask had no deadline until then, its message stays in
    /// the mailbox and is handled, which [`Delivered::Accepted`] says.
    ///
    /// Within a handler an ask takes no longer than the asker of the message in hand waits, whether
    /// this is called or not: a shorter time counts, a longer one is cut. The asks of that ask's
    /// handler do so in turn, so that a chain of them ends by the first deadline. It is so in the
    /// handler's own task, until the handler returns: what it spawns, [pipes](crate::Context::pipe)
    /// or [attaches](crate::Context::attach) has no deadline but its own, on whatever runtime that
    /// is. A future that the handler blocks on (`Handle::block_on` within
    /// [`block_in_place`](tokio::task::block_in_place)) runs in the handler's task, and ends with it.
    ///
    /// # Panics
    ///
    /// The ask does, if it has to wait outside a tokio runtime with a timer. There,
    /// [`blocking`](Self::blocking) waits without one.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// use conclib::Delivered;
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
        self.patience.limit(timeout);
        self
    }

    /// Asks on a thread that is not tokio's, which sleeps until the answer is there. A
    /// [`timeout`](Self::timeout) holds, and no runtime is needed.
    ///
    /// # Errors
    ///
    /// Those of the ask.
    ///
    /// # Panics
    ///
    /// On a thread that runs asynchronous tasks, so within handlers too: like
    /// [`blocking_recv`](tokio::sync::oneshot::Receiver::blocking_recv). In
    /// [`spawn_blocking`](tokio::task::spawn_blocking) it is at home.
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
        let end = self.patience.end();
        let ended = block_on(end, |cx| self.step(cx));
        ended.unwrap_or_else(|| self.give_up())
    }

    /// One step towards the answer.
    #[inline]
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Response, AskError>> {
        match &mut self.state {
            AskState::Asking(sending, Some(answer)) => {
                if sending.is_in_line() && sending.poll(cx) == Poll::Ready(Err(Closed)) {
                    return Poll::Ready(Err(sending.to.target().refusal()));
                }
                // An end may come in the line as well: that of a cycle.
                answer.poll_or_cycle(&mut self.wait, cx)
            }
            AskState::Asking(..) => self.begin(cx),
            AskState::Refused(error) => Poll::Ready(Err(error.clone())),
        }
    }

    /// Sends the message. The answer will wake us: the asker's waker is in its place already.
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Response, AskError>> {
        let AskState::Asking(sending, place) = &mut self.state else {
            return Poll::Pending; // not reached: the only caller has looked
        };
        let Some((_, to)) = &mut sending.envelope else {
            return Poll::Pending; // polled after completion
        };
        let deadline = self.patience.begin(Current::deadline());
        let (reply, answer) = Reply::for_ask(|| sending.to.actor(), cx.waker(), deadline);
        if let Some(cycle) = answer.record_wait(&mut self.wait) {
            reply.forget();
            sending.envelope = None;
            return Poll::Ready(Err(cycle.error()));
        }
        *to = reply;
        *place = Some(answer);
        match sending.poll(cx) {
            Poll::Ready(Err(Closed)) => Poll::Ready(Err(sending.to.target().refusal())),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Leaves the waiting line and gives the answer up; says how far the message has come.
    fn give_up(&mut self) -> Result<M::Response, AskError> {
        let delivered = match &mut self.state {
            AskState::Asking(sending, answer) => match (sending.take_back(), answer) {
                (Some((_message, reply)), _) => {
                    reply.forget();
                    Delivered::No
                }
                // It is in the mailbox, or was let in since we looked: there it is passed over if
                // nobody has begun with it. The answer may have come meanwhile.
                (None, Some(answer)) => match answer.give_up() {
                    Ok(answer) => return answer,
                    Err(delivered) => delivered,
                },
                (None, None) => Delivered::No, // not reached: it waits
            },
            AskState::Refused(_) => Delivered::No,
        };
        Err(AskError::Timeout { delivered })
    }
}

// Nothing in it is ever pinned.
impl<M: ActorMessage> Unpin for Ask<M> {}

impl<M: ActorMessage> Future for Ask<M> {
    type Output = Result<M::Response, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = self.step(cx) {
            return Poll::Ready(answer);
        }
        ready!(self.patience.poll(cx));
        Poll::Ready(self.give_up())
    }
}

impl<M: ActorMessage> fmt::Debug for Ask<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask<{}>", M::NAME)
    }
}

#[cfg(test)]
mod tests;
