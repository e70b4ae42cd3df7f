//! The proxy of an actor system: its end of the bus, put together from the server and the consumer of
//! durable messages, which know nothing of each other.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::bus::config::Config;
use crate::bus::durable::consumer::consume;
use crate::bus::durable::dead_letters::DeadLetters;
use crate::bus::link::health::{ConnectionState, Health};
use crate::bus::open::open_server;
use crate::bus::server::{EndGuard, ProxyEnd, ProxyShared, StartProxyError, run_terms};
use crate::bus::transport::ServerTransport;
use crate::core::{BoxFuture, Service, spawn_task};
use crate::system::ActorSystem;

/// Connects a system's actors to the bus: from when this returns they can be asked from other
/// processes.
///
/// One system serves a node of a namespace at a time. If another holds its lease, this waits until
/// the lease must have ended if nobody renews it (7 s).
///
/// From then on the proxy lives through what happens to the bus: connections are made again, and a
/// lease that was lost is taken again; [`Proxy::connection_state`] tells. It ends when it is told to,
/// or when another system serves the node: [`Proxy::stopped`].
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
    let health = Arc::default();
    let transport = open_server(config, &health).await?;
    serve(system, config, transport, health).await
}

/// Starts a proxy over a transport that is open already.
pub(crate) async fn serve(
    system: &ActorSystem,
    config: &Config,
    transport: Arc<dyn ServerTransport>,
    health: Arc<Health>,
) -> Result<Proxy, StartProxyError> {
    let registry = system.core().registry.clone();
    let shared = Arc::new(ProxyShared::new(config, registry, transport, health));
    let grant = match shared.acquire().await {
        Ok(grant) => grant,
        Err(error) => {
            shared.transport.close().await;
            return Err(error.into());
        }
    };
    info!(namespace = %config.namespace, node = %config.node, epoch = grant.epoch.0, "proxy serves");
    let proxy = Proxy {
        shared: shared.clone(),
    };
    if !system.core().attach(Arc::new(proxy.clone())) {
        if let Err(reason) = shared.release(grant.epoch).await {
            shared.warn_of_release(&reason);
        }
        shared.transport.close().await;
        return Err(StartProxyError::SystemClosed);
    }
    // Aborted when the task of the lease terms is dropped, as its runtime may do.
    let consumer = AbortOnDropHandle::new(tokio::spawn(consume(shared.clone())));
    spawn_task(run_terms(EndGuard(shared), grant, async {
        drop(consumer.await)
    }));
    Ok(proxy)
}

/// The end of an actor system that other processes reach; made by [`start_proxy`].
///
/// Cheap to clone. Dropping it stops nothing.
#[derive(Clone)]
pub struct Proxy {
    pub(crate) shared: Arc<ProxyShared>,
}

impl Proxy {
    /// Waits until the proxy takes no more requests, and says why. A program that cannot go on
    /// without it ends here, or starts another.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again.
    pub async fn stopped(&self) -> ProxyEnd {
        *self.shared.stopped.wait().await
    }

    /// Whether other processes can reach the actors now, to be looked at or waited for: that the
    /// connections live, and the lease is held.
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.health.watch()
    }

    /// The durable messages for this node that nobody could handle.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::over(self.shared.transport.dead_letters())
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
            .field("state", &*self.connection_state().borrow())
            .finish_non_exhaustive()
    }
}

impl Service for Proxy {
    fn stop(&self) -> BoxFuture<'_> {
        Box::pin(async {
            self.shared.stop.cancel();
            self.shared.stopped.wait().await;
        })
    }

    fn finish(&self) -> BoxFuture<'_> {
        Box::pin(async {
            self.shared.ended.wait().await;
        })
    }

    fn abort(&self) {
        // The server's tasks return the lease, stop taking requests, and publish the remaining replies
        // by themselves.
        self.shared.abandoned.cancel();
        self.shared.stop.cancel();
    }

    fn is_over(&self) -> bool {
        self.shared.ended.initialized()
    }
}
