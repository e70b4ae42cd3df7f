//! The first connection of a client that is made before its bus can be reached.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::bus::client::shared::ClientShared;
use crate::bus::config::Config;
use crate::bus::keys::Keys;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::health::Health;
use crate::bus::open::{ConnectError, open_client};
use crate::bus::transport::fleet::{FleetView, MapVersion, Members, NameOwners};
use crate::bus::transport::stream::{NewEntry, StreamProducer};
use crate::bus::transport::{
    ClientTransport, Copies, Enqueued, Epoch, Frame, LeaseRecord, ServerTime, TransportError,
};
use crate::urn::Urn;

/// A transport that is connected later, and refuses every operation until then. Afterwards it hands
/// out the futures of the inner transport: a batch costs no further allocation.
pub(super) struct LazyTransport {
    /// Set once, when the first attempt has succeeded.
    inner: OnceLock<Arc<dyn ClientTransport>>,
    /// Has the failure of the last attempt.
    health: Arc<Health>,
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send + 'a>>;

impl LazyTransport {
    pub(super) fn new(health: &Arc<Health>) -> Self {
        Self {
            inner: OnceLock::new(),
            health: health.clone(),
        }
    }

    /// The future of an operation of the inner transport, or the reason that there is none.
    fn forward<'a, T: Send + 'a>(
        &'a self,
        operation: impl FnOnce(&'a dyn ClientTransport) -> BoxFuture<'a, T>,
    ) -> BoxFuture<'a, T> {
        if let Some(inner) = self.inner.get() {
            return operation(&**inner);
        }
        let reason = self.health.problem();
        let reason = reason.unwrap_or_else(|| "never connected".to_owned());
        Box::pin(ready(Err(TransportError::NotDone(reason))))
    }
}

// Written as `async_trait` expands, except that the future is the inner one.
impl ClientTransport for LazyTransport {
    fn lease<'s: 'f, 'n: 'f, 'f>(
        &'s self,
        node: &'n Keys,
    ) -> BoxFuture<'f, (Option<LeaseRecord>, ServerTime)> {
        self.forward(|inner| inner.lease(node))
    }

    fn enqueue<'s: 'f, 'n: 'f, 'f>(
        &'s self,
        node: &'n Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> BoxFuture<'f, Enqueued> {
        self.forward(|inner| inner.enqueue(node, epoch, frames))
    }

    fn take_back<'s: 'f, 'n: 'f, 'f>(
        &'s self,
        node: &'n Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
        copies: Copies,
    ) -> BoxFuture<'f, Vec<bool>> {
        self.forward(|inner| inner.take_back(node, epoch, frames, copies))
    }

    fn prove_writable<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, ()> {
        self.forward(|inner| inner.prove_writable())
    }

    fn reconnect(&self, why: &str) {
        if let Some(inner) = self.inner.get() {
            inner.reconnect(why);
        }
    }

    fn close<'s: 'f, 'f>(&'s self) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>> {
        match self.inner.get() {
            Some(inner) => inner.close(),
            None => Box::pin(ready(())),
        }
    }
}

impl StreamProducer for LazyTransport {
    fn append<'s: 'f, 'f>(&'s self, messages: Vec<NewEntry>) -> BoxFuture<'f, u64> {
        self.forward(|inner| inner.append(messages))
    }

    fn len<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, u64> {
        self.forward(|inner| inner.len())
    }
}

impl FleetView for LazyTransport {
    fn version<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, MapVersion> {
        self.forward(|inner| inner.version())
    }

    fn members<'s: 'f, 'f>(&'s self) -> BoxFuture<'f, Members> {
        self.forward(|inner| inner.members())
    }

    fn look_up<'s: 'f, 'n: 'f, 'f>(&'s self, names: &'n [Urn]) -> BoxFuture<'f, NameOwners> {
        self.forward(|inner| inner.look_up(names))
    }
}

/// Connects a client, attempt after attempt, until one succeeds or the client is closed.
pub(super) async fn connect(
    shared: Arc<ClientShared>,
    transport: Arc<LazyTransport>,
    config: Config,
) {
    let attempts = connect_at_last(&shared, &transport, &config);
    shared.closed.run_until_cancelled(attempts).await;
    if shared.closed.is_cancelled() {
        transport.close().await; // its driver may have ended before there was a transport
    }
}

async fn connect_at_last(shared: &ClientShared, transport: &LazyTransport, config: &Config) {
    for attempt in 0.. {
        // Boxed: the future of all attempts would be as large as that of one.
        match Box::pin(open(shared, config)).await {
            Ok(inner) => {
                // The clock is known by now. Cannot fail: it is set once.
                drop(transport.inner.set(inner));
                shared.health.mark_first_connected();
                return info!("connected to the bus");
            }
            Err(reason) => {
                shared.health.mark_connecting(&reason);
                if attempt == 0 {
                    warn!(
                        reason,
                        "cannot connect to the bus: asks end with `Unavailable` and durable messages wait; trying again"
                    );
                } else {
                    debug!(reason, attempt, "cannot connect to the bus: trying again");
                }
            }
        }
        sleep(RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())).await;
    }
}

/// One attempt: connects, and reads the bus' clock and lease; returns the problem in words on failure.
async fn open(shared: &ClientShared, config: &Config) -> Result<Arc<dyn ClientTransport>, String> {
    let opened = open_client(config, shared.id, shared.replies.clone(), &shared.health).await;
    let transport = opened.map_err(|error| match error {
        ConnectError::Unavailable { reason } => reason,
        other => other.to_string(),
    })?;
    match shared.read_clock(&shared.link, &*transport).await {
        Ok(lease) => {
            if !shared.is_in_fleet {
                shared.set_lease(&shared.link, lease);
            }
            Ok(transport)
        }
        Err(error) => {
            transport.close().await;
            Err(error.to_string())
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests;
