//! The stream of durable messages on a transport on which things go wrong.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::faults::Faults;
use crate::bus::faults::transport::check;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{
    Attempts, DeadLetterEntry, EntryAck, EntryId, ForeignPage, PendingEntry, StreamConsumer,
    StreamEntry,
};

/// The actor system's end of the stream of durable messages, which a cut bus does not reach.
/// Nothing else goes wrong on it: what is lost or doubled on the way is stored again, or is known
/// by its key.
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
        alive: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        check(&self.faults)?;
        self.inner.foreign_claims(after, alive, count).await
    }

    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: Duration,
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
        names: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError> {
        check(&self.faults)?;
        self.inner.cached_results(names).await
    }

    async fn acknowledge(
        &self,
        finished: Vec<EntryAck>,
        keep: Duration,
    ) -> Result<usize, TransportError> {
        check(&self.faults)?;
        self.inner.acknowledge(finished, keep).await
    }

    async fn dead_letter(&self, dead: DeadLetterEntry) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.dead_letter(dead).await
    }

    async fn stop_reading(&self) {
        self.inner.stop_reading().await;
    }
}
