//! The end of a consumer: messages that no actor has are released, and the others acknowledged.

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::bus::durable::consumer::Consumer;
use crate::bus::durable::consumer::link::PAGE;
use crate::bus::durable::redelivery::attempts_of_lost_read;
use crate::bus::server::DRAIN_TIMEOUT;
use crate::bus::transport::stream::EntryId;

impl Consumer {
    /// Releases the messages that no actor has, those that wait for a retry too, and waits for the
    /// outcomes of the others; for a limited time if the proxy was abandoned.
    pub(super) async fn drain(&mut self) {
        self.deliver.release_failed();
        // Failures so far are written first: that is a heartbeat, and would undo a release.
        self.acknowledge().await;
        if self.fetch.stop_reading().await {
            self.release_lost_reads().await;
        }
        let mut undelivered = self.backlog.prefetch.take_undelivered();
        let held = self.backlog.foreign.take_held().into_iter();
        undelivered.extend(held.map(|held| (held.id, held.attempts)));
        undelivered.extend(self.backlog.prefetch.redeliveries.take_all());
        undelivered.extend(self.backlog.unconfirmed.take_undelivered());
        self.link.release(undelivered).await;
        let abandoned = self.link.shared.abandoned.clone();
        let time_limit = async move {
            abandoned.cancelled().await;
            // The rest of that time is for the other parts of the proxy.
            sleep(DRAIN_TIMEOUT.mul_f64(0.9)).await;
        };
        tokio::pin!(time_limit);
        loop {
            self.acknowledge().await;
            if self.backlog.prefetch.is_empty() && self.ack.is_empty() {
                return;
            }
            if Instant::now() >= self.next_heartbeat {
                self.send_heartbeat().await;
            }
            let next = self.ack.next_attempt().unwrap_or(self.next_heartbeat);
            let prefetch = &mut self.backlog.prefetch;
            tokio::select! {
                biased;
                () = &mut time_limit => break,
                (ticket, outcome) = self.deliver.outcome() => {
                    self.deliver.complete(prefetch, &mut self.ack, ticket, outcome);
                }
                () = sleep_until(next.min(self.next_heartbeat)) => {}
            }
        }
        let rest = self.backlog.prefetch.abandon();
        warn!(
            count = rest.len(),
            "durable messages were not handled in time; other consumers will handle them"
        );
        self.link.release(rest).await;
    }

    /// Releases entries that a read may have claimed whose reply has not come in, since no actor had
    /// them, and those that await their redelivery.
    async fn release_lost_reads(&mut self) {
        let mut after = EntryId::default();
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        loop {
            let own = match self.link.transport.own_claims(after, page).await {
                Ok(own) => own,
                Err(error) => {
                    return debug!(%error, "cannot list the entries of the last read: they wait for the visibility time");
                }
            };
            let Some(last) = own.last() else { return };
            after = last.id;
            let unknown = own
                .iter()
                .filter(|own| !self.backlog.knows(&self.ack, own.id));
            let unknown = unknown.map(|own| {
                let known = self.backlog.prefetch.redeliveries.attempts(own.id);
                let attempts = known.unwrap_or_else(|| attempts_of_lost_read(own.attempts));
                (own.id, attempts)
            });
            self.link.release(unknown.collect()).await;
        }
    }
}
