//! Takes the lease, and releases it.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::field::{DisplayValue, display};
use tracing::{debug, error, info, warn};

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::protocol::VERSION;
use crate::bus::server::contested::ContestedTerms;
use crate::bus::server::{ProxyEnd, ProxyShared};
use crate::bus::transport::{
    Acquired, Epoch, FormerTerm, LeaseClaim, LeaseGrant, LeaseHolder, ServerNumber, TransportError,
};

/// Pause between two attempts to take a lease that another system holds.
pub(super) const ACQUIRE_INTERVAL: Duration = Duration::from_millis(200);

/// Time after which a lease that another system holds has been renewed meanwhile, beyond the lease's
/// length: that system is alive.
pub(super) const TAKEOVER_MARGIN: Duration = Duration::from_secs(1);

/// A lease that was taken by this system.
#[derive(Clone, Copy)]
pub(super) struct OwnLease {
    pub(super) epoch: Epoch,
    /// The time at which the acquisition was sent.
    pub(super) sent: Instant,
    /// Clients know already that requests are taken.
    pub(super) serves: bool,
    /// The server that its requests are popped from.
    pub(super) server: ServerNumber,
    /// The term before it, if the bus knows of one.
    pub(super) former: Option<FormerTerm>,
}

impl OwnLease {
    /// True if it has ended the term of that epoch, which another process has not released.
    fn ends(&self, epoch: Epoch) -> bool {
        self.former
            .is_some_and(|former| former.epoch == epoch && !former.was_released)
    }

    /// True if the term before it was that one, of this system, where leases are taken.
    pub(super) fn follows_own(&self, epoch: Epoch) -> bool {
        self.former
            .is_some_and(|former| former.is_own && former.epoch == epoch)
    }
}

/// The time for which a system waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcquireMode {
    /// Until a lease that is not renewed has expired; a failure of the bus ends the wait.
    UntilExpiry,
    /// For as long as it takes, through failures of the bus.
    Unlimited,
}

/// An error of taking the lease.
#[derive(Debug, Clone)]
pub(crate) enum AcquireError {
    /// Another system holds the lease, and renews it.
    Held { holder: Epoch },
    /// The lease was lost, and another system has had it since.
    Lost,
    /// A younger process of the same instance holds the lease.
    Replaced,
    /// The bus does not serve.
    Failed(TransportError),
    /// The proxy was told to stop.
    Stopped,
}

/// The outcome of one attempt to take the lease.
enum Attempt {
    Granted(OwnLease),
    Held(LeaseHolder),
    /// Another system has had it since.
    Lost,
}

/// Logs the reasons for which a system waits for its turn, each when it begins.
#[derive(Default)]
struct WaitLog {
    waits_for: Option<String>,
}

impl WaitLog {
    fn held(&mut self, node: &str, holder: &LeaseHolder) {
        let epoch = holder.lease.epoch.0;
        if self.is_news(format!("epoch {epoch}")) {
            let instance = named(&holder.instance);
            info!(%node, holder_epoch = epoch, instance, "another system serves the node: standing by");
        }
    }

    fn failed(&mut self, node: &str, reason: &TransportError) {
        if self.is_news(reason.to_string()) {
            warn!(%node, %reason, "the lease cannot be taken: trying again until the bus serves");
        }
    }

    fn granted(&self, node: &str, epoch: Epoch) {
        if self.waits_for.is_some() {
            info!(%node, epoch = epoch.0, "this system has the lease now");
        }
    }

    fn is_news(&mut self, reason: String) -> bool {
        let is_news = self.waits_for.as_ref() != Some(&reason);
        self.waits_for = Some(reason);
        is_news
    }
}

/// The name of an instance as a field of a log line, which has none if it is empty.
fn named(instance: &str) -> Option<DisplayValue<&str>> {
    (!instance.is_empty()).then(|| display(instance))
}

impl ProxyShared {
    /// Takes the lease for the first time.
    pub(super) async fn acquire(&self, mode: AcquireMode) -> Result<OwnLease, AcquireError> {
        let start = Instant::now();
        let mut log = WaitLog::default();
        // The lease of the process that this one replaces.
        let mut namesake = None;
        let mut attempt = 0;
        loop {
            if self.stop.is_cancelled() {
                return Err(AcquireError::Stopped);
            }
            let wait = match self.try_acquire(None).await {
                Ok(Attempt::Granted(lease)) => {
                    match namesake {
                        Some(epoch) if lease.ends(epoch) => self.log_takeover(&lease, epoch),
                        _ => log.granted(&self.node, lease.epoch),
                    }
                    return Ok(lease);
                }
                Ok(Attempt::Lost) => return Err(AcquireError::Lost),
                Ok(Attempt::Held(holder)) if holder.is_successor => {
                    return Err(AcquireError::Replaced);
                }
                // The first attempt tells this process its age, and replaces no other one.
                Ok(Attempt::Held(holder)) if attempt == 0 && self.is_namesake(&holder) => {
                    namesake = Some(holder.lease.epoch);
                    attempt = 1;
                    continue;
                }
                Ok(Attempt::Held(holder)) => {
                    let lease = &holder.lease;
                    let is_alive = start.elapsed() >= lease.length + TAKEOVER_MARGIN;
                    if mode == AcquireMode::UntilExpiry && is_alive {
                        let holder = lease.epoch;
                        return Err(AcquireError::Held { holder });
                    }
                    if mode == AcquireMode::Unlimited {
                        log.held(&self.node, &holder);
                    }
                    attempt = 1;
                    ACQUIRE_INTERVAL
                }
                Err(error) if mode == AcquireMode::UntilExpiry => {
                    return Err(AcquireError::Failed(error));
                }
                Err(reason) => {
                    log.failed(&self.node, &reason);
                    attempt += 1;
                    RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())
                }
            };
            self.pause(wait).await;
        }
    }

    /// True if the holder has the name of this process.
    fn is_namesake(&self, holder: &LeaseHolder) -> bool {
        !holder.instance.is_empty() && holder.instance == self.config.instance
    }

    /// The reason for which the current lease is lost, if the bus has said so.
    fn denial(&self) -> Option<String> {
        let current = self.current_term.borrow();
        current.as_ref()?.fence.denial()
    }

    fn log_takeover(&self, lease: &OwnLease, from: Epoch) {
        let (node, instance) = (&self.node, &self.config.instance);
        let (epoch, former_epoch) = (lease.epoch.0, from.0);
        info!(%node, %instance, epoch, former_epoch, "took the place of the former process of this instance");
    }

    pub(super) fn log_loss(&self, reason: &str) {
        let node = &self.node;
        error!(%node, %reason, "the lease is lost: no more requests are executed until it is taken again");
    }

    /// Takes the lease again after the one of `before` was lost, however long the bus is away; fails if
    /// another system has had it since, because the state of this system's actors is out of date then.
    ///
    /// A loss of which the bus has told is logged here, unless the attempt finds the system that serves.
    pub(super) async fn reacquire(&self, before: Epoch) -> Result<OwnLease, ProxyEnd> {
        let node = &self.node;
        let mut denial = self.denial();
        let mut log_loss = || {
            if let Some(reason) = denial.take() {
                self.log_loss(&reason);
            }
        };
        let mut attempt = 0;
        loop {
            if self.stop.is_cancelled() {
                log_loss();
                return Err(ProxyEnd::Stopped);
            }
            match self.try_acquire(Some(before)).await {
                Ok(Attempt::Granted(lease)) => {
                    log_loss();
                    return Ok(lease);
                }
                Ok(Attempt::Lost) => {
                    error!(%node, "another system has served the node meanwhile: the proxy stops");
                    return Err(ProxyEnd::LeaseLost);
                }
                Ok(Attempt::Held(holder)) if holder.is_successor => {
                    let instance = &self.config.instance;
                    error!(%node, %instance, "a younger process of this instance serves the node: the proxy stops");
                    return Err(ProxyEnd::Replaced);
                }
                Ok(Attempt::Held(LeaseHolder { lease, .. })) => {
                    let holder_epoch = lease.epoch.0;
                    error!(%node, holder_epoch, "another system serves the node: the proxy stops");
                    return Err(ProxyEnd::LeaseLost);
                }
                Err(reason) => {
                    log_loss();
                    debug!(%node, %reason, "could not take the lease: trying again");
                    attempt += 1;
                    let wait = RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64());
                    self.pause(wait).await;
                }
            }
        }
    }

    /// Waits before the next term if those before it were contested, the last of which has begun at that time.
    pub(super) async fn pause_if_contested(&self, terms: &mut ContestedTerms, begun: Instant) {
        let denied_by = {
            let current = self.current_term.borrow();
            current.as_ref().and_then(|term| term.fence.denied_by())
        };
        let lease = self.config.lease_duration;
        let Some(pause) = terms.end(begun.elapsed(), lease, denied_by) else {
            return;
        };
        if pause.is_first {
            error!(
                node = %self.node,
                "the Redis that requests are popped from does not know the lease that was taken: there may be two \
                 primaries behind one address; no requests are taken, and the lease is taken again after pauses of \
                 up to a minute"
            );
        }
        self.pause(pause.duration).await;
    }

    /// Waits, until the proxy is to stop, or the connections have changed: one that is back may be the
    /// one that was missing.
    async fn pause(&self, wait: Duration) {
        let mut connections = self.health.watch();
        connections.mark_unchanged();
        let changed = timeout(wait, connections.changed());
        let _ = self.stop.run_until_cancelled(changed).await;
    }

    async fn try_acquire(&self, before: Option<Epoch>) -> Result<Attempt, TransportError> {
        self.transport.prepare().await?;
        let claim = LeaseClaim {
            before,
            ..self.claim()
        };
        let sent = Instant::now();
        Ok(match self.transport.acquire(&claim).await? {
            Acquired::Granted(LeaseGrant {
                epoch,
                now,
                server,
                former,
            }) => {
                self.clock.record(sent, Instant::now(), now);
                self.former.was_followed(former);
                Attempt::Granted(OwnLease {
                    epoch,
                    sent,
                    serves: claim.serves,
                    server,
                    former,
                })
            }
            Acquired::Held(holder) => {
                self.former.saw(&holder.lease);
                Attempt::Held(holder)
            }
            Acquired::Lost => Attempt::Lost,
        })
    }

    /// The lease that this system asks for now.
    pub(super) fn claim(&self) -> LeaseClaim {
        LeaseClaim {
            versions: (VERSION, VERSION),
            max_frame: self.config.max_message_size as u64,
            length: self.config.lease_duration,
            serves: self.serves.is_cancelled(),
            instance: self.config.instance.clone(),
            age: self.config.age,
            before: None,
        }
    }
}
