//! The stream of durable messages on a transport on which things go wrong.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::faults::Faults;
use crate::bus::faults::transport::check;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{
    Attempts, ConsumeTransport, Dead, EntryId, Finished, Kept, Others, Pending,
};

/// The actor system's end of the stream of durable messages, which a cut bus does not reach.
/// Nothing else goes wrong on it: what is lost or doubled on the way is stored again, or is known
/// by its key.
pub(crate) struct Consumer {
    pub(crate) inner: Arc<dyn ConsumeTransport>,
    pub(crate) faults: Faults,
}

#[async_trait]
impl ConsumeTransport for Consumer {
    async fn prepare(&self) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.prepare().await
    }

    async fn read(&self, count: u32, block: Duration) -> Result<Vec<Kept>, TransportError> {
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
    ) -> Result<Vec<Pending>, TransportError> {
        check(&self.faults)?;
        self.inner.due(after, idle, count).await
    }

    async fn own(&self, after: EntryId, count: u32) -> Result<Vec<Pending>, TransportError> {
        check(&self.faults)?;
        self.inner.own(after, count).await
    }

    async fn others(
        &self,
        after: EntryId,
        alive: Duration,
        count: u32,
    ) -> Result<Others, TransportError> {
        check(&self.faults)?;
        self.inner.others(after, alive, count).await
    }

    async fn still_others(
        &self,
        ids: &[EntryId],
        alive: Duration,
    ) -> Result<Vec<EntryId>, TransportError> {
        check(&self.faults)?;
        self.inner.still_others(ids, alive).await
    }

    async fn look(&self, ids: &[EntryId]) -> Result<Vec<Kept>, TransportError> {
        check(&self.faults)?;
        self.inner.look(ids).await
    }

    async fn take(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<Vec<Kept>, TransportError> {
        check(&self.faults)?;
        self.inner.take(ids, attempts, idle).await
    }

    async fn touch(&self, ids: &[EntryId]) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.touch(ids).await
    }

    async fn lay_aside(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.lay_aside(ids, attempts, idle).await
    }

    async fn records(&self, names: Vec<String>) -> Result<Vec<Option<Bytes>>, TransportError> {
        check(&self.faults)?;
        self.inner.records(names).await
    }

    async fn finish(
        &self,
        finished: Vec<Finished>,
        keep: Duration,
    ) -> Result<usize, TransportError> {
        check(&self.faults)?;
        self.inner.finish(finished, keep).await
    }

    async fn bury(&self, dead: Dead) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.bury(dead).await
    }

    async fn stop_reading(&self) {
        self.inner.stop_reading().await;
    }
}
