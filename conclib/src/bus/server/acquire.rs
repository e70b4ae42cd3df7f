//! Takes the lease, and releases it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, warn};

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::protocol::{Request, VERSION};
use crate::bus::server::{ProxyEnd, ProxyShared};
use crate::bus::transport::{Acquired, Epoch, LEASE, Lease, TransportError};

/// A lease that another system still holds after this time has been renewed meanwhile: that system is
/// alive.
pub(super) const TAKEOVER_TIMEOUT: Duration = LEASE.saturating_add(Duration::from_secs(1));

/// Pause between two attempts to take a lease that another system holds.
pub(super) const ACQUIRE_INTERVAL: Duration = Duration::from_millis(200);

/// A lease that was taken.
#[derive(Clone, Copy)]
pub(crate) struct LeaseGrant {
    pub(crate) epoch: Epoch,
    /// The time at which the acquisition was sent.
    pub(super) sent: Instant,
}

/// The result of one attempt to take the lease.
enum AcquireAttempt {
    Granted(LeaseGrant),
    Held { holder: Epoch },
    Failed(TransportError),
}

/// An error of taking the lease.
pub(crate) enum AcquireError {
    /// Another system holds the lease, and renews it.
    Held { holder: Epoch },
    /// The bus does not serve.
    Failed(TransportError),
}

impl ProxyShared {
    /// Takes the lease, waiting for a lease that is not renewed to expire.
    pub(crate) async fn acquire(&self) -> Result<LeaseGrant, AcquireError> {
        let end = Instant::now() + TAKEOVER_TIMEOUT;
        loop {
            match self.try_acquire().await {
                AcquireAttempt::Granted(grant) => return Ok(grant),
                AcquireAttempt::Held { holder } if Instant::now() >= end => {
                    return Err(AcquireError::Held { holder });
                }
                AcquireAttempt::Held { .. } => sleep(ACQUIRE_INTERVAL).await,
                AcquireAttempt::Failed(error) => return Err(AcquireError::Failed(error)),
            }
        }
    }

    /// Takes the lease again after it was lost, however long the bus is away; fails if another system
    /// holds and renews it.
    pub(super) async fn reacquire(&self) -> Result<LeaseGrant, ProxyEnd> {
        let mut attempt = 0;
        let mut held_since = None;
        let mut connections = self.health.watch();
        loop {
            if self.stop.is_cancelled() {
                return Err(ProxyEnd::Stopped);
            }
            let wait = match self.try_acquire().await {
                AcquireAttempt::Granted(grant) => return Ok(grant),
                AcquireAttempt::Held { holder } => {
                    let since = *held_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= TAKEOVER_TIMEOUT {
                        error!(node = %self.node, holder = holder.0, "another system serves the node: the proxy stops");
                        return Err(ProxyEnd::LeaseLost);
                    }
                    ACQUIRE_INTERVAL
                }
                AcquireAttempt::Failed(reason) => {
                    debug!(node = %self.node, %reason, "could not take the lease: trying again");
                    held_since = None;
                    attempt += 1;
                    RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())
                }
            };
            // A connection that is back may be the one that was missing. A stop is handled at the top of
            // the loop.
            let changed = timeout(wait, connections.changed());
            let _ = self.stop.run_until_cancelled(changed).await;
        }
    }

    async fn try_acquire(&self) -> AcquireAttempt {
        let lease = Lease {
            epoch: Epoch(0),
            versions: (VERSION, VERSION),
            max_frame: self.config.max_message_size as u64,
        };
        let sent = Instant::now();
        match self.transport.acquire(&lease).await {
            Ok(Acquired::Granted { epoch, now }) => {
                self.clock.record(sent, Instant::now(), now);
                AcquireAttempt::Granted(LeaseGrant { epoch, sent })
            }
            Ok(Acquired::Held { holder }) => AcquireAttempt::Held {
                holder: holder.epoch,
            },
            Err(error) => AcquireAttempt::Failed(error),
        }
    }

    /// Releases the lease, which ends the term at once; false if this system does not own it.
    pub(crate) async fn release(&self, epoch: Epoch) -> Result<bool, TransportError> {
        self.transport.release(epoch, Request::wake()).await
    }

    pub(crate) fn warn_of_release(&self, reason: &TransportError) {
        warn!(node = %self.node, %reason, "the lease could not be released: other systems wait until it expires");
    }
}
