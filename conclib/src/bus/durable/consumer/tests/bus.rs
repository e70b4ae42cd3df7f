//! A bus with scripted failures.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::sleep;

use crate::bus::transport::fleet::FleetMap;
use crate::bus::transport::stream::{
    AliveWithin, Attempts, DeadLetterEntry, DeadLetterStore, EntryAck, EntryId, ForeignPage,
    PendingEntry, StreamConsumer, StreamEntry,
};
use crate::bus::transport::{
    Acquired, Backlog, Epoch, Frame, LeaseClaim, Lists, Popped, ServerTime, ServerTransport,
    TransportError,
};
use crate::reply::remote::ClientId;

/// The failures of a test, and the calls of the consumer.
#[derive(Default)]
pub(super) struct Script {
    /// The number of failures left for each of these calls.
    pub(super) failing: Mutex<HashMap<&'static str, usize>>,
    /// Claims of more entries than this succeed on the bus, but their replies are lost.
    pub(super) max_claimed: Mutex<Option<usize>>,
    /// The group is lost until it is created again.
    pub(super) lacks_group: Mutex<bool>,
    /// The replies to reads are lost.
    pub(super) swallows_reads: Mutex<bool>,
    /// The time that a look at the owner of the lease takes.
    pub(super) owner_pause: Mutex<Duration>,
    /// The calls, with the number of entries of each.
    calls: Mutex<Vec<(&'static str, usize)>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    pub(super) fn fail(&self, call: &'static str, times: usize) {
        lock(&self.failing).insert(call, times);
    }

    fn call(&self, call: &'static str, count: usize) -> Result<(), TransportError> {
        lock(&self.calls).push((call, count));
        match lock(&self.failing).get_mut(call) {
            Some(times) if *times > 0 => {
                *times -= 1;
                Err(TransportError::NotDone("on purpose".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The numbers of entries of these calls.
    pub(super) fn counts(&self, call: &str) -> Vec<usize> {
        let calls = lock(&self.calls);
        let counted = calls.iter().filter(|(name, _)| *name == call);
        counted.map(|(_, count)| *count).collect()
    }
}

pub(super) struct Bus {
    pub(super) inner: Arc<dyn ServerTransport>,
    pub(super) script: Arc<Script>,
}

#[async_trait]
impl ServerTransport for Bus {
    async fn prepare(&self) -> Result<(), TransportError> {
        self.inner.prepare().await
    }

    async fn acquire(&self, claim: &LeaseClaim) -> Result<Acquired, TransportError> {
        sleep(Duration::from_millis(10)).await; // so that the test sees the loss
        self.inner.acquire(claim).await
    }

    async fn open(&self, epoch: Epoch, claim: &LeaseClaim) -> Result<bool, TransportError> {
        self.inner.open(epoch, claim).await
    }

    async fn renew(
        &self,
        epoch: Epoch,
        length: Duration,
    ) -> Result<Option<ServerTime>, TransportError> {
        match self.script.call("renew", 1) {
            Ok(()) => self.inner.renew(epoch, length).await,
            Err(_) => Ok(None), // the lease is lost
        }
    }

    async fn stop_serving(
        &self,
        epoch: Epoch,
        claim: &LeaseClaim,
        wake: Bytes,
    ) -> Result<bool, TransportError> {
        self.inner.stop_serving(epoch, claim, wake).await
    }

    async fn release(&self, epoch: Epoch) -> Result<bool, TransportError> {
        self.inner.release(epoch).await
    }

    async fn give_up(&self, epoch: Epoch) -> Result<bool, TransportError> {
        self.inner.give_up(epoch).await
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        self.inner.wake(epoch, wake).await
    }

    async fn pop(
        &self,
        epoch: Epoch,
        lists: Lists,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        self.inner.pop(epoch, lists, count, block).await
    }

    async fn publish(&self, client: ClientId, frame: Frame) -> Result<Option<u64>, TransportError> {
        self.inner.publish(client, frame).await
    }

    async fn owner(&self) -> Result<Option<Epoch>, TransportError> {
        self.script.call("owner", 1)?;
        let pause = *lock(&self.script.owner_pause);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        self.inner.owner().await
    }

    async fn backlog(&self, epoch: Epoch) -> Result<Backlog, TransportError> {
        self.inner.backlog(epoch).await
    }

    async fn consumer(&self, instance: &str) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        let inner = self.inner.consumer(instance).await?;
        let script = self.script.clone();
        Ok(Arc::new(Stream { inner, script }))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        self.inner.dead_letters()
    }

    fn fleet(&self) -> Arc<dyn FleetMap> {
        self.inner.fleet()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct Stream {
    inner: Arc<dyn StreamConsumer>,
    script: Arc<Script>,
}

#[async_trait]
impl StreamConsumer for Stream {
    async fn create_group(&self) -> Result<(), TransportError> {
        *lock(&self.script.lacks_group) = false;
        self.inner.create_group().await
    }

    async fn read(&self, count: u32, block: Duration) -> Result<Vec<StreamEntry>, TransportError> {
        let read = self.inner.read(count, block).await?;
        self.script.call("read", read.len())?;
        if *lock(&self.script.swallows_reads) && !read.is_empty() {
            return pending().await;
        }
        Ok(read)
    }

    async fn due(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        self.inner.due(after, idle, count).await
    }

    async fn own_claims(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        self.inner.own_claims(after, count).await
    }

    async fn foreign_claims(
        &self,
        after: EntryId,
        alive: AliveWithin,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        if *lock(&self.script.lacks_group) {
            return Err(TransportError::NotDone("NOGROUP".to_owned()));
        }
        self.inner.foreign_claims(after, alive, count).await
    }

    async fn predecessor_claims(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        self.inner.predecessor_claims(after, idle, count).await
    }

    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: AliveWithin,
    ) -> Result<Vec<EntryId>, TransportError> {
        self.inner.still_foreign(ids, alive).await
    }

    async fn read_entries(&self, ids: &[EntryId]) -> Result<Vec<StreamEntry>, TransportError> {
        self.inner.read_entries(ids).await
    }

    async fn claim(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        self.script.call("claim", ids.len())?;
        let claimed = self.inner.claim(ids, attempts, idle).await?;
        let max = *lock(&self.script.max_claimed);
        if max.is_some_and(|max| ids.len() > max) {
            return Err(TransportError::Unknown("on purpose".to_owned()));
        }
        Ok(claimed)
    }

    async fn extend_claims(&self, ids: &[EntryId]) -> Result<(), TransportError> {
        self.inner.extend_claims(ids).await
    }

    async fn release(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<(), TransportError> {
        self.inner.release(ids, attempts, idle).await
    }

    async fn cached_results(
        &self,
        dedup_keys: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError> {
        self.script.call("cached_results", dedup_keys.len())?;
        self.inner.cached_results(dedup_keys).await
    }

    async fn acknowledge(
        &self,
        acks: Vec<EntryAck>,
        result_ttl: Duration,
    ) -> Result<usize, TransportError> {
        self.script.call("acknowledge", acks.len())?;
        self.inner.acknowledge(acks, result_ttl).await
    }

    async fn dead_letter(&self, letters: Vec<DeadLetterEntry>) -> Result<u64, TransportError> {
        self.script.call("dead_letter", letters.len())?;
        self.inner.dead_letter(letters).await
    }

    async fn delay(&self, entries: Vec<StreamEntry>, max: u64) -> Result<bool, TransportError> {
        self.script.call("delay", entries.len())?;
        self.inner.delay(entries, max).await
    }

    async fn next_delayed(&self) -> Result<Option<ServerTime>, TransportError> {
        self.inner.next_delayed().await
    }

    async fn due_delayed(
        &self,
        now: ServerTime,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        self.inner.due_delayed(now, count).await
    }

    async fn resume_delayed(&self, entries: Vec<StreamEntry>) -> Result<(), TransportError> {
        self.script.call("resume_delayed", entries.len())?;
        self.inner.resume_delayed(entries).await
    }

    async fn stop_reading(&self) {
        self.inner.stop_reading().await;
    }
}
