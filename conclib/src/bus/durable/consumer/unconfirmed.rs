//! Entries that were read before this process knew whether it still has the lease.
//!
//! They stay claimed until it knows, and no others are read meanwhile, so that messages keep their
//! order. A consumer that stops releases them.

use tokio::time::Instant;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::consumer::link::Ownership;
use crate::bus::durable::prefetch::EntrySource;
use crate::bus::link::retry::Retry;
use crate::bus::transport::stream::{Attempts, EntryId, StreamEntry};

/// The entries of one read.
#[derive(Default)]
pub(super) struct UnconfirmedReads {
    entries: Vec<StreamEntry>,
    /// The retry of looking at the lease.
    retry: Retry,
}

impl UnconfirmedReads {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, id: EntryId) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.entries.iter().map(|entry| entry.id)
    }

    /// The time of the next look at the lease.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.retry.next().filter(|_| !self.is_empty())
    }

    /// Removes all entries, and returns them with their deliveries: none has begun.
    pub(super) fn take_undelivered(&mut self) -> Vec<(EntryId, Attempts)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries
            .map(|entry| (entry.id, Attempts::default()))
            .collect()
    }
}

impl Fetcher {
    /// Passes on entries that were read, if this process still has the lease. Another one that has it
    /// claims them.
    pub(super) async fn admit_if_ours(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        entries: Vec<StreamEntry>,
    ) {
        match self.link.ownership(&entries).await {
            Ownership::Ours => {
                backlog.unconfirmed.retry.has_succeeded();
                let entries = entries.into_iter();
                let entries = entries.map(|entry| (entry, Attempts::new(1))).collect();
                backlog.admit(ack, entries, EntrySource::Stream).await;
            }
            Ownership::Others => {}
            Ownership::Unknown => {
                backlog.unconfirmed.entries = entries;
                backlog.unconfirmed.retry.has_failed(Instant::now());
            }
        }
    }

    /// Looks at the lease again for entries that were read before.
    pub(super) async fn confirm_reads(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        let unconfirmed = &mut backlog.unconfirmed;
        if unconfirmed.is_empty() || !unconfirmed.retry.begins(Instant::now()) {
            return;
        }
        let entries = std::mem::take(&mut unconfirmed.entries);
        self.admit_if_ours(backlog, ack, entries).await;
    }
}
