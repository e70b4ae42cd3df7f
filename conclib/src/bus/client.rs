//! The asking end of the bus.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::config::Config;
use crate::bus::link::health::{ConnectionState, Health};
use crate::bus::link::log_once::Noise;
use crate::bus::link::server_clock::BusClock;
use crate::bus::protocol as frame;
use crate::bus::protocol::{Kind, Request, decode_reply};
use crate::bus::transport::{
    BusTime, ClientTransport, LEASE, Lease, OpenError, ReplySink, open_client,
};
use crate::core::spawn_task;
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::message::RemoteMessage;
use crate::reply::remote::{ClientId, Origin};
use crate::time::coarse::CoarseInstant;
use pending::InFlight;

use backpressure::Crowd;
use producer::Keeping;
use request::Sent;
pub use request::{RemoteAsk, RemoteTell};
use send_queue::Outbox;
use sender::{EndsWithRuntime, Sending};

mod backpressure;
pub(crate) mod pending;
mod producer;
mod request;
mod send_queue;
mod sender;
#[cfg(test)]
mod tests;

/// Asks the actors of another process (or of this one, over the memory bus), by URN.
///
/// Cheap to clone; `Send` and `Sync`. One per process is enough: many callers share it, and it is
/// fastest when they do, since requests that come together travel together.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::{Config, ProxyClient, start_proxy};
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
/// start_proxy(&system, &config).await?;
/// system.spawn(Doubler).await?;
///
/// // In any other:
/// let client = ProxyClient::connect(&config).await?;
/// assert_eq!(client.ask("doubler", Double { n: 21 }).await?, 42);
///
/// let patience = Duration::from_millis(200);
/// let nobody = client.ask("nobody", Double { n: 1 }).timeout(patience).await;
/// assert!(matches!(nobody, Err(AskError::ActorNotFound { .. })));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ProxyClient {
    handle: Arc<ClientHandle>,
}

/// What the clones of a client share; when the last is dropped, its connection ends.
struct ClientHandle {
    shared: Arc<Shared>,
}

/// The requests under way; the connection hands their replies to it.
struct Book {
    in_flight: Mutex<InFlight>,
    noise: Noise,
}

impl Book {
    fn new(first_id: u64) -> Self {
        Self {
            in_flight: Mutex::new(InFlight::new(first_id)),
            noise: Noise::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplySink for Book {
    /// Completes requests with their answers.
    fn receive(&self, frame: Bytes) {
        let (epoch, answers) = match decode_reply(&frame) {
            Ok(answers) => answers,
            Err(problem) => return self.noise.hear("an unreadable reply", &problem),
        };
        let answered = self.lock().answered(answers, epoch);
        // Outside the lock: whoever is woken may ask again at once.
        for (reply, outcome) in answered {
            match outcome {
                Ok(contents) => reply.send(contents),
                Err(error) => reply.refuse(error),
            }
        }
    }
}

/// What the client's tasks use.
pub(super) struct Shared {
    pub(crate) transport: Arc<dyn ClientTransport>,
    id: ClientId,
    /// The deadline of a request that sets none.
    timeout: Duration,
    max_frame: usize,
    book: Arc<Book>,
    outbox: Outbox,
    /// Whether the actor system keeps up.
    crowd: Crowd,
    /// The durable messages to be stored, and how many the bus may have.
    keeping: Keeping,
    max_kept: u64,
    /// Where the client's tasks run.
    runtime: Handle,
    pub(crate) clock: BusClock,
    /// Who serves, as far as is known.
    lease: Mutex<Option<Lease>>,
    /// When the lease was last seen, as the bits of a [`CoarseInstant`].
    lease_seen: AtomicU64,
    /// What the public sees of the connections.
    health: Arc<Health>,
    closed: CancellationToken,
}

impl ProxyClient {
    /// Connects. The connection, once made, is kept up: when it breaks it is made anew, and what was
    /// under way then is sent once more if it may be lost. (The actor system drops what it has seen.)
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: a setting is wrong, or the bus cannot be reached. That no actor system is
    /// listening yet is no error.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let mut id = ClientId::default();
        let mut first_id = [0; 8];
        getrandom::fill(&mut id.0)
            .and_then(|()| getrandom::fill(&mut first_id))
            .map_err(|error| ConnectError::Random(error.to_string()))?;
        let book = Arc::new(Book::new(u64::from_le_bytes(first_id)));
        let health = Arc::default();
        let transport = open_client(config, id, book.clone(), &health).await?;
        Self::over(transport, config, id, book, health).await
    }

    /// A client over a connection.
    async fn over(
        transport: Arc<dyn ClientTransport>,
        config: &Config,
        id: ClientId,
        book: Arc<Book>,
        health: Arc<Health>,
    ) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared {
            transport,
            id,
            timeout: config.timeout,
            max_frame: config.max_frame,
            book,
            outbox: Outbox::default(),
            crowd: Crowd::default(),
            keeping: Keeping::default(),
            max_kept: config.max_kept,
            runtime: Handle::current(),
            clock: BusClock::default(),
            lease: Mutex::default(),
            lease_seen: AtomicU64::new(0),
            health,
            closed: CancellationToken::new(),
        });
        // Deadlines need the bus' clock before the first request.
        if let Err(error) = shared.look_for_lease().await {
            shared.transport.close().await;
            return Err(ConnectError::Unavailable(error.to_string()));
        }
        let handle = Arc::new(ClientHandle {
            shared: shared.clone(),
        });
        spawn_task(sender::drive(EndsWithRuntime(shared)));
        Ok(Self { handle })
    }

    /// Asks an actor and waits for its answer, for 5 s unless the config or
    /// [`timeout`](RemoteAsk::timeout) say otherwise; in a handler, not longer than the asker of its
    /// message waits.
    ///
    /// # Errors
    ///
    /// [`AskError`]: every way in which an ask can end but with its answer, by its deadline at the
    /// latest.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it gives the answer up, and the actor hears so: see
    /// [`RemoteAsk`].
    pub fn ask<M: RemoteMessage>(&self, urn: impl AsRef<str>, message: M) -> RemoteAsk<M> {
        RemoteAsk::new(self.clone(), urn.as_ref(), message)
    }

    /// Tells an actor something, and waits until the bus has accepted it. Whether it arrives is
    /// not told: there may be no such actor.
    ///
    /// # Errors
    ///
    /// [`AskError`]: why the bus has not accepted it.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it may or may not have been sent.
    pub fn tell<M: RemoteMessage>(&self, urn: impl AsRef<str>, message: M) -> RemoteTell<M> {
        RemoteTell::new(self.clone(), urn.as_ref(), message)
    }

    /// How many requests wait for their answer.
    pub fn in_flight(&self) -> usize {
        self.shared().in_flight().len()
    }

    /// Whether the bus can be used now, to be looked at or waited for. It does not say whether an
    /// actor system listens: an ask does.
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared().health.watch()
    }

    /// Ends the connection. What is under way ends with [`AskError::Closed`], and so does what
    /// comes later.
    pub async fn shutdown(&self) {
        self.shared().close();
        self.shared().transport.close().await;
    }

    /// Whose channel its replies come on.
    #[cfg(all(test, not(conclib_loom)))]
    pub(crate) fn id(&self) -> ClientId {
        self.shared().id
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
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

/// A request that is on its way, ready to be written.
struct Outgoing<'a> {
    pub(super) kind: Kind,
    pub(super) urn: &'a str,
    pub(super) message: &'static str,
    pub(super) deadline: Instant,
    pub(super) attributes: &'a Attributes,
    pub(super) contents: &'a [u8],
}

impl Shared {
    /// Enters a request into the book and the outbox.
    fn send(self: &Arc<Self>, request: &Outgoing<'_>) -> Result<Sent, AskError> {
        let kind = request.kind;
        let (mut frame, size) = self.frame(request)?;
        let mut book = self.in_flight();
        frame.origin.id = book.check(size)?;
        if let Some(reason) = self.health.trouble() {
            return Err(AskError::Unavailable { reason });
        }
        if let Some(retry_after) = self.crowd.retry_after() {
            return Err(AskError::Overloaded { retry_after });
        }
        // Written under the lock, so that the outbox has requests in the order of their ids.
        let encoded = frame.encode_into(book.pieces());
        let receiver = book.insert(frame.origin.id, encoded, size, kind == Kind::Tell);
        let own = self.outbox.push(frame.origin.id, &book);
        drop(book);
        Ok(Sent {
            id: frame.origin.id,
            receiver,
            sending: own.map(|batch| Sending::new(self, batch)),
        })
    }

    /// A request as it is to be written, but for its id, and its size.
    fn frame<'a>(&self, request: &Outgoing<'a>) -> Result<(Request<'a>, usize), AskError> {
        let Outgoing {
            kind,
            urn,
            message,
            deadline,
            attributes,
            contents,
        } = *request;
        let frame = Request {
            kind,
            origin: Origin {
                client: self.id,
                id: 0,
            },
            urn,
            message,
            // The clock is set since the client was connected.
            deadline: self.clock.to_bus(deadline).unwrap_or(BusTime(u64::MAX)),
            attributes,
            contents,
        };
        frame::check(message, attributes)?;
        let limit = self.max_frame.min(self.known_limit());
        let size = frame::size(contents, attributes);
        if size > limit {
            return Err(AskError::TooLarge { size, limit });
        }
        Ok((frame, size))
    }

    /// The asker of a request has gone: if the bus may have the request, its actor is to hear so.
    fn abandon(&self, id: u64, deadline: Instant) {
        let mut book = self.in_flight();
        if !book.abandon(id) {
            return;
        }
        let client = self.id;
        let cancel = Request {
            kind: Kind::Cancel,
            origin: Origin { client, id },
            urn: "",
            message: "",
            deadline: self.clock.to_bus(deadline).unwrap_or(BusTime(u64::MAX)),
            attributes: &Attributes::new(),
            contents: &[],
        };
        // Under the lock, so that what is said of two requests is in the order in which they went.
        let frame = cancel.encode_into(book.pieces());
        self.outbox.push_cancel(frame);
    }

    pub(super) fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.book.lock()
    }

    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who serves, unless that was seen so long ago that it may be another by now: then requests could
    /// go to an inbox that nobody looks after any more.
    pub(super) fn known_lease(&self) -> Option<Lease> {
        let seen = CoarseInstant::from_bits(self.lease_seen.load(Ordering::Relaxed));
        self.lease().clone().filter(|_| seen.elapsed() < LEASE)
    }

    pub(super) fn know_lease(&self, lease: Option<Lease>) {
        *self.lease() = lease;
        self.see_lease();
    }

    /// The lease is what it was.
    pub(super) fn see_lease(&self) {
        let now = CoarseInstant::now().to_bits();
        self.lease_seen.store(now, Ordering::Relaxed);
    }

    fn known_limit(&self) -> usize {
        let lease = self.lease();
        let limit = lease.as_ref().map(|lease| lease.max_frame);
        limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX)
    }

    /// Reads who serves, and the bus' time.
    pub(super) async fn look_for_lease(
        &self,
    ) -> Result<Option<Lease>, crate::bus::transport::TransportError> {
        let sent = Instant::now();
        let (lease, now) = self.transport.lease().await?;
        self.clock.learn(sent, Instant::now(), now);
        self.know_lease(lease.clone());
        Ok(lease)
    }

    /// Ends everything under way; idempotent.
    fn close(&self) {
        self.health.close();
        self.closed.cancel();
        let waiting = self.in_flight().close();
        for reply in waiting {
            reply.refuse(AskError::Closed);
        }
    }
}

/// Why a client could not connect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is wrong, or there is no connection.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The bus does not serve.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
    /// The system has no random numbers for the client's id.
    #[error("no random numbers: {0}")]
    Random(String),
}
