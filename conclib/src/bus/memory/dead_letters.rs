//! The dead letters on the bus in memory.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use async_trait::async_trait;

use crate::bus::config::Config;
use crate::bus::memory::MemoryBus;
use crate::bus::memory::stream::Store;
use crate::bus::transport::stream::{DeadLetterEntry, DeadLetterStore, EntryId, NewEntry};
use crate::bus::transport::{Names, TransportError};

/// The dead letters.
pub(crate) struct DeadLetters {
    store: Arc<Store>,
    bus: Arc<MemoryBus>,
}

impl DeadLetters {
    pub(crate) fn new(bus: Arc<MemoryBus>, config: &Config) -> Self {
        Self::named(bus, &Names::new(config))
    }

    pub(crate) fn named(bus: Arc<MemoryBus>, names: &Names) -> Self {
        Self {
            store: bus.store(names),
            bus,
        }
    }
}

#[async_trait]
impl DeadLetterStore for DeadLetters {
    async fn list(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<DeadLetterEntry>, TransportError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(self.store.with(|state| {
            let behind = state.dead.range((Excluded(after), Unbounded));
            behind.take(count).map(|(_, dead)| dead.clone()).collect()
        }))
    }

    async fn replay(&self, id: EntryId) -> Result<bool, TransportError> {
        let now = self.bus.now();
        let found = self.store.with(|state| {
            let dead = state.dead.remove(&id)?;
            let id = state.next_id(now);
            state.put(
                id,
                NewEntry {
                    key: dead.key,
                    frame: dead.frame,
                },
            );
            Some(())
        });
        self.store.filled.notify_one();
        Ok(found.is_some())
    }

    async fn delete(&self, id: EntryId) -> Result<bool, TransportError> {
        Ok(self.store.with(|state| state.dead.remove(&id).is_some()))
    }
}
