//! Renews the lease of a term, closes it when the proxy is to stop, and releases it at the end.
//!
//! A lease that is closed is held: clients know that no more requests are taken, and no other system
//! serves, while the actors still handle requests and save their state. It is released once they have
//! stopped and their replies are published.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::bus::link::outage::Outage;
use crate::bus::protocol::Request;
use crate::bus::server::ProxyShared;
use crate::bus::server::acquire::OwnLease;
use crate::bus::server::fence::Fence;
use crate::bus::transport::{Epoch, LeaseClaim};

/// A lease is renewed so many times within its duration.
pub(super) const RENEWALS: u32 = 3;

/// Time for which a proxy that is to stop tries to tell clients, before its actors are stopped all the
/// same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason of a loss that the bus has told of.
pub(super) const NOT_OWNED: &str = "it is not this system's any more";

/// The reason of a loss during an outage.
const RUN_OUT: &str = "it has run out";

/// The lease of a term, which its [`LeaseRenewer`] holds.
pub(super) struct LeaseHandle {
    renewer: JoinHandle<()>,
    /// Cancelled once the announcement that requests are taken is made, or will not be: closing comes
    /// after it.
    pub(super) is_settled: CancellationToken,
    /// Cancelled when the lease is to be released.
    release: CancellationToken,
}

impl LeaseHandle {
    /// Releases the lease, or gives it up if it is lost.
    pub(super) async fn end(self) {
        self.release.cancel();
        drop(self.renewer.await); // it never panics
    }
}

/// Renews the lease of a term.
pub(super) struct LeaseRenewer {
    shared: Arc<ProxyShared>,
    epoch: Epoch,
    fence: Arc<Fence>,
    is_settled: CancellationToken,
    release: CancellationToken,
}

impl Drop for LeaseRenewer {
    fn drop(&mut self) {
        // If the task did not come to its end: a lease that is not renewed is lost.
        self.fence.lose("its renewal ended");
    }
}

impl LeaseRenewer {
    /// Has a task renew the lease.
    pub(super) fn begin(
        shared: &Arc<ProxyShared>,
        lease: &OwnLease,
        fence: &Arc<Fence>,
    ) -> LeaseHandle {
        let is_settled = CancellationToken::new();
        let release = shared.aborted.child_token();
        let renewer = Self {
            shared: shared.clone(),
            epoch: lease.epoch,
            fence: fence.clone(),
            is_settled: is_settled.clone(),
            release: release.clone(),
        };
        LeaseHandle {
            renewer: tokio::spawn(renewer.run(lease.sent)),
            is_settled,
            release,
        }
    }

    /// Renews the lease, acquired by a request that was sent at that time, until it is lost or the proxy
    /// is to stop. Then closes it, and renews it further until it is to be released.
    async fn run(self, sent: Instant) {
        let lost = tokio::select! {
            lost = self.renew(sent, &self.shared.stop) => lost,
            why = self.fence.lost() => Some(why),
        };
        if let Some(reason) = lost {
            // The attempt to take it again, which follows a denial at once, logs more than this.
            if self.fence.denial().is_none() || self.shared.stop.is_cancelled() {
                self.shared.log_loss(&reason);
            }
            self.fence.lose(&reason);
        } else if let Some(reason) = self.hold().await {
            error!(node = %self.shared.node, %reason, "the lease is lost before the actors have stopped: the requests that none has begun are refused");
            self.shared.is_revoked.store(true, Ordering::Relaxed);
            self.fence.lose(&reason);
            self.release.cancelled().await;
        }
        if self.fence.is_closed() {
            return self.release().await;
        }
        self.fence.lose("it could not be given back");
        // A renewal that timed out may have come through, and would keep other systems away. Requests
        // may be left in the inbox: the next owner refuses them, since this lease is not released.
        if let Err(reason) = self.shared.transport.give_up(self.epoch).await {
            debug!(%reason, "could not give up a lost lease");
        }
    }

    /// Closes the lease and renews it until it is to be released; returns the reason if it is lost.
    async fn hold(&self) -> Option<String> {
        self.is_settled.cancelled().await;
        if let Some(fleet) = &self.shared.fleet {
            fleet.drain().await;
        }
        let lost = self.close().await;
        if lost.is_some() {
            return lost;
        }
        self.renew(Instant::now(), &self.release).await
    }

    /// Tells clients that no more requests are taken, again and again until the bus knows it or the lease
    /// is to be released; returns the reason if the lease is lost. That prolongs the lease too.
    async fn close(&self) -> Option<String> {
        let claim = LeaseClaim {
            serves: false,
            ..self.shared.claim()
        };
        let start = Instant::now();
        while !self.fence.is_closed() {
            let sent = Instant::now();
            let end = self.fence.lease_end();
            let transport = &self.shared.transport;
            let closing = transport.stop_serving(self.epoch, &claim, Request::wake());
            match timeout_at(end, closing).await {
                Ok(Ok(true)) => {
                    self.fence.renewed(sent);
                    self.fence.close();
                    break;
                }
                Ok(Ok(false)) => return Some(NOT_OWNED.to_owned()),
                Ok(Err(reason)) if Instant::now() < end => {
                    if start.elapsed() >= CLOSE_TIMEOUT && self.fence.is_serving() {
                        warn!(node = %self.shared.node, %reason, "clients cannot be told that the proxy stops: their requests wait for the next one");
                        // Ends the term; the lease is held nevertheless, if the bus comes back in time.
                        self.fence.lose("it could not be closed");
                    }
                }
                Ok(Err(_)) | Err(_) => return Some(RUN_OUT.to_owned()),
            }
            let pause = sleep(self.interval() / 8);
            self.release.run_until_cancelled(pause).await?;
        }
        None
    }

    async fn release(&self) {
        let why = match self.shared.transport.release(self.epoch).await {
            Ok(true) => return self.fence.release(),
            Ok(false) => NOT_OWNED.to_owned(),
            Err(reason) => reason.to_string(),
        };
        warn!(node = %self.shared.node, reason = why, "the lease could not be released: other systems wait until it expires");
        self.fence.lose(&why);
    }

    /// The time between two renewals.
    fn interval(&self) -> Duration {
        self.shared.config.lease_duration / RENEWALS
    }

    /// Renews the lease until `end` is cancelled; returns the reason if it is lost. The first renewal
    /// counts from `sent`: the acquisition may have taken long.
    async fn renew(&self, sent: Instant, end: &CancellationToken) -> Option<String> {
        let length = self.shared.config.lease_duration;
        let mut pause = self.interval().saturating_sub(sent.elapsed());
        let outage = Outage::default();
        let node = &*self.shared.node;
        loop {
            end.run_until_cancelled(sleep(pause)).await?;
            let sent = Instant::now();
            let end = self.fence.lease_end();
            pause = match timeout_at(end, self.shared.transport.renew(self.epoch, length)).await {
                Ok(Ok(Some(now))) => {
                    self.shared.clock.record(sent, Instant::now(), now);
                    self.fence.renewed(sent);
                    if outage.record_success() {
                        info!(node, "the lease is renewed again");
                    }
                    self.interval()
                }
                Ok(Ok(None)) => {
                    self.fence.deny(NOT_OWNED);
                    return Some(NOT_OWNED.to_owned());
                }
                Ok(Err(reason)) if Instant::now() < end => {
                    if outage.record_failure() {
                        let left = end.saturating_duration_since(Instant::now());
                        warn!(node, %reason, ?left, "the lease cannot be renewed: trying again until \
                            it expires; no requests are executed after that");
                    }
                    self.interval() / 8
                }
                Ok(Err(_)) | Err(_) => return Some(RUN_OUT.to_owned()),
            };
        }
    }
}
