//! Takes the lease, and releases it.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::outage::Outage;
use crate::bus::protocol::{Request, VERSION};
use crate::bus::server::{ProxyEnd, ProxyShared};
use crate::bus::transport::{
    Acquired, Epoch, FormerTerm, LeaseClaim, LeaseGrant, LeaseHolder, TransportError,
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
    /// The term before it, if the bus knows of one.
    pub(super) former: Option<FormerTerm>,
}

/// The time for which a system waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
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

impl ProxyShared {
    /// Takes the lease for the first time.
    pub(super) async fn acquire(&self, patience: Patience) -> Result<OwnLease, AcquireError> {
        let start = Instant::now();
        let (outage, standby) = (Outage::default(), Outage::default());
        let mut attempt = 0;
        loop {
            if self.stop.is_cancelled() {
                return Err(AcquireError::Stopped);
            }
            let wait = match self.try_acquire().await {
                Ok(Ok(lease)) => {
                    if outage.record_success() || standby.record_success() {
                        info!(node = %self.node, epoch = lease.epoch.0, "the lease is free: this system has it now");
                    }
                    return Ok(lease);
                }
                Ok(Err(holder)) if holder.is_successor => return Err(AcquireError::Replaced),
                Ok(Err(LeaseHolder {
                    lease, instance, ..
                })) => {
                    let is_alive = start.elapsed() >= lease.length + TAKEOVER_MARGIN;
                    if patience == Patience::UntilExpiry && is_alive {
                        let holder = lease.epoch;
                        return Err(AcquireError::Held { holder });
                    }
                    if patience == Patience::Unlimited && standby.record_failure() {
                        let holder = lease.epoch.0;
                        info!(node = %self.node, holder, %instance, "another system serves the node: standing by");
                    }
                    attempt = 0;
                    ACQUIRE_INTERVAL
                }
                Err(error) if patience == Patience::UntilExpiry => {
                    return Err(AcquireError::Failed(error));
                }
                Err(reason) => {
                    if outage.record_failure() {
                        warn!(node = %self.node, %reason, "the lease cannot be taken: trying again until the bus serves");
                    }
                    attempt += 1;
                    RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())
                }
            };
            self.pause(wait).await;
        }
    }

    /// Takes the lease again after it was lost, however long the bus is away; fails if another system
    /// has had it since, because the state of this system's actors is out of date then.
    pub(super) async fn reacquire(&self) -> Result<OwnLease, ProxyEnd> {
        let mut attempt = 0;
        loop {
            if self.stop.is_cancelled() {
                return Err(ProxyEnd::Stopped);
            }
            match self.try_acquire().await {
                Ok(Ok(lease)) => {
                    let Some(other) = lease.former.filter(|former| !former.is_own) else {
                        return Ok(lease);
                    };
                    if let Err(reason) = self.release(lease.epoch).await {
                        self.warn_of_release(&reason);
                    }
                    let served = other.epoch.0;
                    error!(node = %self.node, served, "another system has served the node meanwhile: the proxy stops");
                    return Err(ProxyEnd::LeaseLost);
                }
                Ok(Err(holder)) if holder.is_successor => {
                    error!(node = %self.node, instance = self.config.instance, "a younger process of this instance serves the node: the proxy stops");
                    return Err(ProxyEnd::Replaced);
                }
                Ok(Err(LeaseHolder { lease, .. })) => {
                    let holder = lease.epoch.0;
                    error!(node = %self.node, holder, "another system serves the node: the proxy stops");
                    return Err(ProxyEnd::LeaseLost);
                }
                Err(reason) => {
                    debug!(node = %self.node, %reason, "could not take the lease: trying again");
                    attempt += 1;
                    let wait = RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64());
                    self.pause(wait).await;
                }
            }
        }
    }

    /// Waits, until the proxy is to stop, or the connections have changed: one that is back may be the
    /// one that was missing.
    async fn pause(&self, wait: Duration) {
        let mut connections = self.health.watch();
        connections.mark_unchanged();
        let changed = timeout(wait, connections.changed());
        let _ = self.stop.run_until_cancelled(changed).await;
    }

    async fn try_acquire(&self) -> Result<Result<OwnLease, LeaseHolder>, TransportError> {
        let claim = self.claim();
        let sent = Instant::now();
        match self.transport.acquire(&claim).await? {
            Acquired::Granted(LeaseGrant { epoch, now, former }) => {
                self.clock.record(sent, Instant::now(), now);
                Ok(Ok(OwnLease {
                    epoch,
                    sent,
                    serves: claim.serves,
                    former,
                }))
            }
            Acquired::Held(holder) => Ok(Err(holder)),
        }
    }

    /// The lease that this system asks for now.
    pub(super) fn claim(&self) -> LeaseClaim {
        LeaseClaim {
            versions: (VERSION, VERSION),
            max_frame: self.config.max_message_size as u64,
            length: self.config.lease_duration,
            serves: self.serves.is_cancelled(),
            instance: self.config.instance.clone(),
        }
    }

    /// Releases the lease, which ends the term at once; false if this system does not own it.
    pub(super) async fn release(&self, epoch: Epoch) -> Result<bool, TransportError> {
        self.transport.release(epoch, Request::wake()).await
    }

    pub(super) fn warn_of_release(&self, reason: &TransportError) {
        warn!(node = %self.node, %reason, "the lease could not be released: other systems wait until it expires");
    }
}
