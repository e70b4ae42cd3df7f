//! A lease term: the time in which a system holds one lease.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::outage::Outage;
use crate::bus::server::acquire::OwnLease;
use crate::bus::server::dedup::Deduplicator;
use crate::bus::server::fence::Fence;
use crate::bus::server::publisher::{self, ReplyPublisher};
use crate::bus::server::receiver::RequestReceiver;
use crate::bus::server::renewer::{LeaseHandle, LeaseRenewer, NOT_OWNED};
use crate::bus::server::tracker::RequestTracker;
use crate::bus::server::{CurrentTerm, ProxyShared};
use crate::bus::transport::Epoch;
use crate::core::spawn_task;

/// Time for the replies to requests that the term before has left, once the term ends.
const LEFTOVER_TIMEOUT: Duration = Duration::from_millis(500);

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
    /// No more requests are taken, because the proxy is to stop. The lease is held, unless it is lost too.
    Closed(LeaseHandle),
    /// The lease was lost, with the reason.
    Lost(String),
}

impl LeaseTerm {
    pub(super) fn begin(shared: &Arc<ProxyShared>, lease: OwnLease) -> Self {
        let OwnLease { epoch, sent, .. } = lease;
        let fence = Arc::new(Fence::new(sent, shared.config.lease_duration));
        let requests = Arc::new(begin_requests(shared, epoch, &fence));
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

    /// Serves until the proxy is to stop, or the lease is lost. Replies may still wait in the publisher
    /// then.
    pub(super) async fn serve(self) -> (TermEnd, Arc<ReplyPublisher>) {
        let lease = LeaseRenewer::begin(&self.shared, &self.lease, &self.fence);
        let leftovers = AbortOnDropHandle::new(tokio::spawn(self.leftovers()));
        let OwnLease { epoch, server, .. } = self.lease;
        let shared = self.shared.clone();
        let (requests, fence) = (self.requests.clone(), self.fence.clone());
        let is_open = self.open().await;
        lease.is_settled.cancel();
        let receiver = RequestReceiver::new(shared.clone(), epoch, requests, fence);
        let receiver = receiver.taking_from(server);
        if is_open {
            *shared.taken.lock() = Some((epoch, None));
            // Neither task ends with a panic; if one does, no more requests are executed.
            match tokio::spawn(receiver.run()).await {
                Ok(taken) => *shared.taken.lock() = Some((epoch, Some(taken))),
                Err(_) => self.fence.lose("requests could not be taken"),
            }
        } else {
            self.fence.ended().await;
            receiver.refuse_all().await; // the wake
        }
        self.fence.ended().await;
        let end = if shared.stop.is_cancelled() {
            TermEnd::Closed(lease)
        } else {
            lease.end().await;
            TermEnd::Lost(self.fence.lost().await)
        };
        drop(timeout(LEFTOVER_TIMEOUT, leftovers).await);
        (end, self.requests.publisher().clone())
    }

    /// Waits until the system's actors are to be asked, and announces that; false if the proxy is to
    /// stop, or the lease is lost before.
    async fn open(&self) -> bool {
        tokio::select! {
            biased;
            () = self.shared.serves.cancelled() => {}
            () = self.shared.stop.cancelled() => return false,
            () = self.fence.ended() => return false,
        }
        if !self.lease.serves && !self.announce().await {
            return false;
        }
        self.shared.open_term();
        true
    }

    /// Writes into the lease that requests are taken; false if the proxy is to stop, or the lease is lost.
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
                        () = self.shared.stop.cancelled() => return false,
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
            // Copies of requests that this process has taken are not refused: they may be running.
            let taken = taken.filter(|(epoch, _)| former.is_own && *epoch == former.epoch);
            let begin = || begin_requests(&shared, former.epoch, &fence);
            let (taken, requests) = match taken {
                Some((_, Some(taken))) => (taken, begin()),
                Some((_, None)) => return,
                None => (Deduplicator::default(), begin().of_another_process()),
            };
            let requests = Arc::new(requests);
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
fn begin_requests(shared: &Arc<ProxyShared>, epoch: Epoch, fence: &Arc<Fence>) -> RequestTracker {
    let (transport, config) = (shared.transport.clone(), &shared.config);
    let log = shared.log.clone();
    let publisher = ReplyPublisher::new(transport, epoch, fence.clone(), config, log);
    let publisher = Arc::new(publisher);
    spawn_task(publisher::run(publisher.clone()));
    RequestTracker::new(publisher, shared)
}
