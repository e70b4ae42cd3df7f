//! Asks and tells across the bus: futures that own what they need.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::client::producer::IdempotencyKey;
use crate::bus::client::sender::Sending;
use crate::bus::client::{Outgoing, ProxyClient};
use crate::bus::protocol::Kind;
use crate::deadlock::current::Current;
use crate::envelope::Attributes;
use crate::error::{AskError, Delivered};
use crate::message::{ActorMessage, WireCodec};
use crate::reply::ReplyReceiver;
use crate::time::deadline::Deadline;
use crate::urn::{Urn, UrnError};

/// An ask across the bus under way: made by [`ProxyClient::ask`], sent when awaited.
///
/// # Cancel safety
///
/// Dropped before it is ready, it gives the answer up, and the actor hears so: a request that it has
/// not begun with is not handled, and the handler of one that it has may stop, by
/// [`Context::cancelled`](crate::Context::cancelled). That is said once and not repeated; if it is
/// lost, the request is handled within its deadline.
#[must_use = "an ask is sent when it is awaited"]
pub struct RemoteAsk<M> {
    call: Call<M>,
}

impl<M: ActorMessage> RemoteAsk<M> {
    pub(super) fn new(client: ProxyClient, urn: &str, message: M) -> Self {
        Self {
            call: Call::new(client, urn, message),
        }
    }

    /// How long to wait for the answer, counted from when the ask is first awaited. In a handler,
    /// not longer than the asker of its message waits. Called on an ask that is under way, it counts
    /// from the call, and only shortens the wait: the actor knows of the deadline that was sent.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.limit(timeout);
        self
    }

    /// Sends a text along, such as a trace id; the actor sees it in
    /// [`RequestEnvelope::attributes`](crate::RequestEnvelope::attributes).
    ///
    /// More than [`MAX_ATTRIBUTES`](crate::MAX_ATTRIBUTES) of them, or more than
    /// [`MAX_ATTRIBUTE_BYTES`](crate::MAX_ATTRIBUTE_BYTES), are not sent: the ask ends with
    /// [`BadRequest`](AskError::BadRequest) or [`TooLarge`](AskError::TooLarge).
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call.attributes.insert(name.into(), value.into());
        self
    }

    /// Has the bus keep the message until it is handled, at least once: also if no actor system
    /// serves now, or the one that does ends on the way. [`#[message(durable)]`](crate::ActorMessage)
    /// does this for every message of a type.
    ///
    /// The timeout bounds the waiting, and not the handling: after
    /// [`Timeout`](AskError::Timeout) the message may still be handled. Asked again with the same
    /// [`idempotency_key`](Self::idempotency_key), it has the first answer.
    pub fn durable(mut self) -> Self {
        self.call.key.get_or_insert(IdempotencyKey::Generated);
        self
    }

    /// Makes the message durable, and names it: 1 to 128 bytes. Among the messages of one type for
    /// one actor it is handled once, however often it is sent with this key, as long as its answer
    /// is remembered ([`Config::keep_replies`](crate::Config::keep_replies), 1 h unless set). Without
    /// a key each call has one of its own.
    ///
    /// A key stands for the contents that it was first used with. Asked with other contents, the ask
    /// ends with [`BadRequest`](AskError::BadRequest), and nothing is executed. Contents are compared
    /// as they are encoded: a `HashMap` or `HashSet` in a message has no order of its own, so that a
    /// `BTreeMap` or `BTreeSet` is what a message with a key needs.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.call.key = Some(IdempotencyKey::Given(key.into()));
        self
    }
}

// Nothing in it is ever pinned.
impl<M> Unpin for RemoteAsk<M> {}

impl<M: ActorMessage> Future for RemoteAsk<M> {
    type Output = Result<M::Response, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(self.call.poll(cx, Kind::Ask));
        Poll::Ready(outcome.and_then(|contents| {
            (codec::<M>()?.decode_response)(&contents).map_err(|error| AskError::BadResponse {
                reason: error.to_string(),
            })
        }))
    }
}

impl<M: ActorMessage> fmt::Debug for RemoteAsk<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteAsk<{}>", M::NAME)
    }
}

/// A tell across the bus under way: made by [`ProxyClient::tell`], sent when awaited.
///
/// # Cancel safety
///
/// Dropped before it is ready, it may or may not have been sent.
#[must_use = "a tell is sent when it is awaited"]
pub struct RemoteTell<M> {
    call: Call<M>,
}

impl<M: ActorMessage> RemoteTell<M> {
    pub(super) fn new(client: ProxyClient, urn: &str, message: M) -> Self {
        Self {
            call: Call::new(client, urn, message),
        }
    }

    /// How long to wait until the bus has accepted it; past this the actor does not handle it, unless it
    /// is durable. In a handler, not longer than the asker of its message waits. Called on a tell that
    /// is under way, it counts from the call, and only shortens the wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.limit(timeout);
        self
    }

    /// Sends a text along, such as a trace id; within the same limits as
    /// [`RemoteAsk::attribute`].
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call.attributes.insert(name.into(), value.into());
        self
    }

    /// Has the bus keep the message until it is handled, at least once: also if no actor system
    /// serves now, or the one that does ends on the way. [`#[message(durable)]`](crate::ActorMessage)
    /// does this for every message of a type.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use conclib::{Config, ProxyClient, start_proxy};
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Deposit { cents: u32 }
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "account")]
    /// struct Account { cents: u32 }
    ///
    /// #[handlers]
    /// impl Account {
    ///     #[handler]
    ///     fn deposit(&mut self, message: Deposit) -> u32 {
    ///         self.cents += message.cents;
    ///         self.cents
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::memory();
    /// let client = ProxyClient::connect(&config).await?;
    /// // Nobody is there yet, and it is kept.
    /// client.tell("account", Deposit { cents: 5 }).idempotency_key("transfer-1").await?;
    ///
    /// let system = ActorSystem::new();
    /// start_proxy(&system, &config).await?;
    /// system.spawn(Account { cents: 0 }).await?;
    /// // The same transfer again, however often: it is not booked twice.
    /// let booked = client.ask("account", Deposit { cents: 5 }).idempotency_key("transfer-1");
    /// assert_eq!(booked.await?, 5);
    /// # Ok(()) }
    /// ```
    ///
    /// The tell is ready when the bus has stored the message. Until its timeout it is stored again
    /// by itself where that has failed, or may have, and is handled once all the same. An error says
    /// what is known in the end; after `Timeout` or `Disconnected` with
    /// [`Unknown`](crate::Delivered::Unknown) it may have been stored.
    pub fn durable(mut self) -> Self {
        self.call.key.get_or_insert(IdempotencyKey::Generated);
        self
    }

    /// Makes the message durable, and names it: 1 to 128 bytes. Among the messages of one type for
    /// one actor it is handled once, however often it is sent with this key, as long as its answer
    /// is remembered ([`Config::keep_replies`](crate::Config::keep_replies), 1 h unless set). Without
    /// a key each call has one of its own.
    ///
    /// A key stands for the contents that it was first used with. A tell with other contents is
    /// stored, since no client can know, but not executed: it becomes a dead letter
    /// ([`DeadLetters`](crate::DeadLetters)).
    ///
    /// Contents are compared as they are encoded: a `HashMap` or `HashSet` in a message has no
    /// order of its own, so that a `BTreeMap` or `BTreeSet` is what a message with a key needs.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.call.key = Some(IdempotencyKey::Given(key.into()));
        self
    }
}

// Nothing in it is ever pinned.
impl<M> Unpin for RemoteTell<M> {}

impl<M: ActorMessage> Future for RemoteTell<M> {
    type Output = Result<(), AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.poll(cx, Kind::Tell).map_ok(drop)
    }
}

impl<M: ActorMessage> fmt::Debug for RemoteTell<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteTell<{}>", M::NAME)
    }
}

/// The codec of a message. [`ProxyClient::ask`] takes only those that have one. To ask for no more
/// than a message here, and for nothing in the types, keeps the compiler from reporting a wrong one
/// at each step of a call.
fn codec<M: ActorMessage>() -> Result<WireCodec<M>, AskError> {
    M::WIRE.ok_or_else(|| AskError::BadRequest {
        reason: format!("`{}` stays in its process", M::NAME),
    })
}

/// A request in the client's book.
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) receiver: ReplyReceiver<Bytes>,
    /// Its way to the bus, if its asker sends it.
    pub(super) sending: Option<Sending>,
}

/// One request and the wait for its end.
struct Call<M> {
    client: ProxyClient,
    urn: Result<Urn, UrnError>,
    /// Present until it has been written.
    message: Option<M>,
    timeout: Duration,
    attributes: Attributes,
    /// By what the bus keeps it, if its caller has said that it is to.
    key: Option<IdempotencyKey>,
    deadline: Deadline,
    /// Where it stands, once it is in the client's book.
    sent: Option<Sent>,
}

impl<M: ActorMessage> Call<M> {
    fn new(client: ProxyClient, urn: &str, message: M) -> Self {
        Self {
            timeout: client.shared().timeout,
            client,
            urn: Urn::new(urn),
            message: Some(message),
            attributes: Attributes::new(),
            key: M::DURABLE.then_some(IdempotencyKey::Generated),
            deadline: Deadline::default(),
            sent: None,
        }
    }

    /// Limits the wait; once the request is under way, it is only shortened, to so long from now.
    fn limit(&mut self, timeout: Duration) {
        self.timeout = timeout;
        if self.sent.is_some() {
            self.deadline.shorten(timeout);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, kind: Kind) -> Poll<Result<Bytes, AskError>> {
        if self.sent.is_none() {
            match self.send(kind) {
                Ok(Some(sent)) => self.sent = Some(sent),
                Ok(None) => return Poll::Pending, // polled after completion
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let Some(sent) = &mut self.sent else {
            return Poll::Pending;
        };
        if let Some(sending) = &mut sent.sending
            && sending.poll(cx).is_ready()
        {
            sent.sending = None;
        }
        if let Poll::Ready(outcome) = Pin::new(&mut sent.receiver).poll(cx) {
            self.sent = None;
            return Poll::Ready(outcome);
        }
        ready!(self.deadline.poll(cx));
        // The answer may have come between the two lines above: then it is no timeout.
        let Some(delivered) = self.client.shared().in_flight().give_up(sent.id) else {
            return Pin::new(&mut sent.receiver).poll(cx);
        };
        self.sent = None;
        Poll::Ready(Err(AskError::Timeout { delivered }))
    }

    fn send(&mut self, kind: Kind) -> Result<Option<Sent>, AskError> {
        let Some(message) = self.message.take() else {
            return Ok(None);
        };
        let urn = self.urn.as_ref().map_err(|error| AskError::BadRequest {
            reason: error.to_string(),
        })?;
        let contents = (codec::<M>()?.encode)(&message).map_err(|error| AskError::BadRequest {
            reason: error.to_string(),
        })?;
        self.deadline.start(Some(self.timeout));
        self.deadline.cut(Current::deadline());
        let Some(deadline) = self.deadline.at() else {
            return Err(AskError::BadRequest {
                reason: format!("{:?} is too long for a timeout", self.timeout),
            });
        };
        if deadline <= Instant::now() {
            return Err(AskError::Timeout {
                delivered: Delivered::No,
            });
        }
        let request = Outgoing {
            kind,
            urn: urn.as_str(),
            message: M::NAME,
            deadline,
            attributes: &self.attributes,
            contents: &contents,
        };
        let shared = self.client.shared();
        let sent = match &self.key {
            None => shared.send(&request),
            Some(key) => shared.send_durable(&request, key.text()?),
        };
        sent.map(Some)
    }
}

impl<M> Drop for Call<M> {
    fn drop(&mut self) {
        if let (Some(sent), Some(deadline)) = (&self.sent, self.deadline.at()) {
            self.client.shared().abandon(sent.id, deadline);
        }
    }
}
