//! Tells and asks within the process: futures that own what they need.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Recipient;
use super::cell::Parcel;
use crate::deadline::Deadline;
use crate::error::{AskError, Delivered, TellError};
use crate::mailbox::{Closed, Ticket};
use crate::message::ActorMessage;
use crate::reply::{Reply, ReplyReceiver};

/// A message on its way into a mailbox, with the duty to leave the waiting line when dropped.
struct Sending<M: ActorMessage> {
    to: Recipient<M>,
    /// The message until it is in the mailbox or in the waiting line.
    parcel: Option<Parcel<M>>,
    /// The place in the waiting line.
    ticket: Option<Ticket>,
}

impl<M: ActorMessage> Sending<M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.to
            .target()
            .poll_send(cx, &mut self.ticket, &mut self.parcel)
    }

    /// The parcel, if it has not got in.
    fn take_back(&mut self) -> Option<Parcel<M>> {
        let waiting = self
            .ticket
            .take()
            .and_then(|ticket| self.to.target().withdraw(ticket));
        self.parcel.take().or(waiting)
    }
}

impl<M: ActorMessage> Drop for Sending<M> {
    fn drop(&mut self) {
        if self.parcel.is_none() && self.ticket.is_none() {
            return; // as nearly always: it has got in
        }
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
/// Dropped before it is ready, it has sent nothing; unless it waited for room, and the mailbox let
/// its message in at that very moment.
#[must_use = "a tell is sent when it is awaited"]
pub struct Tell<M: ActorMessage> {
    state: TellState<M>,
}

enum TellState<M: ActorMessage> {
    Sending(Sending<M>),
    /// It failed before it began.
    Refused(Option<TellError<M>>),
}

impl<M: ActorMessage> Tell<M> {
    pub(crate) fn new(to: Recipient<M>, message: M) -> Self {
        Self {
            state: TellState::Sending(Sending {
                to,
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
impl<M: ActorMessage> Unpin for Tell<M> {}

impl<M: ActorMessage> Future for Tell<M> {
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
/// handled all the same.
#[must_use = "an ask is sent when it is awaited"]
pub struct Ask<M: ActorMessage> {
    state: AskState<M>,
    timeout: Option<Duration>,
    deadline: Deadline,
}

enum AskState<M: ActorMessage> {
    /// Not polled yet.
    New(Option<(Recipient<M>, M)>),
    Sending(Sending<M>, Option<ReplyReceiver<M::Response>>),
    Waiting(ReplyReceiver<M::Response>),
    /// It failed before it began.
    Refused(AskError),
}

impl<M: ActorMessage> Ask<M> {
    pub(crate) fn new(to: Recipient<M>, message: M) -> Self {
        Self {
            state: AskState::New(Some((to, message))),
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

    /// One step towards the answer.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Response, AskError>> {
        loop {
            match &mut self.state {
                AskState::New(start) => {
                    let Some((to, message)) = start.take() else {
                        return Poll::Pending; // polled after completion
                    };
                    self.deadline.start(self.timeout);
                    let (reply, receiver) = Reply::local();
                    let parcel = Some((message, reply));
                    let sending = Sending {
                        to,
                        parcel,
                        ticket: None,
                    };
                    self.state = AskState::Sending(sending, Some(receiver));
                }
                AskState::Sending(sending, receiver) => match ready!(sending.poll(cx)) {
                    Err(Closed) => return Poll::Ready(Err(AskError::ActorStopped)),
                    Ok(()) => match receiver.take() {
                        Some(receiver) => self.state = AskState::Waiting(receiver),
                        None => return Poll::Pending, // not reached: taken only here
                    },
                },
                AskState::Waiting(receiver) => return Pin::new(receiver).poll(cx),
                AskState::Refused(error) => return Poll::Ready(Err(error.clone())),
            }
        }
    }

    /// Leaves the waiting line and gives the answer up; how far the message has come.
    fn give_up(&mut self) -> Delivered {
        match mem::replace(&mut self.state, AskState::New(None)) {
            AskState::New(_) | AskState::Refused(_) => Delivered::No,
            AskState::Sending(mut sending, _) => match sending.take_back() {
                Some((_message, reply)) => {
                    reply.forget();
                    Delivered::No
                }
                // It was let in since we looked: it will be handled.
                None => Delivered::Accepted,
            },
            AskState::Waiting(_) => Delivered::Accepted,
        }
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
        ready!(self.deadline.poll(cx));
        let delivered = self.give_up();
        Poll::Ready(Err(AskError::Timeout { delivered }))
    }
}

impl<M: ActorMessage> fmt::Debug for Ask<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask<{}>", M::NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::actor::recipient::Receives;
    use crate::message::WireCodec;
    use crate::urn::Urn;

    struct Question;

    impl ActorMessage for Question {
        type Response = ();
        const NAME: &'static str = "Question";
        const WIRE: Option<WireCodec<Self>> = None;
    }

    /// A mailbox without room, that lets the message in between the last look and the timeout.
    struct LetsInLate(Urn);

    impl Receives<Question> for LetsInLate {
        fn urn(&self) -> &Urn {
            &self.0
        }

        fn poll_send(
            &self,
            _: &mut Context<'_>,
            ticket: &mut Option<Ticket>,
            parcel: &mut Option<Parcel<Question>>,
        ) -> Poll<Result<(), Closed>> {
            *ticket = Some(Ticket::default());
            if let Some((_message, reply)) = parcel.take() {
                reply.forget();
            }
            Poll::Pending
        }

        fn withdraw(&self, _: Ticket) -> Option<Parcel<Question>> {
            None
        }

        fn add_reference(&self) {}

        fn drop_reference(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_was_let_in_at_the_last_moment_counts_as_accepted() {
        let ask = Ask::new(
            Recipient::new(Arc::new(LetsInLate(Urn::generate()))),
            Question,
        );
        let timeout = AskError::Timeout {
            delivered: Delivered::Accepted,
        };
        assert_eq!(ask.timeout(Duration::from_secs(1)).await, Err(timeout));
    }
}
