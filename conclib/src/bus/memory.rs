//! The bus within one process: nothing to install, and nobody else can reach it.
//!
//! It behaves as Redis does, except that there is no connection to lose. Time is tokio's, so that
//! tests can pause it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::config::Config;
use crate::bus::transport::stream::{DeadLetterStore, NewEntry, StreamConsumer, StreamProducer};
use crate::bus::transport::{
    Acquired, BusTime, ClientTransport, Enqueued, Epoch, LEASE, Lease, Names, Popped, ReplySink,
    ServerTransport, TransportError,
};
use crate::reply::remote::ClientId;

pub(crate) use stream::MemoryDeadLetters;

pub(crate) mod dead_letters;
mod result_cache;
mod stream;

/// How many bytes one inbox holds; more are refused, as Redis does when it is out of memory.
const MAX_INBOX_BYTES: usize = 256 * 1024 * 1024;

/// What several namespaces and nodes share as they would share a Redis.
#[derive(Default)]
pub(crate) struct MemoryBus {
    keys: Mutex<Keys>,
    /// The moment of the first use, on the clock of the wall and on tokio's.
    start: OnceLock<(u64, Instant)>,
}

#[derive(Default)]
struct Keys {
    /// By the name of the lease's key.
    nodes: HashMap<String, Node>,
    /// By the name of the channel.
    clients: HashMap<String, Arc<dyn ReplySink>>,
    /// What nodes keep for durable messages, by the name of the lease's key.
    stores: HashMap<String, Arc<stream::StreamStore>>,
}

#[derive(Default)]
struct Node {
    /// The lease, and when it expires.
    lease: Option<(Lease, Instant)>,
    /// The last epoch that was given out; 0 if none was.
    last: Epoch,
    /// The inbox of that epoch. What is sent to an earlier one is gone: nobody would take it.
    inbox: Arc<Inbox>,
    /// The inbox of the epoch before, until the first renewal: its owner may be answering what is
    /// left in it.
    before: Option<(Epoch, Arc<Inbox>)>,
}

#[derive(Default)]
struct Inbox {
    queue: Mutex<Queue>,
    /// One permit when there may be something in the queue.
    filled: Notify,
    /// Held by the pop whose turn it is: they take turns in the order they came.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// What the frames come to.
    bytes: usize,
}

impl MemoryBus {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        lock(&self.keys)
    }

    /// What a node keeps.
    fn store(&self, names: &Names) -> Arc<stream::StreamStore> {
        let mut keys = self.keys();
        keys.stores.entry(names.lease()).or_default().clone()
    }

    fn now(&self) -> BusTime {
        let (wall, start) = *self.start.get_or_init(|| {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            (millis(since), Instant::now())
        });
        BusTime(wall + millis(start.elapsed()))
    }
}

impl Node {
    /// The lease if it has not expired.
    fn lease(&mut self) -> Option<&mut (Lease, Instant)> {
        let now = Instant::now();
        self.lease.take_if(|(_, expires)| *expires <= now);
        self.lease.as_mut()
    }

    /// The inbox of `epoch`, if anything is kept for it.
    fn inbox(&self, epoch: Epoch) -> Option<Arc<Inbox>> {
        let before = self.before.as_ref().filter(|(before, _)| *before == epoch);
        match before {
            Some((_, inbox)) => Some(inbox.clone()),
            None => (self.last == epoch).then(|| self.inbox.clone()),
        }
    }
}

impl Inbox {
    /// Appends all or nothing; the new length.
    fn push(&self, frames: Vec<Bytes>) -> Option<usize> {
        let mut queue = lock(&self.queue);
        let bytes = queue.bytes + frames.iter().map(Bytes::len).sum::<usize>();
        if bytes > MAX_INBOX_BYTES {
            return None;
        }
        queue.bytes = bytes;
        queue.frames.extend(frames);
        self.filled.notify_one();
        Some(queue.frames.len())
    }

    fn take(&self, count: usize) -> Vec<Bytes> {
        let mut queue = lock(&self.queue);
        let count = count.min(queue.frames.len());
        let taken: Vec<_> = queue.frames.drain(..count).collect();
        queue.bytes -= taken.iter().map(Bytes::len).sum::<usize>();
        if queue.frames.is_empty() {
            // A burst must not be paid for ever.
            queue.frames.shrink_to(64);
        }
        taken
    }

    async fn pop(&self, count: usize, block: Duration) -> Vec<Bytes> {
        let _turn = self.turn.lock().await;
        let wait = tokio::time::sleep(block);
        tokio::pin!(wait);
        loop {
            // A permit that was left by frames taken long ago leads here once for nothing.
            let taken = self.take(count);
            if !taken.is_empty() || block.is_zero() {
                return taken;
            }
            tokio::select! {
                biased;
                () = self.filled.notified() => {}
                () = &mut wait => return Vec::new(),
            }
        }
    }
}

/// The actor system's end of a memory bus.
pub(crate) struct Server {
    bus: Arc<MemoryBus>,
    names: Names,
    closed: AtomicBool,
}

impl Server {
    pub(crate) fn new(bus: Arc<MemoryBus>, config: &Config) -> Self {
        Self {
            bus,
            names: Names::new(config),
            closed: AtomicBool::new(false),
        }
    }

    fn with_node<T>(&self, act: impl FnOnce(&mut Node) -> T) -> Result<T, TransportError> {
        check_open(&self.closed)?;
        Ok(act(self
            .bus
            .keys()
            .nodes
            .entry(self.names.lease())
            .or_default()))
    }
}

#[async_trait]
impl ServerTransport for Server {
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

    async fn renew(&self, epoch: Epoch) -> Result<Option<BusTime>, TransportError> {
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
            let is_ours = node.lease().is_some_and(|(lease, _)| lease.epoch == epoch);
            if is_ours {
                node.lease = None;
                // If it is full, a pop does not wait anyway.
                node.inbox.push(vec![wake]);
            }
            is_ours
        })
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        self.with_node(|node| {
            if let Some(inbox) = node.inbox(epoch) {
                inbox.push(vec![wake]);
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
        Ok(Popped { frames, owner })
    }

    async fn publish(&self, client: ClientId, frame: Bytes) -> Result<Option<u64>, TransportError> {
        check_open(&self.closed)?;
        let channel = self.names.reply(client);
        let subscriber = self.bus.keys().clients.get(&channel).cloned();
        let Some(subscriber) = subscriber else {
            return Ok(Some(0));
        };
        subscriber.receive(frame); // outside the lock
        Ok(Some(1))
    }

    async fn consumer(&self) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        check_open(&self.closed)?;
        Ok(Arc::new(stream::MemoryConsumer::new(
            self.bus.clone(),
            &self.names,
        )))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        Arc::new(MemoryDeadLetters::named(self.bus.clone(), &self.names))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// A client's end of a memory bus.
pub(crate) struct Client {
    bus: Arc<MemoryBus>,
    names: Names,
    /// Its entry among the bus' clients; removed when it is closed or dropped.
    channel: String,
    closed: AtomicBool,
}

impl Client {
    pub(crate) fn open(
        bus: Arc<MemoryBus>,
        config: &Config,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
    ) -> Arc<dyn ClientTransport> {
        let names = Names::new(config);
        let channel = names.reply(client);
        bus.keys().clients.insert(channel.clone(), replies);
        Arc::new(Self {
            bus,
            names,
            channel,
            closed: AtomicBool::new(false),
        })
    }

    fn unsubscribe(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.bus.keys().clients.remove(&self.channel);
        }
    }
}

#[async_trait]
impl ClientTransport for Client {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        check_open(&self.closed)?;
        let now = self.bus.now();
        let mut keys = self.bus.keys();
        let node = keys.nodes.get_mut(&self.names.lease());
        let lease = node.and_then(|node| node.lease().map(|(lease, _)| lease.clone()));
        Ok((lease, now))
    }

    async fn enqueue(&self, epoch: Epoch, frames: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        check_open(&self.closed)?;
        if frames.is_empty() {
            return Err(TransportError::NotDone("the batch is empty".to_owned()));
        }
        let now = self.bus.now();
        let mut keys = self.bus.keys();
        let node = keys.nodes.get_mut(&self.names.lease());
        let (lease, inbox) = match node {
            Some(node) => (
                node.lease().map(|(lease, _)| lease.clone()),
                node.inbox(epoch),
            ),
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

    async fn close(&self) {
        self.unsubscribe();
    }
}

#[async_trait]
impl StreamProducer for Client {
    async fn append(&self, messages: Vec<NewEntry>) -> Result<u64, TransportError> {
        check_open(&self.closed)?;
        self.bus.store(&self.names).append(messages, self.bus.now())
    }

    async fn len(&self) -> Result<u64, TransportError> {
        check_open(&self.closed)?;
        Ok(self.bus.store(&self.names).len())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.unsubscribe();
    }
}

fn check_open(closed: &AtomicBool) -> Result<(), TransportError> {
    if closed.load(Ordering::Relaxed) {
        return Err(TransportError::NotDone("closed".to_owned()));
    }
    Ok(())
}

/// Nothing in here can panic halfway, so that a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
