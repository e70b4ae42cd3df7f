//! An operator's end of the bus in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::bus::keys::{Keys, Right};
use crate::bus::memory::fleet::Fleet;
use crate::bus::memory::{MemoryBus, Node, Subscriber, check_open};
use crate::bus::transport::fleet::Members;
use crate::bus::transport::{
    Epoch, Frame, LeaseRecord, OperatorTransport, ServerTime, TransportError,
};
use crate::reply::remote::ClientId;

/// An operator's end of a memory bus.
pub(super) struct MemoryOperator {
    bus: Arc<MemoryBus>,
    keys: Keys,
    /// The key of its entry among the bus' clients; removed when it is closed or dropped.
    channel: String,
    closed: AtomicBool,
}

impl MemoryOperator {
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

    fn unsubscribe(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.bus.tables().clients.remove(&self.channel);
        }
    }
}

#[async_trait]
impl OperatorTransport for MemoryOperator {
    async fn lease(
        &self,
        node: &Keys,
    ) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        check_open(&self.closed)?;
        let now = self.bus.now();
        let mut tables = self.bus.tables();
        let lease = tables.nodes.get_mut(&node.lease()).and_then(Node::serving);
        Ok((lease, now))
    }

    async fn members(&self) -> Result<Members, TransportError> {
        check_open(&self.closed)?;
        let tables = self.bus.tables();
        let fleet = tables.fleets.get(&self.keys.fleet());
        Ok(fleet.map(Fleet::members).unwrap_or_default())
    }

    async fn send(
        &self,
        node: &Keys,
        epoch: Epoch,
        right: Right,
        frames: Vec<Frame>,
    ) -> Result<Option<LeaseRecord>, TransportError> {
        check_open(&self.closed)?;
        let mut tables = self.bus.tables();
        let Some(node) = tables.nodes.get_mut(&node.lease()) else {
            return Ok(None);
        };
        // Those of an epoch that is over have no list here.
        if let Some(inbox) = node.inbox(epoch) {
            for frame in frames {
                if !inbox.push_operator(right, frame) {
                    let problem = "too many requests wait to be taken".to_owned();
                    return Err(TransportError::NotDone(problem));
                }
            }
        }
        Ok(node.serving())
    }

    async fn close(&self) {
        self.unsubscribe();
    }
}

impl Drop for MemoryOperator {
    fn drop(&mut self) {
        self.unsubscribe();
    }
}
