//! The client's end of the bus.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::bus::config::{Config, ConfigError, check_name};
use crate::bus::link::health::{ConnectionState, Health};
use crate::bus::open::{self, ConnectError, open_client};
use crate::bus::transport::ClientTransport;
use crate::core::spawn_task;
use crate::error::AskError;
use crate::message::RemoteMessage;
use crate::reply::remote::ClientId;

pub use ask::RemoteAsk;
use counters::ClientStats;
use dispatcher::ReplyDispatcher;
use driver::CloseOnDrop;
use lazy::LazyTransport;
use node_link::NodeLink;
#[cfg(feature = "tower")]
pub use service::AskService;
use shared::ClientShared;
pub use tell::RemoteTell;

mod absence;
mod answer_watch;
mod ask;
mod backpressure;
mod batch;
mod call;
mod call_span;
pub(crate) mod counters;
mod dispatcher;
mod driver;
mod durable_call;
mod fleet;
mod lazy;
mod lease_watch;
mod links;
mod named;
mod node_link;
pub(crate) mod pending;
mod producer;
mod request_log;
mod retry;
mod send_queue;
#[cfg(feature = "tower")]
mod service;
mod shared;
mod tell;
#[cfg(test)]
mod tests;

/// Asks the actors of another process (or of this one, over the memory bus), by URN.
///
/// Cheap to clone; `Send` and `Sync`. One per process is enough: many callers share it, and sharing is
/// fastest, since requests that are made together travel together.
///
/// ```
/// use conclib::prelude::*;
/// use std::time::Duration;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u32)]
/// struct Double { n: u32 }
///
/// #[derive(Actor)]
/// #[actor(urn = "doubler")]
/// struct Doubler;
///
/// #[handlers]
/// impl Doubler {
///     #[handler]
///     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::memory(); // or Config::default() for Redis
///
/// // In the actor process:
/// let system = ActorSystem::new();
/// system.spawn(Doubler).await?;
/// start_proxy(&system, &config).await?;
///
/// // In another process:
/// let client = ProxyClient::connect(&config).await?;
/// assert_eq!(client.ask("doubler", Double { n: 21 }).await?, 42);
///
/// let timeout = Duration::from_millis(200);
/// let missing = client.ask("missing", Double { n: 1 }).timeout(timeout).await;
/// assert!(matches!(missing, Err(AskError::ActorNotFound { .. })));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ProxyClient {
    handle: Arc<ClientHandle>,
    /// The node that requests go to; that of the config without one. Behind a reference, since each call has a copy.
    target: Option<Arc<Target>>,
}

/// A node that was named.
enum Target {
    Node(Arc<NodeLink>),
    /// None: its name cannot be one.
    Invalid(ConfigError),
}

/// The handle that the clones of a client share; dropping the last one ends the connection.
struct ClientHandle {
    shared: Arc<ClientShared>,
}

impl ProxyClient {
    /// Connects. A connection that breaks is made again, and requests that may have been lost with it
    /// are sent once more. (The actor system drops duplicates.)
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: a setting is wrong, or the bus cannot be reached. It is no error if no actor
    /// system serves yet.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let health = Arc::<Health>::default();
        let (id, replies) = identity(&health)?;
        let transport = open_client(config, id, replies.clone(), &health).await?;
        Self::over(transport, config, id, replies, health).await
    }

    /// A client that connects in the background, and tries again until it is connected: for a process
    /// that has to start without Redis, such as a web server with a health check.
    ///
    /// Until then plain asks and tells end at once with [`Unavailable`](crate::AskError::Unavailable),
    /// whose reason is that of the last attempt. [Durable](RemoteAsk::durable) ones wait for the
    /// connection up to their timeout, and are stored then. [`state`](Self::state) is
    /// [`Connecting`](ConnectionState::Connecting); the first failure and the connection are logged.
    /// Attempts follow each other after 25 ms at first, and after 0.8 to 1.6 s later. They end when the
    /// client is shut down, or its last clone is dropped.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use conclib::bus::ConnectionState;
    ///
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Note;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = ProxyClient::lazy(&Config::memory())?;
    /// let refused = client.tell("desk", Note).await;
    /// assert!(matches!(refused, Err(AskError::Unavailable { .. })));
    ///
    /// client.connection_state().wait_for(ConnectionState::is_connected).await?;
    /// let refused = client.tell("desk", Note).await;
    /// assert_eq!(refused, Err(AskError::NoResponder)); // connected; no actor system serves yet
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError::Config`]: a setting is wrong. Whatever only an attempt shows is the state's
    /// reason: an unreachable Redis, a refused password, an unreadable file.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn lazy(config: &Config) -> Result<Self, ConnectError> {
        open::check(config)?;
        let health = Arc::new(Health::connecting());
        let (id, replies) = identity(&health)?;
        let transport = Arc::new(LazyTransport::new(&health));
        let shared = ClientShared::new(transport.clone(), config, id, replies, health);
        let shared = Arc::new(shared);
        let client = Self::start(&shared);
        spawn_task(lazy::connect(shared, transport, config.clone()));
        Ok(client)
    }

    /// A client over an open transport.
    async fn over(
        transport: Arc<dyn ClientTransport>,
        config: &Config,
        id: ClientId,
        replies: Arc<ReplyDispatcher>,
        health: Arc<Health>,
    ) -> Result<Self, ConnectError> {
        let shared = ClientShared::new(transport, config, id, replies, health);
        let shared = Arc::new(shared);
        // Deadlines need the bus' clock before the first request.
        if let Err(error) = shared.begin().await {
            shared.close();
            shared.transport.close().await;
            return Err(ConnectError::Unavailable {
                reason: error.to_string(),
            });
        }
        Ok(Self::start(&shared))
    }

    /// Starts the tasks of a client.
    fn start(shared: &Arc<ClientShared>) -> Self {
        // Cannot fail: it is set once.
        drop(shared.replies.client.set(Arc::downgrade(shared)));
        let handle = Arc::new(ClientHandle {
            shared: shared.clone(),
        });
        spawn_task(driver::drive_client(CloseOnDrop(shared.clone())));
        if shared.is_in_fleet {
            shared
                .drivers
                .spawn(fleet::refresh::refresh(shared.clone()));
        }
        let target = None;
        Self { handle, target }
    }

    /// Asks an actor and waits for its answer, for 5 s unless the config or
    /// [`timeout`](RemoteAsk::timeout) set another limit; in a handler, no longer than the asker of the
    /// handled message waits.
    ///
    /// # Errors
    ///
    /// [`AskError`](crate::AskError): every end of an ask without an answer, at its deadline at the latest.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before it is ready cancels the request: see [`RemoteAsk`].
    pub fn ask<M: RemoteMessage>(&self, urn: impl AsRef<str>, message: M) -> RemoteAsk<M> {
        RemoteAsk::new(self.clone(), urn.as_ref(), message)
    }

    /// Sends a message to an actor, and waits until the bus has accepted it. Its arrival is not
    /// confirmed: there may be no such actor.
    ///
    /// # Errors
    ///
    /// [`AskError`](crate::AskError): the reason why the bus has not accepted the message.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it may or may not have been sent.
    pub fn tell<M: RemoteMessage>(&self, urn: impl AsRef<str>, message: M) -> RemoteTell<M> {
        RemoteTell::new(self.clone(), urn.as_ref(), message)
    }

    /// The asks of one message to one actor, as a `tower` service: `client.service::<Double>("doubler")`.
    /// See [`AskService`] for retries and limits.
    #[cfg(feature = "tower")]
    pub fn service<M: RemoteMessage>(&self, urn: impl AsRef<str>) -> AskService<M> {
        AskService::new(self.clone(), urn.as_ref())
    }

    /// This client for another node of the namespace, over the same connections: its asks and tells go to
    /// the actor system that serves that node, and to no other.
    ///
    /// In a [fleet](Config::fleet) a node is a member, by its [instance](Config::instance): this reaches also its actors
    /// that stand by, its children and its pool workers.
    ///
    /// The user of Redis needs the [rights](Config::acl) of a client for that node too. An ask ends as
    /// `BadRequest` if no node can have the name, and if it is durable: durable messages go to the node of
    /// the config.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
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
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::memory();
    /// # let system = ActorSystem::new();
    /// # system.spawn(Doubler).await?;
    /// start_proxy(&system, &config.clone().node("eu-1")).await?;
    ///
    /// let client = ProxyClient::connect(&config).await?; // for the node `main`
    /// assert_eq!(client.node("eu-1").ask("doubler", Double { n: 21 }).await?, 42);
    /// assert_eq!(client.ask("doubler", Double { n: 21 }).await, Err(AskError::NoResponder));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn node(&self, node: impl AsRef<str>) -> Self {
        let node = node.as_ref();
        let target = match check_name("the node", node) {
            Ok(()) => Target::Node(self.shared().link_to(node)),
            Err(error) => Target::Invalid(error),
        };
        let handle = self.handle.clone();
        let target = Some(Arc::new(target));
        Self { handle, target }
    }

    /// The counters of this client's requests, those of all its clones and nodes.
    ///
    /// ```
    /// use conclib::error::AskErrorKind;
    /// use conclib::prelude::*;
    ///
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # #[message(response = u32)]
    /// # struct Double { n: u32 }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = ProxyClient::connect(&Config::memory()).await?;
    /// let _unanswered = client.ask("doubler", Double { n: 21 }).await;
    /// let stats = client.stats();
    /// assert_eq!((stats.asks.ok, stats.asks.of(AskErrorKind::NoResponder)), (0, 1));
    /// # Ok(()) }
    /// ```
    pub fn stats(&self) -> ClientStats {
        self.shared().stats()
    }

    /// Number of requests that wait for their answers, those of all clones of this client.
    pub fn in_flight(&self) -> usize {
        self.shared().pending().len()
    }

    /// The state of the connection to the bus now. It does not say if an actor system serves:
    /// [`responder`](Self::responder) does.
    pub fn state(&self) -> ConnectionState {
        self.shared().health.state()
    }

    /// The state of the connection to the bus, to be watched or waited for.
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared().health.watch()
    }

    /// Checks that an actor system serves now: reads its lease from the bus, within the client's
    /// [timeout](Config::timeout), and sends it nothing. A request that follows may end otherwise. In a
    /// [fleet](Config::fleet), it is enough that one member serves, whichever names that has; a client of
    /// [one node](Self::node) asks for that one.
    ///
    /// # Errors
    ///
    /// The error with which a request would end now. Mostly [`NoResponder`](crate::AskError::NoResponder),
    /// or [`Unavailable`](crate::AskError::Unavailable) without a connection; also `Incompatible`, `Closed`,
    /// and `Timeout` if the bus does not answer.
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::memory();
    /// let client = ProxyClient::connect(&config).await?;
    /// assert_eq!(client.responder().await, Err(AskError::NoResponder));
    ///
    /// let system = ActorSystem::new();
    /// start_proxy(&system, &config).await?;
    /// assert_eq!(client.responder().await, Ok(()));
    /// # Ok(()) }
    /// ```
    pub async fn responder(&self) -> Result<(), AskError> {
        self.shared().responder(self.link()?).await
    }

    /// Ends the connection. Requests under way, and later ones, end with
    /// [`AskError::Closed`](crate::AskError::Closed).
    pub async fn shutdown(&self) {
        self.shared().close();
        self.shared().transport.close().await;
    }

    /// The id that names the client's reply channel.
    #[cfg(all(test, not(conclib_loom)))]
    pub(crate) fn id(&self) -> ClientId {
        self.shared().id
    }

    fn shared(&self) -> &Arc<ClientShared> {
        &self.handle.shared
    }

    /// True if requests go to a node that was named, and to no other.
    fn target_is_node(&self) -> bool {
        self.target.is_some()
    }

    /// The link to the node that requests go to.
    fn link(&self) -> Result<&Arc<NodeLink>, AskError> {
        match self.target.as_deref() {
            None => Ok(&self.shared().link),
            Some(Target::Node(link)) => Ok(link),
            Some(Target::Invalid(error)) => Err(AskError::BadRequest {
                reason: error.to_string(),
            }),
        }
    }
}

/// The random id of a client, and the dispatcher of its replies, whose first request id is random too.
fn identity(health: &Arc<Health>) -> Result<(ClientId, Arc<ReplyDispatcher>), ConnectError> {
    let mut id = ClientId::default();
    let mut first_id = [0; 8];
    getrandom::fill(&mut id.0)
        .and_then(|()| getrandom::fill(&mut first_id))
        .map_err(|error| ConnectError::NoRandomness {
            reason: error.to_string(),
        })?;
    let replies = ReplyDispatcher::new(u64::from_le_bytes(first_id), health.clone());
    Ok((id, Arc::new(replies)))
}

impl fmt::Debug for ProxyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyClient")
            .field("id", &self.shared().id)
            .finish_non_exhaustive()
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        self.shared.close(); // the tasks end, and the driver closes the connection
    }
}
