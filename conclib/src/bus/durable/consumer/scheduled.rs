//! Scheduled messages: their pause after a failed delivery ends, and they are claimed again.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::consumer::link::PAGE;
use crate::bus::durable::prefetch::ReceivedMessage;
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

impl Backlog {
    /// The time at which scheduled messages are to be claimed.
    pub(super) fn next_scheduled(&self) -> Option<Instant> {
        let due = self.prefetch.redeliveries.wakes_at()?;
        Some(self.resume_retry.next().map_or(due, |retry| retry.max(due)))
    }

    /// Remembers the deliveries of entries that could not be claimed. They are claimed `again` at that
    /// time, or when the visibility time has passed.
    pub(super) fn await_redeliveries(
        &mut self,
        ack: &Acknowledger,
        entries: &[(EntryId, Attempts)],
        again: Option<Instant>,
    ) {
        for (id, attempts) in entries {
            if self.knows(ack, *id) {
                continue;
            }
            let redeliveries = &mut self.prefetch.redeliveries;
            match again {
                Some(again) if !redeliveries.is_scheduled(*id) => {
                    redeliveries.schedule(*id, *attempts, again);
                }
                _ => redeliveries.remember(*id, *attempts),
            }
        }
    }

    /// Schedules a repetition together with the earlier entry of its message, if that waits for a retry;
    /// returns the deliveries so far, which both share. They are claimed together, and are duplicates then.
    pub(super) fn wait_with_earlier(&mut self, message: &ReceivedMessage) -> Option<Attempts> {
        let dedup_key = &message.dedup_key;
        if !message.is_repetition || self.prefetch.has_key(dedup_key) {
            return None;
        }
        let redeliveries = &mut self.prefetch.redeliveries;
        let pause = redeliveries.pause_of(dedup_key)?;
        redeliveries.schedule_failed(message.id, pause, dedup_key);
        Some(pause.attempts)
    }
}
