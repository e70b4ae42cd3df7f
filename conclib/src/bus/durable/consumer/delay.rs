//! Claimed entries that are not due: moved out of the stream, or scheduled if that fails.

use tokio::time::Instant;

use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::due::{DueTime, judge_due};
use crate::bus::transport::stream::{Attempts, EntryId, StreamEntry};

/// Claimed entries with their deliveries, including this one.
type ClaimedEntries = Vec<(StreamEntry, Attempts)>;

impl Backlog {
    /// Splits off the entries that are not due.
    pub(super) fn split_delayed(
        &self,
        entries: ClaimedEntries,
        now: Instant,
    ) -> (ClaimedEntries, ClaimedEntries) {
        if entries.iter().all(|(entry, _)| entry.options.due.is_none()) {
            return (entries, Vec::new());
        }
        let bus_now = self.delayed.link.bus_time(now);
        let is_due = |entry: &StreamEntry| {
            !matches!(judge_due(entry.options.due, bus_now), DueTime::Later(_))
        };
        entries.into_iter().partition(|(entry, _)| is_due(entry))
    }

    /// Moves entries that are not due out of the stream. If that fails, they are scheduled; returns them
    /// with the deliveries so far.
    pub(super) async fn delay(
        &mut self,
        entries: ClaimedEntries,
        now: Instant,
    ) -> Vec<(EntryId, Attempts)> {
        if entries.is_empty() {
            return Vec::new();
        }
        let times: Vec<_> = entries
            .iter()
            .map(|(entry, attempts)| (entry.id, attempts.undelivered(), entry.options.due))
            .collect();
        for (id, ..) in &times {
            self.foreign.remove(*id);
            self.prefetch.redeliveries.forget(*id);
        }
        let entries = entries.into_iter().map(|(entry, _)| entry).collect();
        if self.delayed.add(entries).await {
            return Vec::new();
        }
        let scheduled = times.into_iter().map(|(id, attempts, due)| {
            let due = self.delayed.link.due_moment(due.unwrap_or_default(), now);
            self.prefetch.redeliveries.schedule(id, attempts, due);
            (id, attempts)
        });
        scheduled.collect()
    }
}
