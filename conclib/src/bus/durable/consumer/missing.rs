//! Messages for actors that are missing: they continue when an actor has the URN, and become dead letters
//! when none came in time.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::config::format_duration;
use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::prefetch::{ReceivedMessage, Resumable};
use crate::bus::durable::redelivery::{missing_time, needs_isolation};
use crate::bus::transport::ServerTime;
use crate::bus::transport::stream::{Attempts, EntryId};
use crate::error::AskError;

/// The interval of look-ups: an actor that appears gets its messages within a second.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(500);

impl Fetcher {
    /// Looks up the actors that messages wait for, if it is time. Messages that have waited too long
    /// become dead letters.
    pub(super) async fn look_for_actors(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        let now = Instant::now();
        if !backlog.prefetch.waits_for_actors() || now < backlog.next_lookup {
            return;
        }
        backlog.next_lookup = now + LOOKUP_INTERVAL;
        let link = self.link.clone();
        let (shared, timeout) = (&link.shared, link.limits.missing);
        let on_bus = |moment| shared.clock.to_bus(moment).unwrap_or(ServerTime(0));
        let bus_now = on_bus(now);
        let is_expired = |since, id: EntryId| missing_time(on_bus(since), id, bus_now) >= timeout;
        let expired = backlog
            .prefetch
            .look_for_actors(|urn| shared.has_actor(urn), is_expired);
        let expired = backlog.without_foreign(expired);
        if expired.is_empty() {
            return;
        }
        let entries: Vec<_> = expired.iter().map(|one| (one.id, one.attempts)).collect();
        let unchanged = |attempts| attempts;
        let claimed = self.claim_all(&entries, Duration::ZERO, unchanged).await;
        let Some(claimed) = claimed else {
            return; // they stay deferred
        };
        backlog.resumed(&expired);
        let reason = |message: &ReceivedMessage| {
            let error = AskError::from(shared.registry.absence_on_bus(&message.urn));
            let timeout = format_duration(timeout);
            let reason = format!("no actor had the URN for {timeout}: {error}");
            (error, reason)
        };
        self.dead_letter_claimed(backlog, ack, claimed, reason)
            .await;
    }

    /// The deferred messages to be claimed now. Those whose next delivery is to be isolated are
    /// quarantined.
    pub(super) async fn isolate_deferred(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
    ) -> Vec<Resumable> {
        let max = self.link.limits.max_deliveries;
        let resumable = backlog.resumable().into_iter();
        let (isolated, regular): (Vec<_>, Vec<_>) =
            resumable.partition(|one| needs_isolation(one.attempts, max));
        if !isolated.is_empty() {
            // Those without room are due again: they are not claimed here.
            backlog.resumed(&isolated);
            let entries: Vec<(EntryId, Attempts)> =
                isolated.iter().map(|one| (one.id, one.attempts)).collect();
            let idle = self.link.limits.visibility;
            self.quarantine(backlog, ack, entries, idle).await;
        }
        regular
    }
}
