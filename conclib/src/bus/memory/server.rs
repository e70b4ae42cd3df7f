//! The actor system's end of the bus in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::keys::Keys;
use crate::bus::memory::dead_letters::MemoryDeadLetters;
use crate::bus::memory::stream::MemoryConsumer;
use crate::bus::memory::{MemoryBus, Node, check_open};
use crate::bus::transport::stream::{DeadLetterStore, StreamConsumer};
use crate::bus::transport::{
    Acquired, Epoch, Frame, LEASE, Lease, Popped, ServerTime, ServerTransport, TransportError,
};
use crate::reply::remote::ClientId;

/// The actor system's end of a memory bus.
pub(super) struct MemoryServer {
    bus: Arc<MemoryBus>,
    keys: Keys,
    closed: AtomicBool,
}

impl MemoryServer {
    pub(super) fn new(bus: Arc<MemoryBus>, keys: Keys) -> Self {
        Self {
            bus,
            keys,
            closed: AtomicBool::new(false),
        }
    }

    fn with_node<T>(&self, act: impl FnOnce(&mut Node) -> T) -> Result<T, TransportError> {
        check_open(&self.closed)?;
        let mut tables = self.bus.tables();
        Ok(act(tables.nodes.entry(self.keys.lease()).or_default()))
    }
}

#[async_trait]
impl ServerTransport for MemoryServer {
    async fn acquire(&self, lease: &Lease) -> Result<Acquired, TransportError> {
        let now = self.bus.now();
        self.with_node(|node| {
            if let Some((holder, _)) = node.lease() {
                return Acquired::Held {
                    holder: holder.clone(),
                };
            }
            let epoch = Epoch(now.0.max(node.last.0 + 1));
            let lease = Lease {
                epoch,
                ..lease.clone()
            };
            let before = (node.last, std::mem::take(&mut node.inbox));
            *node = Node {
                lease: Some((lease, Instant::now() + LEASE)),
                last: epoch,
                inbox: Arc::default(),
                before: Some(before),
            };
            Acquired::Granted { epoch, now }
        })
    }

    async fn renew(&self, epoch: Epoch) -> Result<Option<ServerTime>, TransportError> {
        let renewed = self.with_node(|node| match node.lease() {
            Some((lease, expires)) if lease.epoch == epoch => {
                *expires = Instant::now() + LEASE;
                node.before = None;
                true
            }
            _ => false,
        })?;
        Ok(renewed.then(|| self.bus.now()))
    }

    async fn release(&self, epoch: Epoch, wake: Bytes) -> Result<bool, TransportError> {
        self.with_node(|node| {
            let is_owner = node.lease().is_some_and(|(lease, _)| lease.epoch == epoch);
            if is_owner {
                node.lease = None;
                // If the inbox is full, no pop waits for the wake.
                node.inbox.push(vec![wake.into()]);
            }
            is_owner
        })
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        self.with_node(|node| {
            if let Some(inbox) = node.inbox(epoch) {
                inbox.push(vec![wake.into()]);
            }
        })
    }

    async fn pop(
        &self,
        epoch: Epoch,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        let inbox = self.with_node(|node| node.inbox(epoch))?;
        let frames = if let Some(inbox) = inbox {
            inbox.pop(count, block).await
        } else {
            tokio::time::sleep(block).await;
            Vec::new()
        };
        let owner = self.with_node(|node| node.lease().map(|(lease, _)| lease.epoch));
        Ok(Popped {
            frames,
            cut: Vec::new(),
            owner,
        })
    }

    async fn publish(&self, client: ClientId, frame: Frame) -> Result<Option<u64>, TransportError> {
        check_open(&self.closed)?;
        let channel = self.keys.reply(client);
        let subscriber = self.bus.tables().clients.get(&channel).cloned();
        let Some(subscriber) = subscriber else {
            return Ok(Some(0));
        };
        subscriber.receive(frame.into_bytes()); // outside the lock
        Ok(Some(1))
    }

    async fn consumer(&self) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        check_open(&self.closed)?;
        Ok(Arc::new(MemoryConsumer::new(self.bus.clone(), &self.keys)))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        Arc::new(MemoryDeadLetters::new(self.bus.clone(), &self.keys))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}
