//! The stream of durable messages on a bus with injected faults.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::faults::{Faults, check};
use crate::bus::transport::stream::{
    AliveWithin, Attempts, DeadLetterEntry, EntryAck, EntryId, ForeignPage, PendingEntry,
    StreamConsumer, StreamEntry,
};
use crate::bus::transport::{ServerTime, TransportError};

/// A consumer that fails while the bus is cut. No other faults are injected here: a client appends a
/// lost message again, and a duplicate is recognized by its dedup key.
pub(crate) struct FaultyConsumer {
    pub(crate) inner: Arc<dyn StreamConsumer>,
    pub(crate) faults: Faults,
}

#[async_trait]
impl StreamConsumer for FaultyConsumer {
    async fn create_group(&self) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.create_group().await
    }

    async fn read(&self, count: u32, block: Duration) -> Result<Vec<StreamEntry>, TransportError> {
        check(&self.faults)?;
        let read = self.inner.read(count, block).await;
        check(&self.faults)?;
        read
    }

    async fn due(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        check(&self.faults)?;
        self.inner.due(after, idle, count).await
    }

    async fn own_claims(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        check(&self.faults)?;
        self.inner.own_claims(after, count).await
    }

    async fn foreign_claims(
        &self,
        after: EntryId,
        alive: AliveWithin,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        check(&self.faults)?;
        self.inner.foreign_claims(after, alive, count).await
    }

    async fn predecessor_claims(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        check(&self.faults)?;
        self.inner.predecessor_claims(after, idle, count).await
    }

    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: AliveWithin,
    ) -> Result<Vec<EntryId>, TransportError> {
        check(&self.faults)?;
        self.inner.still_foreign(ids, alive).await
    }

    async fn read_entries(&self, ids: &[EntryId]) -> Result<Vec<StreamEntry>, TransportError> {
        check(&self.faults)?;
        self.inner.read_entries(ids).await
    }

    async fn claim(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        check(&self.faults)?;
        self.inner.claim(ids, attempts, idle).await
    }

    async fn extend_claims(&self, ids: &[EntryId]) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.extend_claims(ids).await
    }

    async fn release(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.release(ids, attempts, idle).await
    }

    async fn cached_results(
        &self,
        dedup_keys: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError> {
        check(&self.faults)?;
        self.inner.cached_results(dedup_keys).await
    }

    async fn acknowledge(
        &self,
        acks: Vec<EntryAck>,
        result_ttl: Duration,
    ) -> Result<usize, TransportError> {
        check(&self.faults)?;
        self.inner.acknowledge(acks, result_ttl).await
    }

    async fn dead_letter(&self, letters: Vec<DeadLetterEntry>) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.dead_letter(letters).await
    }

    async fn delay(&self, entries: Vec<StreamEntry>, max: u64) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.inner.delay(entries, max).await
    }

    async fn next_delayed(&self) -> Result<Option<ServerTime>, TransportError> {
        check(&self.faults)?;
        self.inner.next_delayed().await
    }

    async fn due_delayed(
        &self,
        now: ServerTime,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        check(&self.faults)?;
        self.inner.due_delayed(now, count).await
    }

    async fn resume_delayed(&self, entries: Vec<StreamEntry>) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.resume_delayed(entries).await
    }

    async fn stop_reading(&self) {
        self.inner.stop_reading().await;
    }
}
