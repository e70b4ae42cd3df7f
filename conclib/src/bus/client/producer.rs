//! Durable messages on their way to the stream: appended batch after batch, and again until the bus
//! confirms it or the caller stops waiting.
//!
//! A task does that while messages are queued. It appends one batch at a time, so that the messages
//! of a client keep their order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

use crate::bus::client::call::SentRequest;
use crate::bus::client::durable_call::{Delayed, StoreRequest};
use crate::bus::client::pending::{MAX_BYTES, PendingRequests};
use crate::bus::client::shared::{ClientShared, Outgoing, UNDATED};
use crate::bus::link::retry::STREAM_BACKOFF;
use crate::bus::protocol::{MAX_REQUESTS, Request};
use crate::bus::transport::stream::{EntryOptions, NewEntry};
use crate::bus::transport::{Frame, TransportError};
use crate::error::{AskError, Delivered};
use crate::reply::Reply;

/// The maximum number of messages in a batch.
const BATCH_COUNT: usize = 128;

/// The maximum size of a batch, in bytes; a larger message goes alone.
const BATCH_BYTES: usize = 256 * 1024;

/// Messages whose callers have stopped waiting are dropped when their turn comes, or once the queue
/// holds this many times the maximum of pending requests.
const SWEEP_FACTOR: usize = 2;

/// The maximum pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The pause recommended to callers while the stream is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The messages to be appended to the stream.
#[derive(Default)]
pub(super) struct ProducerQueue {
    state: Mutex<ProducerState>,
}

#[derive(Default)]
struct ProducerState {
    entries: VecDeque<QueuedEntry>,
    /// The bytes of their frames.
    bytes: usize,
    /// A task appends the messages.
    is_driven: bool,
    /// The stream was at its maximum length when a message was last appended.
    is_full: bool,
}

struct QueuedEntry {
    /// The id of the request.
    id: u64,
    message: NewEntry,
    /// The caller waits no longer than this until the message is stored.
    deadline: Instant,
    /// Present if the message was made before the bus' clock was known, and lacks its times.
    undated: Option<Undated>,
    /// An attempt has failed with an unknown outcome: the message may be in the stream already.
    may_be_stored: bool,
}

/// The times of a message that wait for the bus' clock.
struct Undated {
    deadline: Instant,
    delay: Option<Delayed>,
}

impl QueuedEntry {
    fn error(&self, error: &TransportError) -> AskError {
        if self.may_be_stored {
            let delivered = Delivered::Unknown;
            return AskError::Disconnected { delivered };
        }
        AskError::Unavailable {
            reason: error.to_string(),
        }
    }
}

impl ProducerQueue {
    fn lock(&self) -> MutexGuard<'_, ProducerState> {
        self.state.lock()
    }
}

impl ProducerState {
    fn push_back(&mut self, entry: QueuedEntry) {
        self.bytes += entry.message.frame.len();
        self.entries.push_back(entry);
    }

    fn push_front(&mut self, entry: QueuedEntry) {
        self.bytes += entry.message.frame.len();
        self.entries.push_front(entry);
    }

    fn pop_front(&mut self) -> Option<QueuedEntry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.message.frame.len();
        Some(entry)
    }

    /// True if the callers of many messages must have stopped waiting: the number of pending requests
    /// is bounded.
    fn needs_sweeping(&self) -> bool {
        self.entries.len() > SWEEP_FACTOR * MAX_REQUESTS || self.bytes > SWEEP_FACTOR * MAX_BYTES
    }

    /// Drops the messages whose callers have stopped waiting.
    fn sweep(&mut self, pending: &PendingRequests) {
        self.entries
            .retain(|entry| pending.frame(entry.id).is_some());
        let sizes = self.entries.iter().map(|entry| entry.message.frame.len());
        self.bytes = sizes.sum();
    }
}

impl ClientShared {
    /// Makes a durable request pending, and queues its message for the stream.
    pub(super) fn send_durable(
        self: &Arc<Self>,
        request: Outgoing<'_>,
        store: StoreRequest,
    ) -> Result<SentRequest, AskError> {
        let (mut frame, size) = self.frame(&self.link, &request)?;
        let due = store.delay.and_then(|delay| delay.due(&self.link.clock));
        let due = due.transpose()?.flatten();
        let mut pending = self.pending();
        frame.origin.id = pending.reserve_id(size)?;
        let undated = (frame.deadline == UNDATED).then_some(Undated {
            deadline: request.deadline,
            delay: store.delay,
        });
        let encoded = frame.encode(request.contents);
        let id = frame.origin.id;
        let receiver = pending.insert_durable(id, (Frame::default(), size), request.kind);
        drop(pending);
        let mut state = self.producer.lock();
        state.push_back(QueuedEntry {
            id,
            message: NewEntry {
                key: store.key,
                frame: encoded,
                options: EntryOptions {
                    retry: store.retry,
                    due,
                    is_repetition: store.is_repetition,
                },
            },
            deadline: store.deadline,
            undated,
            may_be_stored: false,
        });
        if state.needs_sweeping() {
            state.sweep(&self.pending());
        }
        let starts = !std::mem::replace(&mut state.is_driven, true);
        drop(state);
        if starts {
            drop(self.runtime.spawn(run(self.clone())));
        }
        Ok(SentRequest {
            id,
            receiver,
            inline: None,
        })
    }

    /// The next batch, without messages whose callers have stopped waiting. `None` if there is nothing
    /// to append: then the next message starts another task.
    fn next_batch(&self) -> Option<Vec<QueuedEntry>> {
        let mut refused = Vec::new();
        let batch = self.take_batch(&mut refused);
        for (reply, error) in refused {
            reply.refuse(error);
        }
        batch
    }

    /// The next batch. The messages that turn out to be delayed too far go to `refused`, to be ended outside
    /// the locks.
    fn take_batch(&self, refused: &mut Vec<(Reply<Bytes>, AskError)>) -> Option<Vec<QueuedEntry>> {
        let mut state = self.producer.lock();
        let mut pending = self.pending();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_COUNT
            && let Some(entry) = state.pop_front()
        {
            if pending.frame(entry.id).is_none() {
                continue;
            }
            bytes += entry.message.frame.len();
            if bytes > BATCH_BYTES && !batch.is_empty() {
                state.push_front(entry);
                break;
            }
            let id = entry.id;
            match self.dated(entry) {
                Ok(entry) => batch.push(entry),
                Err(error) => refused.extend(pending.end(id).map(|reply| (reply, error))),
            }
        }
        state.is_driven = !batch.is_empty();
        state.is_driven.then_some(batch)
    }

    /// The message with its times on the bus' clock, if it was made before that was known. An error if it is
    /// delayed too far.
    fn dated(&self, mut entry: QueuedEntry) -> Result<QueuedEntry, AskError> {
        if let Some(undated) = &entry.undated
            && let Some(deadline) = self.link.clock.to_bus(undated.deadline)
        {
            let due = undated.delay.and_then(|delay| delay.due(&self.link.clock));
            entry.message.options.due = due.transpose()?.flatten();
            entry.message.frame = Request::with_deadline(entry.message.frame, deadline);
            entry.undated = None;
        }
        Ok(entry)
    }

    /// Appends a batch once. After a failure the messages are queued again.
    async fn append_once(
        &self,
        mut batch: Vec<QueuedEntry>,
        pause: Duration,
    ) -> Result<(), TransportError> {
        let is_full = self.producer.lock().is_full;
        if is_full && self.is_still_full().await {
            let ids: Vec<_> = batch.iter().map(|entry| entry.id).collect();
            self.fail_durable(&ids, |_| AskError::Overloaded {
                retry_after: RETRY_AFTER,
            });
            return Ok(());
        }
        let ids = self.begin_append(&mut batch);
        if ids.is_empty() {
            return Ok(());
        }
        let messages = batch.iter().map(|entry| entry.message.clone()).collect();
        let error = match self.transport.append(messages).await {
            Ok(length) => {
                self.producer.lock().is_full = length >= self.max_stream_len;
                let replies = self.pending().accepted(&ids);
                for reply in replies {
                    reply.send(Bytes::new());
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.requeue(batch, &error, pause);
        Err(error)
    }

    /// Notes that a batch is given to the connection, and returns its ids. Messages whose callers have
    /// stopped waiting since it was taken from the queue leave it: these callers were told that their
    /// messages are not stored.
    fn begin_append(&self, batch: &mut Vec<QueuedEntry>) -> Vec<u64> {
        let mut pending = self.pending();
        batch.retain(|entry| pending.frame(entry.id).is_some());
        let ids: Vec<_> = batch.iter().map(|entry| entry.id).collect();
        pending.durable_sent(&ids);
        ids
    }

    /// Queues a batch again whose attempt has failed. Messages without time for another attempt end
    /// with the error.
    fn requeue(&self, mut batch: Vec<QueuedEntry>, error: &TransportError, pause: Duration) {
        for entry in &mut batch {
            entry.may_be_stored |= matches!(error, TransportError::Unknown(_));
            entry.message.options.is_repetition |= entry.may_be_stored;
        }
        let next = Instant::now() + pause;
        let (late, again): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|entry| entry.deadline <= next);
        let certain = again.iter().filter(|entry| !entry.may_be_stored);
        let certain: Vec<_> = certain.map(|entry| entry.id).collect();
        self.pending().durable_not_stored(&certain);
        let ids: Vec<_> = late.iter().map(|entry| entry.id).collect();
        self.fail_durable(&ids, |place| late[place].error(error));
        let mut state = self.producer.lock();
        for entry in again.into_iter().rev() {
            state.push_front(entry);
        }
    }

    async fn is_still_full(&self) -> bool {
        let length = self.transport.len().await;
        let is_full = length.is_ok_and(|length| length >= self.max_stream_len);
        self.producer.lock().is_full = is_full;
        is_full
    }

    fn fail_durable(&self, ids: &[u64], error: impl Fn(usize) -> AskError) {
        let mut pending = self.pending();
        let ended: Vec<_> = ids.iter().map(|id| pending.end(*id)).collect();
        drop(pending);
        for (place, reply) in ended.into_iter().enumerate() {
            if let Some(reply) = reply {
                reply.refuse(error(place));
            }
        }
    }
}

/// Appends batch after batch, until none is left. The messages of a lazy client wait for the first
/// connection; those whose callers have stopped waiting by then are dropped.
async fn run(shared: Arc<ClientShared>) {
    let mut failures = 0_u32;
    shared.health.first_connected().await;
    while let Some(batch) = shared.next_batch() {
        let pause = STREAM_BACKOFF.delay(failures).min(MAX_PAUSE);
        if shared.append_once(batch, pause).await.is_ok() {
            failures = 0;
            continue;
        }
        failures = failures.saturating_add(1);
        // If no message waits for another attempt, the next one must not wait for the pause.
        if !shared.producer.lock().entries.is_empty() {
            // A closed client has no pending requests: the next round ends.
            shared.closed.run_until_cancelled(sleep(pause)).await;
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests;
