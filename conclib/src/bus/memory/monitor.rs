//! The bus in memory as a tool sees it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::bus::keys::Keys;
use crate::bus::memory::MemoryBus;
use crate::bus::transport::fleet::Member;
use crate::bus::transport::monitor::{BusView, DeadFacts, LeaseFacts, ServerFacts, StreamFacts};
use crate::bus::transport::stream::{EntryId, StreamEntry};
use crate::bus::transport::{Epoch, ServerTime, TransportError};

/// The whole bus.
pub(super) struct MemoryView {
    bus: Arc<MemoryBus>,
    keys: Keys,
}

impl MemoryView {
    pub(super) fn new(bus: Arc<MemoryBus>, keys: Keys) -> Self {
        Self { bus, keys }
    }
}

#[async_trait]
impl BusView for MemoryView {
    async fn time(&self) -> Result<ServerTime, TransportError> {
        Ok(self.bus.now())
    }

    async fn server(&self) -> Result<Option<ServerFacts>, TransportError> {
        Ok(None)
    }

    async fn lease(&self, node: &Keys) -> Result<Option<LeaseFacts>, TransportError> {
        let mut tables = self.bus.tables();
        let node = tables.nodes.get_mut(&node.lease());
        Ok(node.and_then(|node| {
            let (held, expires) = node.lease()?;
            Some(LeaseFacts {
                lease: held.lease.clone(),
                instance: held.instance.clone(),
                remaining: Some(expires.saturating_duration_since(Instant::now())),
            })
        }))
    }

    async fn inbox_len(&self, node: &Keys, epoch: Epoch) -> Result<u64, TransportError> {
        let tables = self.bus.tables();
        let node = tables.nodes.get(&node.lease());
        let inbox = node.and_then(|node| node.inbox(epoch));
        Ok(inbox.map_or(0, |inbox| inbox.len()))
    }

    async fn stream(&self, node: &Keys) -> Result<StreamFacts, TransportError> {
        Ok(self.bus.store(node).with(|state| state.facts()))
    }

    async fn entries(
        &self,
        node: &Keys,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let store = self.bus.store(node);
        Ok(store.with(|state| state.entries_after(after, count)))
    }

    async fn dead_letters(&self, node: &Keys) -> Result<DeadFacts, TransportError> {
        Ok(self.bus.store(node).with(|state| {
            let letters = &state.dead_letters;
            DeadFacts {
                stored: letters.len() as u64,
                oldest: letters.first_key_value().map(|(id, _)| *id),
                is_readable: true,
            }
        }))
    }

    async fn members(&self) -> Result<Vec<Member>, TransportError> {
        let tables = self.bus.tables();
        let fleet = tables.fleets.get(&self.keys.fleet());
        Ok(fleet.map(|fleet| fleet.members().all).unwrap_or_default())
    }
}
