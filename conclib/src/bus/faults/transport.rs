//! A transport around another, on which things go wrong on purpose.
//!
//! Faults happen between the bus and who takes from it: a request where the actor system pops it,
//! a response where the client receives it. So what the sender hears is what an honest bus says,
//! and what is delayed is no business of an end that may be gone.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::bus::faults::{Direction, Faults};
use crate::bus::protocol::{Answer, Kind, Received, decode_reply, encode_reply};
use crate::bus::transport::stream::{DeadLetterStore, NewEntry, StreamConsumer, StreamProducer};
use crate::bus::transport::{
    Acquired, BusTime, ClientTransport, Enqueued, Epoch, Lease, Popped, ReplySink, ServerTransport,
    TransportError,
};
use crate::core::spawn_task;
use crate::reply::remote::ClientId;

use crate::bus::faults::stream::FaultyConsumer;

/// The actor system's end.
pub(crate) struct Server {
    inner: Arc<dyn ServerTransport>,
    faults: Faults,
    /// Requests that were taken off the bus and have not arrived. Held by the pop whose turn it is.
    way: Mutex<Way>,
    /// The lease is given back: what is on its way arrives now, before the wake.
    released: AtomicBool,
}

impl Server {
    pub(crate) fn new(inner: Arc<dyn ServerTransport>, faults: &Faults) -> Self {
        Self {
            inner,
            faults: faults.clone(),
            way: Mutex::new(Way::new(faults)),
            released: AtomicBool::new(false),
        }
    }

    /// The time now; if the lease is given back, the whole way is made by then.
    fn look(&self, way: &mut Way) -> Result<Instant, TransportError> {
        check(&self.faults)?;
        let now = Instant::now();
        if self.released.load(Ordering::Acquire) {
            way.hurry(now);
        } else {
            way.hurried = false;
        }
        Ok(now)
    }
}

#[async_trait]
impl ServerTransport for Server {
    async fn acquire(&self, lease: &Lease) -> Result<Acquired, TransportError> {
        check(&self.faults)?;
        self.released.store(false, Ordering::Release);
        self.inner.acquire(lease).await
    }

    async fn renew(&self, epoch: Epoch) -> Result<Option<BusTime>, TransportError> {
        check(&self.faults)?;
        self.inner.renew(epoch).await
    }

    async fn release(&self, epoch: Epoch, wake: Bytes) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.released.store(true, Ordering::Release);
        self.inner.release(epoch, wake).await
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.wake(epoch, wake).await
    }

    async fn pop(
        &self,
        epoch: Epoch,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let mut way = self.way.lock().await;
        let end = Instant::now() + block;
        let most = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        loop {
            let now = self.look(&mut way)?;
            let until = way.next().map_or(end, |next| next.min(end));
            let wait = until.saturating_duration_since(now);
            let Popped { frames, owner } = self.inner.pop(epoch, count, wait).await?;
            // A cut keeps what came before it on its way.
            let looked = self.look(&mut way);
            let now = Instant::now();
            for frame in frames {
                way.send_request(frame, now);
            }
            looked?;
            let frames = way.take(now, most);
            if !frames.is_empty() || now >= end {
                return Ok(Popped { frames, owner });
            }
        }
    }

    async fn publish(&self, client: ClientId, frame: Bytes) -> Result<Option<u64>, TransportError> {
        check(&self.faults)?;
        self.inner.publish(client, frame).await
    }

    async fn consumer(&self) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        check(&self.faults)?;
        let inner = self.inner.consumer().await?;
        let faults = self.faults.clone();
        Ok(Arc::new(FaultyConsumer { inner, faults }))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        self.inner.dead_letters()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A client's end.
pub(crate) struct Client {
    inner: Arc<dyn ClientTransport>,
    faults: Faults,
}

impl Client {
    /// `open` opens the end on the bus itself.
    pub(crate) fn open(
        open: impl FnOnce(Arc<dyn ReplySink>) -> Arc<dyn ClientTransport>,
        faults: &Faults,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
    ) -> Arc<dyn ClientTransport> {
        faults.meet(client);
        let (sender, receiver) = mpsc::unbounded_channel();
        let inner = open(Arc::new(Wire(sender)));
        spawn_task(carry(client, receiver, replies, faults.clone()));
        let faults = faults.clone();
        Arc::new(Self { inner, faults })
    }
}

#[async_trait]
impl ClientTransport for Client {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        check(&self.faults)?;
        self.inner.lease().await
    }

    async fn enqueue(&self, epoch: Epoch, frames: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        check(&self.faults)?;
        self.inner.enqueue(epoch, frames).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl StreamProducer for Client {
    async fn append(&self, messages: Vec<NewEntry>) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.append(messages).await
    }

    async fn len(&self) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.len().await
    }
}

/// The bus' end of the way of a client's replies.
struct Wire(mpsc::UnboundedSender<Bytes>);

impl ReplySink for Wire {
    fn receive(&self, frame: Bytes) {
        // Without a receiver the client is gone.
        drop(self.0.send(frame));
    }
}

/// Brings a client's replies from the bus, until the connection is closed.
async fn carry(
    client: ClientId,
    mut replies: mpsc::UnboundedReceiver<Bytes>,
    to: Arc<dyn ReplySink>,
    faults: Faults,
) {
    let mut way = Way::new(&faults);
    loop {
        tokio::select! {
            biased;
            now = arrival(way.next()) => {
                for frame in way.take(now, usize::MAX) {
                    if faults.is_cut() {
                        debug!("a response is lost: the bus is cut");
                    } else {
                        to.receive(frame);
                    }
                }
            }
            frame = replies.recv() => match frame {
                Some(frame) => way.send_reply(client, &frame, Instant::now()),
                None => return,
            },
        }
    }
}

/// Waits for that moment, and says what time it is then.
async fn arrival(due: Option<Instant>) -> Instant {
    match due {
        None => pending().await,
        Some(due) => {
            // A timer has a resolution of a millisecond: what is due now must not wait for it.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            Instant::now()
        }
    }
}

pub(crate) fn check(faults: &Faults) -> Result<(), TransportError> {
    if faults.is_cut() {
        return Err(TransportError::NotDone(
            "the bus is cut, on purpose".to_owned(),
        ));
    }
    Ok(())
}

/// Frames that are on their way, in the order in which they arrive.
struct Way {
    faults: Faults,
    /// By when they arrive, and among those by the order in which they were sent.
    frames: BTreeMap<(Instant, u64), Bytes>,
    /// How many were ever sent.
    sent: u64,
    /// When the last one of each client arrives: none that was sent later overtakes it.
    last: HashMap<ClientId, Instant>,
    /// Nothing is delayed any more.
    hurried: bool,
}

impl Way {
    fn new(faults: &Faults) -> Self {
        Self {
            faults: faults.clone(),
            frames: BTreeMap::new(),
            sent: 0,
            last: HashMap::new(),
            hurried: false,
        }
    }

    /// Sends a request. What is no request of a client (a wake, rubbish) meets no faults.
    fn send_request(&mut self, frame: Bytes, now: Instant) {
        match Received::decode(&frame) {
            Ok(request) if matches!(request.kind, Kind::Ask | Kind::Tell) => {
                self.send(request.origin.client, Direction::Request, &frame, now);
            }
            _ => self.put(now, frame),
        }
    }

    /// Sends each answer of a reply on its own: they travel together by chance.
    fn send_reply(&mut self, client: ClientId, frame: &Bytes, now: Instant) {
        let Ok((epoch, answers)) = decode_reply(frame) else {
            self.send(client, Direction::Response, frame, now);
            return;
        };
        for (id, outcome) in answers {
            let answer = Answer::new(id, outcome.map(Vec::from));
            let alone = encode_reply(epoch, &[answer]);
            self.send(client, Direction::Response, &alone, now);
        }
    }

    /// Sends a frame through the faults.
    fn send(&mut self, client: ClientId, direction: Direction, frame: &Bytes, now: Instant) {
        let fate = self.faults.fate(client, direction);
        match fate.len() {
            0 => debug!(?client, ?direction, "lost, on purpose"),
            1 => {}
            _ => debug!(?client, ?direction, "duplicated, on purpose"),
        }
        for delay in fate {
            let due = self.due(client, now, delay);
            self.put(due, frame.clone());
        }
    }

    /// When a frame of that client arrives.
    fn due(&mut self, client: ClientId, now: Instant, delay: Duration) -> Instant {
        if self.hurried {
            return now;
        }
        let last = self.last.entry(client).or_insert(now);
        *last = (*last).max(now + delay);
        *last
    }

    fn put(&mut self, due: Instant, frame: Bytes) {
        self.frames.insert((due, self.sent), frame);
        self.sent += 1;
    }

    /// Lets everything arrive now, and what is sent later at once, behind it.
    fn hurry(&mut self, now: Instant) {
        if !self.hurried {
            self.hurried = true;
            for frame in mem::take(&mut self.frames).into_values() {
                self.put(now, frame);
            }
        }
    }

    /// When the next one arrives.
    fn next(&self) -> Option<Instant> {
        self.frames.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes up to `count` that have arrived.
    fn take(&mut self, now: Instant, count: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(first) = self.frames.first_entry()
            && first.key().0 <= now
        {
            taken.push(first.remove());
        }
        taken
    }
}
