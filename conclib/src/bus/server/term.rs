//! A lease term: the time in which a system holds one lease.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::outage::Outage;
use crate::bus::server::acquire::OwnLease;
use crate::bus::server::dedup::Deduplicator;
use crate::bus::server::fence::Fence;
use crate::bus::server::publisher::{self, ReplyPublisher};
use crate::bus::server::receiver::RequestReceiver;
use crate::bus::server::tracker::RequestTracker;
use crate::bus::server::{CurrentTerm, ProxyShared};
use crate::bus::transport::Epoch;
use crate::core::spawn_task;

/// Time for the replies to requests that the term before has left, once the term ends.
const LEFTOVER_TIMEOUT: Duration = Duration::from_millis(500);

/// A lease is renewed so many times within its duration.
pub(super) const RENEWALS: u32 = 3;

/// The reason of a loss that the bus has told of.
const NOT_OWNED: &str = "it is not this system's any more";

/// The time in which a system holds one lease: an epoch, with an inbox of its own.
pub(super) struct LeaseTerm {
    shared: Arc<ProxyShared>,
    lease: OwnLease,
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
    pub(super) fn begin(shared: &Arc<ProxyShared>, lease: OwnLease) -> Self {
        let OwnLease { epoch, sent, .. } = lease;
        let fence = Arc::new(Fence::new(sent, shared.config.lease_duration));
        let requests = begin_requests(shared, epoch, &fence);
        shared.begin_term(CurrentTerm {
            epoch,
            fence: fence.clone(),
            requests: requests.clone(),
            is_open: false,
        });
        Self {
            shared: shared.clone(),
            lease,
            requests,
            fence,
        }
    }

    /// Serves until the lease is released or lost. Replies may still wait in the publisher then.
    pub(super) async fn serve(self) -> (TermEnd, Arc<ReplyPublisher>) {
        let renewer = tokio::spawn(LeaseRenewer::new(&self).run());
        let leftovers = AbortOnDropHandle::new(tokio::spawn(self.leftovers()));
        let (shared, epoch) = (self.shared.clone(), self.lease.epoch);
        let (requests, fence) = (self.requests.clone(), self.fence.clone());
        let is_open = self.open().await;
        let receiver = RequestReceiver::new(shared.clone(), epoch, requests, fence);
        if is_open {
            *shared.taken.lock() = Some((epoch, None));
            // Neither task ends with a panic; if one does, no more requests are executed.
            match tokio::spawn(receiver.run()).await {
                Ok(taken) => *shared.taken.lock() = Some((epoch, Some(taken))),
                Err(_) => self.fence.lose("requests could not be taken"),
            }
        } else {
            receiver.refuse_all().await; // the wake of the release
        }
        // The renewer may have to release the lease, and needs the connection for that.
        drop(renewer.await);
        drop(timeout(LEFTOVER_TIMEOUT, leftovers).await);
        let end = if shared.stop.is_cancelled() || self.fence.ended_by_release().await {
            TermEnd::Released
        } else {
            TermEnd::Lost(self.fence.lost().await)
        };
        (end, self.requests.publisher().clone())
    }

    /// Waits until the system's actors are to be asked, and announces that; false if the lease has
    /// ended before.
    async fn open(&self) -> bool {
        tokio::select! {
            biased;
            () = self.shared.serves.cancelled() => {}
            () = self.fence.ended() => return false,
        }
        if !self.lease.serves && !self.announce().await {
            return false;
        }
        self.shared.open_term();
        true
    }

    /// Writes into the lease that requests are taken; false if the lease has ended.
    async fn announce(&self) -> bool {
        let claim = self.shared.claim();
        let node = &self.shared.node;
        let outage = Outage::default();
        for attempt in 0.. {
            match self.shared.transport.open(self.lease.epoch, &claim).await {
                Ok(true) => break,
                Ok(false) => {
                    self.fence.deny(NOT_OWNED);
                    return false;
                }
                Err(reason) => {
                    if outage.record_failure() {
                        warn!(%node, %reason, "cannot announce that this system serves: trying again until it can");
                    }
                    let pause = RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64());
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.fence.ended() => return false,
                    }
                }
            }
        }
        true
    }

    /// Refuses the requests that the term before has left, if its owner ended without releasing the
    /// lease: otherwise their askers would wait for their deadlines. It executes none of them any
    /// more, since it sees another owner of the lease after its pops.
    fn leftovers(&self) -> impl Future<Output = ()> + use<> {
        let former = self.lease.former.filter(|former| !former.was_released);
        let (shared, fence) = (self.shared.clone(), self.fence.clone());
        let taken = self.shared.taken.lock().take();
        async move {
            let Some(former) = former else { return };
            let taken = match taken {
                // Copies of requests that this process has taken are not refused: they may be running.
                Some((epoch, taken)) if former.is_own && epoch == former.epoch => taken,
                _ => Some(Deduplicator::default()),
            };
            let Some(taken) = taken else { return };
            let requests = begin_requests(&shared, former.epoch, &fence);
            let closing = CloseOnDrop(requests.publisher().clone());
            let receiver = RequestReceiver::new(shared, former.epoch, requests, fence);
            receiver.after(taken).refuse_all().await;
            closing.0.drained().await;
        }
    }
}

/// Closes a publisher when it is dropped, also with an aborted task.
struct CloseOnDrop(Arc<ReplyPublisher>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Begins to publish the replies of an epoch.
fn begin_requests(
    shared: &Arc<ProxyShared>,
    epoch: Epoch,
    fence: &Arc<Fence>,
) -> Arc<RequestTracker> {
    let (transport, config) = (shared.transport.clone(), &shared.config);
    let publisher = ReplyPublisher::new(transport, epoch, fence.clone(), config);
    let publisher = Arc::new(publisher);
    spawn_task(publisher::run(publisher.clone()));
    Arc::new(RequestTracker::new(publisher, shared.is_revoked.clone()))
}

/// Renews the lease of a term, and releases it.
struct LeaseRenewer {
    shared: Arc<ProxyShared>,
    epoch: Epoch,
    /// The time at which the acquisition was sent.
    sent: Instant,
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
            epoch: term.lease.epoch,
            sent: term.lease.sent,
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
            // The attempt to take it again, which follows a denial at once, logs more than this.
            if self.fence.denial().is_none() || self.shared.stop.is_cancelled() {
                self.shared.log_loss(reason);
            }
            self.fence.lose(reason);
        }
        let Some(_) = lost else {
            match self.shared.release(self.epoch).await {
                Ok(true) => return self.fence.release(),
                Ok(false) => {}
                Err(reason) => self.shared.warn_of_release(&reason),
            }
            return self.fence.lose("it could not be given back");
        };
        // A renewal that timed out may have come through, and would keep other systems away.
        if let Err(reason) = self.shared.transport.give_up(self.epoch).await {
            debug!(%reason, "could not give up a lost lease");
        }
    }

    /// Renews the lease until the proxy is to stop; returns the reason if the lease is lost.
    async fn renew(&self) -> Option<String> {
        let length = self.shared.config.lease_duration;
        let regular = length / RENEWALS;
        // The first one counts from the acquisition, which may have taken long.
        let mut pause = regular.saturating_sub(self.sent.elapsed());
        let outage = Outage::default();
        let node = &*self.shared.node;
        loop {
            self.shared.stop.run_until_cancelled(sleep(pause)).await?;
            let sent = Instant::now();
            let end = self.fence.lease_end();
            pause = match timeout_at(end, self.shared.transport.renew(self.epoch, length)).await {
                Ok(Ok(Some(now))) => {
                    self.shared.clock.record(sent, Instant::now(), now);
                    self.fence.renewed(sent);
                    if outage.record_success() {
                        info!(%node, "the lease is renewed again");
                    }
                    regular
                }
                Ok(Ok(None)) => {
                    self.fence.deny(NOT_OWNED);
                    return Some(NOT_OWNED.to_owned());
                }
                Ok(Err(reason)) if Instant::now() < end => {
                    if outage.record_failure() {
                        let left = end.saturating_duration_since(Instant::now());
                        warn!(%node, %reason, ?left, "the lease cannot be renewed: trying again until \
                            it expires; no requests are executed after that");
                    }
                    regular / 8
                }
                Ok(Err(_)) | Err(_) => return Some("it has run out".to_owned()),
            };
        }
    }
}
