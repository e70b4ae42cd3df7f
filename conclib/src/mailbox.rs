//! The bounded queue in front of an actor.
//!
//! Senders push under one short lock. The receiver empties the queue by swapping it for its own
//! empty buffer, and then handles that *batch* without touching the lock again; a sender wakes it
//! only if it sleeps. Capacity and depth include the rest of the batch.
//!
//! A sender that finds the mailbox full leaves its message in a wait queue, with its waker. The
//! receiver admits from the wait queue in order, and no later sender overtakes it. When a mailbox
//! closes, messages in the wait queue stay there until their senders take them back.

use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};
use crate::time::coarse::CoarseInstant;

pub(crate) use receiver::{Batch, Refill};
pub(crate) use wait_queue::Ticket;

use wait_queue::WaitQueue;

/// A bounded queue with one receiver.
///
/// The fields are in this order so that those written by senders for each message and those written
/// by the receiver for each never share a cache line, which each would take from the other. Seldom
/// written fields of the owner hold them apart, instead of padding.
#[repr(C)]
pub(crate) struct Mailbox<T, F = [u64; 4]> {
    state: Mutex<State<T>>,
    /// The number of messages that may wait.
    capacity: usize,
    /// The fields of the owner.
    pub(crate) owner: F,
    batch_status: BatchStatus,
}

/// The fields that the receiver reads or writes for each message.
struct BatchStatus {
    /// The number of messages left in the batch. Only the receiver writes.
    count: AtomicU32,
    /// The arrival of the first message of the batch. Only the receiver writes.
    since: AtomicU64,
    /// True while senders wait. Written under the lock, read by the receiver without it.
    has_waiting_senders: AtomicBool,
}

/// The part under the lock; fields written for each message come first.
#[repr(C)]
struct State<T> {
    /// Messages sent since the receiver last swapped. All are `Some`: the receiver takes them out of
    /// their places.
    queue: VecDeque<Option<T>>,
    /// An upper bound of the messages left in the batch: their count when a sender last read it.
    batch_limit: u32,
    /// The receiver has found no message, and none was pushed since.
    is_asleep: bool,
    /// No more sends.
    closed: bool,
    /// The arrival of the first message of the queue: the only clock read per batch.
    since: CoarseInstant,
    /// Wakes the receiver's task, which is registered as long as it runs.
    receiver: Option<Waker>,
    /// Senders that wait for room.
    waiters: WaitQueue<T>,
}

/// The mailbox takes no further messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// The reason for which a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// The number of messages and senders at a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Waiting messages, those of the batch included.
    pub(crate) depth: usize,
    pub(crate) capacity: usize,
    /// Senders that wait for room.
    pub(crate) senders: usize,
    /// The age of the oldest message, or slightly more: that of the first one of its batch.
    pub(crate) oldest: Option<Duration>,
}

impl<T> Mailbox<T> {
    /// A mailbox on its own.
    #[cfg(test)]
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with_owner(capacity, [0; 4])
    }
}

impl<T, F> Mailbox<T, F> {
    /// A mailbox for `capacity` messages, at least one, with fields of its owner.
    pub(crate) fn with_owner(capacity: usize, owner: F) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                batch_limit: 0,
                is_asleep: false,
                closed: false,
                since: CoarseInstant::default(),
                receiver: None,
                waiters: WaitQueue::new(),
            }),
            capacity: capacity.max(1),
            owner,
            batch_status: BatchStatus {
                count: AtomicU32::new(0),
                since: AtomicU64::new(0),
                has_waiting_senders: AtomicBool::new(false),
            },
        }
    }

    /// Queues a message if there is room and no sender waits for it.
    ///
    /// `make` runs under the lock, and only if the message is queued: it is made in its place, since
    /// each move counts. It must do nothing else.
    #[inline(always)]
    pub(crate) fn try_push(&self, make: impl FnOnce() -> Option<T>) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if !self.has_room(&mut state) {
            return Err(Refused::Full);
        }
        state.push(make);
        wake_receiver(state);
        Ok(())
    }

    /// Queues a message whether there is room or not: one that an actor sends to itself. Like
    /// [`try_push`](Self::try_push) otherwise.
    pub(crate) fn push_past_bound(&self, make: impl FnOnce() -> Option<T>) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        state.push(make);
        wake_receiver(state);
        Ok(())
    }

    /// Queues a message, or puts it into the wait queue.
    ///
    /// `item` is taken as soon as it is queued or waits. On [`Closed`] it is there (again).
    pub(crate) fn poll_push(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        item: &mut Option<T>,
    ) -> Poll<Result<(), Closed>> {
        if let Some(held) = *ticket {
            let held = self.poll_waiting(cx, held, item);
            if held.is_ready() {
                *ticket = None;
            }
            return held;
        }
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(Err(Closed));
        }
        let has_room = self.has_room(&mut state);
        // Moved from its place straight into the queue: each move counts.
        let Some(message) = item.take() else {
            return Poll::Ready(Ok(()));
        };
        if has_room {
            state.push(|| Some(message));
            wake_receiver(state);
            return Poll::Ready(Ok(()));
        }
        *ticket = Some(self.wait_for_room(state, cx.waker(), message));
        Poll::Pending
    }

    /// Puts a message into the wait queue.
    #[cold]
    fn wait_for_room(
        &self,
        mut state: MutexGuard<'_, State<T>>,
        sender: &Waker,
        item: T,
    ) -> Ticket {
        let ticket = state.waiters.push_back(item, sender.clone());
        self.batch_status
            .has_waiting_senders
            .store(true, Ordering::Release);
        // The receiver may have made room after this sender looked, and looked for senders before
        // this one waited. With this fence and the receiver's, one of them sees the other.
        fence(Ordering::SeqCst);
        let admitted = self.admit_into_queue(&mut state);
        drop(state);
        admitted.into_iter().for_each(Waker::wake);
        ticket
    }

    /// Polls a sender in the wait queue: ready once its message is admitted or given back.
    fn poll_waiting(
        &self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        item: &mut Option<T>,
    ) -> Poll<Result<(), Closed>> {
        let mut state = self.lock();
        if state.closed {
            let Some(waiting) = state.waiters.remove(ticket) else {
                return Poll::Ready(Ok(())); // admitted before
            };
            drop(state);
            *item = Some(waiting.item);
            return Poll::Ready(Err(Closed)); // the waker is dropped here, outside the lock
        }
        let Some(waker) = state.waiters.waker_mut(ticket) else {
            return Poll::Ready(Ok(())); // admitted
        };
        // Wakers are foreign code: they are dropped outside the lock.
        if !waker.will_wake(cx.waker()) {
            let before = mem::replace(waker, cx.waker().clone());
            drop(state);
            drop(before);
        }
        Poll::Pending
    }

    /// Leaves the wait queue; returns the message, unless it was admitted before.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<T> {
        let mut state = self.lock();
        let waiting = state.waiters.remove(ticket)?;
        self.update_has_waiting_senders(&state);
        drop(state);
        Some(waiting.item) // the waker is dropped here, outside the lock
    }

    /// Refuses sends from now on. Queued messages stay; waiting senders take theirs back. Wakes the
    /// receiver's task, also if it does not wait for a message.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if mem::replace(&mut state.closed, true) {
            return;
        }
        let receiver = state.receiver.clone();
        let waiting = state.waiters.wakers();
        drop(state);
        receiver.into_iter().chain(waiting).for_each(Waker::wake);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// True while the sender with this ticket waits for room.
    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        let state = self.lock();
        !state.closed && state.waiters.contains(ticket)
    }

    /// Admits the sender with this ticket, past the bound and past the senders before it.
    pub(crate) fn admit_past_bound(&self, ticket: Ticket) {
        let mut state = self.lock();
        if state.closed {
            return; // the sender takes its message back
        }
        let Some(waiting) = state.waiters.remove(ticket) else {
            return;
        };
        self.update_has_waiting_senders(&state);
        state.push(|| Some(waiting.item));
        wake_receiver(state);
        waiting.waker.wake();
    }

    /// The number of waiting messages.
    pub(crate) fn depth(&self) -> usize {
        let queued = self.lock().queue.len();
        queued + self.batch_status.len()
    }

    /// The load, for snapshots.
    pub(crate) fn load(&self) -> Load {
        let state = self.lock();
        let in_batch = self.batch_status.len();
        let since = if in_batch > 0 {
            CoarseInstant::from_bits(self.batch_status.since.load(Ordering::Relaxed))
        } else {
            state.since
        };
        let depth = state.queue.len() + in_batch;
        Load {
            depth,
            capacity: self.capacity,
            senders: state.waiters.len(),
            oldest: (depth > 0).then(|| since.elapsed()),
        }
    }

    // ---- under the lock

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }

    #[inline]
    fn has_room(&self, state: &mut State<T>) -> bool {
        state.waiters.is_empty() && self.has_space(state)
    }

    #[inline]
    fn has_space(&self, state: &mut State<T>) -> bool {
        // The receiver writes its count for each message. A read takes the cache line away from it,
        // and so happens only when the known bound does not suffice.
        if state.depth_limit() < self.capacity {
            return true;
        }
        state.batch_limit = self.batch_status.count.load(Ordering::Acquire);
        state.depth_limit() < self.capacity
    }

    /// Moves senders from the wait queue into the queue while there is space; returns their wakers.
    fn admit_into_queue(&self, state: &mut State<T>) -> Vec<Waker> {
        let mut admitted = Vec::new();
        while self.has_space(state) {
            let Some(waker) = self.admit_one(state) else {
                break;
            };
            admitted.push(waker);
        }
        admitted
    }

    /// Moves the first sender of the wait queue into the queue; returns its waker.
    fn admit_one(&self, state: &mut State<T>) -> Option<Waker> {
        if state.closed {
            return None; // senders take their messages back
        }
        let waiting = state.waiters.pop_front()?;
        state.push(|| Some(waiting.item));
        self.update_has_waiting_senders(state);
        Some(waiting.waker)
    }

    fn update_has_waiting_senders(&self, state: &State<T>) {
        self.batch_status
            .has_waiting_senders
            .store(!state.waiters.is_empty(), Ordering::Release);
    }
}

impl BatchStatus {
    fn len(&self) -> usize {
        self.count.load(Ordering::Acquire) as usize
    }
}

impl<T> State<T> {
    /// An upper bound of the number of waiting messages.
    #[inline]
    fn depth_limit(&self) -> usize {
        self.queue.len() + self.batch_limit as usize
    }

    /// The receiver, if this message is the first since it found none.
    #[inline]
    fn sleeper(&mut self) -> Option<Waker> {
        if mem::take(&mut self.is_asleep) {
            self.receiver.clone()
        } else {
            None
        }
    }

    #[inline(always)]
    fn push(&mut self, make: impl FnOnce() -> Option<T>) {
        if self.queue.is_empty() {
            self.since = CoarseInstant::now();
            if self.queue.capacity() == 0 {
                // Many actors never have more than one message; others grow as usual.
                self.queue.reserve_exact(1);
            }
        }
        // The place comes first, so that nothing fallible lies between it and the message. It holds
        // nothing that would have to be dropped.
        self.queue.push_back(None);
        if let Some(place) = self.queue.back_mut() {
            mem::forget(mem::replace(place, make()));
        }
    }
}

/// Wakes the receiver after a push, outside the lock, which this function releases.
#[inline]
fn wake_receiver<T>(mut state: MutexGuard<'_, State<T>>) {
    let receiver = state.sleeper();
    drop(state);
    if let Some(receiver) = receiver {
        receiver.wake();
    }
}

mod receiver;
mod wait_queue;

#[cfg(test)]
mod tests;

#[cfg(all(test, conclib_loom))]
mod loom_tests;
