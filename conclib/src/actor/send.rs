//! Tells and asks within the process: futures that own what they need.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::cell::Parcel;
use crate::deadline::Deadline;
use crate::error::{AskError, Delivered, TellError};
use crate::mailbox::{Closed, Ticket};
use crate::message::ActorMessage;
use crate::reply::{Reply, ReplyReceiver};
use crate::urn::Urn;

/// Where an [`Ask`] or a [`Tell`] goes: an [`ActorRef`](super::ActorRef) or a
/// [`Recipient`](super::Recipient).
#[allow(
    private_interfaces,
    reason = "sealed: only conclib's references implement it"
)]
pub trait Target<M: ActorMessage>: Send {
    /// The actor's address.
    fn urn(&self) -> &Urn;

    /// Sends the parcel, or waits for room; on `Closed` the parcel is back in its place.
    #[doc(hidden)]
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        parcel: &mut Option<Parcel<M>>,
    ) -> Poll<Result<(), Closed>>;

    /// Stops waiting for room.
    #[doc(hidden)]
    fn withdraw(&self, ticket: Ticket) -> Option<Parcel<M>>;
}

/// A message on its way into a mailbox, with the duty to leave the waiting line when dropped.
struct Sending<T: Target<M>, M: ActorMessage> {
    target: T,
    /// The message until it is in the mailbox or in the waiting line.
    parcel: Option<Parcel<M>>,
    /// The place in the waiting line.
    ticket: Option<Ticket>,
}

impl<T: Target<M>, M: ActorMessage> Sending<T, M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.target
            .poll_send(cx, &mut self.ticket, &mut self.parcel)
    }

    /// The parcel, if it has not got in.
    fn take_back(&mut self) -> Option<Parcel<M>> {
        let waiting = self
            .ticket
            .take()
            .and_then(|ticket| self.target.withdraw(ticket));
        self.parcel.take().or(waiting)
    }
}

impl<T: Target<M>, M: ActorMessage> Drop for Sending<T, M> {
    fn drop(&mut self) {
        // Nobody waits for the answer of what never got in, so its reply need not speak.
        if let Some((_message, reply)) = self.take_back() {
            reply.forget();
        }
    }
}

/// A tell under way: made by `tell`, sent when awaited.
///
/// # Cancel safety
///
/// Dropped before it is ready, it has sent nothing.
#[must_use = "a tell is sent when it is awaited"]
pub struct Tell<T: Target<M>, M: ActorMessage> {
    state: TellState<T, M>,
}

enum TellState<T: Target<M>, M: ActorMessage> {
    Sending(Sending<T, M>),
    /// It failed before it began.
    Refused(Option<TellError<M>>),
}

impl<T: Target<M>, M: ActorMessage> Tell<T, M> {
    pub(crate) fn new(target: T, message: M) -> Self {
        Self {
            state: TellState::Sending(Sending {
                target,
                parcel: Some((message, Reply::nobody())),
                ticket: None,
            }),
        }
    }

    pub(crate) fn refused(message: M, reason: AskError) -> Self {
        Self {
            state: TellState::Refused(Some(TellError::new(message, reason))),
        }
    }
}

// Nothing in it is ever pinned.
impl<T: Target<M>, M: ActorMessage> Unpin for Tell<T, M> {}

impl<T: Target<M>, M: ActorMessage> Future for Tell<T, M> {
    type Output = Result<(), TellError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            TellState::Sending(sending) => match ready!(sending.poll(cx)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(Closed) => match sending.take_back() {
                    Some((message, reply)) => {
                        reply.forget();
                        Poll::Ready(Err(TellError::new(message, AskError::ActorStopped)))
                    }
                    None => Poll::Pending, // polled after completion
                },
            },
            TellState::Refused(error) => error
                .take()
                .map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        }
    }
}

impl<T: Target<M>, M: ActorMessage> fmt::Debug for Tell<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tell<{}>", M::NAME)
    }
}

/// An ask under way: made by `ask`, sent when awaited.
///
/// # Cancel safety
///
/// Dropped before it is ready, it gives the answer up. If the mailbox had taken the message, it is
/// handled all the same.
#[must_use = "an ask is sent when it is awaited"]
pub struct Ask<T: Target<M>, M: ActorMessage> {
    state: AskState<T, M>,
    timeout: Option<Duration>,
    deadline: Deadline,
}

enum AskState<T: Target<M>, M: ActorMessage> {
    /// Not polled yet.
    New(Option<(T, M)>),
    Sending(Sending<T, M>, Option<ReplyReceiver<M::Response>>),
    Waiting(ReplyReceiver<M::Response>),
    /// It failed before it began.
    Refused(AskError),
}

impl<T: Target<M>, M: ActorMessage> Ask<T, M> {
    pub(crate) fn new(target: T, message: M) -> Self {
        Self {
            state: AskState::New(Some((target, message))),
            timeout: None,
            deadline: Deadline::default(),
        }
    }

    pub(crate) fn refused(error: AskError) -> Self {
        Self {
            state: AskState::Refused(error),
            timeout: None,
            deadline: Deadline::default(),
        }
    }

    /// Ends the ask with [`AskError::Timeout`] when it has taken this long, counted from when it is
    /// first awaited.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// One step: the answer, or that the ask waits, and how far the message has come.
    fn step(&mut self, cx: &mut Context<'_>) -> Result<Result<M::Response, AskError>, Delivered> {
        loop {
            match &mut self.state {
                AskState::New(start) => {
                    let Some((target, message)) = start.take() else {
                        return Err(Delivered::No); // polled after completion
                    };
                    self.deadline.start(self.timeout);
                    let (reply, receiver) = Reply::local();
                    let parcel = Some((message, reply));
                    let sending = Sending {
                        target,
                        parcel,
                        ticket: None,
                    };
                    self.state = AskState::Sending(sending, Some(receiver));
                }
                AskState::Sending(sending, receiver) => match sending.poll(cx) {
                    Poll::Pending => return Err(Delivered::No),
                    Poll::Ready(Err(Closed)) => return Ok(Err(AskError::ActorStopped)),
                    Poll::Ready(Ok(())) => match receiver.take() {
                        Some(receiver) => self.state = AskState::Waiting(receiver),
                        None => return Err(Delivered::No), // not reached: taken only here
                    },
                },
                AskState::Waiting(receiver) => {
                    return match Pin::new(receiver).poll(cx) {
                        Poll::Ready(answer) => Ok(answer),
                        Poll::Pending => Err(Delivered::Accepted),
                    };
                }
                AskState::Refused(error) => return Ok(Err(error.clone())),
            }
        }
    }
}

// Nothing in it is ever pinned.
impl<T: Target<M>, M: ActorMessage> Unpin for Ask<T, M> {}

impl<T: Target<M>, M: ActorMessage> Future for Ask<T, M> {
    type Output = Result<M::Response, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.step(cx) {
            Ok(answer) => Poll::Ready(answer),
            Err(delivered) => {
                ready!(self.deadline.poll(cx));
                self.state = AskState::New(None); // leaves the waiting line, gives the answer up
                Poll::Ready(Err(AskError::Timeout { delivered }))
            }
        }
    }
}

impl<T: Target<M>, M: ActorMessage> fmt::Debug for Ask<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask<{}>", M::NAME)
    }
}
