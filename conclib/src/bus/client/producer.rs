//! Durable messages on their way to the bus: stored batch after batch, and again until it is known
//! that they are, or nobody waits any more.
//!
//! A task does that as long as there is something to store. It has one batch under way at a time,
//! so that one client's messages stay in their order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::bus::client::call::SentRequest;
use crate::bus::client::pending::{MAX_BYTES, PendingRequests};
use crate::bus::client::shared::{ClientShared, Outgoing};
use crate::bus::link::retry::STREAM_BACKOFF;
use crate::bus::protocol::MAX_REQUESTS;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{MAX_KEY_LEN, NewEntry};
use crate::error::{AskError, Delivered};
use crate::random::Uuid;

/// A batch holds at most this many messages …
const BATCH: usize = 128;

/// … and this many bytes; a larger message goes alone.
const BATCH_BYTES: usize = 256 * 1024;

/// What nobody waits for any more is dropped when the messages come to so many times the bounds of
/// the book: before, it goes when its turn comes.
const SWEEP: usize = 2;

/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// When it is worth trying again after too many messages were kept.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What tells a message from another, for the proxy that handles it.
pub(super) enum IdempotencyKey {
    /// One for this call alone.
    Generated,
    /// The caller's, who may call again with it.
    Given(String),
}

impl IdempotencyKey {
    pub(super) fn text(&self) -> Result<String, AskError> {
        match self {
            Self::Generated => Ok(Uuid::random().as_str().to_owned()),
            Self::Given(key) if (1..=MAX_KEY_LEN).contains(&key.len()) => Ok(key.clone()),
            Self::Given(key) => Err(AskError::BadRequest {
                reason: format!(
                    "an idempotency key has 1 to {MAX_KEY_LEN} bytes, not {}",
                    key.len()
                ),
            }),
        }
    }
}

/// The messages to be stored.
#[derive(Default)]
pub(super) struct Keeping {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    /// What their frames come to.
    bytes: usize,
    /// The task runs.
    is_driven: bool,
    /// The bus has more messages than it should.
    is_full: bool,
}

struct Item {
    id: u64,
    message: NewEntry,
    deadline: Instant,
    /// An attempt has ended so that it may be stored.
    is_doubtful: bool,
}

impl Item {
    fn error(&self, error: &TransportError) -> AskError {
        if self.is_doubtful {
            let delivered = Delivered::Unknown;
            return AskError::Disconnected { delivered };
        }
        AskError::Unavailable {
            reason: error.to_string(),
        }
    }
}

impl Keeping {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push_back(&mut self, item: Item) {
        self.bytes += item.message.frame.len();
        self.queue.push_back(item);
    }

    fn push_front(&mut self, item: Item) {
        self.bytes += item.message.frame.len();
        self.queue.push_front(item);
    }

    fn pop_front(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        self.bytes -= item.message.frame.len();
        Some(item)
    }

    /// True if there must be many that nobody waits for any more: the book has bounds, and it
    /// holds the others.
    fn needs_sweeping(&self) -> bool {
        self.queue.len() > SWEEP * MAX_REQUESTS || self.bytes > SWEEP * MAX_BYTES
    }

    /// Drops those that nobody waits for any more.
    fn sweep(&mut self, book: &PendingRequests) {
        self.queue.retain(|item| book.frame(item.id).is_some());
        let sizes = self.queue.iter().map(|item| item.message.frame.len());
        self.bytes = sizes.sum();
    }
}

impl ClientShared {
    /// Enters a request into the book, and has it stored.
    pub(super) fn send_durable(
        self: &Arc<Self>,
        request: &Outgoing<'_>,
        key: String,
    ) -> Result<SentRequest, AskError> {
        let (mut frame, size) = self.frame(request)?;
        let mut book = self.pending();
        frame.origin.id = book.check(size)?;
        let encoded = frame.encode();
        let id = frame.origin.id;
        let receiver = book.insert_durable(id, Bytes::new(), size, request.kind);
        drop(book);
        let mut state = self.keeping.lock();
        state.push_back(Item {
            id,
            message: NewEntry {
                key,
                frame: encoded,
            },
            deadline: request.deadline,
            is_doubtful: false,
        });
        if state.needs_sweeping() {
            state.sweep(&self.pending());
        }
        let starts = !std::mem::replace(&mut state.is_driven, true);
        drop(state);
        if starts {
            drop(self.runtime.spawn(drive(self.clone())));
        }
        Ok(SentRequest {
            id,
            receiver,
            inline: None,
        })
    }

    /// What is to be stored next, without what nobody waits for any more. If there is nothing, the
    /// task has ended.
    fn next_to_keep(&self) -> Option<Vec<Item>> {
        let mut state = self.keeping.lock();
        let book = self.pending();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH
            && let Some(item) = state.pop_front()
        {
            if book.frame(item.id).is_none() {
                continue;
            }
            bytes += item.message.frame.len();
            if bytes > BATCH_BYTES && !batch.is_empty() {
                state.push_front(item);
                break;
            }
            batch.push(item);
        }
        state.is_driven = !batch.is_empty();
        state.is_driven.then_some(batch)
    }

    /// Stores a batch once; what is to be tried again is put back.
    async fn keep_once(&self, batch: Vec<Item>, pause: Duration) -> Result<(), TransportError> {
        let ids: Vec<_> = batch.iter().map(|item| item.id).collect();
        let is_full = self.keeping.lock().is_full;
        if is_full && self.is_still_full().await {
            self.end_durable(&ids, |_| AskError::Overloaded {
                retry_after: RETRY_AFTER,
            });
            return Ok(());
        }
        self.pending().given_to_keep(&ids);
        let messages = batch.iter().map(|item| item.message.clone()).collect();
        let error = match self.transport.append(messages).await {
            Ok(kept) => {
                self.keeping.lock().is_full = kept >= self.max_kept;
                let told = self.pending().accepted(&ids);
                for reply in told {
                    reply.send(Bytes::new());
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.try_again(batch, &error, pause);
        Err(error)
    }

    /// Puts a batch back whose attempt has failed. Those for which there is no time for another end
    /// here.
    fn try_again(&self, mut batch: Vec<Item>, error: &TransportError, pause: Duration) {
        for item in &mut batch {
            item.is_doubtful |= matches!(error, TransportError::Unknown(_));
        }
        let next = Instant::now() + pause;
        let (late, again): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|item| item.deadline <= next);
        let certain = again.iter().filter(|item| !item.is_doubtful);
        let certain: Vec<_> = certain.map(|item| item.id).collect();
        self.pending().not_given(&certain);
        let ids: Vec<_> = late.iter().map(|item| item.id).collect();
        self.end_durable(&ids, |place| late[place].error(error));
        let mut state = self.keeping.lock();
        for item in again.into_iter().rev() {
            state.push_front(item);
        }
    }

    async fn is_still_full(&self) -> bool {
        let kept = self.transport.len().await;
        let is_full = kept.is_ok_and(|kept| kept >= self.max_kept);
        self.keeping.lock().is_full = is_full;
        is_full
    }

    fn end_durable(&self, ids: &[u64], error: impl Fn(usize) -> AskError) {
        let mut book = self.pending();
        let ended: Vec<_> = ids.iter().map(|id| book.end(*id)).collect();
        drop(book);
        for (place, reply) in ended.into_iter().enumerate() {
            if let Some(reply) = reply {
                reply.refuse(error(place));
            }
        }
    }
}

/// Stores batch after batch, until there is none.
async fn drive(shared: Arc<ClientShared>) {
    let mut failures = 0_u32;
    while let Some(batch) = shared.next_to_keep() {
        let pause = STREAM_BACKOFF.delay(failures).min(PAUSE);
        if shared.keep_once(batch, pause).await.is_ok() {
            failures = 0;
            continue;
        }
        failures = failures.saturating_add(1);
        // If nobody waits for another attempt, whoever comes next is not to wait for the pause.
        if !shared.keeping.lock().queue.is_empty() {
            // A closed client has an empty book: the next round ends.
            shared.closed.run_until_cancelled(sleep(pause)).await;
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests;
