//! The time in which a system holds one lease.

use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use crate::bus::link::outage::Outage;
use crate::bus::server::fence::Fence;
use crate::bus::server::publisher as outlet;
use crate::bus::server::publisher::Outlet;
use crate::bus::server::receiver::Popper;
use crate::bus::server::{Granted, MARGIN, Shared};
use crate::bus::transport::{Epoch, LEASE, RENEW};
use crate::core::spawn_task;

/// The time in which a system holds one lease: an epoch, with an inbox of its own.
pub(super) struct Reign {
    pub(super) shared: Arc<Shared>,
    pub(super) epoch: Epoch,
    /// Where answers to what came in this epoch go.
    pub(super) outlet: Arc<Outlet>,
    pub(super) fence: Arc<Fence>,
}

/// How it ended.
pub(super) enum ReignEnd {
    /// The lease was given back, because the proxy is to stop.
    Released,
    /// The lease was lost, and why.
    Lost(String),
}

impl Reign {
    pub(super) fn begin(shared: &Arc<Shared>, granted: Granted) -> Self {
        let Granted { epoch, until } = granted;
        let outlet = Outlet::new(shared.transport.clone(), epoch, &shared.config);
        let outlet = Arc::new(outlet);
        spawn_task(outlet::publish(outlet.clone()));
        let fence = Arc::new(Fence::new(until));
        let reigning = (fence.clone(), outlet.clone());
        shared.reigning.send_replace(Some(reigning));
        Self {
            shared: shared.clone(),
            epoch,
            outlet,
            fence,
        }
    }

    /// Serves until the lease is given back or lost.
    ///
    /// What is to be published still is left.
    pub(super) async fn serve(self) -> (ReignEnd, Arc<Outlet>) {
        let keeper = tokio::spawn(Keeper::of(&self).keep());
        let popper = Popper::new(&self);
        let served = tokio::spawn(popper.run());
        // Neither ends with a panic; if one does, nothing more is executed.
        if served.await.is_err() {
            self.fence.lose("requests could not be taken");
        }
        // It may have the lease to give back, and needs the connection for that.
        drop(keeper.await);
        let end = if self.shared.stop.is_cancelled() || self.fence.is_released().await {
            ReignEnd::Released
        } else {
            ReignEnd::Lost(self.fence.lost().await)
        };
        (end, self.outlet)
    }
}

/// Renews the lease of a reign, and gives it back.
struct Keeper {
    shared: Arc<Shared>,
    epoch: Epoch,
    fence: Arc<Fence>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // If it did not come to its end: what nobody renews is lost.
        self.fence.lose("nobody renewed it");
    }
}

impl Keeper {
    fn of(reign: &Reign) -> Self {
        Self {
            shared: reign.shared.clone(),
            epoch: reign.epoch,
            fence: reign.fence.clone(),
        }
    }

    /// Keeps the lease until the proxy is to stop or the lease is lost, then gives it back.
    async fn keep(self) {
        let lost = tokio::select! {
            lost = self.renew() => lost,
            why = self.fence.lost() => Some(why),
        };
        if let Some(reason) = &lost {
            error!(node = %self.shared.node, %reason, "the lease is lost");
            self.fence.lose(reason);
        }
        // Also if it is lost: a renewal that nobody waited for any more may have come through, and
        // would keep others away.
        match self.shared.try_release(self.epoch).await {
            Ok(true) => return self.fence.release(),
            Ok(false) => {}
            Err(reason) if lost.is_some() => debug!(%reason, "a lost lease is not given back"),
            Err(reason) => self.shared.warn_of_release(&reason),
        }
        self.fence.lose("it could not be given back"); // if no other reason is known
    }

    /// Renews the lease until the proxy is to stop; why it could not, if so.
    async fn renew(&self) -> Option<String> {
        let mut pause = RENEW;
        let outage = Outage::default();
        let node = &*self.shared.node;
        loop {
            self.shared.stop.run_until_cancelled(sleep(pause)).await?;
            let sent = Instant::now();
            let end = self.fence.end() + MARGIN;
            pause = match timeout_at(end, self.shared.transport.renew(self.epoch)).await {
                Ok(Ok(Some(now))) => {
                    self.shared.clock.learn(sent, Instant::now(), now);
                    self.fence.extend(sent + LEASE - MARGIN);
                    if outage.ends() {
                        info!(node, "the lease is renewed again");
                    }
                    RENEW
                }
                Ok(Ok(None)) => return Some("it is not this system's any more".to_owned()),
                Ok(Err(reason)) if Instant::now() < end => {
                    if outage.begins() {
                        let left = end.saturating_duration_since(Instant::now());
                        warn!(node, %reason, ?left, "the lease cannot be renewed: it is tried again \
                            until it runs out, and then nothing is served");
                    }
                    RENEW / 8
                }
                Ok(Err(_)) | Err(_) => return Some("it has run out".to_owned()),
            };
        }
    }
}
