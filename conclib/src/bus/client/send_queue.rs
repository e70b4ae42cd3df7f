//! Requests that wait to be sent: gathered while a batch is under way, then sent as the next. No I/O.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::client::pending::{Batch, PendingRequests};
use crate::bus::link::concurrency::BatchConcurrency;
use crate::bus::protocol::MAX_REQUESTS;
use crate::bus::transport::Frame;

/// The maximum number of frames in a batch.
const BATCH_FRAMES: usize = 512;

/// The maximum size of a batch in bytes; a larger frame goes alone.
const BATCH_BYTES: usize = 512 * 1024;

/// Length of the queue at which requests that have ended are removed. They pile up while the bus is
/// slow and timeouts are short.
const PURGE_LENGTH: usize = 2 * MAX_REQUESTS;

/// Number of control frames that may wait. Further ones are dropped: the deadline ends their requests
/// as well.
const MAX_CONTROLS: usize = MAX_REQUESTS;

/// The requests and control frames for one node that wait to be sent.
#[derive(Default)]
pub(super) struct SendQueue {
    state: Mutex<QueueState>,
    /// Notified when the driver has something to send, or may send again.
    ready: Notify,
}

#[derive(Default)]
struct QueueState {
    /// Ids of the requests to be sent. The pending requests have their frames, so that the frames of
    /// ended requests do not wait here.
    requests: VecDeque<u64>,
    /// Control frames: cancels of requests that were given to the connection and then abandoned, and
    /// confirmations of replies. Their delivery is not tracked.
    controls: VecDeque<Frame>,
    /// Number of batches under way.
    under_way: usize,
    /// The batch under way is an asker's. Until it has ended no other batch is sent: so the batches
    /// of askers and of the driver never have to be kept in order.
    inline: Option<InlineSlot>,
    /// Bounds the number of batches under way.
    concurrency: BatchConcurrency,
}

/// The future of an asker's batch, shared with the driver: when further requests wait, the driver
/// adopts it, since an asker may never be polled again. Empty when the batch has ended or was
/// adopted.
pub(super) type InlineSlot = Arc<Mutex<Option<InlineFuture>>>;

pub(super) type InlineFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The condition on which the end of an asker's batch wakes the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WakeDriver {
    IfQueued,
    Always,
}

impl SendQueue {
    /// Queues a request that was just entered into the pending ones. If it `is_alone`, the only one
    /// for its node, and no batch is under way, it comes back as a batch: its asker sends it, which is
    /// quicker than to wake the driver.
    pub(super) fn push(
        &self,
        id: u64,
        is_alone: bool,
        pending: &PendingRequests,
    ) -> Option<(Batch, InlineSlot)> {
        let mut state = self.state.lock();
        let was_empty = state.is_empty();
        if state.requests.len() >= PURGE_LENGTH {
            state.requests.retain(|id| pending.frame(*id).is_some());
        }
        state.requests.push_back(id);
        if is_alone && state.under_way == 0 && state.concurrency.is_near() {
            state.under_way = 1;
            let slot = InlineSlot::default();
            state.inline = Some(slot.clone());
            return Some((state.gather(pending), slot));
        }
        drop(state);
        if was_empty {
            self.ready.notify_one();
        }
        None
    }

    /// Queues a control frame.
    pub(super) fn push_control(&self, frame: Frame) {
        let mut state = self.state.lock();
        let was_empty = state.is_empty();
        if state.controls.len() < MAX_CONTROLS {
            state.controls.push_back(frame);
        }
        drop(state);
        if was_empty {
            self.ready.notify_one();
        }
    }

    /// The next batch for the driver, without requests that have ended; `None` if the queue is empty,
    /// or the allowed number of batches, at most `most`, is under way.
    pub(super) fn next(&self, pending: &PendingRequests, most: usize) -> Option<Batch> {
        let mut state = self.state.lock();
        let allowed = state.concurrency.allowed().min(most);
        if state.inline.is_some() || state.under_way >= allowed {
            return None;
        }
        let batch = state.gather(pending);
        if batch.frames.is_empty() {
            return None;
        }
        state.under_way += 1;
        Some(batch)
    }

    /// Notes that a batch is no longer under way. If it was an asker's, `wake` says when the driver
    /// is woken.
    pub(super) fn end_batch(&self, wake: WakeDriver) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        let was_inline = state.inline.take().is_some();
        let wakes = was_inline && (wake == WakeDriver::Always || !state.is_empty());
        drop(state);
        if wakes {
            self.ready.notify_one();
        }
    }

    /// Takes an asker's batch over, to run it to its end.
    pub(super) fn adopt(&self) -> Option<InlineFuture> {
        let slot = self.state.lock().inline.clone()?;
        let mut slot = slot.lock();
        slot.take()
    }

    /// True if there is anything to send.
    pub(super) fn has_waiting(&self) -> bool {
        !self.state.lock().is_empty()
    }

    /// True if there is nothing to send, and nothing under way.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.is_empty() && state.under_way == 0
    }

    pub(super) fn wake_driver(&self) {
        self.ready.notify_one();
    }

    /// Records the round trip of a batch.
    pub(super) fn record(&self, now: Instant, round_trip: Duration) {
        self.state.lock().concurrency.record(now, round_trip);
    }

    /// True if no batch is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().under_way == 0
    }

    /// Waits until the driver is woken.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().requests.len()
    }

    #[cfg(test)]
    pub(super) fn controls(&self) -> usize {
        self.state.lock().controls.len()
    }
}

impl QueueState {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.controls.is_empty()
    }

    /// Takes a batch off the queue. Control frames come first: the requests of cancels were sent before.
    fn gather(&mut self, pending: &PendingRequests) -> Batch {
        let controls = self.controls.len().min(BATCH_FRAMES);
        let mut batch = Batch {
            ids: Vec::new(),
            frames: self.controls.drain(..controls).collect(),
        };
        let mut bytes = 0;
        while batch.frames.len() < BATCH_FRAMES
            && let Some(&id) = self.requests.front()
        {
            if let Some(frame) = pending.frame(id) {
                bytes += frame.len();
                if bytes > BATCH_BYTES && !batch.ids.is_empty() {
                    break;
                }
                batch.ids.push(id);
                batch.frames.push(frame.clone());
            }
            self.requests.pop_front();
        }
        batch
    }
}
