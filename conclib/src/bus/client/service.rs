//! Asks as a `tower` service.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use crate::bus::client::{ProxyClient, RemoteAsk};
use crate::error::AskError;
use crate::message::RemoteMessage;

/// The asks of one message to one actor, as a [`tower_service::Service`]: made by
/// [`ProxyClient::service`]. Needs the feature `tower`.
///
/// The future of a call is a [`RemoteAsk`], and dropping it cancels the request.
///
/// `poll_ready` is always ready, and fails only after the client was shut down, as a service that will
/// never be ready again has to. It does not wait for the bus or for room: both are shared with other
/// processes, so that readiness would be out of date at the call, and an outage ends. A call that
/// meets them ends at once with a retryable error (`Unavailable`, `Overloaded`), which layers can act
/// on:
///
/// ```
/// use conclib::prelude::*;
/// use tokio::time::{Sleep, sleep};
/// use tower::limit::GlobalConcurrencyLimitLayer;
/// use tower::retry::{Policy, RetryLayer};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[derive(ActorMessage, Serialize, Deserialize, Clone)]
/// # #[message(response = u32)]
/// # struct Double { n: u32 }
/// # #[derive(Actor)]
/// # #[actor(urn = "doubler")]
/// # struct Doubler;
/// # #[handlers]
/// # impl Doubler {
/// #     #[handler]
/// #     fn double(&mut self, message: Double) -> u32 { message.n * 2 }
/// # }
/// /// Repeats what was certainly not executed, after the time that the error says.
/// #[derive(Clone)]
/// struct Retries(u32);
///
/// impl<M: Clone, R> Policy<M, R, AskError> for Retries {
///     type Future = Sleep;
///
///     fn retry(&mut self, _: &mut M, outcome: &mut Result<R, AskError>) -> Option<Sleep> {
///         let pause = outcome.as_ref().err()?.retry_after()?; // `None` unless `is_retryable()`
///         self.0 = self.0.checked_sub(1)?;
///         Some(sleep(pause))
///     }
///
///     fn clone_request(&mut self, message: &M) -> Option<M> {
///         Some(message.clone())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let (config, system) = (Config::memory(), ActorSystem::new());
/// # let client = ProxyClient::connect(&config).await?;
/// let doubler = ServiceBuilder::new()
///     .load_shed() // refuses calls beyond the limit at once, instead of queueing them
///     .layer(GlobalConcurrencyLimitLayer::new(64)) // shared by all clones
///     .layer(RetryLayer::new(Retries(3)))
///     .service(client.service::<Double>("doubler").missing_is_unavailable());
///
/// let asked = tokio::spawn(doubler.clone().oneshot(Double { n: 21 }));
/// # tokio::time::sleep(std::time::Duration::from_millis(500)).await;
/// // An actor system that starts meanwhile answers.
/// system.spawn(Doubler).await?;
/// start_proxy(&system, &config).await?;
/// assert_eq!(asked.await??, 42);
/// # Ok(()) }
/// ```
///
/// Repeating is right only for what was not executed: a message that may have been needs an
/// [idempotency key](RemoteAsk::idempotency_key) instead. A key, a deadline and attributes belong to one ask,
/// and come with its request. `tower::service_fn` makes a service of any closure that asks:
///
/// ```
/// use conclib::prelude::*;
/// use tokio::time::Instant;
/// use tower::{ServiceExt, service_fn};
/// # use std::time::Duration;
///
/// # #[derive(ActorMessage, Serialize, Deserialize, Clone)]
/// # #[message(response = u32)]
/// # struct Deposit { cents: u32 }
/// # #[derive(Actor)]
/// # #[actor(urn = "account")]
/// # struct Account { cents: u32 }
/// # #[handlers]
/// # impl Account {
/// #     #[handler]
/// #     fn deposit(&mut self, message: Deposit) -> u32 { self.cents += message.cents; self.cents }
/// # }
/// /// A deposit, the key that it keeps when it is repeated, and the moment until which its user waits.
/// #[derive(Clone)]
/// struct Request {
///     deposit: Deposit,
///     key: String,
///     deadline: Option<Instant>,
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let (config, system) = (Config::memory(), ActorSystem::new());
/// # system.spawn(Account { cents: 0 }).await?;
/// # start_proxy(&system, &config).await?;
/// # let client = ProxyClient::connect(&config).await?;
/// let account = service_fn(move |request: Request| {
///     let ask = client.ask("account", request.deposit).attribute("tenant", "7");
///     ask.idempotency_key(request.key).deadline(request.deadline)
/// });
///
/// # let deadline = Some(Instant::now() + Duration::from_secs(5));
/// let request = Request { deposit: Deposit { cents: 5 }, key: "transfer-1".to_owned(), deadline };
/// assert_eq!(account.clone().oneshot(request.clone()).await?, 5);
/// assert_eq!(account.oneshot(request).await?, 5); // not booked twice
/// # Ok(()) }
/// ```
#[must_use = "a service asks when it is called"]
pub struct AskService<M> {
    client: ProxyClient,
    urn: Arc<str>,
    /// The timeout of each ask, unless it is the client's.
    timeout: Option<Duration>,
    /// See [`RemoteAsk::missing_is_unavailable`].
    missing_is_unavailable: bool,
    message: PhantomData<fn(M)>,
}

impl<M: RemoteMessage> AskService<M> {
    pub(super) fn new(client: ProxyClient, urn: &str) -> Self {
        Self {
            client,
            urn: urn.into(),
            timeout: None,
            missing_is_unavailable: false,
            message: PhantomData,
        }
    }

    /// Limits each ask: see [`RemoteAsk::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the absence of the actor a retryable error: see [`RemoteAsk::missing_is_unavailable`].
    pub fn missing_is_unavailable(mut self) -> Self {
        self.missing_is_unavailable = true;
        self
    }
}

impl<M: RemoteMessage> Service<M> for AskService<M> {
    type Response = M::Response;
    type Error = AskError;
    type Future = RemoteAsk<M>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AskError>> {
        let is_closed = self.client.shared().closed.is_cancelled();
        Poll::Ready(if is_closed {
            Err(AskError::Closed)
        } else {
            Ok(())
        })
    }

    fn call(&mut self, message: M) -> RemoteAsk<M> {
        let mut ask = self.client.ask(&*self.urn, message);
        if let Some(timeout) = self.timeout {
            ask = ask.timeout(timeout);
        }
        if self.missing_is_unavailable {
            ask = ask.missing_is_unavailable();
        }
        ask
    }
}

// By hand, so that a message need not be `Clone` or `Debug`.
impl<M> Clone for AskService<M> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            urn: self.urn.clone(),
            timeout: self.timeout,
            missing_is_unavailable: self.missing_is_unavailable,
            message: PhantomData,
        }
    }
}

impl<M: RemoteMessage> fmt::Debug for AskService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskService")
            .field("urn", &self.urn)
            .field("message", &M::NAME)
            .finish_non_exhaustive()
    }
}
