//! The actor system's end of the bus: takes requests off the inbox and hands them to actors, as
//! long as it holds the lease of its node.
//!
//! A [`Reign`] is the time in which this system holds one lease. Three tasks serve it: the *keeper*
//! renews the lease and gives it back; the *popper* takes requests; the *publisher* sends answers.
//!
//! The popper never waits for an actor: a request that cannot be put into a mailbox at once is
//! answered so. A lease that is lost is taken again, unless another system has it: that is the next
//! reign, with an inbox of its own.
//!
//! Everything is fenced by the lease. Requests are popped and executed only while the moment of
//! the last renewal, as it was sent, plus the length of the lease, less a margin, lies ahead. So
//! this process has stopped before Redis lets another in. And what was popped is executed only if
//! the lease was still there afterwards: a Redis that lost its data, or was replaced by one that
//! lags behind, has given no promise. So a client that finds no lease knows that its request was not
//! executed.

use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{SetOnce, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::bus::config::Config;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::health::Health;
use crate::bus::link::server_clock::BusClock;
use crate::bus::protocol::{Request, VERSION};
use crate::bus::transport::{
    Acquired, Epoch, LEASE, Lease, OpenError, ServerTransport, TransportError,
};
use crate::core::registry::Registry;

use fence::Fence;
use publisher::Outlet;
use term::{Reign, ReignEnd};

mod cancellations;
mod dedup;
pub(crate) mod fence;
pub(crate) mod publisher;
pub(crate) mod receiver;
mod retry_after;
mod term;
#[cfg(test)]
mod tests;

/// How long before the end of the lease this end stops: for clocks that run at different speeds,
/// and for the time that a handler takes to start.
const MARGIN: Duration = Duration::from_millis(500);

/// How long answers to what was taken may be on their way when nobody waits for the proxy's end.
pub(crate) const FINISH: Duration = Duration::from_secs(10);

/// A lease that another has held for this long is being renewed.
const HELD: Duration = LEASE.saturating_add(Duration::from_secs(1));

/// How long to wait before looking again whether a lease is free.
const BETWEEN: Duration = Duration::from_millis(200);

/// What the lease is called in a [`ConnectionState`](crate::ConnectionState).
const LEASE_PART: &str = "the lease";

/// Serves, reign after reign, until the proxy is to stop or another system serves.
/// At its end it waits for `consumer`, which publishes replies until it has ended.
pub(crate) async fn govern(ends: Ends, mut granted: Granted, consumer: impl Future<Output = ()>) {
    let shared = &ends.0;
    // Answers of a reign that is over go on while the next one serves.
    let mut leaving = JoinSet::new();
    let (end, outlet) = loop {
        let (ended, outlet) = Reign::begin(shared, granted).serve().await;
        match ended {
            ReignEnd::Released => break (ProxyEnd::Stopped, outlet),
            ReignEnd::Lost(why) => shared.health.lose(LEASE_PART, &why),
        }
        granted = match shared.regain().await {
            Ok(granted) => granted,
            Err(end) => break (end, outlet),
        };
        info!(node = %shared.node, epoch = granted.epoch.0, "proxy serves again");
        shared.health.regain(LEASE_PART);
        while leaving.try_join_next().is_some() {}
        let shared = shared.clone();
        leaving.spawn(async move { shared.see_out(outlet, ready(())).await });
    };
    shared.health.close();
    // Set once: nobody else does.
    drop(shared.stopped.set(end));
    shared.see_out(outlet, consumer).await;
    leaving.join_all().await;
    shared.transport.close().await;
}

/// Says that the proxy has ended, at the latest when its runtime ends.
pub(crate) struct Ends(pub(crate) Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.health.close();
        // Fails if it has been said already.
        drop(self.0.stopped.set(ProxyEnd::Stopped));
        drop(self.0.ended.set(()));
    }
}

/// A lease that was taken.
#[derive(Clone, Copy)]
pub(crate) struct Granted {
    pub(crate) epoch: Epoch,
    /// Until when it is safe to execute requests, if it is not renewed.
    until: Instant,
}

/// What became of an attempt to take the lease.
enum Attempt {
    Granted(Granted),
    Held { holder: Epoch },
    Failed(TransportError),
}

/// What the proxy's tasks share, in all its reigns.
pub(crate) struct Shared {
    pub(crate) node: String,
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    pub(crate) transport: Arc<dyn ServerTransport>,
    pub(crate) clock: BusClock,
    /// How many bytes of requests wait in mailboxes.
    undelivered: Arc<AtomicUsize>,
    /// The fence and the outlet of the reign of the moment, or of the last one.
    pub(crate) reigning: watch::Sender<Option<(Arc<Fence>, Arc<Outlet>)>>,
    /// What the public sees of connections and lease.
    pub(crate) health: Arc<Health>,
    /// Cancelled when it is to stop in good order.
    pub(crate) stop: CancellationToken,
    /// Cancelled when nobody waits for its end any more.
    pub(crate) abandoned: CancellationToken,
    /// Set when no more requests are taken, with the reason.
    pub(crate) stopped: SetOnce<ProxyEnd>,
    /// Set when the connections are closed.
    pub(crate) ended: SetOnce<()>,
}

/// Why a proxy takes no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyEnd {
    /// It was shut down.
    Stopped,
    /// It had lost its lease, and another system serves the node now. (A lease that nobody else has
    /// is taken again, as soon as the bus can be reached.)
    LeaseLost,
}

impl Shared {
    pub(crate) fn new(
        config: &Config,
        registry: Arc<Registry>,
        transport: Arc<dyn ServerTransport>,
        health: Arc<Health>,
    ) -> Self {
        Self {
            node: config.node.clone(),
            config: config.clone(),
            registry,
            transport,
            clock: BusClock::default(),
            undelivered: Arc::default(),
            reigning: watch::Sender::new(None),
            health,
            stop: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            stopped: SetOnce::new(),
            ended: SetOnce::new(),
        }
    }

    /// Takes the lease, waiting for one that nobody renews to end.
    pub(crate) async fn acquire(&self) -> Result<Granted, StartProxyError> {
        let patience = Instant::now() + HELD;
        loop {
            match self.try_acquire().await {
                Attempt::Granted(granted) => return Ok(granted),
                Attempt::Held { holder } if Instant::now() >= patience => {
                    return Err(StartProxyError::NamespaceTaken { holder: holder.0 });
                }
                Attempt::Held { .. } => sleep(BETWEEN).await,
                Attempt::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the lease again after it was lost, however long the bus is away. Not if another system
    /// has it, and goes on having it.
    async fn regain(&self) -> Result<Granted, ProxyEnd> {
        let mut attempt = 0;
        let mut held_since = None;
        loop {
            if self.stop.is_cancelled() {
                return Err(ProxyEnd::Stopped);
            }
            let wait = match self.try_acquire().await {
                Attempt::Granted(granted) => return Ok(granted),
                Attempt::Held { holder } => {
                    let since = *held_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= HELD {
                        error!(node = %self.node, holder = holder.0, "another system serves: proxy stops");
                        return Err(ProxyEnd::LeaseLost);
                    }
                    BETWEEN
                }
                Attempt::Failed(reason) => {
                    debug!(node = %self.node, %reason, "the lease cannot be taken yet");
                    held_since = None;
                    attempt += 1;
                    RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())
                }
            };
            // If it is to stop, it does so above.
            let _ = self.stop.run_until_cancelled(sleep(wait)).await;
        }
    }

    async fn try_acquire(&self) -> Attempt {
        let lease = Lease {
            epoch: Epoch(0),
            versions: (VERSION, VERSION),
            max_frame: self.config.max_frame as u64,
        };
        let sent = Instant::now();
        match self.transport.acquire(&lease).await {
            Ok(Acquired::Granted { epoch, now }) => {
                self.clock.learn(sent, Instant::now(), now);
                let until = sent + LEASE - MARGIN;
                Attempt::Granted(Granted { epoch, until })
            }
            Ok(Acquired::Held { holder }) => Attempt::Held {
                holder: holder.epoch,
            },
            Err(error) => Attempt::Failed(error),
        }
    }

    /// Gives the lease back, which ends the reign at once; false if it was not ours.
    pub(crate) async fn try_release(&self, epoch: Epoch) -> Result<bool, TransportError> {
        self.transport.release(epoch, Request::wake()).await
    }

    pub(crate) fn warn_of_release(&self, reason: &TransportError) {
        warn!(node = %self.node, %reason, "the lease could not be given back; it runs out");
    }

    /// After the last request of a reign was taken: publishes answers until all are given, and
    /// whoever else gives some has ended; but not for ever if nobody waits for that.
    async fn see_out(&self, outlet: Arc<Outlet>, others: impl Future<Output = ()>) {
        let answers = async {
            others.await;
            outlet.drained().await;
        };
        let patience = async {
            self.abandoned.cancelled().await;
            sleep(FINISH).await;
        };
        tokio::select! {
            () = answers => {}
            () = patience => warn!(node = %self.node, "some requests were not answered in time"),
        }
        outlet.close();
    }

    // ---- for who lives longer than a reign

    /// True while requests may be executed.
    pub(crate) fn is_reigning(&self) -> bool {
        let reigning = self.reigning.borrow();
        reigning.as_ref().is_some_and(|(fence, _)| fence.is_open())
    }

    /// True if an actor that others may ask has this URN.
    pub(crate) fn has_actor(&self, urn: &str) -> bool {
        let actor = self.registry.get(urn);
        actor.is_some_and(|actor| !actor.is_private())
    }

    /// Waits until requests may be executed; false if that will never be.
    pub(crate) async fn reigns(&self) -> bool {
        let mut changes = self.reigning.subscribe();
        loop {
            let reigning = changes.borrow_and_update().clone();
            if let Some((fence, _)) = reigning
                && fence.opens().await
            {
                return !self.stopped.initialized();
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = self.stopped.wait() => return false,
            }
        }
    }

    /// Where answers go that do not depend on a reign.
    pub(crate) fn outlet(&self) -> Option<Arc<Outlet>> {
        let reigning = self.reigning.borrow();
        reigning.as_ref().map(|(_, outlet)| outlet.clone())
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
