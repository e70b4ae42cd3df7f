//! Entries that were read before this process knew whether it still has the lease. No I/O.
//!
//! They stay claimed until it knows, and no others are read meanwhile, so that messages keep their
//! order. A consumer that stops releases them.

use tokio::time::Instant;

use crate::bus::link::retry::Retry;
use crate::bus::transport::stream::{Attempts, EntryId, StreamEntry};

/// The entries of one read.
#[derive(Default)]
pub(crate) struct UnconfirmedReads {
    entries: Vec<StreamEntry>,
    /// The retry of looking at the lease.
    retry: Retry,
}

impl UnconfirmedReads {
    /// Defers the entries of a read whose look at the lease has failed.
    pub(crate) fn defer(&mut self, entries: Vec<StreamEntry>, now: Instant) {
        self.entries = entries;
        self.retry.has_failed(now);
    }

    /// Removes the entries, if it is time to look at the lease again.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<StreamEntry> {
        if self.is_empty() || !self.retry.begins(now) {
            return Vec::new();
        }
        std::mem::take(&mut self.entries)
    }

    /// A look at the lease has succeeded.
    pub(crate) fn has_succeeded(&mut self) {
        self.retry.has_succeeded();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains(&self, id: EntryId) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.entries.iter().map(|entry| entry.id)
    }

    /// The time of the next look at the lease.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.retry.next().filter(|_| !self.is_empty())
    }

    /// Removes all entries, and returns them with their deliveries: none has begun.
    pub(crate) fn take_undelivered(&mut self) -> Vec<(EntryId, Attempts)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries
            .map(|entry| (entry.id, Attempts::default()))
            .collect()
    }
}
