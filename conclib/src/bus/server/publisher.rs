//! Replies on their way to the clients: gathered per client while others are under way, then
//! published together, and again if no client received them.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::config::Config;
use crate::bus::link::concurrency::BatchConcurrency;
use crate::bus::link::log_once::{Anomaly, LogOnce};
use crate::bus::link::outage::Outage;
use crate::bus::protocol::{Answer, LARGE_REPLY, encode_reply};
use crate::bus::server::fence::Fence;
use crate::bus::transport::{Epoch, Frame, ServerTransport};
use crate::error::AskError;
use crate::reply::remote::{ClientId, Origin, Outcome};

use flow::ReplyFlow;
use repeat_bounds::RepeatBounds;
pub(super) use rounds::run;

mod flow;
mod repeat_bounds;
mod rounds;
mod unreceived;

/// Target size of a published frame in bytes; a larger answer goes alone.
const PUBLISH_BYTES: usize = 512 * 1024;

/// Total size of the answers that may wait or be under way, in bytes. Beyond it an error goes in their
/// place.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// With those errors, and with first answers of clients, the total may exceed its bound by this factor.
/// Beyond that they are dropped.
const MAX_OVERSHOOT: usize = 2;

/// Deadline of an answer to a request whose deadline is unknown.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// Publishes the replies of one lease term.
pub(crate) struct ReplyPublisher {
    transport: Arc<dyn ServerTransport>,
    epoch: Epoch,
    /// Lost if the bus refuses replies.
    fence: Arc<Fence>,
    /// The largest response, in bytes.
    limit: usize,
    /// Clients receive the cause of an actor's failure.
    exposes_failures: bool,
    queue: Mutex<ReplyQueue>,
    /// Notified when there are answers to publish.
    filled: Notify,
    /// Notified when no reply is pending, waiting or being published.
    emptied: Notify,
    /// Bounds the frames that are published again.
    repeats: RepeatBounds,
    log: LogOnce,
    /// The bus takes no replies.
    outage: Outage,
}

#[derive(Default)]
struct ReplyQueue {
    waiting: HashMap<ClientId, ClientAnswers>,
    /// The large frames of each client, and the answers that wait for these.
    flow: ReplyFlow,
    /// Total size of the waiting answers, in bytes.
    bytes: usize,
    /// Number of asks that have no answer yet.
    pending: usize,
    /// Number of rounds of frames that are being published, and the size of these frames.
    publishing: usize,
    publishing_bytes: usize,
    /// Bounds the number of such rounds.
    concurrency: BatchConcurrency,
    closed: bool,
}

/// The waiting answers of a client.
#[derive(Default)]
struct ClientAnswers {
    answers: Vec<WaitingAnswer>,
    bytes: usize,
}

struct WaitingAnswer {
    answer: Answer,
    deadline: Instant,
}

/// Encoded answers for one client.
struct ReplyFrame {
    client: ClientId,
    encoded: Frame,
    /// The latest deadline of the answers.
    deadline: Instant,
}

/// Frames that are published together.
struct Round {
    frames: Vec<ReplyFrame>,
    /// Their size while they waited.
    bytes: usize,
}

impl ReplyPublisher {
    pub(super) fn new(
        transport: Arc<dyn ServerTransport>,
        epoch: Epoch,
        fence: Arc<Fence>,
        config: &Config,
        log: LogOnce,
    ) -> Self {
        Self {
            transport,
            epoch,
            fence,
            limit: config.max_message_size,
            exposes_failures: config.exposes_failures,
            queue: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            repeats: RepeatBounds::default(),
            log,
            outage: Outage::default(),
        }
    }

    /// Notes that an ask was taken: [`publish`](Self::publish) or [`end_reply`](Self::end_reply)
    /// will follow.
    pub(super) fn begin_reply(&self) {
        self.queue.lock().pending += 1;
    }

    /// Notes that an ask gets no answer.
    pub(super) fn end_reply(&self) {
        let mut queue = self.queue.lock();
        queue.pending = queue.pending.saturating_sub(1);
        if queue.is_idle() {
            self.emptied.notify_waiters();
        }
    }

    /// Queues the answer to an ask. If too many wait already, the asker hears that at once.
    pub(super) fn publish(&self, origin: Origin, deadline: Option<Instant>, outcome: Outcome) {
        let answer = Answer::new(origin.id, self.permitted(outcome));
        self.enqueue(origin, deadline, answer);
    }

    /// Queues the refusal of an ask that no other process takes, and of which this one executes no copy.
    pub(super) fn publish_unexecuted(&self, origin: Origin, deadline: Option<Instant>) {
        self.enqueue(origin, deadline, Answer::unexecuted(origin.id));
    }

    /// Queues the error of an ask that a handler has begun.
    pub(super) fn publish_begun(&self, origin: Origin, deadline: Option<Instant>, error: AskError) {
        let answer = Answer::new(origin.id, self.permitted(Err(error)));
        self.enqueue(origin, deadline, answer.begun());
    }

    fn enqueue(&self, origin: Origin, deadline: Option<Instant>, mut answer: Answer) {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + DEFAULT_DEADLINE);
        let mut queue = self.queue.lock();
        queue.pending = queue.pending.saturating_sub(1);
        if !queue.has_room(origin.client, answer.size()) {
            let size = answer.size();
            self.log.record(Anomaly::ReplyOverflow, &size);
            answer = Answer::new(origin.id, Err(too_many(size))).begun();
        }
        let size = answer.size();
        if queue.closed || queue.unsent_bytes() + size > MAX_OVERSHOOT * MAX_WAITING_BYTES {
            let dropped = if queue.closed {
                Anomaly::ReplyAfterEnd
            } else {
                Anomaly::ReplyOverflow
            };
            drop(queue);
            self.log.record(dropped, &size);
            return self.emptied.notify_waiters();
        }
        queue.bytes += size;
        // The first answer wakes the publisher; those behind it need not.
        let wakes = queue.waiting.is_empty();
        let waiting = queue.waiting.entry(origin.client).or_default();
        waiting.bytes += size;
        waiting.answers.push(WaitingAnswer { answer, deadline });
        drop(queue);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// Notes that a client has received large frames.
    pub(super) fn confirm(&self, client: ClientId, bytes: usize) {
        let mut queue = self.queue.lock();
        let released = queue.flow.confirm(client, bytes, Instant::now());
        if !released.is_empty() {
            queue.release(client, released);
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// The outcome as the client may see it.
    pub(super) fn permitted(&self, mut outcome: Outcome) -> Outcome {
        if let Ok(contents) = &outcome
            && contents.len() > self.limit
        {
            outcome = Err(too_large(contents.len(), self.limit));
        }
        if let Err(AskError::Failed { cause }) = &mut outcome
            && !self.exposes_failures
        {
            *cause = None;
        }
        outcome
    }

    /// Waits until every ask that was taken is answered and every answer is published.
    pub(super) async fn drained(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.queue.lock().is_idle() {
                return;
            }
            emptied.await;
        }
    }

    /// Number of rounds of replies, and of pops, that may be under way at a time.
    pub(super) fn concurrency(&self) -> usize {
        self.queue.lock().concurrency.allowed()
    }

    /// Stops publishing.
    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_one();
    }

    /// Takes the waiting answers that may be published now, as a round of frames; `None` when closed.
    fn gather(&self) -> Option<Round> {
        let now = Instant::now();
        let mut queue = self.queue.lock();
        if queue.closed {
            return None;
        }
        queue.bytes -= queue.flow.drop_expired(now);
        for (client, answers) in queue.flow.overdue(now) {
            queue.release(client, answers);
        }
        let mut batches = Vec::new();
        for (client, waiting) in mem::take(&mut queue.waiting) {
            let mut answers = split(waiting.answers).into_iter();
            while let Some((batch, size)) = answers.next() {
                if queue.flow.try_publish(client, size, now) {
                    queue.bytes -= size;
                    batches.push((client, batch, size));
                } else {
                    let rest = answers.flat_map(|(batch, _)| batch);
                    let held = batch.into_iter().chain(rest).collect();
                    queue.flow.hold(client, held);
                    break;
                }
            }
        }
        let bytes = batches.iter().map(|(_, _, size)| size).sum();
        queue.publishing += usize::from(!batches.is_empty());
        queue.publishing_bytes += bytes;
        if queue.is_idle() {
            self.emptied.notify_waiters(); // the last answers have expired
        }
        drop(queue);
        let frames = batches
            .into_iter()
            .map(|(client, batch, size)| self.frame(client, batch, size));
        Some(Round {
            frames: frames.collect(),
            bytes,
        })
    }

    /// The moment at which answers that are held may be published.
    fn next_release(&self) -> Option<Instant> {
        self.queue.lock().flow.next_overdue()
    }

    /// Encodes the answers of a frame, whose size was estimated.
    fn frame(&self, client: ClientId, batch: Vec<WaitingAnswer>, estimate: usize) -> ReplyFrame {
        let latest = batch.iter().map(|waiting| waiting.deadline).max();
        let answers: Vec<_> = batch.into_iter().map(|waiting| waiting.answer).collect();
        let encoded = encode_reply(self.epoch, answers);
        let size = encoded.len();
        if estimate >= LARGE_REPLY || size >= LARGE_REPLY {
            self.queue.lock().flow.correct(client, estimate, size);
        }
        ReplyFrame {
            client,
            encoded,
            deadline: latest.unwrap_or_else(Instant::now),
        }
    }
}

/// Splits a client's answers into those of one frame each, with their size.
fn split(waiting: Vec<WaitingAnswer>) -> Vec<(Vec<WaitingAnswer>, usize)> {
    let mut batches: Vec<(Vec<WaitingAnswer>, usize)> = Vec::new();
    for waiting in waiting {
        let size = waiting.answer.size();
        match batches.last_mut() {
            Some((batch, bytes)) if *bytes + size <= PUBLISH_BYTES => {
                batch.push(waiting);
                *bytes += size;
            }
            _ => batches.push((vec![waiting], size)),
        }
    }
    batches
}

impl ReplyQueue {
    fn is_idle(&self) -> bool {
        self.bytes == 0 && self.pending == 0 && self.publishing == 0
    }

    /// True if a client may have an answer of that size wait: together its answers may be as large as
    /// what is left for all. A first answer may be beyond, up to [`MAX_OVERSHOOT`].
    fn has_room(&self, client: ClientId, size: usize) -> bool {
        let waiting = self.waiting.get(&client).map_or(0, |waiting| waiting.bytes);
        let own = waiting + self.flow.held_bytes(client);
        own == 0 || own + size <= MAX_WAITING_BYTES.saturating_sub(self.unsent_bytes())
    }

    /// The size of all answers that the bus does not have yet.
    fn unsent_bytes(&self) -> usize {
        self.bytes + self.publishing_bytes
    }

    /// Puts answers that were held before those that wait.
    fn release(&mut self, client: ClientId, mut released: Vec<WaitingAnswer>) {
        let waiting = self.waiting.entry(client).or_default();
        released.append(&mut waiting.answers);
        waiting.bytes = released.iter().map(|waiting| waiting.answer.size()).sum();
        waiting.answers = released;
    }
}

/// The error for an asker whose answer finds no room: its request was executed.
fn too_many(size: usize) -> AskError {
    AskError::BadResponse {
        reason: format!(
            "its {size} bytes were dropped: the answers that wait for this client, or for all, are as \
             large as they may be"
        ),
    }
}

/// The error for an asker whose response is too large: its request was executed.
pub(crate) fn too_large(size: usize, limit: usize) -> AskError {
    AskError::BadResponse {
        reason: format!("{size} bytes are more than the limit of {limit} bytes"),
    }
}
