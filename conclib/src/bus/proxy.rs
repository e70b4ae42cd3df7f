//! The proxy is an actor system's end of the bus. It is composed of the server and the consumer of
//! durable messages; the server does not know the consumer.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::config::{Config, ConfigError};
use crate::bus::durable::consumer::consume;
use crate::bus::durable::dead_letters::DeadLetters;
use crate::bus::fleet::{self, Membership};
use crate::bus::inspect::member::answer_operators;
use crate::bus::link::health::{ConnectionState, Health};
use crate::bus::open::{ConnectError, open_server};
use crate::bus::server::backlog::read_backlog;
use crate::bus::server::counters::ProxyStats;
use crate::bus::server::{AcquireError, AcquireMode, EndGuard, ProxyEnd, ProxyShared, run};
use crate::bus::transport::ServerTransport;
use crate::core::{BoxFuture, Service, SystemCore, spawn_task};
use crate::system::ActorSystem;

/// Connects the actors of a system to the bus. Once this returns, other processes can ask them:
/// spawn the actors before it, since asks for an absent one end with `ActorNotFound`.
///
/// One system serves a node of a namespace at a time. If another one holds the lease, this waits for
/// the time in which its lease expires if it is not renewed, and a second more (7 s by default): one that
/// [shuts down](ActorSystem::shutdown) holds it until its actors have stopped, which may take longer. A
/// process that is to wait for its turn, and to make its actors with state that is then current, uses
/// [`run`](crate::service::run) instead, or [`acquire_lease`](crate::bus::acquire_lease).
///
/// In a [fleet](Config::fleet) the system becomes a member: it serves a node of its own beside those of others, and
/// takes the lease of no other process, except of an earlier one of its [instance](Config::instance). It joins the
/// map of the fleet and lists its names in the background. A system is a member of one fleet at a time; shutting
/// it down first has clients choose other members.
///
/// A running proxy survives failures of the bus: it connects again, and takes a lost lease again if no
/// other system has had it; [`Proxy::connection_state`] reports both. It ends when it is shut down, or
/// when another system has served the node: see [`Proxy::stopped`].
///
/// The system owns the proxy: dropping the [`Proxy`] stops nothing, and
/// [`shutdown`](ActorSystem::shutdown) of the system stops it first and ends it last.
///
/// # Errors
///
/// [`ConnectError`]: a setting is wrong, the bus cannot be reached, another system serves, this one is
/// shutting down, or is a member of a fleet already.
///
/// # Cancel safety
///
/// A call dropped before it is ready releases a lease that it may have taken.
pub async fn start_proxy(system: &ActorSystem, config: &Config) -> Result<Proxy, ConnectError> {
    let (config, health) = (config.as_member(), Arc::default());
    let transport = open_server(&config, &health).await?;
    serve(system, &config, transport, health).await
}

/// Starts a proxy over an open transport.
pub(crate) async fn serve(
    system: &ActorSystem,
    config: &Config,
    transport: Arc<dyn ServerTransport>,
    health: Arc<Health>,
) -> Result<Proxy, ConnectError> {
    let shared = ProxyShared::new(config, system.core(), transport, health);
    shared.serves.cancel();
    let pending = begin(system, shared, AcquireMode::UntilExpiry).await?;
    let shared = pending.until(ProxyShared::opened).await?;
    Ok(Proxy { shared })
}

/// A proxy that is being started: told to stop when it is dropped.
pub(crate) struct PendingProxy(Option<Arc<ProxyShared>>);

impl PendingProxy {
    pub(crate) fn new(shared: Arc<ProxyShared>) -> Self {
        Self(Some(shared))
    }

    /// The proxy's state, once it has come so far.
    pub(crate) async fn until(
        mut self,
        has_come: impl AsyncFn(&ProxyShared) -> Result<(), AcquireError>,
    ) -> Result<Arc<ProxyShared>, ConnectError> {
        let Some(shared) = &self.0 else {
            return Err(ConnectError::SystemClosed);
        };
        has_come(shared).await?;
        self.0.take().ok_or(ConnectError::SystemClosed)
    }
}

impl Drop for PendingProxy {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.abort();
        }
    }
}

/// Has a task take the lease and serve. The system owns it from now on.
pub(crate) async fn begin(
    system: &ActorSystem,
    mut shared: ProxyShared,
    mode: AcquireMode,
) -> Result<PendingProxy, ConnectError> {
    let core = system.core();
    if shared.config.propagator.is_some() {
        core.note_traced();
    }
    if shared.config.is_in_fleet() {
        let map = shared.transport.fleet();
        shared.fleet = Membership::begin(core, map, &shared.node);
        if shared.fleet.is_none() {
            shared.transport.close().await;
            return Err(ConfigError::second_fleet().into());
        }
    }
    let shared = Arc::new(shared);
    let proxy = Proxy {
        shared: shared.clone(),
    };
    if !core.attach(Arc::new(AttachedProxy(proxy))) {
        if shared.fleet.is_some() {
            core.end_name_lists();
        }
        shared.transport.close().await;
        return Err(ConnectError::SystemClosed);
    }
    // Both are aborted if a runtime that ends drops the task of the lease terms.
    let consumer = shared.fleet.is_none().then(|| consume(shared.clone()));
    let consumer = consumer.map(|consumer| AbortOnDropHandle::new(tokio::spawn(consumer)));
    let consumer = async {
        if let Some(consumer) = consumer {
            drop(consumer.await);
        }
    };
    let fleet = shared.fleet.clone().map(|fleet| {
        let member = be_member(shared.clone(), fleet.clone(), core.clone());
        (fleet, AbortOnDropHandle::new(tokio::spawn(member)))
    });
    let operators = answer_operators(shared.clone(), Arc::downgrade(core));
    let operators = AbortOnDropHandle::new(tokio::spawn(operators));
    let end = CancellationToken::new();
    let backlog = read_backlog(shared.clone(), end.clone());
    let backlog = AbortOnDropHandle::new(tokio::spawn(backlog));
    let leave = async move {
        let _operators = operators; // answered until the end
        end.cancel();
        drop(backlog.await);
        if let Some((fleet, member)) = fleet {
            fleet.leave();
            drop(member.await);
        }
    };
    spawn_task(run(EndGuard(shared.clone()), mode, consumer, leave));
    Ok(PendingProxy::new(shared))
}

/// Keeps a system a member of its fleet, from when it serves until it is to leave.
async fn be_member(shared: Arc<ProxyShared>, fleet: Arc<Membership>, core: Arc<SystemCore>) {
    if shared.opened().await.is_ok() {
        fleet::member::run(fleet.clone()).await;
    }
    core.end_name_lists();
    fleet.end();
}

/// The end of an actor system that other processes can reach, made by [`start_proxy`].
///
/// Cheap to clone. Dropping it stops nothing.
#[derive(Clone)]
pub struct Proxy {
    pub(crate) shared: Arc<ProxyShared>,
}

impl Proxy {
    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<ProxyShared> {
        &self.shared
    }

    /// Waits until the proxy accepts no more requests, and returns the reason. A program that depends on
    /// the proxy ends then, or starts another one.
    ///
    /// # Cancel safety
    ///
    /// The call may be dropped and repeated.
    pub async fn stopped(&self) -> ProxyEnd {
        *self.shared.stopped.wait().await
    }

    /// The epoch of the lease that the system holds; `None` while it holds none. Each term of each
    /// system has a greater one, so that it serves as a fencing token: see
    /// [`Context::token`](crate::Context::token).
    pub fn epoch(&self) -> Option<u64> {
        self.shared.epoch().map(|epoch| epoch.0)
    }

    /// The counters of the requests that came to this proxy.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # #[derive(ActorMessage, Serialize, Deserialize)]
    /// # struct Note;
    /// let system = ActorSystem::new();
    /// let proxy = start_proxy(&system, &Config::memory()).await?;
    /// let stats = proxy.stats();
    /// assert_eq!((stats.received_asks, stats.lost_tells.len()), (0, 0));
    /// # Ok(()) }
    /// ```
    pub fn stats(&self) -> ProxyStats {
        self.shared.stats()
    }

    /// The state of connections and lease now: other processes can reach the actors while it is
    /// connected.
    pub fn state(&self) -> ConnectionState {
        self.shared.health.state()
    }

    /// The state of connections and lease, to be watched or waited for.
    pub fn connection_state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.health.watch()
    }

    /// The dead letters of this node: durable messages that could not be handled.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::over(self.shared.transport.dead_letters())
    }

    /// Shuts the proxy down gracefully: other processes learn at once that no system serves, accepted
    /// requests are answered within 10 s, and then the lease is released.
    ///
    /// The actors continue, and no lease keeps the next process from loading their state. Where that
    /// matters, shut the [system](ActorSystem::shutdown) down instead: it holds the lease until its actors
    /// have stopped.
    ///
    /// # Cancel safety
    ///
    /// If the call is dropped before it is ready, the proxy ends all the same, in the same order.
    pub async fn shutdown(&self) {
        // At once, so that a call that is dropped leaves no lease behind.
        self.shared.abandoned.cancel();
        self.shared.stop.cancel();
        self.finish().await;
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("node", &self.shared.node)
            .field("state", &self.state())
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
            self.shared.finish.cancel();
            self.shared.ended.wait().await;
        })
    }

    fn abort(&self) {
        self.shared.abort();
    }

    fn is_over(&self) -> bool {
        self.shared.ended.initialized()
    }

    fn is_serving(&self) -> bool {
        self.shared.is_serving()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The proxy as its system owns it. A system that forgets it, such as in a shutdown that is dropped, must
/// not leave a lease behind that is renewed for ever.
struct AttachedProxy(Proxy);

impl Drop for AttachedProxy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Service for AttachedProxy {
    fn stop(&self) -> BoxFuture<'_> {
        self.0.stop()
    }

    fn finish(&self) -> BoxFuture<'_> {
        self.0.finish()
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }

    fn is_serving(&self) -> bool {
        self.0.is_serving()
    }

    fn as_any(&self) -> &dyn Any {
        &self.0
    }
}

impl ActorSystem {
    /// The proxies of the system, until its shutdown: those by [`start_proxy`], and that of
    /// [`run`](crate::service::run).
    pub fn proxies(&self) -> Vec<Proxy> {
        let mut proxies = Vec::new();
        self.core().each_service(|service| {
            proxies.extend(service.as_any().downcast_ref::<Proxy>().cloned());
        });
        proxies
    }
}
