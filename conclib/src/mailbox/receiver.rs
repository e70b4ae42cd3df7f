//! The receiver's side of a mailbox: one task, with one batch.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::task::{Context, Poll, Waker};

use crate::mailbox::{Mailbox, State};
use crate::sync::MutexGuard;
use crate::sync::atomic::{Ordering, fence};
use crate::time::coarse::CoarseInstant;

/// Drained buffers keep at most this many bytes.
pub(super) const KEPT_BYTES: usize = 4096;

/// While senders wait, the receiver looks after the line at least this often, in messages: often
/// enough that a line moves, and rarely enough that a fast handler is not stopped by each of them.
const ADMIT_EVERY: usize = 32;

/// Batches of so many messages come from askers that were answered together. Larger ones are
/// floods, and need no help to stay large.
const SEVERAL: Range<usize> = 4..256;

/// What the receiver has in hand. A message is handled where it lies, since each move counts.
pub(crate) struct Batch<T> {
    pub(super) messages: VecDeque<Option<T>>,
    /// The first of them is being handled, or has been.
    pub(super) begun: bool,
    /// There were [several](SEVERAL) of them, and nobody has been told.
    pub(super) several: bool,
}

/// What the receiver finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    /// The batch has messages; the first of them came then.
    Ready { since: CoarseInstant },
    /// There are none, and there will be none.
    Closed,
}

impl<T> Mailbox<T> {
    /// The next message of the batch, in the place where it is to be handled; the one before it is
    /// over. Keeps the count.
    #[inline]
    pub(crate) fn next_in<'a>(&self, batch: &'a mut Batch<T>) -> Option<&'a mut Option<T>> {
        if mem::replace(&mut batch.begun, true) {
            batch.messages.pop_front();
        }
        let Some(left) = batch.messages.len().checked_sub(1) else {
            batch.begun = false;
            return None;
        };
        // Release: a sender that reads the lower count finds the line in order.
        self.hand.count.store(counted(left), Ordering::Release);
        if left.is_multiple_of(ADMIT_EVERY) {
            self.admit();
        }
        batch.messages.front_mut()
    }

    /// Swaps the queue for the empty `batch`, or arranges to be woken.
    pub(crate) fn poll_refill(&self, cx: &mut Context<'_>, batch: &mut Batch<T>) -> Poll<Refill> {
        let mut state = self.lock();
        if state.queue.is_empty() {
            return self.poll_sleep(state, cx.waker(), batch);
        }
        let admitted = self.swap(&mut state, batch);
        let since = state.since;
        drop(state);
        if let Some(admitted) = admitted {
            admitted.wake();
        }
        Poll::Ready(Refill::Ready { since })
    }

    /// Takes what is queued; whom to wake.
    #[inline]
    fn swap(&self, state: &mut State<T>, batch: &mut Batch<T>) -> Option<Waker> {
        batch.several = SEVERAL.contains(&state.queue.len());
        let batch = &mut batch.messages;
        debug_assert!(batch.is_empty());
        mem::swap(&mut state.queue, batch);
        let since = state.since.to_bits();
        self.hand.since.store(since, Ordering::Relaxed);
        let count = counted(batch.len());
        self.hand.count.store(count, Ordering::Release);
        state.at_most_in_hand = count;
        // What an actor tells itself passes the bound, and must not shut out others for ever.
        if batch.len() > self.capacity {
            self.admit_one(state)
        } else {
            None
        }
    }

    /// The queue is empty: lets those in who wait, or goes to sleep.
    fn poll_sleep(
        &self,
        mut state: MutexGuard<'_, State<T>>,
        waker: &Waker,
        batch: &mut Batch<T>,
    ) -> Poll<Refill> {
        if !state.line.is_empty() {
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
        state.line.shrink();
        let known = state.receiver.as_ref();
        if !known.is_some_and(|known| known.will_wake(waker)) {
            let before = state.receiver.replace(waker.clone());
            drop(state);
            drop(before); // outside the lock: a waker is others' code
        }
        Poll::Pending
    }

    /// Lets senders in that wait, before the receiver waits itself: for nobody knows how long, so
    /// that no sender may be overlooked.
    pub(crate) fn admit_before_waiting(&self) {
        fence(Ordering::SeqCst); // pairs with the one of a sender that joins the line
        self.admit();
    }

    /// Lets senders in that wait, as far as there is room.
    #[inline]
    fn admit(&self) {
        if self.hand.crowded.load(Ordering::Acquire) {
            self.admit_crowd();
        }
    }

    fn admit_crowd(&self) {
        let mut state = self.lock();
        let admitted = self.admit_into_queue(&mut state);
        drop(state);
        admitted.into_iter().for_each(Waker::wake);
    }

    /// Closes, and takes out all that waits, with what is left of the batch: to be dropped outside
    /// the lock.
    pub(crate) fn close_and_drain(&self, batch: &mut Batch<T>) -> impl Iterator<Item = T> + use<T> {
        self.close();
        let mut state = self.lock();
        self.hand.count.store(0, Ordering::Release);
        let queue = mem::take(&mut state.queue);
        drop(state);
        let Batch { messages, .. } = mem::take(batch);
        messages.into_iter().chain(queue).flatten()
    }
}

impl<T> Batch<T> {
    /// True once after a batch that probably came from several askers, who will soon ask again.
    pub(crate) fn were_several(&mut self) -> bool {
        mem::replace(&mut self.several, false)
    }

    /// The place of the message that is handled next, or now.
    pub(crate) fn first(&mut self) -> Option<&mut Option<T>> {
        self.messages.front_mut()
    }

    /// Puts a message before those that wait, which is handled next and counts as begun; the one
    /// before it is over.
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
            several: false,
        }
    }
}

/// More than can be counted are more than fit into memory.
#[inline]
pub(super) fn counted(messages: usize) -> u32 {
    u32::try_from(messages).unwrap_or(u32::MAX)
}

pub(super) fn is_large<T>(buffer: &VecDeque<T>) -> bool {
    buffer.capacity() > kept::<T>()
}

#[cold]
pub(super) fn shrink<T>(buffer: &mut VecDeque<T>) {
    buffer.shrink_to(kept::<T>());
}

/// For how many items a drained buffer keeps room.
const fn kept<T>() -> usize {
    KEPT_BYTES
        / if size_of::<T>() == 0 {
            1
        } else {
            size_of::<T>()
        }
}
