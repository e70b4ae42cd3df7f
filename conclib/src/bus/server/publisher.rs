//! Replies on their way to the clients: gathered per client while others are under way, then
//! published together, and again if no client received them.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::config::Config;
use crate::bus::link::concurrency::BatchConcurrency;
use crate::bus::link::log_once::{Anomaly, LogOnce};
use crate::bus::link::outage::Outage;
use crate::bus::protocol::{Answer, encode_reply};
use crate::bus::transport::{Epoch, ServerTransport};
use crate::error::AskError;
use crate::reply::remote::{ClientId, Origin, Outcome};

use repeat_bounds::RepeatBounds;
pub(super) use rounds::run;

mod repeat_bounds;
mod rounds;
mod unreceived;

/// Target size of a published frame in bytes; a larger answer goes alone.
const PUBLISH_BYTES: usize = 256 * 1024;

/// Total size of the answers that may wait, in bytes. Beyond it they are dropped: the bus does not
/// take them.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Deadline of an answer to a request whose deadline is unknown.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// Publishes the replies of one lease term.
pub(crate) struct ReplyPublisher {
    transport: Arc<dyn ServerTransport>,
    epoch: Epoch,
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
    waiting: HashMap<ClientId, Vec<WaitingAnswer>>,
    /// Total size of the waiting answers, in bytes.
    bytes: usize,
    /// Number of asks that have no answer yet.
    pending: usize,
    /// Number of rounds of frames that are being published.
    publishing: usize,
    /// Bounds the number of such rounds.
    concurrency: BatchConcurrency,
    closed: bool,
}

struct WaitingAnswer {
    answer: Answer,
    deadline: Instant,
}

/// Encoded answers for one client.
struct ReplyFrame {
    client: ClientId,
    bytes: Bytes,
    /// The latest deadline of the answers.
    deadline: Instant,
}

impl ReplyPublisher {
    pub(super) fn new(transport: Arc<dyn ServerTransport>, epoch: Epoch, config: &Config) -> Self {
        Self {
            transport,
            epoch,
            limit: config.max_message_size,
            exposes_failures: config.exposes_failures,
            queue: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            repeats: RepeatBounds::default(),
            log: LogOnce::default(),
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

    /// Queues the answer to an ask.
    pub(super) fn publish(&self, origin: Origin, deadline: Option<Instant>, outcome: Outcome) {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + DEFAULT_DEADLINE);
        let answer = Answer::new(origin.id, self.permitted(outcome));
        let size = answer.size();
        let mut wakes = false;
        let mut queue = self.queue.lock();
        queue.pending = queue.pending.saturating_sub(1);
        let dropped = if queue.closed {
            Some(Anomaly::ReplyAfterEnd)
        } else if queue.bytes > 0 && queue.bytes + size > MAX_WAITING_BYTES {
            Some(Anomaly::ReplyOverflow)
        } else {
            wakes = queue.waiting.is_empty();
            queue.bytes += size;
            let waiting = queue.waiting.entry(origin.client).or_default();
            waiting.push(WaitingAnswer { answer, deadline });
            None
        };
        drop(queue);
        match dropped {
            // The first answer wakes the publisher; those behind it need not.
            None if wakes => self.filled.notify_one(),
            None => {}
            Some(anomaly) => {
                self.log.record(anomaly, &size);
                self.emptied.notify_waiters();
            }
        }
    }

    /// The outcome as the client may see it.
    fn permitted(&self, mut outcome: Outcome) -> Outcome {
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

    /// Takes the waiting answers, as frames; `None` when closed.
    fn gather(&self) -> Option<Vec<ReplyFrame>> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return None;
        }
        let waiting = mem::take(&mut queue.waiting);
        queue.bytes = 0;
        if waiting.is_empty() {
            return Some(Vec::new());
        }
        queue.publishing += 1;
        drop(queue);
        let frames = waiting
            .into_iter()
            .flat_map(|(client, answers)| self.frames(client, answers));
        Some(frames.collect())
    }

    /// Splits one client's answers into frames.
    fn frames(&self, client: ClientId, waiting: Vec<WaitingAnswer>) -> Vec<ReplyFrame> {
        let mut frames = Vec::new();
        let mut answers = Vec::new();
        let mut bytes = 0;
        let mut latest = None::<Instant>;
        let mut finish = |answers: &mut Vec<Answer>, latest: &mut Option<Instant>| {
            if let Some(deadline) = latest.take() {
                let bytes = encode_reply(self.epoch, answers);
                answers.clear();
                frames.push(ReplyFrame {
                    client,
                    bytes,
                    deadline,
                });
            }
        };
        for WaitingAnswer { answer, deadline } in waiting {
            let size = answer.size();
            if bytes + size > PUBLISH_BYTES {
                finish(&mut answers, &mut latest);
                bytes = 0;
            }
            bytes += size;
            latest = latest.max(Some(deadline));
            answers.push(answer);
        }
        finish(&mut answers, &mut latest);
        frames
    }
}

impl ReplyQueue {
    fn is_idle(&self) -> bool {
        self.pending == 0 && self.waiting.is_empty() && self.publishing == 0
    }
}

/// The error for an asker whose response is too large: its request was executed.
pub(crate) fn too_large(size: usize, limit: usize) -> AskError {
    AskError::BadResponse {
        reason: format!("{size} bytes are more than the limit of {limit} bytes"),
    }
}
