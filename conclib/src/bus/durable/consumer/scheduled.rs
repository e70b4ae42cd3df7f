//! Scheduled messages: their pause after a failed delivery ends, and they are claimed again.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::consumer::link::PAGE;
use crate::bus::durable::redelivery::needs_isolation;
use crate::bus::transport::stream::{Attempts, EntryId};

/// The pause before a message is considered again that the quarantine had no room for.
const QUARANTINE_PAUSE: Duration = Duration::from_secs(1);

impl Fetcher {
    /// Claims scheduled messages that are due.
    pub(super) async fn fetch_scheduled(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        let now = Instant::now();
        if !backlog.resume_retry.begins(now) {
            return;
        }
        let due = backlog.prefetch.redeliveries.due(now, PAGE);
        if due.is_empty() {
            return;
        }
        let max = self.link.limits.max_deliveries;
        let (isolated, regular): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|(_, attempts)| needs_isolation(*attempts, max));
        self.isolate_scheduled(backlog, ack, isolated).await;
        let claimed = self.claim_messages(backlog, ack, &regular, Duration::ZERO);
        let is_complete = claimed.await;
        let retry = &mut backlog.resume_retry;
        if retry.next().is_some() {
            return; // the messages could not be looked up, and are deferred
        }
        if is_complete {
            retry.has_succeeded();
        } else {
            retry.has_failed(Instant::now());
        }
    }

    /// Quarantines scheduled messages whose next delivery is to be isolated.
    async fn isolate_scheduled(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        entries: Vec<(EntryId, Attempts)>,
    ) {
        if entries.is_empty() {
            return;
        }
        let idle = self.link.limits.visibility;
        self.quarantine(backlog, ack, entries.clone(), idle).await;
        let later = Instant::now() + QUARANTINE_PAUSE;
        for (id, attempts) in entries {
            let redeliveries = &mut backlog.prefetch.redeliveries;
            if backlog.quarantine.knows(id) {
                redeliveries.forget(id);
            } else if redeliveries
                .due(Instant::now(), PAGE)
                .contains(&(id, attempts))
            {
                redeliveries.schedule(id, attempts, later);
            }
        }
    }
}
