//! Requests on their way to the bus: gathered while a batch is under way, then sent as the next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use crate::error::{AskError, Delivered};
use crate::proxy::in_flight::{InFlight, MAX_REQUESTS};
use crate::proxy::transport::{Epoch, TransportError};

/// A batch holds at most this many frames …
const BATCH_FRAMES: usize = 512;

/// … and this many bytes; a larger frame goes alone.
const BATCH_BYTES: usize = 256 * 1024;

/// So many may wait before those are sorted out that nobody waits for. They come together while
/// the bus is slow and askers are impatient.
const SORT_OUT: usize = 2 * MAX_REQUESTS;

#[derive(Default)]
pub(super) struct Outbox {
    /// The ids of what is to be sent; the book has the frames, so that those that were given up do
    /// not wait here.
    queue: Mutex<VecDeque<u64>>,
    /// Says that the queue is not empty any more.
    filled: Notify,
}

impl Outbox {
    pub(super) fn push(&self, id: u64, book: &InFlight) {
        let mut queue = self.lock();
        let first = queue.is_empty();
        if queue.len() >= SORT_OUT {
            queue.retain(|id| book.frame(*id).is_some());
        }
        queue.push_back(id);
        drop(queue);
        if first {
            self.filled.notify_one();
        }
    }

    /// The next batch, without what nobody waits for any more; empty if there is nothing.
    fn gather(&self, book: &InFlight) -> Batch {
        let mut queue = self.lock();
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.ids.len() < BATCH_FRAMES
            && let Some(&id) = queue.front()
        {
            if let Some(frame) = book.frame(id) {
                bytes += frame.len();
                if bytes > BATCH_BYTES && !batch.ids.is_empty() {
                    break;
                }
                batch.ids.push(id);
                batch.frames.push(frame.clone());
            }
            queue.pop_front();
        }
        batch
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u64>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests that go together.
#[derive(Default)]
struct Batch {
    ids: Vec<u64>,
    frames: Vec<Bytes>,
}

/// Sends batch after batch, one at a time, until the client is closed.
pub(super) async fn drive(shared: Arc<Shared>) {
    loop {
        let batch = shared.outbox.gather(&shared.in_flight());
        if !batch.ids.is_empty() {
            send(&shared, batch).await;
            continue;
        }
        let filled = shared.outbox.filled.notified();
        if shared.closed.run_until_cancelled(filled).await.is_none() {
            break;
        }
    }
    shared.transport.close().await;
}

/// Sends one batch; every request in it is accepted or ended.
async fn send(shared: &Shared, batch: Batch) {
    let outcome = enqueue(shared, &batch).await;
    let mut book = shared.in_flight();
    match outcome {
        Ok(()) => {
            let told = book.accepted(&batch.ids);
            drop(book);
            for reply in told {
                reply.send(Bytes::new());
            }
        }
        Err(error) => {
            let ended: Vec<_> = batch.ids.iter().filter_map(|id| book.end(*id)).collect();
            drop(book);
            for reply in ended {
                reply.refuse(error.clone());
            }
        }
    }
}

/// Puts a batch into the inbox of whoever serves now.
async fn enqueue(shared: &Shared, batch: &Batch) -> Result<(), AskError> {
    let known = shared.lease().clone();
    let lease = match known {
        Some(lease) => Some(lease),
        None => shared
            .look_for_lease()
            .await
            .map_err(|error| AskError::Unavailable {
                reason: error.to_string(),
            })?,
    };
    let mut lease = lease.ok_or(AskError::NoResponder)?;
    // A second try, if another epoch has begun since we last looked: what went to the old one is
    // never executed.
    for _ in 0..2 {
        lease.check_version()?;
        let sent = Instant::now();
        let now = enqueue_once(shared, lease.epoch, batch).await?;
        shared.clock.learn(sent, Instant::now(), now.now);
        shared.lease().clone_from(&now.lease);
        match now.lease {
            Some(now) if now.epoch == lease.epoch => return Ok(()),
            Some(now) => lease = now,
            None => return Err(AskError::NoResponder),
        }
    }
    Err(AskError::NoResponder)
}

async fn enqueue_once(
    shared: &Shared,
    epoch: Epoch,
    batch: &Batch,
) -> Result<crate::proxy::transport::Enqueued, AskError> {
    shared.in_flight().given(&batch.ids, epoch);
    shared
        .transport
        .enqueue(epoch, batch.frames.clone())
        .await
        .map_err(|error| match error {
            TransportError::NotDone(reason) => AskError::Unavailable { reason },
            TransportError::Unknown(_) => AskError::Disconnected {
                delivered: Delivered::Unknown,
            },
        })
}
