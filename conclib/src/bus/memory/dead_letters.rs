//! The dead letters on the bus in memory.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use async_trait::async_trait;

use crate::bus::keys::Keys;
use crate::bus::memory::MemoryBus;
use crate::bus::memory::stream::{StreamState, StreamStore};
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{DeadLetterEntry, DeadLetterStore, EntryId};

/// The dead letters of a node.
pub(super) struct MemoryDeadLetters {
    store: Arc<StreamStore>,
    bus: Arc<MemoryBus>,
}

impl MemoryDeadLetters {
    pub(super) fn new(bus: Arc<MemoryBus>, keys: &Keys) -> Self {
        Self {
            store: bus.store(keys),
            bus,
        }
    }
}

#[async_trait]
impl DeadLetterStore for MemoryDeadLetters {
    async fn list(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<DeadLetterEntry>, TransportError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(self.store.with(|state| {
            let behind = state.dead_letters.range((Excluded(after), Unbounded));
            let page = behind.take(count);
            page.map(|(_, letter)| letter.clone()).collect()
        }))
    }

    async fn get(&self, id: EntryId) -> Result<Option<DeadLetterEntry>, TransportError> {
        let found = |state: &mut StreamState| state.dead_letters.get(&id).cloned();
        Ok(self.store.with(found))
    }

    async fn replay(&self, id: EntryId) -> Result<Option<EntryId>, TransportError> {
        let now = self.bus.now();
        let found = self.store.with(|state| {
            let letter = state.dead_letters.remove(&id)?;
            let id = state.next_id(now);
            state.insert(id, letter.into());
            Some(id)
        });
        self.store.appended.notify_one();
        Ok(found)
    }

    async fn delete(&self, id: EntryId) -> Result<bool, TransportError> {
        let removed = self.store.with(|state| state.dead_letters.remove(&id));
        Ok(removed.is_some())
    }
}
