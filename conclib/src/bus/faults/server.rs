//! The actor system's end of a bus with injected faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::bus::faults::delay_queue::DelayQueue;
use crate::bus::faults::fleet::FaultyFleet;
use crate::bus::faults::stream::FaultyConsumer;
use crate::bus::faults::{Faults, check};
use crate::bus::transport::fleet::FleetMap;
use crate::bus::transport::stream::{DeadLetterStore, StreamConsumer};
use crate::bus::transport::{
    Acquired, Backlog, Epoch, Frame, LeaseClaim, Lists, Popped, ServerTime, ServerTransport,
    TransportError,
};
use crate::reply::remote::ClientId;

/// The actor system's end. Requests meet their faults where they are popped, those of operators only when the bus
/// is cut.
pub(super) struct FaultyServer {
    inner: Arc<dyn ServerTransport>,
    faults: Faults,
    /// Requests that were taken off the bus and have not arrived. Held by the pop whose turn it is.
    delayed: Mutex<DelayQueue>,
    /// The epoch that was given out last: its requests are delayed.
    epoch: AtomicU64,
    /// The lease is closed: delayed requests arrive now, before the wake.
    closed: AtomicBool,
}

impl FaultyServer {
    pub(super) fn new(inner: Arc<dyn ServerTransport>, faults: &Faults) -> Self {
        Self {
            inner,
            faults: faults.clone(),
            delayed: Mutex::new(DelayQueue::new(faults)),
            epoch: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The time now; flushes the queue if the lease is closed.
    fn update(&self, delayed: &mut DelayQueue) -> Result<Instant, TransportError> {
        check(&self.faults)?;
        let now = Instant::now();
        if self.closed.load(Ordering::Acquire) {
            delayed.flush(now);
        } else {
            delayed.end_flush();
        }
        Ok(now)
    }
}

#[async_trait]
impl ServerTransport for FaultyServer {
    async fn prepare(&self) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.prepare().await
    }

    async fn acquire(&self, claim: &LeaseClaim) -> Result<Acquired, TransportError> {
        check(&self.faults)?;
        self.closed.store(false, Ordering::Release);
        let acquired = self.inner.acquire(claim).await?;
        if let Acquired::Granted(grant) = &acquired {
            self.epoch.store(grant.epoch.0, Ordering::Release);
        }
        Ok(acquired)
    }

    async fn open(&self, epoch: Epoch, claim: &LeaseClaim) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.inner.open(epoch, claim).await
    }

    async fn renew(
        &self,
        epoch: Epoch,
        length: Duration,
    ) -> Result<Option<ServerTime>, TransportError> {
        check(&self.faults)?;
        self.inner.renew(epoch, length).await
    }

    async fn stop_serving(
        &self,
        epoch: Epoch,
        claim: &LeaseClaim,
        wake: Bytes,
    ) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.closed.store(true, Ordering::Release);
        self.inner.stop_serving(epoch, claim, wake).await
    }

    async fn release(&self, epoch: Epoch) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.inner.release(epoch).await
    }

    async fn give_up(&self, epoch: Epoch) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.inner.give_up(epoch).await
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.wake(epoch, wake).await
    }

    async fn pop(
        &self,
        epoch: Epoch,
        lists: Lists,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        if epoch.0 != self.epoch.load(Ordering::Acquire) {
            check(&self.faults)?;
            return self.inner.pop(epoch, lists, count, block).await; // leftovers, to be refused
        }
        let mut delayed = self.delayed.lock().await;
        let end = Instant::now() + block;
        let most = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        loop {
            let now = self.update(&mut delayed)?;
            let until = delayed.next().map_or(end, |next| next.min(end));
            let wait = until.saturating_duration_since(now);
            let popped = self.inner.pop(epoch, lists, count, wait).await?;
            let Popped {
                frames,
                operator,
                owner,
                server,
                ..
            } = popped;
            // A cut delays the frames that were popped before it.
            let updated = self.update(&mut delayed);
            let now = Instant::now();
            for frame in frames {
                delayed.send_request(frame, now);
            }
            updated?;
            let frames = delayed.take(now, most);
            if !frames.is_empty() || operator.is_some() || now >= end {
                return Ok(Popped {
                    frames,
                    operator,
                    server,
                    ..Popped::nothing(owner)
                });
            }
        }
    }

    async fn publish(&self, client: ClientId, frame: Frame) -> Result<Option<u64>, TransportError> {
        check(&self.faults)?;
        self.inner.publish(client, frame).await
    }

    async fn owner(&self) -> Result<Option<Epoch>, TransportError> {
        check(&self.faults)?;
        self.inner.owner().await
    }

    async fn backlog(&self, epoch: Epoch) -> Result<Backlog, TransportError> {
        check(&self.faults)?;
        self.inner.backlog(epoch).await
    }

    async fn consumer(&self, instance: &str) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        check(&self.faults)?;
        let inner = self.inner.consumer(instance).await?;
        let faults = self.faults.clone();
        Ok(Arc::new(FaultyConsumer { inner, faults }))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        self.inner.dead_letters()
    }

    fn fleet(&self) -> Arc<dyn FleetMap> {
        let (inner, faults) = (self.inner.fleet(), self.faults.clone());
        Arc::new(FaultyFleet { inner, faults })
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
