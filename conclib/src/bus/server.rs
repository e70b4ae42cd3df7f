//! The actor system's end of the bus: takes requests off the inbox and hands them to actors, as
//! long as it holds the lease of its node.
//!
//! A [`LeaseTerm`] is the time in which this system holds one lease. Three tasks serve it: the
//! [*renewer*](renewer) renews the lease, closes it and releases it, the *receiver* takes requests, and
//! the *publisher* sends replies.
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

use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{SetOnce, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::bus::config::Config;
use crate::bus::fleet::Membership;
use crate::bus::link::health::Health;
use crate::bus::link::log_once::LogOnce;
use crate::bus::link::server_clock::ServerClock;
use crate::bus::open::ConnectError;
use crate::bus::transport::{Epoch, ServerTransport};
use crate::core::registry::Registry;
use crate::core::{FencingToken, SystemCore};

use acquire::OwnLease;
pub(crate) use acquire::{AcquireError, AcquireMode};
use backlog::BacklogReader;
use contested::ContestedTerms;
use counters::ProxyCounters;
use dedup::Deduplicator;
pub(crate) use end::EndGuard;
pub use end::ProxyEnd;
use fence::Fence;
use former::FormerHolder;
use operator::OperatorQueue;
use publisher::ReplyPublisher;
use skew_log::SkewLog;
use term::{LeaseTerm, TermEnd};
use tracker::RequestTracker;

mod acquire;
pub(crate) mod backlog;
mod cancellations;
mod contested;
pub(crate) mod counters;
mod dedup;
mod end;
pub(crate) mod fence;
mod former;
mod held_requests;
pub(crate) mod operator;
pub(crate) mod publisher;
pub(crate) mod receiver;
mod renewer;
mod retry_after;
pub(crate) mod skew_log;
mod term;
#[cfg(test)]
mod tests;
mod tracker;

/// Time for which replies may be published after the proxy's handle has stopped waiting.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Name of the lease in a [`ConnectionState`](crate::bus::ConnectionState).
const LEASE_PART: &str = "the lease";

/// Takes the lease and serves, term after term, until the proxy is to stop or another system serves.
/// At its end it waits for `consumer`, which publishes replies until it has ended, and then for `goodbye`.
pub(crate) async fn run(
    guard: EndGuard,
    mode: AcquireMode,
    consumer: impl Future<Output = ()>,
    goodbye: impl Future<Output = ()>,
) {
    let shared = &guard.0;
    match shared.acquire(mode).await {
        Ok(lease) => run_terms(shared, lease, consumer).await,
        // Cannot fail: it is set once.
        Err(error) => drop(shared.refused.set(error)),
    }
    goodbye.await;
    shared.transport.close().await;
}

async fn run_terms(
    shared: &Arc<ProxyShared>,
    mut lease: OwnLease,
    consumer: impl Future<Output = ()>,
) {
    // Replies of a term that is over are published while the next one serves.
    let mut draining = JoinSet::new();
    let mut contested = ContestedTerms::default();
    let (end, publisher, held) = loop {
        let (epoch, begun) = (lease.epoch, Instant::now());
        let (ended, publisher) = LeaseTerm::begin(shared, lease).serve().await;
        match ended {
            TermEnd::Closed(held) => break (ProxyEnd::Stopped, publisher, Some(held)),
            TermEnd::Lost(why) => {
                counters::count(&shared.counters.lease_losses);
                shared.health.mark_lost(LEASE_PART, &why);
            }
        }
        shared.pause_if_contested(&mut contested, begun).await;
        lease = match shared.reacquire(epoch).await {
            Ok(lease) => lease,
            Err(end) => break (end, publisher, None),
        };
        contested.begin(lease.follows_own(epoch));
        info!(node = %shared.node, epoch = lease.epoch.0, "the proxy has the lease again");
        shared.health.mark_connected(LEASE_PART);
        while draining.try_join_next().is_some() {}
        let shared = shared.clone();
        draining.spawn(async move { shared.drain(publisher, ready(())).await });
    };
    if end != ProxyEnd::Stopped {
        shared.is_revoked.store(true, Ordering::Relaxed);
    }
    shared.health.close();
    // Cannot fail: the guard sets it only after this.
    drop(shared.stopped.set(end));
    if held.is_some() {
        // The actors may save their state until they have stopped: no other system is to load it before.
        shared.finish.cancelled().await;
    }
    shared.drain(publisher, consumer).await;
    draining.join_all().await;
    if let Some(held) = held {
        held.end().await;
    }
}

/// The state that the proxy's tasks share, in all terms.
pub(crate) struct ProxyShared {
    pub(crate) node: String,
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    /// The greatest epoch of the system's leases, for the actors.
    token: Arc<FencingToken>,
    pub(crate) transport: Arc<dyn ServerTransport>,
    pub(crate) clock: ServerClock,
    /// Total size of the requests that wait in mailboxes, in bytes.
    undelivered: Arc<AtomicUsize>,
    pub(crate) counters: Arc<ProxyCounters>,
    /// Requests of those who inspect and operate the process.
    pub(crate) operators: OperatorQueue,
    /// What waits on the bus for the node.
    backlog: BacklogReader,
    /// Anomalies of all terms.
    pub(crate) log: LogOnce,
    /// The messages that do not decode.
    pub(crate) skew_log: Arc<SkewLog>,
    /// Another system serves the node: requests that no handler has begun are refused, those of all
    /// terms.
    is_revoked: Arc<AtomicBool>,
    /// The last epoch whose requests were taken, and the requests that were; `None` while they are
    /// taken.
    taken: Mutex<Option<(Epoch, Option<Deduplicator>)>>,
    /// The system's membership in a fleet, if it has one.
    pub(crate) fleet: Option<Arc<Membership>>,
    /// The system that held the lease before.
    pub(crate) former: FormerHolder,
    /// The current term, or the last one.
    pub(crate) current_term: watch::Sender<Option<CurrentTerm>>,
    /// The state of connections and lease, for the public.
    pub(crate) health: Arc<Health>,
    /// Cancelled when the actors are to be asked: until then the lease is only held.
    pub(crate) serves: CancellationToken,
    /// Set if the lease cannot be taken at all, with the reason.
    pub(crate) refused: SetOnce<AcquireError>,
    /// Cancelled when the proxy is to stop in good order: no more requests are taken.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the actors have stopped, or are not waited for: the lease is released once the
    /// replies are published.
    pub(crate) finish: CancellationToken,
    /// Cancelled when the lease is to be released at once. Cancels [`finish`](Self::finish) too.
    aborted: CancellationToken,
    /// Cancelled when no caller waits for the proxy's end any more.
    pub(crate) abandoned: CancellationToken,
    /// Set when no more requests are taken, with the reason.
    pub(crate) stopped: SetOnce<ProxyEnd>,
    /// Set when the connections are closed.
    pub(crate) ended: SetOnce<()>,
}

/// A lease term, as the proxy's parts see it.
#[derive(Clone)]
pub(crate) struct CurrentTerm {
    pub(crate) epoch: Epoch,
    pub(crate) fence: Arc<Fence>,
    pub(crate) requests: Arc<RequestTracker>,
    /// Requests are taken. False while the lease is only held.
    pub(crate) is_open: bool,
}

impl CurrentTerm {
    /// True while requests may be executed.
    pub(crate) fn may_execute(&self) -> bool {
        self.is_open && self.fence.is_open()
    }
}

impl ProxyShared {
    pub(crate) fn new(
        config: &Config,
        core: &SystemCore,
        transport: Arc<dyn ServerTransport>,
        health: Arc<Health>,
    ) -> Self {
        let aborted = CancellationToken::new();
        Self {
            node: config.node.clone(),
            config: config.clone(),
            registry: core.registry.clone(),
            token: core.token.clone(),
            transport,
            clock: ServerClock::default(),
            undelivered: Arc::default(),
            counters: Arc::default(),
            operators: OperatorQueue::default(),
            backlog: BacklogReader::default(),
            log: LogOnce::default(),
            skew_log: Arc::default(),
            is_revoked: Arc::default(),
            taken: Mutex::default(),
            fleet: None,
            former: FormerHolder::default(),
            current_term: watch::Sender::new(None),
            health,
            serves: CancellationToken::new(),
            refused: SetOnce::new(),
            stop: CancellationToken::new(),
            finish: aborted.child_token(),
            aborted,
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

    /// Begins a term whose lease was taken.
    fn begin_term(&self, term: CurrentTerm) {
        self.token.note(term.epoch.0);
        self.current_term.send_replace(Some(term));
    }

    /// Requests of the current term are taken from now on.
    fn open_term(&self) {
        self.current_term.send_modify(|term| {
            if let Some(term) = term {
                term.is_open = true;
            }
        });
    }

    /// Waits until this system has the lease, or fails with the reason that it will not.
    pub(crate) async fn granted(&self) -> Result<(), AcquireError> {
        self.term(|_| true).await
    }

    /// Waits until the actors of this system can be asked, or fails with the reason that they will not.
    pub(crate) async fn opened(&self) -> Result<(), AcquireError> {
        self.term(|term| term.is_open).await
    }

    async fn term(&self, has_come: impl Fn(&CurrentTerm) -> bool) -> Result<(), AcquireError> {
        let mut terms = self.current_term.subscribe();
        let has_come = |term: &Option<CurrentTerm>| term.as_ref().is_some_and(&has_come);
        tokio::select! {
            biased;
            error = self.refused.wait() => Err(error.clone()),
            end = self.stopped.wait() => Err(match end {
                ProxyEnd::Stopped => AcquireError::Stopped,
                ProxyEnd::LeaseLost => AcquireError::Lost,
                ProxyEnd::Replaced => AcquireError::Replaced,
            }),
            Ok(_) = terms.wait_for(has_come) => Ok(()),
            () = self.ended.wait() => Err(AcquireError::Stopped),
        }
    }

    /// Waits until no more requests are taken.
    async fn ended(&self) {
        tokio::select! {
            _ = self.stopped.wait() => {}
            () = self.ended.wait() => {}
        }
    }

    /// True while requests may be executed.
    pub(crate) fn may_execute(&self) -> bool {
        let current = self.current_term.borrow();
        current.as_ref().is_some_and(CurrentTerm::may_execute)
    }

    /// Stops the proxy without waiting for anything: its tasks release the lease and publish the
    /// remaining replies by themselves.
    pub(crate) fn abort(&self) {
        self.abandoned.cancel();
        self.aborted.cancel();
        self.stop.cancel();
    }

    /// The same, and waits until the lease is not held any more.
    pub(crate) async fn release_now(&self) {
        self.abort();
        let fence = self
            .current_term
            .borrow()
            .as_ref()
            .map(|term| term.fence.clone());
        if let Some(fence) = fence {
            fence.left().await;
        }
    }

    /// The epoch of the current lease, or of the last one.
    pub(crate) fn last_epoch(&self) -> Option<Epoch> {
        let current = self.current_term.borrow();
        current.as_ref().map(|term| term.epoch)
    }

    /// The epoch of the lease, while it is held.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        let current = self.current_term.borrow();
        let held = current.as_ref().filter(|term| term.fence.is_held());
        held.map(|term| term.epoch)
    }

    /// The time until the lease expires if it is not renewed; `None` while there is none.
    pub(crate) fn lease_left(&self) -> Option<Duration> {
        let current = self.current_term.borrow();
        let held = current.as_ref().filter(|term| term.fence.is_held())?;
        let end = held.fence.lease_end();
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// True while the system has the lease, and its actors can be asked.
    pub(crate) fn is_serving(&self) -> bool {
        let current = self.current_term.borrow();
        let is_serving = |term: &CurrentTerm| term.is_open && term.fence.is_serving();
        let is_draining = self.fleet.as_ref().is_some_and(|fleet| fleet.is_draining());
        !is_draining && current.as_ref().is_some_and(is_serving)
    }

    /// True if an actor that other processes may ask has this URN, or probably starts on demand.
    pub(crate) fn has_actor(&self, urn: &str) -> bool {
        self.registry.accepts_on_bus(urn)
    }

    /// Ends the term of this epoch, whose lease is lost for this reason.
    pub(crate) fn lose_lease(&self, epoch: Epoch, reason: &str) {
        let current = self.current_term.borrow();
        if let Some(term) = current.as_ref().filter(|term| term.epoch == epoch) {
            term.fence.deny(reason);
        }
    }

    /// True if another system serves by now.
    pub(crate) fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    /// Waits until requests may be executed; `None` if the proxy has stopped.
    pub(crate) async fn open_term_now(&self) -> Option<CurrentTerm> {
        let mut changes = self.current_term.subscribe();
        loop {
            let current = changes.borrow_and_update().clone();
            if let Some(term) = current
                && term.is_open
                && term.fence.wait_open().await
            {
                return (!self.stopped.initialized()).then_some(term);
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = self.ended() => return None,
            }
        }
    }

    /// The requests of the current term, or of the last one: for replies that depend on no term.
    pub(crate) fn requests(&self) -> Option<Arc<RequestTracker>> {
        let current = self.current_term.borrow();
        current.as_ref().map(|term| term.requests.clone())
    }
}

impl From<AcquireError> for ConnectError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Held { holder } => Self::NodeTaken { holder: holder.0 },
            AcquireError::Lost => Self::LeaseLost,
            AcquireError::Replaced => Self::Replaced,
            AcquireError::Failed(error) => Self::Unavailable {
                reason: error.to_string(),
            },
            AcquireError::Stopped => Self::SystemClosed,
        }
    }
}
