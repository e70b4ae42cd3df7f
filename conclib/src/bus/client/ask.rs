//! Asks across the bus, as futures without borrows.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::client::ProxyClient;
use crate::bus::client::call::{Call, codec};
use crate::bus::protocol::Kind;
use crate::error::AskError;
use crate::message::ActorMessage;

/// An ask across the bus under way: made by [`ProxyClient::ask`], sent when awaited.
///
/// # Cancel safety
///
/// Dropping it before it is ready cancels the request: if its handler has not started, it is not
/// handled; a running handler can stop, by [`Context::cancelled`](crate::Context::cancelled). The
/// cancel is sent once and not repeated; if it is lost, the request is handled within its deadline.
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

    pub(super) fn named(client: ProxyClient, urn: &str, name: String, message: M) -> Self {
        Self {
            call: Call::named(client, urn, name.into(), message),
        }
    }

    /// Limits the wait for the answer, counted from when the ask is first awaited. In a handler, the
    /// ask waits no longer than the asker of the handled message. Called on an ask that is under way,
    /// the limit counts from the call, and only shortens the wait: the actor has the deadline that was
    /// sent.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// Ends the ask at this moment at the latest, and its [`timeout`](Self::timeout) holds as well.
    /// Takes an [`Instant`], an `Option` of one, or a `conclib::web::Deadline`.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// use conclib::error::Delivered;
    /// use tokio::time::Instant;
    ///
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Nap;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = ProxyClient::connect(&Config::memory()).await?;
    /// let late = client.ask("worker", Nap).deadline(Instant::now()).await;
    /// assert_eq!(late, Err(AskError::Timeout { delivered: Delivered::No }));
    /// # Ok(()) }
    /// ```
    pub fn deadline(mut self, latest: impl Into<Option<Instant>>) -> Self {
        self.call = self.call.deadline(latest.into());
        self
    }

    /// Repeats the request until its deadline, as long as the error says that it was certainly not
    /// executed and may succeed when it is repeated ([`AskError::is_retryable`]): during the restart of
    /// the actor process, an outage of Redis, or overload. Repetitions follow each other after some
    /// 50 ms at first and 1 s later, and not before the time that `Overloaded` names.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # use std::time::Duration;
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # #[message(response = u32)]
    /// # struct Double { n: u32 }
    /// # #[derive(Actor)]
    /// # #[actor(urn = "doubler")]
    /// # struct Doubler;
    /// # #[handlers]
    /// # impl Doubler {
    /// #     #[handler]
    /// #     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (config, system) = (Config::memory(), ActorSystem::new());
    /// # let client = ProxyClient::connect(&config).await?;
    /// # let later = async {
    /// #     tokio::time::sleep(Duration::from_secs(2)).await;
    /// #     system.spawn(Doubler).await.unwrap();
    /// #     start_proxy(&system, &config).await.unwrap();
    /// # };
    /// // The actor process is started 2 s later.
    /// let doubled = client.ask("doubler", Double { n: 21 }).retry();
    /// # let (doubled, _) = tokio::join!(doubled, later);
    /// # let doubled = async { doubled };
    /// assert_eq!(doubled.await?, 42);
    /// # Ok(()) }
    /// ```
    ///
    /// A plain request that may have been executed is not repeated. A [durable](Self::durable) one is,
    /// with the same key, when its answer may have been lost: after another process has begun to serve, after
    /// a connection of this client was lost, and after 30 s without either. A message that is still
    /// stored then is handled as if it had come once: the repetition shares its pauses, its deliveries and
    /// its outcome. While its handler takes long, or it waits for a retry, nothing is sent.
    pub fn retry(mut self) -> Self {
        self.call = self.call.retry();
        self
    }

    /// Ends the ask with [`ActorUnavailable`](AskError::ActorUnavailable) instead of
    /// [`ActorNotFound`](AskError::ActorNotFound) or [`ActorFailed`](AskError::ActorFailed): for a URN
    /// that is fixed in the program, whose actor is starting or being replaced when it is missing. The
    /// ask is then retryable, and over HTTP its status is 503 instead of 404 or 500.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Nap;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (config, system) = (Config::memory(), ActorSystem::new());
    /// # start_proxy(&system, &config).await?;
    /// # let client = ProxyClient::connect(&config).await?;
    /// let missing = client.ask("worker", Nap).missing_is_unavailable().await;
    /// assert!(missing.is_err_and(|error| error.is_retryable()));
    /// # Ok(()) }
    /// ```
    pub fn missing_is_unavailable(mut self) -> Self {
        self.call = self.call.missing_is_unavailable();
        self
    }

    /// Adds an attribute, such as a tenant or a trace id. The handler reads it by
    /// [`Context::attributes`](crate::Context::attributes), a [raw handler](crate::RequestEnvelope) also
    /// by [`RequestEnvelope::attributes`](crate::RequestEnvelope::attributes).
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # #[message(response = String)]
    /// # struct Whoami;
    /// #[derive(Actor)]
    /// #[actor(urn = "desk")]
    /// struct Desk;
    ///
    /// #[handlers]
    /// impl Desk {
    ///     #[handler]
    ///     fn whoami(&mut self, _: Whoami, ctx: &mut Context<Self>) -> String {
    ///         ctx.attributes().get("tenant").unwrap_or("none").to_owned()
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (config, system) = (Config::memory(), ActorSystem::new());
    /// # system.spawn(Desk).await?;
    /// # start_proxy(&system, &config).await?;
    /// # let client = ProxyClient::connect(&config).await?;
    /// let tenant = client.ask("desk", Whoami).attribute("tenant", "7").await?;
    /// assert_eq!(tenant, "7");
    /// # Ok(()) }
    /// ```
    ///
    /// More than [`Attributes::MAX_LEN`](crate::envelope::Attributes::MAX_LEN) of them, or more than
    /// [`Attributes::MAX_BYTES`](crate::envelope::Attributes::MAX_BYTES), are not sent: the ask ends with
    /// [`BadRequest`](AskError::BadRequest) or [`TooLarge`](AskError::TooLarge).
    pub fn attribute(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes([(name, value)])
    }

    /// Adds all of these attributes. A handler passes on those of its own message by
    /// [`attributes(ctx.attributes())`](crate::Context::attributes).
    pub fn attributes<K: Into<String>, V: Into<String>>(
        mut self,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.call = self.call.attributes(attributes);
        self
    }

    /// Stores the message on the bus until it is handled, at least once: also if no actor system serves
    /// now, or the one that serves ends meanwhile. [`#[message(durable)]`](crate::ActorMessage) does
    /// this for every message of a type.
    ///
    /// The timeout bounds the wait, and not the handling: after [`Timeout`](AskError::Timeout) with
    /// [`Delivered::Stored`](crate::error::Delivered::Stored) the message is handled all the same. Another ask with
    /// the same [`idempotency_key`](Self::idempotency_key) receives the first answer. Where the caller need
    /// not wait, a [durable tell](crate::bus::RemoteTell::durable) is ready once the message is stored.
    pub fn durable(mut self) -> Self {
        self.call = self.call.durable();
        self
    }

    /// Limits the wait until the bus has stored the message, apart from the wait for the answer, which
    /// [`timeout`](Self::timeout) limits as a whole. Beyond it the ask ends with
    /// [`Unavailable`](AskError::Unavailable) if the message is certainly not stored, and else with
    /// [`Timeout`](AskError::Timeout) and [`Unknown`](crate::error::Delivered::Unknown): ask again with the
    /// same [`idempotency_key`](Self::idempotency_key).
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # use std::time::Duration;
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(durable, response = u32)]
    /// struct Book { seat: u32 }
    ///
    /// # async fn book(client: ProxyClient) -> Result<u32, AskError> {
    /// let booked = client.ask("stage", Book { seat: 7 }).idempotency_key("visitor-12");
    /// // Without Redis the visitor hears so after half a second; a slow booking has its minute.
    /// booked.store_timeout(Duration::from_millis(500)).timeout(Duration::from_secs(60)).await
    /// # }
    /// ```
    ///
    /// Any other message ends with [`BadRequest`](AskError::BadRequest), and is not sent. Called on an ask
    /// that is under way, the limit counts from the call, and only shortens the wait.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.store_timeout(timeout);
        self
    }

    /// Makes the message durable, with an idempotency key of 1 to 128 bytes (another one ends the ask with
    /// [`InvalidKey`](AskError::InvalidKey)). Among the messages of one
    /// type for one actor, those with the same key are handled once, as long as the first answer is
    /// stored ([`Config::result_ttl`](crate::Config::result_ttl), 1 h unless set). Without a key
    /// each call has one of its own.
    ///
    /// A key stands for the contents that it was first used with. An ask with other contents ends with
    /// [`KeyReused`](AskError::KeyReused), and is not executed. Contents are compared as they are
    /// encoded: a `HashMap` or `HashSet` has no order of its own, so a message with a key needs a
    /// `BTreeMap` or `BTreeSet` instead.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.call = self.call.idempotency_key(key.into());
        self
    }
}

// No field is ever pinned.
impl<M> Unpin for RemoteAsk<M> {}

impl<M: ActorMessage> Future for RemoteAsk<M> {
    type Output = Result<M::Response, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.poll(cx, Kind::Ask, |contents, urn, name| {
            let decoded = codec::<M>()?.decode_response(contents);
            decoded.map_err(|error| AskError::BadResponse {
                reason: format!("that of `{urn}` to `{name}`: {error}"),
            })
        })
    }
}

impl<M: ActorMessage> fmt::Debug for RemoteAsk<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteAsk<{}>", M::NAME)
    }
}
