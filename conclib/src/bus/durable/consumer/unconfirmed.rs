//! Reads are confirmed: their entries are admitted once this process knows that it has the lease.

use tokio::time::Instant;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::consumer::link::Ownership;
use crate::bus::durable::prefetch::EntrySource;
use crate::bus::transport::stream::{Attempts, StreamEntry};

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
                backlog.unconfirmed.has_succeeded();
                let entries = entries.into_iter();
                let entries = entries.map(|entry| (entry, Attempts::new(1))).collect();
                backlog.admit(ack, entries, EntrySource::Stream).await;
            }
            Ownership::Others => {}
            Ownership::Unknown => backlog.unconfirmed.defer(entries, Instant::now()),
        }
    }

    /// Looks at the lease again for entries that were read before.
    pub(super) async fn confirm_reads(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        let entries = backlog.unconfirmed.take_due(Instant::now());
        if !entries.is_empty() {
            self.admit_if_ours(backlog, ack, entries).await;
        }
    }
}
