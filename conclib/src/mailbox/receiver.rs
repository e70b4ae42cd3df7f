//! The receiver's side of a mailbox: one task, with one batch.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::task::{Poll, Waker};

use crate::mailbox::{Mailbox, State};
use crate::sync::MutexGuard;
use crate::sync::atomic::{Ordering, fence};
use crate::time::coarse::CoarseInstant;

/// Drained buffers keep at most this many bytes.
pub(super) const RETAINED_BYTES: usize = 4096;

/// While senders wait, the receiver admits some at least once in this many messages: often enough
/// that the wait queue moves, and rarely enough that a fast handler is not held up at each message.
const ADMIT_EVERY: usize = 32;

/// Batches of these sizes come from askers that were answered together. Larger ones are floods, and
/// need no help to stay large.
const BURST: Range<usize> = 4..256;

/// The messages that the receiver took with its last swap. Each is handled in its place, since each
/// move counts.
pub(crate) struct Batch<T> {
    pub(super) messages: VecDeque<Option<T>>,
    /// True once the handling of the first message has begun.
    pub(super) begun: bool,
    /// True for a [burst](BURST) that [`take_burst`](Self::take_burst) has not reported yet.
    pub(super) is_burst: bool,
}

/// The result of a swap.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    /// The batch has messages, the first of which arrived at `since`.
    Ready { since: CoarseInstant },
    /// There are no messages, and there will be none.
    Closed,
}

impl<T, F> Mailbox<T, F> {
    /// Registers the receiver's task, before its first look at the mailbox. The waker of a task stays the
    /// same.
    pub(crate) fn register(&self, task: &Waker) {
        let before = self.lock().receiver.replace(task.clone());
        drop(before); // outside the lock: a waker is foreign code
    }

    /// Drops the waker of a task that ends. It would keep the task's memory for as long as there is a
    /// reference to the actor.
    pub(crate) fn forget_receiver(&self) {
        let task = self.lock().receiver.take();
        drop(task);
    }

    /// Wakes the receiver's task, also if it does not wait for a message.
    pub(crate) fn wake(&self) {
        let task = self.lock().receiver.clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    #[cfg(test)]
    pub(crate) fn has_receiver(&self) -> bool {
        self.lock().receiver.is_some()
    }

    /// Ends the message before, and returns the place of the batch's next one, where it is to be
    /// handled. Keeps the count.
    #[inline]
    pub(crate) fn next_in<'a>(&self, batch: &'a mut Batch<T>) -> Option<&'a mut Option<T>> {
        if mem::replace(&mut batch.begun, true) {
            batch.messages.pop_front();
        }
        let Some(left) = batch.messages.len().checked_sub(1) else {
            batch.begun = false;
            return None;
        };
        // Release: a sender that reads the lower count finds the wait queue in order.
        self.batch_status
            .count
            .store(saturate(left), Ordering::Release);
        if left.is_multiple_of(ADMIT_EVERY) {
            self.admit();
        }
        batch.messages.front_mut()
    }

    /// Swaps the queue for the empty `batch`, or has the task that is [registered](Self::register) woken by
    /// the next message.
    pub(crate) fn poll_refill(&self, batch: &mut Batch<T>) -> Poll<Refill> {
        let mut state = self.lock();
        if state.queue.is_empty() {
            return self.poll_sleep(state, batch);
        }
        let admitted = self.swap(&mut state, batch);
        let since = state.since;
        drop(state);
        if let Some(admitted) = admitted {
            admitted.wake();
        }
        Poll::Ready(Refill::Ready { since })
    }

    /// Takes the queued messages; returns the waker of a sender that was admitted.
    #[inline]
    fn swap(&self, state: &mut State<T>, batch: &mut Batch<T>) -> Option<Waker> {
        state.is_asleep = false; // it may have been woken for another reason
        batch.is_burst = BURST.contains(&state.queue.len());
        let batch = &mut batch.messages;
        debug_assert!(batch.is_empty());
        mem::swap(&mut state.queue, batch);
        let since = state.since.to_bits();
        self.batch_status.since.store(since, Ordering::Relaxed);
        let count = saturate(batch.len());
        self.batch_status.count.store(count, Ordering::Release);
        state.batch_limit = count;
        // An actor's messages to itself pass the bound, and must not shut out senders for ever.
        if batch.len() > self.capacity {
            self.admit_one(state)
        } else {
            None
        }
    }

    /// Admits waiting senders into the empty queue, or goes to sleep.
    fn poll_sleep(
        &self,
        mut state: MutexGuard<'_, State<T>>,
        batch: &mut Batch<T>,
    ) -> Poll<Refill> {
        if !state.waiters.is_empty() {
            let mut admitted = self.admit_into_queue(&mut state);
            if !state.queue.is_empty() {
                admitted.extend(self.swap(&mut state, batch));
                let since = state.since;
                drop(state);
                admitted.into_iter().for_each(Waker::wake);
                return Poll::Ready(Refill::Ready { since });
            }
        }
        if state.closed {
            return Poll::Ready(Refill::Closed);
        }
        let batch = &mut batch.messages;
        if is_large(&state.queue) || is_large(batch) {
            shrink(&mut state.queue);
            shrink(batch);
        }
        state.waiters.shrink();
        state.is_asleep = true;
        Poll::Pending
    }

    /// Admits waiting senders before the receiver itself waits for an unknown time: no sender may be
    /// overlooked then.
    pub(crate) fn admit_before_waiting(&self) {
        fence(Ordering::SeqCst); // pairs with the one of a sender that begins to wait
        self.admit();
    }

    /// Admits waiting senders, as far as there is room.
    #[inline]
    fn admit(&self) {
        if self
            .batch_status
            .has_waiting_senders
            .load(Ordering::Acquire)
        {
            self.admit_waiting();
        }
    }

    fn admit_waiting(&self) {
        let mut state = self.lock();
        let admitted = self.admit_into_queue(&mut state);
        drop(state);
        admitted.into_iter().for_each(Waker::wake);
    }

    /// Closes the mailbox if no message and no sender waits in it and `agrees` returns true; returns
    /// whether it did. `agrees` runs under the lock, and must do nothing but read. Only the receiver
    /// calls this, after it has stopped handling its batch.
    pub(crate) fn close_if_empty(&self, agrees: impl FnOnce() -> bool) -> bool {
        let mut state = self.lock();
        if state.closed || !self.is_empty(&state) || !agrees() {
            return false;
        }
        state.closed = true;
        true
    }

    /// Removes the waiting messages for which `keep` returns false, which runs outside the lock. Only the
    /// receiver calls this, between two incarnations: the message before has ended.
    pub(crate) fn retain(&self, batch: &mut Batch<T>, keep: impl FnMut(&mut Option<T>) -> bool) {
        let ended = mem::take(&mut batch.begun).then(|| batch.messages.pop_front());
        let mut state = self.lock();
        if batch.messages.is_empty() {
            let since = state.since.to_bits();
            self.batch_status.since.store(since, Ordering::Relaxed);
        }
        batch.messages.append(&mut state.queue);
        let count = saturate(batch.messages.len());
        self.batch_status.count.store(count, Ordering::Release);
        state.batch_limit = count;
        drop(state);
        drop(ended);
        batch.messages.retain_mut(keep);
        let count = saturate(batch.messages.len());
        self.batch_status.count.store(count, Ordering::Release);
        self.admit();
    }

    /// True if a message waits, or a sender waits for room.
    pub(crate) fn is_occupied(&self) -> bool {
        !self.is_empty(&self.lock())
    }

    fn is_empty(&self, state: &State<T>) -> bool {
        state.queue.is_empty() && state.waiters.is_empty() && self.batch_status.len() == 0
    }

    /// Closes, and takes out the rest of the batch and all queued messages, to be dropped outside
    /// the lock.
    pub(crate) fn close_and_drain(
        &self,
        batch: &mut Batch<T>,
    ) -> impl Iterator<Item = T> + use<T, F> {
        self.close();
        let mut state = self.lock();
        self.batch_status.count.store(0, Ordering::Release);
        let queue = mem::take(&mut state.queue);
        drop(state);
        let Batch { messages, .. } = mem::take(batch);
        messages.into_iter().chain(queue).flatten()
    }
}

impl<T> Batch<T> {
    /// True once after a batch that probably came from several askers, which will soon ask again.
    pub(crate) fn take_burst(&mut self) -> bool {
        mem::replace(&mut self.is_burst, false)
    }

    /// The place of the message that is handled next, or now.
    pub(crate) fn first(&mut self) -> Option<&mut Option<T>> {
        self.messages.front_mut()
    }

    /// Ends the message before, and puts one in front, which is handled next and counts as begun.
    pub(crate) fn put_first(&mut self, message: T) {
        if mem::replace(&mut self.begun, true) {
            self.messages.pop_front();
        }
        self.messages.push_front(Some(message));
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            begun: false,
            is_burst: false,
        }
    }
}

/// A count of messages; more than a `u32` holds do not fit into memory.
#[inline]
pub(super) fn saturate(messages: usize) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

pub(super) fn is_large<T>(buffer: &VecDeque<T>) -> bool {
    buffer.capacity() > retained_capacity::<T>()
}

#[cold]
pub(super) fn shrink<T>(buffer: &mut VecDeque<T>) {
    buffer.shrink_to(retained_capacity::<T>());
}

/// The number of items for which a drained buffer keeps room.
const fn retained_capacity<T>() -> usize {
    RETAINED_BYTES
        / if size_of::<T>() == 0 {
            1
        } else {
            size_of::<T>()
        }
}
