//! The asking end of the bus.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::clock::BusClock;
use super::config::Config;
use super::frame::{self, Kind, Request, decode_reply};
use super::in_flight::{InFlight, MAX_REQUESTS};
use super::noise::Noise;
use super::transport::{BusTime, ClientEnd, ClientTransport, Lease, OpenError, open_client};
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::message::RemoteMessage;
use crate::reply::ReplyReceiver;
use crate::responder::{ClientId, Origin};
use crate::system::spawn_task;

pub use call::{RemoteAsk, RemoteTell};
use outbox::Outbox;

mod call;
mod outbox;
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

/// What the client's tasks use.
pub(super) struct Shared {
    transport: Arc<dyn ClientTransport>,
    id: ClientId,
    /// The deadline of a request that sets none.
    timeout: Duration,
    max_frame: usize,
    in_flight: Mutex<InFlight>,
    outbox: Outbox,
    clock: BusClock,
    /// Who serves, as far as is known.
    lease: Mutex<Option<Lease>>,
    closed: CancellationToken,
}

impl ProxyClient {
    /// Connects. The connection, once made, is kept up: when it breaks it is made anew.
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
        let end = open_client(config, id, MAX_REQUESTS).await?;
        Self::over(end, config, id, u64::from_le_bytes(first_id)).await
    }

    /// A client over a connection.
    async fn over(
        (transport, replies): ClientEnd,
        config: &Config,
        id: ClientId,
        first_id: u64,
    ) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared {
            transport,
            id,
            timeout: config.timeout,
            max_frame: config.max_frame,
            in_flight: Mutex::new(InFlight::new(first_id)),
            outbox: Outbox::default(),
            clock: BusClock::default(),
            lease: Mutex::default(),
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
        spawn_task(receive(shared.clone(), replies));
        spawn_task(outbox::drive(shared));
        Ok(Self { handle })
    }

    /// Asks an actor and waits for its answer, for 5 s unless the config or
    /// [`timeout`](RemoteAsk::timeout) say otherwise.
    ///
    /// # Errors
    ///
    /// [`AskError`]: every way in which an ask can end but with its answer, by its deadline at the
    /// latest.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it gives the answer up. If it had been sent, it is handled all
    /// the same.
    pub fn ask<M: RemoteMessage>(&self, urn: impl AsRef<str>, message: M) -> RemoteAsk<M> {
        RemoteAsk::new(self.clone(), urn.as_ref(), message)
    }

    /// Tells an actor something, and waits until the bus has accepted it. Whether it arrives is
    /// not told: there may be no such actor.
    ///
    /// # Errors
    ///
    /// [`TellError`](crate::TellError) with the message and why it was not accepted.
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

    /// Ends the connection. What is under way ends with [`AskError::Closed`], and so does what
    /// comes later.
    pub async fn shutdown(&self) {
        self.shared().close();
        self.shared().transport.close().await;
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
pub(super) struct Outgoing<'a> {
    pub(super) kind: Kind,
    pub(super) urn: &'a str,
    pub(super) message: &'static str,
    pub(super) deadline: Instant,
    pub(super) attributes: &'a Attributes,
    pub(super) contents: &'a [u8],
}

impl Shared {
    /// Enters a request into the book and the outbox.
    pub(super) fn send(
        &self,
        request: &Outgoing<'_>,
    ) -> Result<(u64, ReplyReceiver<Bytes>), AskError> {
        let Outgoing {
            kind,
            urn,
            message,
            deadline,
            attributes,
            contents,
        } = *request;
        let mut frame = Request {
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
        let limit = self.max_frame.min(self.known_limit());
        let size = frame::size(contents, attributes);
        if size > limit {
            return Err(AskError::TooLarge { size, limit });
        }
        let mut book = self.in_flight();
        frame.origin.id = book.check(size)?;
        // Written under the lock, so that the outbox has requests in the order of their ids.
        let encoded = frame.encode();
        let receiver = book.insert(frame.origin.id, encoded, size, kind == Kind::Tell);
        self.outbox.push(frame.origin.id, &book);
        Ok((frame.origin.id, receiver))
    }

    pub(super) fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
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
    ) -> Result<Option<Lease>, super::transport::TransportError> {
        let sent = Instant::now();
        let (lease, now) = self.transport.lease().await?;
        self.clock.learn(sent, Instant::now(), now);
        self.lease().clone_from(&lease);
        Ok(lease)
    }

    /// Ends everything under way; idempotent.
    fn close(&self) {
        self.closed.cancel();
        let waiting = self.in_flight().close();
        for reply in waiting {
            reply.refuse(AskError::Closed);
        }
    }
}

/// Completes requests as their answers come in.
async fn receive(shared: Arc<Shared>, mut replies: mpsc::Receiver<Bytes>) {
    let noise = Noise::default();
    while let Some(Some(frame)) = shared.closed.run_until_cancelled(replies.recv()).await {
        let (epoch, answers) = match decode_reply(&frame) {
            Ok(answers) => answers,
            Err(problem) => {
                noise.hear("an unreadable reply", &problem);
                continue;
            }
        };
        for (id, outcome) in answers {
            // An answer that nobody waits for came after its deadline, or twice, or from an owner
            // that has been succeeded.
            let Some(reply) = shared.in_flight().answered(id, epoch) else {
                debug!(id, "an answer that nobody waits for");
                continue;
            };
            match outcome {
                Ok(contents) => reply.send(contents),
                Err(error) => reply.refuse(error),
            }
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
