//! Requests that wait to be sent: gathered while a batch is under way, then sent as the next.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::client::pending::{Batch, InFlight, MAX_REQUESTS};
use crate::bus::link::concurrency::Windows;

/// A batch holds at most this many frames …
const BATCH_FRAMES: usize = 512;

/// … and this many bytes; a larger frame goes alone.
const BATCH_BYTES: usize = 256 * 1024;

/// So many may wait before those are sorted out that nobody waits for. They come together while
/// the bus is slow and askers are impatient.
const SORT_OUT: usize = 2 * MAX_REQUESTS;

/// So many words that a request was given up may wait. Beyond it they are not said: its deadline
/// ends the request as well.
const MAX_CANCELS: usize = MAX_REQUESTS;

#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Says to the driver that there is something to send, or that the way is free again.
    ready: Notify,
}

#[derive(Default)]
struct State {
    /// The ids of what is to be sent; the book has the frames, so that those that were given up do
    /// not wait here.
    queue: VecDeque<u64>,
    /// What is to be said of requests that were given to the connection and then given up. Nobody
    /// waits for what becomes of that.
    cancels: VecDeque<Bytes>,
    /// How many batches are under way.
    under_way: usize,
    /// The one under way is sent by an asker. Until it is done nobody sends another: so batches
    /// never have to be kept in order between the askers and the driver.
    asker: Option<Shift>,
    /// How many batches may be under way.
    windows: Windows,
}

/// A batch on its way, and whoever holds this may go on with it: the asker or, when others wait, the
/// driver, since nobody knows whether an asker is polled again. Empty when it has ended, or another
/// has it.
pub(super) type Shift = Arc<Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>>;

impl Outbox {
    /// Queues a request that was just entered into the book. If it is the only one under way, and
    /// nothing is being sent, it comes back as a batch: its asker sends it, which is quicker than
    /// to wake the driver.
    pub(super) fn push(&self, id: u64, book: &InFlight) -> Option<(Batch, Shift)> {
        let mut state = self.lock();
        let was_empty = state.is_empty();
        if state.queue.len() >= SORT_OUT {
            state.queue.retain(|id| book.frame(*id).is_some());
        }
        state.queue.push_back(id);
        if book.len() == 1 && state.under_way == 0 && state.windows.is_near() {
            state.under_way = 1;
            let shift = Shift::default();
            state.asker = Some(shift.clone());
            return Some((state.gather(book), shift));
        }
        drop(state);
        if was_empty {
            self.ready.notify_one();
        }
        None
    }

    /// Queues the word that a request was given up.
    pub(super) fn push_cancel(&self, frame: Bytes) {
        let mut state = self.lock();
        let was_empty = state.is_empty();
        if state.cancels.len() < MAX_CANCELS {
            state.cancels.push_back(frame);
        }
        drop(state);
        if was_empty {
            self.ready.notify_one();
        }
    }

    /// The next batch for the driver, without what nobody waits for any more; `None` if there is
    /// nothing, or enough is under way. Not more than `most` batches are.
    pub(super) fn next(&self, book: &InFlight, most: usize) -> Option<Batch> {
        let mut state = self.lock();
        let allowed = state.windows.allowed().min(most);
        if state.asker.is_some() || state.under_way >= allowed {
            return None;
        }
        let batch = state.gather(book);
        if batch.frames.is_empty() {
            return None;
        }
        state.under_way += 1;
        Some(batch)
    }

    /// A batch is not under way any more. If it was an asker's, the driver hears of it when there
    /// is something to send, or in its `end`.
    pub(super) fn done(&self, end: bool) {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        let was_asker = state.asker.take().is_some();
        let wakes = was_asker && (end || !state.is_empty());
        drop(state);
        if wakes {
            self.ready.notify_one();
        }
    }

    /// The batch that an asker has under way, to go on with it.
    pub(super) fn take_over(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let shift = self.lock().asker.clone()?;
        let mut shift = shift.lock().unwrap_or_else(PoisonError::into_inner);
        shift.take()
    }

    /// True if there are requests to send.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Has the driver look.
    pub(super) fn look(&self) {
        self.ready.notify_one();
    }

    /// Learns how far the bus is.
    pub(super) fn learn(&self, now: Instant, round_trip: Duration) {
        self.lock().windows.learn(now, round_trip);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lock().under_way == 0
    }

    /// Waits until there may be something to do.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().queue.len()
    }

    #[cfg(test)]
    pub(super) fn cancels(&self) -> usize {
        self.lock().cancels.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.cancels.is_empty()
    }

    /// A batch of what waits. Cancels come first: the requests they are about went before.
    fn gather(&mut self, book: &InFlight) -> Batch {
        let cancels = self.cancels.len().min(BATCH_FRAMES);
        let mut batch = Batch {
            ids: Vec::new(),
            frames: self.cancels.drain(..cancels).collect(),
        };
        let mut bytes = 0;
        while batch.frames.len() < BATCH_FRAMES
            && let Some(&id) = self.queue.front()
        {
            if let Some(frame) = book.frame(id) {
                bytes += frame.len();
                if bytes > BATCH_BYTES && !batch.ids.is_empty() {
                    break;
                }
                batch.ids.push(id);
                batch.frames.push(frame.clone());
            }
            self.queue.pop_front();
        }
        batch
    }
}
