//! A lease term: the time in which a system holds one lease.

use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use crate::bus::link::outage::Outage;
use crate::bus::server::ProxyShared;
use crate::bus::server::acquire::LeaseGrant;
use crate::bus::server::fence::Fence;
use crate::bus::server::publisher::{self, ReplyPublisher};
use crate::bus::server::receiver::RequestReceiver;
use crate::bus::server::tracker::RequestTracker;
use crate::bus::transport::{Epoch, RENEW};
use crate::core::spawn_task;

/// The time in which a system holds one lease: an epoch, with an inbox of its own.
pub(super) struct LeaseTerm {
    shared: Arc<ProxyShared>,
    epoch: Epoch,
    /// The requests of this epoch.
    requests: Arc<RequestTracker>,
    fence: Arc<Fence>,
}

/// The end of a term.
pub(super) enum TermEnd {
    /// The lease was released, because the proxy is to stop.
    Released,
    /// The lease was lost, with the reason.
    Lost(String),
}

impl LeaseTerm {
    pub(super) fn begin(shared: &Arc<ProxyShared>, grant: LeaseGrant) -> Self {
        let LeaseGrant { epoch, sent } = grant;
        let fence = Arc::new(Fence::new(sent));
        let (transport, config) = (shared.transport.clone(), &shared.config);
        let publisher = ReplyPublisher::new(transport, epoch, fence.clone(), config);
        let publisher = Arc::new(publisher);
        spawn_task(publisher::run(publisher.clone()));
        let requests = Arc::new(RequestTracker::new(publisher));
        let current = (fence.clone(), requests.clone());
        shared.current_term.send_replace(Some(current));
        Self {
            shared: shared.clone(),
            epoch,
            requests,
            fence,
        }
    }

    /// Serves until the lease is released or lost. Replies may still wait in the publisher then.
    pub(super) async fn serve(self) -> (TermEnd, Arc<ReplyPublisher>) {
        let renewer = tokio::spawn(LeaseRenewer::new(&self).run());
        let (shared, requests) = (self.shared.clone(), self.requests.clone());
        let receiver = RequestReceiver::new(shared, self.epoch, requests, self.fence.clone());
        let receiver = tokio::spawn(receiver.run());
        // Neither task ends with a panic; if one does, no more requests are executed.
        if receiver.await.is_err() {
            self.fence.lose("requests could not be taken");
        }
        // The renewer may have to release the lease, and needs the connection for that.
        drop(renewer.await);
        let end = if self.shared.stop.is_cancelled() || self.fence.ended_by_release().await {
            TermEnd::Released
        } else {
            TermEnd::Lost(self.fence.lost().await)
        };
        (end, self.requests.publisher().clone())
    }
}

/// Renews the lease of a term, and releases it.
struct LeaseRenewer {
    shared: Arc<ProxyShared>,
    epoch: Epoch,
    fence: Arc<Fence>,
}

impl Drop for LeaseRenewer {
    fn drop(&mut self) {
        // If the task did not come to its end: a lease that is not renewed is lost.
        self.fence.lose("its renewal ended");
    }
}

impl LeaseRenewer {
    fn new(term: &LeaseTerm) -> Self {
        Self {
            shared: term.shared.clone(),
            epoch: term.epoch,
            fence: term.fence.clone(),
        }
    }

    /// Renews the lease until the proxy is to stop or the lease is lost, then releases it.
    async fn run(self) {
        let lost = tokio::select! {
            lost = self.renew() => lost,
            why = self.fence.lost() => Some(why),
        };
        if let Some(reason) = &lost {
            error!(node = %self.shared.node, %reason, "the lease is lost: no more requests are executed until it is taken again");
            self.fence.lose(reason);
        }
        // Also a lost lease is released: a renewal that timed out may have come through, and would
        // keep other systems away.
        match self.shared.release(self.epoch).await {
            Ok(true) => return self.fence.release(),
            Ok(false) => {}
            Err(reason) if lost.is_some() => debug!(%reason, "could not release a lost lease"),
            Err(reason) => self.shared.warn_of_release(&reason),
        }
        self.fence.lose("it could not be given back"); // if no other reason is known
    }

    /// Renews the lease until the proxy is to stop; returns the reason if the lease is lost.
    async fn renew(&self) -> Option<String> {
        let mut pause = RENEW;
        let outage = Outage::default();
        let node = &*self.shared.node;
        loop {
            self.shared.stop.run_until_cancelled(sleep(pause)).await?;
            let sent = Instant::now();
            let end = self.fence.lease_end();
            pause = match timeout_at(end, self.shared.transport.renew(self.epoch)).await {
                Ok(Ok(Some(now))) => {
                    self.shared.clock.record(sent, Instant::now(), now);
                    self.fence.renewed(sent);
                    if outage.record_success() {
                        info!(node, "the lease is renewed again");
                    }
                    RENEW
                }
                Ok(Ok(None)) => return Some("it is not this system's any more".to_owned()),
                Ok(Err(reason)) if Instant::now() < end => {
                    if outage.record_failure() {
                        let left = end.saturating_duration_since(Instant::now());
                        warn!(node, %reason, ?left, "the lease cannot be renewed: trying again until \
                            it expires; no requests are executed after that");
                    }
                    RENEW / 8
                }
                Ok(Err(_)) | Err(_) => return Some("it has run out".to_owned()),
            };
        }
    }
}
