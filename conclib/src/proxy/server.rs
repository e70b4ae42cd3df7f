//! The actor system's end of the bus: takes requests off the inbox and hands them to actors, as
//! long as it holds the lease of its node.
//!
//! Three tasks: the *keeper* renews the lease and gives it back; the *popper* takes requests, and
//! closes the connections in the end; the *publisher* sends answers. The popper never waits for an
//! actor: a request that cannot be put into a mailbox at once is answered so.
//!
//! Everything is fenced by the lease. Requests are popped and executed only while the moment of
//! the last renewal, as it was sent, plus the length of the lease, less a margin, lies ahead. So
//! this process has stopped before Redis lets another in, and a client that finds no lease knows
//! that its request was not executed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::clock::BusClock;
use super::config::Config;
use super::frame::{Request, VERSION};
use super::transport::{
    Acquired, Epoch, LEASE, Lease, OpenError, RENEW, ServerTransport, TransportError, open_server,
};
use crate::system::{ActorSystem, Service, spawn_task};

use outlet::Outlet;
use popper::Popper;

mod outlet;
mod popper;
#[cfg(test)]
mod tests;

/// How long before the end of the lease this end stops: for clocks that run at different speeds,
/// and for the time that a handler takes to start.
const MARGIN: Duration = Duration::from_millis(500);

/// How long answers to what was taken may be on their way when nobody waits for the proxy's end.
const FINISH: Duration = Duration::from_secs(10);

/// Connects a system's actors to the bus: from when this returns they can be asked from other
/// processes.
///
/// One system serves a node of a namespace at a time. If another holds its lease, this waits until
/// the lease must have ended if nobody renews it (7 s).
///
/// The proxy is the system's: dropping the [`Proxy`] stops nothing, and
/// [`shutdown`](ActorSystem::shutdown) stops it first.
///
/// # Errors
///
/// [`StartProxyError`]: a setting is wrong, the bus cannot be reached, another system serves, or
/// this one is shutting down.
///
/// # Cancel safety
///
/// Dropped before it is ready, it may have taken the lease: that ends by itself after 6 s.
pub async fn start_proxy(system: &ActorSystem, config: &Config) -> Result<Proxy, StartProxyError> {
    serve(system, config, open_server(config).await?).await
}

async fn serve(
    system: &ActorSystem,
    config: &Config,
    transport: Arc<dyn ServerTransport>,
) -> Result<Proxy, StartProxyError> {
    let clock = BusClock::default();
    let lease = Lease {
        epoch: Epoch(0),
        versions: (VERSION, VERSION),
        max_frame: config.max_frame as u64,
    };
    let (epoch, valid_until) = match acquire(&*transport, &lease, &clock).await {
        Ok(acquired) => acquired,
        Err(error) => {
            transport.close().await;
            return Err(error);
        }
    };
    info!(namespace = %config.namespace, node = %config.node, epoch = epoch.0, "proxy serves");
    let outlet = Arc::new(Outlet::new(transport.clone(), epoch, config.max_frame));
    let shared = Arc::new(Shared {
        node: config.node.clone(),
        transport,
        clock,
        epoch,
        outlet: outlet.clone(),
        stop: CancellationToken::new(),
        abandoned: CancellationToken::new(),
        popped: SetOnce::new(),
        ended: SetOnce::new(),
    });
    let proxy = Proxy {
        shared: shared.clone(),
    };
    if !system.core().attach(Arc::new(proxy.clone())) {
        drop(shared.transport.release(epoch, Request::wake()).await);
        shared.transport.close().await;
        return Err(StartProxyError::SystemClosed);
    }
    let popper = Popper::new(
        shared.clone(),
        system.core().registry.clone(),
        config,
        valid_until,
    );
    let fence = popper.fence();
    spawn_task(outlet::publish(outlet));
    let keeper = tokio::spawn(keep(shared.clone(), fence));
    spawn_task(async move {
        let end = popper.run().await;
        // Set once: nobody else does.
        drop(shared.popped.set(end));
        // It may have the lease to give back, and needs the connection for that.
        drop(keeper.await);
        shared.see_out().await;
    });
    Ok(proxy)
}

/// Takes the lease, waiting for one that nobody renews to end.
async fn acquire(
    transport: &dyn ServerTransport,
    lease: &Lease,
    clock: &BusClock,
) -> Result<(Epoch, Instant), StartProxyError> {
    let patience = Instant::now() + LEASE + Duration::from_secs(1);
    loop {
        let sent = Instant::now();
        match transport.acquire(lease).await {
            Ok(Acquired::Granted { epoch, now }) => {
                clock.learn(sent, Instant::now(), now);
                return Ok((epoch, sent + LEASE - MARGIN));
            }
            Ok(Acquired::Held { holder }) if Instant::now() >= patience => {
                return Err(StartProxyError::NamespaceTaken {
                    holder: holder.epoch.0,
                });
            }
            Ok(Acquired::Held { .. }) => sleep(Duration::from_millis(200)).await,
            Err(error) => return Err(StartProxyError::Unavailable(error.to_string())),
        }
    }
}

/// The end of an actor system that other processes reach; made by [`start_proxy`].
///
/// Cheap to clone. Dropping it stops nothing.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

/// What the proxy's tasks share.
struct Shared {
    node: String,
    transport: Arc<dyn ServerTransport>,
    clock: BusClock,
    epoch: Epoch,
    /// Where answers go.
    outlet: Arc<Outlet>,
    /// Cancelled when it is to stop in good order.
    stop: CancellationToken,
    /// Cancelled when nobody waits for its end any more.
    abandoned: CancellationToken,
    /// Set when no more requests are taken, with the reason.
    popped: SetOnce<ProxyEnd>,
    /// Set when the connections are closed.
    ended: SetOnce<()>,
}

/// Why a proxy takes no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyEnd {
    /// It was shut down.
    Stopped,
    /// It could not renew its lease in time: the bus was away for too long, or another system has
    /// taken the node over.
    LeaseLost,
}

impl Proxy {
    /// Waits until the proxy takes no more requests, and says why. A program that cannot go on
    /// without it ends here, or starts another.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again.
    pub async fn stopped(&self) -> ProxyEnd {
        *self.shared.popped.wait().await
    }

    /// Stops in good order: other processes hear at once that nobody serves; what was taken before
    /// is answered, within 10 s. The actors live on.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it stops taking requests all the same; answers may be lost.
    pub async fn shutdown(&self) {
        self.stop().await;
        self.shared.abandoned.cancel();
        self.finish().await;
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("node", &self.shared.node)
            .field("epoch", &self.shared.epoch.0)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Service for Proxy {
    async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.popped.wait().await;
    }

    async fn finish(&self) {
        self.shared.ended.wait().await;
    }

    fn abort(&self) {
        // The keeper gives the lease back, the popper leaves and sees the answers out, all on
        // their own.
        self.shared.abandoned.cancel();
        self.shared.stop.cancel();
    }

    fn is_over(&self) -> bool {
        self.shared.ended.initialized()
    }
}

impl Shared {
    /// After the last request was taken: publishes answers until all are given, but not for ever
    /// if nobody waits for that, and closes the connections.
    async fn see_out(&self) {
        let patience = async {
            self.abandoned.cancelled().await;
            sleep(FINISH).await;
        };
        tokio::select! {
            () = self.outlet.drained() => {}
            () = patience => warn!(node = %self.node, "some requests were not answered in time"),
        }
        self.outlet.close();
        self.transport.close().await;
        // Set once: nobody else does.
        drop(self.ended.set(()));
    }
}

/// Keeps the lease until the proxy is to stop or the lease is lost, then gives it back.
async fn keep(shared: Arc<Shared>, fence: Arc<popper::Fence>) {
    let lost = renew(&shared, &fence).await;
    if let Some(reason) = &lost {
        error!(node = %shared.node, %reason, "the lease is lost: proxy stops");
        fence.lose();
    }
    // Also if it is lost: a renewal that nobody waited for any more may have come through, and
    // would keep others away.
    let released = shared.transport.release(shared.epoch, Request::wake());
    match released.await {
        Ok(()) if lost.is_none() => fence.stay_open(),
        Ok(()) => {}
        Err(reason) => {
            warn!(node = %shared.node, %reason, "the lease could not be given back; it runs out");
            fence.lose();
        }
    }
}

/// Renews the lease until the proxy is to stop; why it could not, if so.
async fn renew(shared: &Shared, fence: &popper::Fence) -> Option<String> {
    let mut pause = RENEW;
    loop {
        shared.stop.run_until_cancelled(sleep(pause)).await?;
        let sent = Instant::now();
        let end = fence.end() + MARGIN;
        pause = match timeout_at(end, shared.transport.renew(shared.epoch)).await {
            Ok(Ok(Some(now))) => {
                shared.clock.learn(sent, Instant::now(), now);
                fence.extend(sent + LEASE - MARGIN);
                RENEW
            }
            Ok(Ok(None)) => return Some("it is not this system's any more".to_owned()),
            Ok(Err(reason)) if Instant::now() < end => {
                warn!(node = %shared.node, %reason, "the lease could not be renewed");
                RENEW / 8
            }
            Ok(Err(_)) | Err(_) => return Some("it has run out".to_owned()),
        };
    }
}

/// Why a proxy did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartProxyError {
    /// A setting is wrong, or there is no connection.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another actor system serves this node of the namespace, and goes on doing so.
    #[error(
        "another actor system serves this node (epoch {holder}): stop it, or choose another \
         namespace or node"
    )]
    NamespaceTaken {
        /// The epoch of the other: about when it began, in milliseconds since 1970.
        holder: u64,
    },
    /// The bus does not serve.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
    /// The system is shutting down.
    #[error("the actor system is shutting down")]
    SystemClosed,
}

impl From<TransportError> for StartProxyError {
    fn from(error: TransportError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
