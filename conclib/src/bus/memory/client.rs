//! A client's end of the bus in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::bus::keys::Keys;
use crate::bus::memory::inbox::MAX_INBOX_BYTES;
use crate::bus::memory::{Fleet, MemoryBus, Node, Subscriber, check_open};
use crate::bus::transport::fleet::{FleetView, MapVersion, Members, NameOwners, check_names};
use crate::bus::transport::stream::{NewEntry, StreamProducer};
use crate::bus::transport::{
    ClientTransport, Copies, Enqueued, Epoch, Frame, LeaseRecord, ServerTime, TransportError,
};
use crate::reply::remote::ClientId;
use crate::urn::Urn;

/// A client's end of a memory bus.
pub(super) struct MemoryClient {
    bus: Arc<MemoryBus>,
    keys: Keys,
    /// The key of its entry among the bus' clients; removed when it is closed or dropped.
    channel: String,
    closed: AtomicBool,
}

impl MemoryClient {
    pub(super) fn new(
        bus: Arc<MemoryBus>,
        keys: Keys,
        client: ClientId,
        subscriber: Subscriber,
    ) -> Self {
        let channel = keys.reply(client);
        bus.tables().clients.insert(channel.clone(), subscriber);
        Self {
            bus,
            keys,
            channel,
            closed: AtomicBool::new(false),
        }
    }

    fn with_fleet<T: Default>(&self, read: impl FnOnce(&Fleet) -> T) -> Result<T, TransportError> {
        check_open(&self.closed)?;
        let tables = self.bus.tables();
        let fleet = tables.fleets.get(&self.keys.fleet());
        Ok(fleet.map(read).unwrap_or_default())
    }

    fn unsubscribe(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.bus.tables().clients.remove(&self.channel);
        }
    }
}

#[async_trait]
impl ClientTransport for MemoryClient {
    async fn lease(
        &self,
        node: &Keys,
    ) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        check_open(&self.closed)?;
        let now = self.bus.now();
        let mut tables = self.bus.tables();
        let node = tables.nodes.get_mut(&node.lease());
        let lease = node.and_then(Node::serving);
        Ok((lease, now))
    }

    async fn enqueue(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> Result<Enqueued, TransportError> {
        check_open(&self.closed)?;
        if frames.is_empty() {
            return Err(TransportError::NotDone("the batch is empty".to_owned()));
        }
        let now = self.bus.now();
        let mut tables = self.bus.tables();
        let node = tables.nodes.get_mut(&node.lease());
        let (lease, inbox) = match node {
            Some(node) => (node.serving(), node.inbox(epoch)),
            None => (None, None),
        };
        let length = match inbox {
            Some(inbox) => inbox.push(frames).ok_or_else(|| {
                TransportError::NotDone(format!("the inbox holds {MAX_INBOX_BYTES} bytes"))
            })?,
            None => frames.len(),
        };
        Ok(Enqueued {
            lease,
            length: u64::try_from(length).unwrap_or(u64::MAX),
            now: Some(now),
        })
    }

    async fn take_back(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
        _: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        let mut tables = self.bus.tables();
        let node = tables.nodes.get_mut(&node.lease());
        match node.and_then(|node| node.inbox(epoch)) {
            Some(inbox) => Ok(inbox.take_back(frames)),
            None => Ok(vec![false; frames.len()]), // an epoch that is over has no inbox here
        }
    }

    async fn close(&self) {
        self.unsubscribe();
    }
}

#[async_trait]
impl StreamProducer for MemoryClient {
    async fn append(&self, messages: Vec<NewEntry>) -> Result<u64, TransportError> {
        check_open(&self.closed)?;
        self.bus.store(&self.keys).append(messages, self.bus.now())
    }

    async fn len(&self) -> Result<u64, TransportError> {
        check_open(&self.closed)?;
        Ok(self.bus.store(&self.keys).len())
    }
}

#[async_trait]
impl FleetView for MemoryClient {
    async fn version(&self) -> Result<MapVersion, TransportError> {
        self.with_fleet(Fleet::version)
    }

    async fn members(&self) -> Result<Members, TransportError> {
        self.with_fleet(Fleet::members)
    }

    async fn look_up(&self, names: &[Urn]) -> Result<NameOwners, TransportError> {
        check_names(names)?;
        let found = |fleet: &Fleet| NameOwners {
            owners: names.iter().map(|name| fleet.owner(name)).collect(),
            version: fleet.version(),
        };
        let mut found = self.with_fleet(found)?;
        found.owners.resize(names.len(), None); // without a fleet
        Ok(found)
    }
}

impl Drop for MemoryClient {
    fn drop(&mut self) {
        self.unsubscribe();
    }
}
