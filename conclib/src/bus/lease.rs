//! The lease of a node, taken before the actors are made, and served only after that.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tracing::{info, warn};

use crate::bus::config::Config;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::health::Health;
use crate::bus::open::{ConnectError, open_server};
use crate::bus::proxy::{PendingProxy, Proxy, begin};
use crate::bus::server::{AcquireMode, ProxyEnd, ProxyShared};
use crate::bus::transport::ServerTransport;
use crate::system::ActorSystem;

/// Waits until it is this system's turn to serve the node, and takes the lease: for as long as that
/// takes, through outages of Redis, from the first connection on.
///
/// While the lease is held and not served, no other system serves, and askers hear
/// [`NoResponder`](crate::AskError::NoResponder): so the actors can be made now, with state that stays
/// current, before anything is asked of them. A system that is [shut
/// down](crate::ActorSystem::shutdown) releases its lease after its actors have stopped, so that the next
/// one loads what they have saved.
///
/// ```
/// use conclib::bus::acquire_lease;
/// use conclib::prelude::*;
///
/// # #[derive(Actor)]
/// # #[actor(urn = "ledger")]
/// # struct Ledger;
/// # impl Ledger { async fn load() -> std::io::Result<Self> { Ok(Self) } }
/// # #[handlers]
/// # impl Ledger {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::memory();
/// let system = ActorSystem::new();
/// let lease = acquire_lease(&system, &config).await?;       // take the lease,
/// system.spawn(Ledger::load().await?).await?;               // then spawn,
/// let proxy = lease.serve().await?;                         // then serve
/// # drop(proxy);
/// # Ok(()) }
/// ```
///
/// [`run`](crate::service::run) does this, and the rest of a process' life.
///
/// # Errors
///
/// [`ConnectError`]: a setting is wrong, this system is shutting down, or a younger process of the
/// same [`Config::instance`] has taken this one's place. No outage is an error.
///
/// # Cancel safety
///
/// A call dropped before it is ready releases a lease that it may have taken.
pub async fn acquire_lease(system: &ActorSystem, config: &Config) -> Result<Lease, ConnectError> {
    let (config, health) = (&config.as_member(), Arc::default());
    let core = system.core();
    let transport = tokio::select! {
        biased;
        () = core.closed() => return Err(ConnectError::SystemClosed),
        opened = open_until_reached(config, &health) => opened?,
    };
    let shared = ProxyShared::new(config, core, transport, health);
    let pending = begin(system, shared, AcquireMode::Unlimited).await?;
    let shared = pending.until(ProxyShared::granted).await?;
    Ok(Lease {
        shared: Some(shared),
    })
}

/// Connects, again and again until that succeeds.
async fn open_until_reached(
    config: &Config,
    health: &Arc<Health>,
) -> Result<Arc<dyn ServerTransport>, ConnectError> {
    let mut problem = None;
    let mut attempt = 0;
    loop {
        let error = match open_server(config, health).await {
            Ok(transport) => {
                if problem.is_some() {
                    info!(node = %config.node, "the bus is reached");
                }
                return Ok(transport);
            }
            Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Unavailable { .. })) => {
                Some(error.to_string())
            }
            Err(error) => return Err(error),
        };
        // A password that is wrong is another problem than a Redis that is away.
        if problem != error {
            let reason = error.as_deref();
            warn!(node = %config.node, reason, "the bus cannot be used: trying again until it can");
            problem = error;
        }
        let pause = RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64());
        attempt = attempt.saturating_add(1);
        tokio::time::sleep(pause).await;
    }
}

/// The lease of a node that is held and not served yet, made by [`acquire_lease`].
///
/// Dropping it releases the lease. A lease that is lost meanwhile is taken again if no other system has
/// had it; then [`token`](Self::token) is another one.
#[must_use = "dropping it releases the lease"]
pub struct Lease {
    /// `None` once it is served.
    shared: Option<Arc<ProxyShared>>,
}

impl Lease {
    /// The fencing token: the epoch of this lease, greater than that of every holder before. (The
    /// [token of the actors](crate::Context::token) is the same, unless their system has leases of
    /// several nodes: then it is the greatest of theirs.)
    pub fn token(&self) -> u64 {
        let shared = self.shared.as_ref();
        shared
            .and_then(|shared| shared.last_epoch())
            .map_or(0, |epoch| epoch.0)
    }

    /// Waits until the lease is lost for good, and returns the reason: another system has taken it, or
    /// this one was shut down. Actors that were made by then are out of date.
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    pub async fn lost(&self) -> ProxyEnd {
        match &self.shared {
            Some(shared) => *shared.stopped.wait().await,
            None => ProxyEnd::Stopped,
        }
    }

    /// Lets other processes ask the actors from now on.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: the lease is lost for good, or the system is shutting down.
    ///
    /// # Cancel safety
    ///
    /// A call dropped before it is ready releases the lease.
    pub async fn serve(mut self) -> Result<Proxy, ConnectError> {
        let proxy = self.open().await?;
        self.shared = None; // the system owns the proxy
        Ok(proxy)
    }

    /// The same for a lease that stays in the hands of its holder.
    pub(crate) async fn open(&self) -> Result<Proxy, ConnectError> {
        let shared = self.shared.as_ref().ok_or(ConnectError::SystemClosed)?;
        shared.serves.cancel();
        shared.opened().await?;
        let shared = shared.clone();
        Ok(Proxy { shared })
    }

    /// A call that releases the lease at once, without waiting for actors and replies.
    pub(crate) fn releaser(&self) -> impl Future<Output = ()> + use<> {
        let shared = self.shared.clone();
        async move {
            if let Some(shared) = shared {
                shared.release_now().await;
            }
        }
    }

    /// Releases the lease, so that another system has its turn.
    ///
    /// # Cancel safety
    ///
    /// If the call is dropped before it is ready, the lease is released all the same.
    pub async fn release(mut self) {
        if let Some(shared) = self.shared.take() {
            Proxy { shared }.shutdown().await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.shared.take().map(PendingProxy::new));
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}
