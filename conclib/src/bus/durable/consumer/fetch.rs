//! Fetching: entries of the stream are claimed and passed on to the backlog.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::bus::durable::consumer::READ_WAIT;
use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::{Backlog, DueEntries};
use crate::bus::durable::consumer::link::{
    BATCH_BYTES, ConsumerLink, EXPECTED_SIZE, Ownership, PAGE, READ_COUNT,
};
use crate::bus::durable::inheritance::{DueScan, Inheritance};
use crate::bus::durable::prefetch::EntrySource;
use crate::bus::link::ewma::EwmaSize;
use crate::bus::link::retry::Retry;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{Attempts, EntryId, StreamEntry};

/// The fraction of a heartbeat interval that a search for entries may take: many of those listed may be
/// deferred here.
const SEARCH_SHARE: u32 = 10;

/// The longest time that it may take: messages that were found are delivered in between.
const MAX_SEARCH: Duration = Duration::from_millis(500);

/// The interval of checks whether messages held for other consumers can continue.
const FOREIGN_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The pause before entries are claimed again that could not be claimed, and that no other consumer has.
const CLAIM_PAUSE: Duration = Duration::from_millis(100);

/// The result of a read.
pub(super) type Read = Result<Vec<StreamEntry>, TransportError>;

/// Claims entries of the stream.
pub(super) struct Fetcher {
    pub(super) link: Arc<ConsumerLink>,
    /// The read in progress.
    read: Option<Pin<Box<dyn Future<Output = Read> + Send>>>,
    read_retry: Retry,
    sizes: BatchSizes,
    due: DueScan,
    /// The search for entries of earlier processes of the same instance.
    pub(super) inheritance: Inheritance,
}

/// The sizes of batches.
struct BatchSizes {
    /// The mean size of messages.
    mean: EwmaSize,
    /// The maximum number of entries in one claim: fewer after a claim has failed.
    max_claim: usize,
}

/// The reason why entries were not claimed for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotClaimed {
    /// The bus has not answered, or has refused.
    Failed,
    /// They were claimed, and this process does not know that it has the lease.
    Unconfirmed,
}

impl Fetcher {
    pub(super) fn new(link: Arc<ConsumerLink>) -> Self {
        Self {
            link,
            read: None,
            read_retry: Retry::default(),
            sizes: BatchSizes {
                mean: EwmaSize::expecting(EXPECTED_SIZE),
                max_claim: PAGE,
            },
            due: DueScan::default(),
            inheritance: Inheritance::default(),
        }
    }

    // ---- new entries

    /// Begins to read new entries if none are being read, and there is room.
    pub(super) fn begin_read(&mut self, now: Instant, has_room: bool) {
        if self.read_retry.begins(now) && has_room && self.read.is_none() {
            let transport = self.link.transport.clone();
            let count = self.sizes.mean.frames(BATCH_BYTES, READ_COUNT);
            let count = u32::try_from(count).unwrap_or(1);
            self.read = Some(Box::pin(
                async move { transport.read(count, READ_WAIT).await },
            ));
        }
    }

    /// Waits for the read in progress; for ever if there is none.
    ///
    /// # Cancel safety
    ///
    /// The read continues if the call is dropped.
    pub(super) async fn finish_read(&mut self) -> Read {
        let Some(read) = &mut self.read else {
            return pending().await;
        };
        let read = read.await;
        self.read = None;
        read
    }

    /// Passes on the entries that were read.
    pub(super) async fn admit_read(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        read: Read,
    ) {
        let node = &self.link.shared.node;
        match read {
            Ok(entries) => {
                if self.read_retry.has_succeeded() {
                    info!(%node, "durable messages are read again");
                }
                self.sizes.record(&entries);
                self.admit_if_ours(backlog, ack, entries).await;
            }
            Err(error) => {
                if !self.read_retry.is_failing() {
                    warn!(%node, %error, "cannot read durable messages: they wait on the bus");
                }
                self.read_retry.has_failed(Instant::now());
                self.link.create_group().await;
            }
        }
    }

    /// The time of the next attempt to read, after one has failed.
    pub(super) fn next_read_attempt(&self) -> Option<Instant> {
        self.read_retry.next()
    }

    /// Stops reading new entries. True if a read was in progress, which may have claimed some.
    pub(super) async fn stop_reading(&mut self) -> bool {
        self.link.transport.stop_reading().await; // it may block
        self.read.take().is_some()
    }

    // ---- entries that are due again

    /// True if a search has left due entries for the next one.
    pub(super) fn has_more_due(&self) -> bool {
        self.due.has_more
    }

    /// Delivers entries again, or makes dead letters of them. False if some were not claimed.
    pub(super) async fn redeliver(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        due: DueEntries,
        idle: Duration,
    ) -> bool {
        self.quarantine(backlog, ack, due.isolate, idle).await;
        self.dead_letter_process_ends(backlog, ack, due.dead_letter, idle)
            .await;
        self.claim_messages(backlog, ack, &due.deliver, idle).await
    }

    /// The time at which a search that begins now lets other work come first.
    pub(super) fn search_end(&self) -> Instant {
        let share = self.link.limits.heartbeat / SEARCH_SHARE;
        Instant::now() + share.min(MAX_SEARCH)
    }

    /// Claims entries without a heartbeat for the visibility time.
    pub(super) async fn fetch_due(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        let idle = self.link.limits.visibility;
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let end = self.search_end();
        loop {
            self.due.has_more = false;
            if !backlog.has_room(ack) {
                return;
            }
            let listed = self.link.transport.due(self.due.cursor, idle, page).await;
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => return debug!(%error, "cannot list due durable messages"),
            };
            let is_last = listed.len() < PAGE;
            let last = listed.last().filter(|_| !is_last);
            self.due.cursor = last.map_or(EntryId::default(), |last| last.id);
            let due = backlog.decide_redeliveries(ack, &listed);
            let is_fruitful = !due.deliver.is_empty() || !due.dead_letter.is_empty();
            let is_complete = self.redeliver(backlog, ack, due, idle).await;
            if !is_complete || is_last {
                return;
            }
            if Instant::now() >= end {
                self.due.has_more = is_fruitful;
                return;
            }
        }
    }

    // ---- deferred and held messages

    /// Claims deferred messages for which there is room.
    pub(super) async fn fetch_deferred(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        if !backlog.resume_retry.begins(Instant::now()) {
            return;
        }
        let resumable = self.isolate_deferred(backlog, ack).await;
        let entries: Vec<_> = resumable.iter().map(|one| (one.id, one.attempts)).collect();
        let mut rest = &resumable[..];
        while !rest.is_empty() {
            let batch = self.sizes.batch(&entries[resumable.len() - rest.len()..]);
            // Messages that cannot be claimed stay deferred, in front of later ones.
            let Ok(claimed) = self.claim(batch, Duration::ZERO, Attempts::next).await else {
                return backlog.resume_retry.has_failed(Instant::now());
            };
            let (resumed, behind) = rest.split_at(batch.len());
            backlog.resumed(resumed);
            let is_known = backlog.admit(ack, claimed, EntrySource::Deferred).await;
            if !is_known {
                return;
            }
            backlog.resume_retry.has_succeeded();
            rest = behind;
        }
    }

    /// Claims held messages once the other consumer has acknowledged the duplicate, or stopped sending
    /// heartbeats for it.
    pub(super) async fn fetch_held(&mut self, backlog: &mut Backlog, ack: &mut Acknowledger) {
        let now = Instant::now();
        let foreign = &mut backlog.foreign;
        if foreign.next_check().is_none_or(|next| now < next) {
            return;
        }
        foreign.schedule_check(now + FOREIGN_CHECK_INTERVAL);
        let awaited = foreign.awaited_entries();
        backlog.refresh_foreign_claims(&awaited).await;
        let unblocked = backlog.foreign.unblocked();
        let entries: Vec<_> = unblocked
            .iter()
            .map(|held| (held.id, held.attempts))
            .collect();
        self.claim_messages(backlog, ack, &entries, Duration::ZERO)
            .await;
        // Messages that could not be claimed are still held.
        backlog.foreign.schedule_check(now + FOREIGN_CHECK_INTERVAL);
    }

    // ---- claims

    /// Claims messages for another delivery, and passes them on. False if some were not claimed.
    pub(super) async fn claim_messages(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        entries: &[(EntryId, Attempts)],
        idle: Duration,
    ) -> bool {
        let mut rest = entries;
        while !rest.is_empty() {
            let batch = self.sizes.batch(rest);
            let claimed = match self.claim(batch, idle, Attempts::next).await {
                Ok(claimed) => claimed,
                Err(failure) => {
                    // Others may have a heartbeat by now if they had none for `idle`.
                    let is_free = failure == NotClaimed::Unconfirmed || idle.is_zero();
                    let again = is_free.then(|| Instant::now() + CLAIM_PAUSE);
                    // If only the reply was lost, the bus counts deliveries that have not begun.
                    backlog.await_redeliveries(ack, batch, again);
                    return false;
                }
            };
            backlog.claimed(batch);
            rest = &rest[batch.len()..];
            if !backlog.admit(ack, claimed, EntrySource::Stream).await {
                return rest.is_empty();
            }
        }
        true
    }

    /// Claims entries, and sets the deliveries of each to `count` of those before. `None` if the bus has
    /// not answered.
    pub(super) async fn claim_all(
        &mut self,
        entries: &[(EntryId, Attempts)],
        idle: Duration,
        count: impl Fn(Attempts) -> Attempts,
    ) -> Option<Vec<(StreamEntry, Attempts)>> {
        let mut claimed = Vec::new();
        let mut rest = entries;
        while !rest.is_empty() {
            let batch = self.sizes.batch(rest);
            claimed.extend(self.claim(batch, idle, &count).await.ok()?);
            rest = &rest[batch.len()..];
        }
        Some(claimed)
    }

    /// The same for one batch of entries, which all have the same deliveries.
    async fn claim(
        &mut self,
        batch: &[(EntryId, Attempts)],
        idle: Duration,
        count: impl Fn(Attempts) -> Attempts,
    ) -> Result<Vec<(StreamEntry, Attempts)>, NotClaimed> {
        let attempts = batch.first().map_or(Attempts::default(), |(_, one)| *one);
        let attempts = count(attempts);
        let ids: Vec<_> = batch.iter().map(|(id, _)| *id).collect();
        match self.link.transport.claim(&ids, attempts, idle).await {
            Ok(entries) if self.link.ownership(&entries).await != Ownership::Ours => {
                Err(NotClaimed::Unconfirmed)
            }
            Ok(entries) => {
                self.sizes.claim_succeeded();
                self.sizes.record(&entries);
                Ok(entries.into_iter().map(|entry| (entry, attempts)).collect())
            }
            Err(error) => {
                debug!(%error, "cannot claim durable messages");
                self.sizes.claim_failed(ids.len());
                Err(NotClaimed::Failed)
            }
        }
    }

    /// Reads the first of these entries, as many as fit into a batch, without claiming them. Returns
    /// the others.
    pub(super) async fn read_batch<'a>(
        &mut self,
        ids: &'a [EntryId],
    ) -> Result<(Vec<StreamEntry>, &'a [EntryId]), TransportError> {
        let count = self.sizes.mean.frames(BATCH_BYTES, ids.len());
        let (batch, behind) = ids.split_at(count);
        let entries = self.link.transport.read_entries(batch).await?;
        self.sizes.record(&entries);
        Ok((entries, behind))
    }
}

impl BatchSizes {
    fn record(&mut self, entries: &[StreamEntry]) {
        for entry in entries {
            self.mean.record(entry.frame.len());
        }
    }

    /// The first of these entries, as many as are claimed together: about a megabyte, and all with the
    /// same deliveries.
    fn batch<'a>(&self, entries: &'a [(EntryId, Attempts)]) -> &'a [(EntryId, Attempts)] {
        let most = self.mean.frames(BATCH_BYTES, self.max_claim);
        let first = entries.first().map(|(_, attempts)| *attempts);
        let alike = entries.iter().take(most);
        let alike = alike.take_while(|(_, attempts)| Some(*attempts) == first);
        &entries[..alike.count()]
    }

    fn claim_succeeded(&mut self) {
        self.max_claim = (self.max_claim + self.max_claim / 4 + 1).min(PAGE);
    }

    /// The messages may be larger than those before.
    fn claim_failed(&mut self, count: usize) {
        self.max_claim = (count / 2).max(1);
    }
}
