//! Tells across the bus, as futures without borrows.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::bus::client::ProxyClient;
use crate::bus::client::call::Call;
use crate::bus::client::durable_call::Delay;
use crate::bus::protocol::Kind;
use crate::error::AskError;
use crate::message::ActorMessage;

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

    pub(super) fn named(client: ProxyClient, urn: &str, name: String, message: M) -> Self {
        Self {
            call: Call::named(client, urn, name.into(), message),
        }
    }

    /// Limits the wait until the bus has accepted the message; the actor does not handle it later,
    /// unless it is durable. In a handler, the tell waits no longer than the asker of the handled
    /// message. Called on a tell that is under way, the limit counts from the call, and only shortens
    /// the wait.
    pub fn timeout(self, timeout: Duration) -> Self {
        let call = self.call.timeout(timeout);
        Self { call }
    }

    /// Ends the wait at this moment at the latest: see [`RemoteAsk::deadline`](crate::bus::RemoteAsk::deadline).
    pub fn deadline(self, latest: impl Into<Option<Instant>>) -> Self {
        let call = self.call.deadline(latest.into());
        Self { call }
    }

    /// Adds an attribute, such as a tenant or a trace id: see [`RemoteAsk::attribute`](crate::bus::RemoteAsk::attribute).
    pub fn attribute(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes([(name, value)])
    }

    /// Adds all of these attributes. A handler passes on those of its own message by
    /// [`attributes(ctx.attributes())`](crate::Context::attributes).
    pub fn attributes<K: Into<String>, V: Into<String>>(
        self,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let call = self.call.attributes(attributes);
        Self { call }
    }

    /// Stores the message on the bus until it is handled, at least once: also if no actor system serves
    /// now, or the one that serves ends meanwhile. [`#[message(durable)]`](crate::ActorMessage) does
    /// this for every message of a type.
    ///
    /// ```
    /// use conclib::prelude::*;
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
    /// // No actor system serves yet: the bus stores the message.
    /// client.tell("account", Deposit { cents: 5 }).idempotency_key("transfer-1").await?;
    ///
    /// let system = ActorSystem::new();
    /// system.spawn(Account { cents: 0 }).await?;
    /// start_proxy(&system, &config).await?;
    /// // The same transfer again is not booked twice.
    /// let booked = client.ask("account", Deposit { cents: 5 }).idempotency_key("transfer-1");
    /// assert_eq!(booked.await?, 5);
    /// # Ok(()) }
    /// ```
    ///
    /// The tell is ready when the bus has stored the message. Until its timeout it is stored again if
    /// that has failed, or may have, and is handled once all the same. After `Timeout` or
    /// `Disconnected` with [`Unknown`](crate::error::Delivered::Unknown) the message may have been stored.
    pub fn durable(self) -> Self {
        let call = self.call.durable();
        Self { call }
    }

    /// Delivers the message after this time, counted from when the tell is first awaited: 366 days at most,
    /// and 0 means at once. This makes the message durable; the tell is ready when the bus has stored it.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(durable)]
    /// struct Remind { order: u32 }
    ///
    /// # async fn remind(client: ProxyClient) -> Result<(), AskError> {
    /// let ten_minutes = Duration::from_secs(10 * 60);
    /// client.tell("shop", Remind { order: 17 }).after(ten_minutes).await
    /// # }
    /// ```
    ///
    /// It is delivered within 100 ms of its time, as long as an actor system serves and keeps up, and else
    /// when one does. The time is that of the bus' clock. Messages with one due time keep their
    /// order.
    ///
    /// An [`idempotency_key`](Self::idempotency_key) counts when the message is delivered: two messages with
    /// one key are both stored, and the one that is due first is handled. The other one is not, if the first
    /// one's result is still cached at its time ([`Config::result_ttl`](crate::Config::result_ttl)). A
    /// dead letter that is replayed is not delayed again.
    pub fn after(self, delay: Duration) -> Self {
        let call = self.call.delay(Delay::For(delay));
        Self { call }
    }

    /// Delivers the message at this time of the calendar, or at once if it has passed: see
    /// [`after`](Self::after).
    pub fn at(self, time: SystemTime) -> Self {
        let call = self.call.delay(Delay::Until(time));
        Self { call }
    }

    /// Limits the wait until the bus has stored the message. Beyond it the tell ends with
    /// [`Unavailable`](AskError::Unavailable) if the message is certainly not stored, and else with
    /// [`Timeout`](AskError::Timeout) and [`Unknown`](crate::error::Delivered::Unknown): see
    /// [`RemoteAsk::store_timeout`](crate::bus::RemoteAsk::store_timeout). [`timeout`](Self::timeout) limits the same wait with another error,
    /// `Timeout` in both cases; the shorter limit counts.
    pub fn store_timeout(self, timeout: Duration) -> Self {
        let call = self.call.store_timeout(timeout);
        Self { call }
    }

    /// Makes the message durable, with an idempotency key of 1 to 128 bytes (another one ends the tell with
    /// [`InvalidKey`](AskError::InvalidKey)). Among the messages of one
    /// type for one actor, those with the same key are handled once, as long as the first answer is
    /// stored ([`Config::result_ttl`](crate::Config::result_ttl), 1 h unless set). Without a key
    /// each call has one of its own.
    ///
    /// A key stands for the contents that it was first used with. A tell with other contents is
    /// stored, since a client cannot know the first ones, but not executed: it becomes a dead letter
    /// ([`DeadLetters`](crate::durable::DeadLetters)).
    ///
    /// Contents are compared as they are encoded: a `HashMap` or `HashSet` has no order of its own, so
    /// a message with a key needs a `BTreeMap` or `BTreeSet` instead.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        let call = self.call.idempotency_key(key.into());
        Self { call }
    }
}

// No field is ever pinned.
impl<M> Unpin for RemoteTell<M> {}

impl<M: ActorMessage> Future for RemoteTell<M> {
    type Output = Result<(), AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.poll(cx, Kind::Tell, |_, _, _| Ok(()))
    }
}

impl<M: ActorMessage> fmt::Debug for RemoteTell<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteTell<{}>", M::NAME)
    }
}
