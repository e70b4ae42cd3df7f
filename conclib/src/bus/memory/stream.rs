//! Durable messages on the bus in memory: they outlive clients and proxies, but not the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::memory::{MemoryBus, Names, check_open, lock};
use crate::bus::transport::stream::{
    Attempts, DeadLetterEntry, EntryAck, EntryId, ForeignPage, MAX_DEAD_LETTERS, NewEntry,
    PendingEntry, StreamConsumer, StreamEntry,
};
use crate::bus::transport::{BusTime, TransportError};

pub(crate) use crate::bus::memory::dead_letters::DeadLetters;

/// How many bytes one stream holds; more are refused, as Redis does when it is out of memory.
const MAX_STREAM_BYTES: usize = 256 * 1024 * 1024;

/// What one node keeps.
#[derive(Default)]
pub(super) struct Store {
    state: Mutex<State>,
    /// One permit when there may be something to read.
    pub(crate) filled: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    messages: BTreeMap<EntryId, NewEntry>,
    /// What their frames come to.
    bytes: usize,
    /// The last id that was given out, of a message or of a dead one.
    last: EntryId,
    /// The last message that was given to a consumer.
    read: EntryId,
    /// What was given to a consumer and is not over.
    pending: BTreeMap<EntryId, Given>,
    records: HashMap<String, (Bytes, Instant)>,
    /// The names of the records, in the order in which they end if all are kept equally long.
    names: VecDeque<(Instant, String)>,
    pub(crate) dead: BTreeMap<EntryId, DeadLetterEntry>,
}

struct Given {
    /// Which consumer has it.
    consumer: u64,
    /// The last sign of life. It may be counted as if it had come earlier.
    touched: Instant,
    /// How much earlier.
    aged: Duration,
    attempts: Attempts,
}

impl Store {
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut lock(&self.state))
    }

    /// Appends all or nothing.
    pub(super) fn append(
        &self,
        messages: Vec<NewEntry>,
        now: BusTime,
    ) -> Result<u64, TransportError> {
        let kept = self.with(|state| {
            let more: usize = messages.iter().map(|message| message.frame.len()).sum();
            if state.bytes + more > MAX_STREAM_BYTES {
                let problem = format!("the stream holds {MAX_STREAM_BYTES} bytes");
                return Err(TransportError::NotDone(problem));
            }
            for message in messages {
                let id = state.next_id(now);
                state.put(id, message);
            }
            Ok(state.messages.len() as u64)
        })?;
        self.filled.notify_one();
        Ok(kept)
    }

    pub(super) fn len(&self) -> u64 {
        self.with(|state| state.messages.len() as u64)
    }
}

impl State {
    pub(crate) fn next_id(&mut self, now: BusTime) -> EntryId {
        self.last = EntryId(now.0, 0).max(EntryId(self.last.0, self.last.1 + 1));
        self.last
    }

    pub(crate) fn put(&mut self, id: EntryId, message: NewEntry) {
        self.bytes += message.frame.len();
        self.messages.insert(id, message);
    }

    fn remove(&mut self, id: EntryId) {
        self.pending.remove(&id);
        if let Some(message) = self.messages.remove(&id) {
            self.bytes -= message.frame.len();
        }
    }

    fn entry(&self, id: EntryId) -> Option<StreamEntry> {
        let message = self.messages.get(&id)?;
        Some(StreamEntry {
            id,
            key: message.key.clone(),
            frame: message.frame.clone(),
        })
    }

    fn read(&mut self, consumer: u64, count: usize) -> Vec<StreamEntry> {
        let behind = (Excluded(self.read), Unbounded);
        let behind = self.messages.range(behind).take(count);
        let taken: Vec<_> = behind.map(|(id, _)| *id).collect();
        for id in &taken {
            self.read = *id;
            self.pending
                .insert(*id, Given::new(consumer, Attempts::new(1)));
        }
        taken.iter().filter_map(|id| self.entry(*id)).collect()
    }

    /// Removes records whose time is over.
    fn forget(&mut self, now: Instant) {
        while let Some((ends, _)) = self.names.front()
            && *ends <= now
            && let Some((_, name)) = self.names.pop_front()
        {
            // It may have been written again since.
            if self
                .records
                .get(&name)
                .is_some_and(|(_, ends)| *ends <= now)
            {
                self.records.remove(&name);
            }
        }
    }
}

impl Given {
    fn new(consumer: u64, attempts: Attempts) -> Self {
        Self {
            consumer,
            touched: Instant::now(),
            aged: Duration::ZERO,
            attempts,
        }
    }

    fn listed(&self, id: EntryId, consumer: u64) -> PendingEntry {
        PendingEntry {
            id,
            attempts: self.attempts,
            is_own: self.consumer == consumer,
        }
    }

    fn idle(&self) -> Duration {
        self.touched.elapsed().saturating_add(self.aged)
    }
}

/// A consumer's end.
pub(crate) struct Consumer {
    store: Arc<Store>,
    bus: Arc<MemoryBus>,
    /// Nobody else's.
    number: u64,
    /// Set when there are to be no more reads.
    closed: AtomicBool,
}

impl Consumer {
    pub(super) fn new(bus: Arc<MemoryBus>, names: &Names) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self {
            store: bus.store(names),
            bus,
            number: COUNT.fetch_add(1, Ordering::Relaxed),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether that is another consumer's, with a sign of life within `alive`.
    fn is_others(&self, given: &Given, alive: Duration) -> bool {
        given.consumer != self.number && given.idle() < alive
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a transport returns")]
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, TransportError> {
        Ok(self.store.with(act))
    }
}

#[async_trait]
impl StreamConsumer for Consumer {
    async fn create_group(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn read(&self, count: u32, block: Duration) -> Result<Vec<StreamEntry>, TransportError> {
        let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        let wait = tokio::time::sleep(block);
        tokio::pin!(wait);
        loop {
            check_open(&self.closed)?;
            let taken = self.store.with(|state| state.read(self.number, count));
            if !taken.is_empty() || block.is_zero() {
                return Ok(taken);
            }
            tokio::select! {
                biased;
                () = self.store.filled.notified() => {}
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
            let behind = state.pending.range((Excluded(after), Unbounded));
            let due = behind.filter(|(_, pending)| pending.idle() >= idle);
            due.take(count)
                .map(|(id, pending)| pending.listed(*id, self.number))
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
            let behind = state.pending.range((Excluded(after), Unbounded));
            let own = behind.filter(|(_, pending)| pending.consumer == self.number);
            own.take(count)
                .map(|(id, pending)| pending.listed(*id, self.number))
                .collect()
        })
    }

    async fn foreign_claims(
        &self,
        after: EntryId,
        alive: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.with(|state| {
            let behind = state.pending.range((Excluded(after), Unbounded));
            let page: Vec<_> = behind.take(count).collect();
            let last = page.last().map(|(id, _)| **id);
            let others = page
                .iter()
                .filter(|(_, given)| self.is_others(given, alive));
            ForeignPage {
                pending: others
                    .map(|(id, given)| given.listed(**id, self.number))
                    .collect(),
                next: last.filter(|_| page.len() == count),
            }
        })
    }

    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: Duration,
    ) -> Result<Vec<EntryId>, TransportError> {
        self.with(|state| {
            let given = |id: &&EntryId| state.pending.get(id);
            let is_others = |id: &&EntryId| given(id).is_some_and(|one| self.is_others(one, alive));
            ids.iter().filter(is_others).copied().collect()
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
            let mut taken = Vec::new();
            for id in ids {
                let pending = state.pending.get_mut(id);
                if let Some(pending) = pending.filter(|pending| pending.idle() >= idle) {
                    *pending = Given::new(self.number, attempts);
                    taken.extend(state.entry(*id));
                }
            }
            taken
        })
    }

    async fn extend_claims(&self, ids: &[EntryId]) -> Result<(), TransportError> {
        self.with(|state| {
            for id in ids {
                if let Some(pending) = state.pending.get_mut(id) {
                    *pending = Given::new(self.number, pending.attempts);
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
                if let Some(pending) = state.pending.get_mut(id) {
                    *pending = Given {
                        aged: idle,
                        ..Given::new(self.number, attempts)
                    };
                }
            }
        })
    }

    async fn cached_results(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError> {
        self.with(|state| {
            let now = Instant::now();
            let record = |name| {
                let (bytes, ends) = state.records.get(&name)?;
                (*ends > now).then(|| bytes.clone())
            };
            names.into_iter().map(record).collect()
        })
    }

    async fn acknowledge(
        &self,
        finished: Vec<EntryAck>,
        keep: Duration,
    ) -> Result<usize, TransportError> {
        self.with(|state| {
            let now = Instant::now();
            state.forget(now);
            for EntryAck { id, record } in finished {
                if let Some((name, bytes)) = record {
                    state.names.push_back((now + keep, name.clone()));
                    state.records.insert(name, (bytes, now + keep));
                }
                state.remove(id);
            }
            0
        })
    }

    async fn dead_letter(&self, dead: DeadLetterEntry) -> Result<u64, TransportError> {
        let now = self.bus.now();
        self.with(|state| {
            state.remove(dead.id);
            let id = state.next_id(now);
            state.dead.insert(id, DeadLetterEntry { id, ..dead });
            let mut dropped = 0;
            while state.dead.len() as u64 > MAX_DEAD_LETTERS {
                state.dead.pop_first();
                dropped += 1;
            }
            dropped
        })
    }

    async fn stop_reading(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.store.filled.notify_one();
    }
}
