//! The actor system's end of the bus: takes requests off the inbox and hands them to actors, as
//! long as it holds the lease of its node.
//!
//! A [`LeaseTerm`] is the time in which this system holds one lease. Three tasks serve it: the
//! *renewer* renews the lease and releases it, the *receiver* takes requests, and the *publisher*
//! sends replies.
//!
//! The receiver never waits for an actor: a request that does not fit into a mailbox is refused at
//! once. A lease that is lost is taken again, unless another system has it: that begins the next
//! term, with an inbox of its own.
//!
//! Everything is fenced by the lease. Requests are popped and executed only until the moment at which
//! the last renewal was sent, plus the length of the lease, less a margin. So this process has stopped
//! before Redis lets another in. Requests are also executed only if the lease was still there after
//! they had been popped: a Redis that lost its data, or was replaced by one that lags behind, has not
//! kept the lease. So a client that finds no lease knows that its request was not executed.

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{SetOnce, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::bus::config::Config;
use crate::bus::link::health::Health;
use crate::bus::link::server_clock::ServerClock;
use crate::bus::open::ConnectError;
use crate::bus::transport::ServerTransport;
use crate::core::registry::Registry;

use acquire::{AcquireError, LeaseGrant};
use fence::Fence;
use publisher::ReplyPublisher;
use term::{LeaseTerm, TermEnd};
use tracker::RequestTracker;

mod acquire;
mod cancellations;
mod dedup;
pub(crate) mod fence;
mod held_requests;
pub(crate) mod publisher;
pub(crate) mod receiver;
mod retry_after;
mod term;
#[cfg(test)]
mod tests;
mod tracker;

/// Time for which replies may be published after the proxy's handle has stopped waiting.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Name of the lease in a [`ConnectionState`](crate::bus::ConnectionState).
const LEASE_PART: &str = "the lease";

/// Serves, term after term, until the proxy is to stop or another system serves. At its end it waits
/// for `consumer`, which publishes replies until it has ended.
pub(crate) async fn run_terms(
    guard: EndGuard,
    mut grant: LeaseGrant,
    consumer: impl Future<Output = ()>,
) {
    let shared = &guard.0;
    // Replies of a term that is over are published while the next one serves.
    let mut draining = JoinSet::new();
    let (end, publisher) = loop {
        let (ended, publisher) = LeaseTerm::begin(shared, grant).serve().await;
        match ended {
            TermEnd::Released => break (ProxyEnd::Stopped, publisher),
            TermEnd::Lost(why) => shared.health.mark_lost(LEASE_PART, &why),
        }
        grant = match shared.reacquire().await {
            Ok(grant) => grant,
            Err(end) => break (end, publisher),
        };
        info!(node = %shared.node, epoch = grant.epoch.0, "the proxy serves again");
        shared.health.mark_connected(LEASE_PART);
        while draining.try_join_next().is_some() {}
        let shared = shared.clone();
        draining.spawn(async move { shared.drain(publisher, ready(())).await });
    };
    shared.health.close();
    // Cannot fail: the guard sets it only after this.
    drop(shared.stopped.set(end));
    shared.drain(publisher, consumer).await;
    draining.join_all().await;
    shared.transport.close().await;
}

/// Announces the end of the proxy when it is dropped, at the latest with its runtime.
pub(crate) struct EndGuard(pub(crate) Arc<ProxyShared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.health.close();
        // Fails if the reason is set already.
        drop(self.0.stopped.set(ProxyEnd::Stopped));
        drop(self.0.ended.set(()));
    }
}

/// The state that the proxy's tasks share, in all terms.
pub(crate) struct ProxyShared {
    pub(crate) node: String,
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    pub(crate) transport: Arc<dyn ServerTransport>,
    pub(crate) clock: ServerClock,
    /// Total size of the requests that wait in mailboxes, in bytes.
    undelivered: Arc<AtomicUsize>,
    /// The fence and the requests of the current term, or of the last one.
    pub(crate) current_term: watch::Sender<Option<(Arc<Fence>, Arc<RequestTracker>)>>,
    /// The state of connections and lease, for the public.
    pub(crate) health: Arc<Health>,
    /// Cancelled when the proxy is to stop in good order.
    pub(crate) stop: CancellationToken,
    /// Cancelled when no caller waits for the proxy's end any more.
    pub(crate) abandoned: CancellationToken,
    /// Set when no more requests are taken, with the reason.
    pub(crate) stopped: SetOnce<ProxyEnd>,
    /// Set when the connections are closed.
    pub(crate) ended: SetOnce<()>,
}

/// The reason why a proxy takes no more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyEnd {
    /// The proxy was shut down.
    Stopped,
    /// The proxy had lost its lease, and another system serves the node now. (A lease that no other
    /// system has is taken again, as soon as the bus can be reached.)
    LeaseLost,
}

impl fmt::Display for ProxyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the proxy was shut down",
            Self::LeaseLost => "the lease was lost, and another actor system serves the node",
        })
    }
}

impl ProxyShared {
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
            clock: ServerClock::default(),
            undelivered: Arc::default(),
            current_term: watch::Sender::new(None),
            health,
            stop: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            stopped: SetOnce::new(),
            ended: SetOnce::new(),
        }
    }

    /// Publishes the remaining replies after the last request of a term was taken, and those of
    /// `consumer`, until it has ended and every reply is published; ends after [`DRAIN_TIMEOUT`] if
    /// no caller waits.
    async fn drain(&self, publisher: Arc<ReplyPublisher>, consumer: impl Future<Output = ()>) {
        let replies = async {
            consumer.await;
            publisher.drained().await;
        };
        let timeout = async {
            self.abandoned.cancelled().await;
            sleep(DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            () = replies => {}
            () = timeout => warn!(node = %self.node, "some requests were not answered in time: their askers time out"),
        }
        publisher.close();
    }

    /// True while requests may be executed.
    pub(crate) fn may_execute(&self) -> bool {
        let current = self.current_term.borrow();
        current.as_ref().is_some_and(|(fence, _)| fence.is_open())
    }

    /// True if an actor that other processes may ask has this URN.
    pub(crate) fn has_actor(&self, urn: &str) -> bool {
        let actor = self.registry.get(urn);
        actor.is_some_and(|actor| !actor.is_private())
    }

    /// Waits until requests may be executed; false if the proxy has stopped.
    pub(crate) async fn holds_lease(&self) -> bool {
        let mut changes = self.current_term.subscribe();
        loop {
            let current = changes.borrow_and_update().clone();
            if let Some((fence, _)) = current
                && fence.wait_open().await
            {
                return !self.stopped.initialized();
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = self.stopped.wait() => return false,
            }
        }
    }

    /// The requests of the current term, or of the last one: for replies that depend on no term.
    pub(crate) fn requests(&self) -> Option<Arc<RequestTracker>> {
        let current = self.current_term.borrow();
        current.as_ref().map(|(_, requests)| requests.clone())
    }
}

impl From<AcquireError> for ConnectError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Held { holder } => Self::NodeTaken { holder: holder.0 },
            AcquireError::Failed(error) => Self::Unavailable {
                reason: error.to_string(),
            },
        }
    }
}
