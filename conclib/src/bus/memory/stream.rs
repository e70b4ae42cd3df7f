//! The stream of durable messages on the bus in memory. It outlives clients and proxies, but not the
//! process.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::keys::Keys;
use crate::bus::memory::result_cache::MemoryResultCache;
use crate::bus::memory::{MemoryBus, check_open};
use crate::bus::transport::monitor::{EntryFacts, StreamFacts};
use crate::bus::transport::stream::{
    AliveWithin, Attempts, DeadLetterEntry, EntryAck, EntryId, ForeignPage, MAX_DEAD_LETTERS,
    NewEntry, PendingEntry, StreamConsumer, StreamEntry,
};
use crate::bus::transport::{Backlog, ServerTime, TransportError};

use claim::Claim;

mod claim;
mod delayed;

/// The maximum size of a stream, in bytes. More is refused, as by a Redis that is out of memory.
const MAX_STREAM_BYTES: usize = 256 * 1024 * 1024;

/// The stream of one node, its cached results and its dead letters.
#[derive(Default)]
pub(super) struct StreamStore {
    state: Mutex<StreamState>,
    /// One permit when there may be new entries.
    pub(crate) appended: Notify,
}

#[derive(Default)]
pub(crate) struct StreamState {
    entries: BTreeMap<EntryId, NewEntry>,
    /// The bytes of their frames, and of those of delayed messages.
    bytes: usize,
    /// The last id that an entry or a dead letter has got.
    last_id: EntryId,
    /// The last entry that was read as a new one.
    last_read: EntryId,
    /// The entries that are claimed.
    claims: BTreeMap<EntryId, Claim>,
    /// The messages that wait for their due times, in the order of these and of their arrival.
    delayed: BTreeMap<(ServerTime, EntryId), StreamEntry>,
    results: MemoryResultCache,
    pub(crate) dead_letters: BTreeMap<EntryId, DeadLetterEntry>,
}

impl StreamStore {
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut StreamState) -> T) -> T {
        act(&mut self.state.lock())
    }

    /// Appends all messages or none. Returns the length of the stream.
    pub(super) fn append(
        &self,
        messages: Vec<NewEntry>,
        now: ServerTime,
    ) -> Result<u64, TransportError> {
        let length = self.with(|state| {
            let more: usize = messages.iter().map(|message| message.frame.len()).sum();
            if state.bytes + more > MAX_STREAM_BYTES {
                let problem = format!("the stream holds {MAX_STREAM_BYTES} bytes");
                return Err(TransportError::NotDone(problem));
            }
            for message in messages {
                let id = state.next_id(now);
                state.insert(id, message);
            }
            Ok(state.entries.len() as u64)
        })?;
        self.appended.notify_one();
        Ok(length)
    }

    pub(super) fn len(&self) -> u64 {
        self.with(|state| state.entries.len() as u64)
    }

    /// What waits in the stream.
    pub(super) fn backlog(&self) -> Backlog {
        self.with(|state| Backlog {
            inbox: None,
            stored: Some(state.entries.len() as u64),
            oldest: state.entries.keys().next().copied(),
            delayed: Some(state.delayed.len() as u64),
            dead_letters: Some(state.dead_letters.len() as u64),
        })
    }
}

impl StreamState {
    pub(crate) fn next_id(&mut self, now: ServerTime) -> EntryId {
        let after_last = EntryId(self.last_id.0, self.last_id.1 + 1);
        self.last_id = EntryId(now.0, 0).max(after_last);
        self.last_id
    }

    pub(crate) fn insert(&mut self, id: EntryId, message: NewEntry) {
        self.bytes += message.frame.len();
        self.entries.insert(id, message);
    }

    fn remove(&mut self, id: EntryId) {
        self.claims.remove(&id);
        if let Some(message) = self.entries.remove(&id) {
            self.bytes -= message.frame.len();
        }
    }

    /// The counts of the messages.
    pub(super) fn facts(&self) -> StreamFacts {
        StreamFacts {
            stored: self.entries.len() as u64,
            delayed: self.delayed.len() as u64,
            entries: Some(EntryFacts {
                oldest: self.entries.first_key_value().map(|(id, _)| *id),
                claimed: self.claims.len() as u64,
            }),
        }
    }

    pub(super) fn entries_after(&self, after: EntryId, count: usize) -> Vec<StreamEntry> {
        let behind = self.entries.range((Excluded(after), Unbounded));
        let ids = behind.take(count).map(|(id, _)| *id);
        ids.filter_map(|id| self.entry(id)).collect()
    }

    fn entry(&self, id: EntryId) -> Option<StreamEntry> {
        let message = self.entries.get(&id)?;
        Some(StreamEntry {
            id,
            key: message.key.clone(),
            frame: message.frame.clone(),
            options: message.options,
        })
    }

    fn read_new(&mut self, consumer: &MemoryConsumer, count: usize) -> Vec<StreamEntry> {
        let behind = (Excluded(self.last_read), Unbounded);
        let behind = self.entries.range(behind).take(count);
        let ids: Vec<_> = behind.map(|(id, _)| *id).collect();
        for id in &ids {
            self.last_read = *id;
            let claim = Claim::new(consumer, Attempts::new(1));
            self.claims.insert(*id, claim);
        }
        ids.iter().filter_map(|id| self.entry(*id)).collect()
    }
}

/// A consumer's end of the stream.
pub(crate) struct MemoryConsumer {
    store: Arc<StreamStore>,
    bus: Arc<MemoryBus>,
    /// Unique in the process.
    number: u64,
    /// The instance of its process; `None` if it has none.
    instance: Option<Arc<str>>,
    /// Reads fail from now on.
    closed: AtomicBool,
}

impl MemoryConsumer {
    pub(super) fn new(bus: Arc<MemoryBus>, keys: &Keys, instance: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (store, number) = (bus.store(keys), COUNT.fetch_add(1, Ordering::Relaxed));
        let instance = (!instance.is_empty()).then(|| instance.into());
        Self {
            store,
            bus,
            number,
            instance,
            closed: AtomicBool::new(false),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a transport returns")]
    fn with<T>(&self, act: impl FnOnce(&mut StreamState) -> T) -> Result<T, TransportError> {
        Ok(self.store.with(act))
    }
}

#[async_trait]
impl StreamConsumer for MemoryConsumer {
    async fn create_group(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn read(&self, count: u32, block: Duration) -> Result<Vec<StreamEntry>, TransportError> {
        let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        let wait = tokio::time::sleep(block);
        tokio::pin!(wait);
        loop {
            check_open(&self.closed)?;
            let read = self.store.with(|state| state.read_new(self, count));
            if !read.is_empty() || block.is_zero() {
                return Ok(read);
            }
            tokio::select! {
                biased;
                () = self.store.appended.notified() => {}
                () = &mut wait => return Ok(Vec::new()),
            }
        }
    }

    async fn due(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.with(|state| {
            let behind = state.claims.range((Excluded(after), Unbounded));
            let due = behind.filter(|(_, claim)| claim.idle() >= idle);
            due.take(count)
                .map(|(id, claim)| claim.seen_by(self.number, *id))
                .collect()
        })
    }

    async fn own_claims(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.with(|state| {
            let behind = state.claims.range((Excluded(after), Unbounded));
            let own = behind.filter(|(_, claim)| claim.consumer == self.number);
            own.take(count)
                .map(|(id, claim)| claim.seen_by(self.number, *id))
                .collect()
        })
    }

    async fn foreign_claims(
        &self,
        after: EntryId,
        alive: AliveWithin,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        let is_foreign = |claim: &_| self.is_foreign(claim, alive);
        Ok(self.claims_page(after, Duration::ZERO, count, is_foreign))
    }

    async fn predecessor_claims(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        let is_predecessors = |claim: &_| self.is_predecessors(claim);
        Ok(self.claims_page(after, idle, count, is_predecessors))
    }

    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: AliveWithin,
    ) -> Result<Vec<EntryId>, TransportError> {
        self.with(|state| {
            let claim = |id: &&EntryId| state.claims.get(id);
            let is_foreign =
                |id: &&EntryId| claim(id).is_some_and(|one| self.is_foreign(one, alive));
            ids.iter().filter(is_foreign).copied().collect()
        })
    }

    async fn read_entries(&self, ids: &[EntryId]) -> Result<Vec<StreamEntry>, TransportError> {
        self.with(|state| ids.iter().filter_map(|id| state.entry(*id)).collect())
    }

    async fn claim(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        self.with(|state| {
            let mut claimed = Vec::new();
            for id in ids {
                let claim = state.claims.get_mut(id);
                if let Some(claim) = claim.filter(|claim| claim.idle() >= idle) {
                    *claim = Claim::new(self, attempts);
                    claimed.extend(state.entry(*id));
                }
            }
            claimed
        })
    }

    async fn extend_claims(&self, ids: &[EntryId]) -> Result<(), TransportError> {
        self.with(|state| {
            for id in ids {
                if let Some(claim) = state.claims.get_mut(id) {
                    *claim = Claim::new(self, claim.attempts);
                }
            }
        })
    }

    async fn release(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<(), TransportError> {
        self.with(|state| {
            for id in ids {
                if let Some(claim) = state.claims.get_mut(id) {
                    *claim = Claim {
                        extra_idle: idle,
                        ..Claim::new(self, attempts)
                    };
                }
            }
        })
    }

    async fn cached_results(
        &self,
        dedup_keys: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError> {
        self.with(|state| {
            let now = Instant::now();
            let keys = dedup_keys.iter();
            keys.map(|key| state.results.get(key, now)).collect()
        })
    }

    async fn acknowledge(
        &self,
        acks: Vec<EntryAck>,
        result_ttl: Duration,
    ) -> Result<usize, TransportError> {
        self.with(|state| {
            let now = Instant::now();
            state.results.remove_expired(now);
            for EntryAck { id, result } in acks {
                if let Some((dedup_key, result)) = result {
                    state.results.insert(dedup_key, result, now + result_ttl);
                }
                state.remove(id);
            }
            0
        })
    }

    async fn dead_letter(&self, letters: Vec<DeadLetterEntry>) -> Result<u64, TransportError> {
        let now = self.bus.now();
        self.with(|state| {
            for letter in letters {
                state.remove(letter.id);
                let id = state.next_id(now);
                let letter = DeadLetterEntry { id, ..letter };
                state.dead_letters.insert(id, letter);
            }
            let mut dropped = 0;
            while state.dead_letters.len() as u64 > MAX_DEAD_LETTERS {
                state.dead_letters.pop_first();
                dropped += 1;
            }
            dropped
        })
    }

    async fn delay(&self, entries: Vec<StreamEntry>, max: u64) -> Result<bool, TransportError> {
        self.with(|state| {
            let has_room = (state.delayed.len() as u64) < max;
            if has_room {
                for entry in entries {
                    state.delay(entry);
                }
            }
            has_room
        })
    }

    async fn next_delayed(&self) -> Result<Option<ServerTime>, TransportError> {
        self.with(|state| state.delayed.keys().next().map(|(due, _)| *due))
    }

    async fn due_delayed(
        &self,
        now: ServerTime,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.with(|state| {
            let due = state.delayed.iter();
            let due = due.take_while(|((due, _), _)| *due <= now).take(count);
            due.map(|(_, entry)| entry.clone()).collect()
        })
    }

    async fn resume_delayed(&self, entries: Vec<StreamEntry>) -> Result<(), TransportError> {
        let now = self.bus.now();
        self.with(|state| {
            for entry in &entries {
                state.resume(entry, now);
            }
        })?;
        self.store.appended.notify_one();
        Ok(())
    }

    async fn stop_reading(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.store.appended.notify_one();
    }
}
