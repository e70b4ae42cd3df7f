//! The bounded queue in front of an actor.
//!
//! Senders push under one short lock. The receiver empties the queue by swapping it for its own
//! empty buffer, and then handles that *batch* without touching the lock again; whoever sends
//! wakes it only if it sleeps. Capacity and depth include what is left of the batch.
//!
//! A sender that finds the mailbox full leaves its message in a waiting line, with its waker. The
//! receiver admits from the line, in order, and nobody barges in. When a mailbox closes, messages
//! in the line stay where they are until their senders take them back.

use std::collections::VecDeque;
use std::mem;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Moment;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};

/// Drained buffers keep at most this many bytes.
const KEPT_BYTES: usize = 4096;

/// While senders wait, the receiver looks after the line at least this often, in messages: often
/// enough that a line moves, and rarely enough that a fast handler is not stopped by each of them.
const ADMIT_EVERY: usize = 32;

pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    /// How many messages of the receiver's batch are not handled yet. Only the receiver writes.
    in_hand: AtomicUsize,
    /// When the first message of the batch came in. Only the receiver writes.
    in_hand_since: AtomicU64,
    /// True while senders wait. Written under the lock; the receiver looks without it.
    crowded: AtomicBool,
    /// How many messages may wait.
    capacity: usize,
}

struct State<T> {
    /// What has been sent since the receiver last swapped.
    queue: VecDeque<T>,
    /// When the first of these came: the one look at the clock that a batch costs.
    since: Moment,
    /// Senders that wait for room, in order of their tickets.
    line: VecDeque<Waiting<T>>,
    /// The ticket of the next sender that waits.
    next_ticket: u64,
    /// The receiver, if it sleeps.
    receiver: Option<Waker>,
    /// No more sends.
    closed: bool,
}

struct Waiting<T> {
    ticket: Ticket,
    item: T,
    waker: Waker,
}

/// A place in the waiting line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Ticket(u64);

/// The mailbox does not take messages any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Why a message did not get in; it comes back.
#[derive(Debug)]
pub(crate) enum Rejected<T> {
    Full(T),
    Closed(T),
}

/// How full a mailbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Messages that wait, those of the batch included.
    pub(crate) depth: usize,
    pub(crate) capacity: usize,
    /// Senders that wait for room.
    pub(crate) senders: usize,
    /// The age of the oldest message, or a little more: that of the first of its batch.
    pub(crate) oldest: Option<Duration>,
}

/// What the receiver finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refill {
    /// The batch has messages.
    Ready,
    /// There are none, and there will be none.
    Closed,
}

impl<T> Mailbox<T> {
    /// A mailbox for `capacity` messages, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                since: Moment::default(),
                line: VecDeque::new(),
                next_ticket: 0,
                receiver: None,
                closed: false,
            }),
            in_hand: AtomicUsize::new(0),
            in_hand_since: AtomicU64::new(0),
            crowded: AtomicBool::new(false),
            capacity: capacity.max(1),
        }
    }

    /// Puts a message in if there is room and nobody waits for it.
    pub(crate) fn try_push(&self, item: T) -> Result<(), Rejected<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Rejected::Closed(item));
        }
        if !self.has_room(&state) {
            return Err(Rejected::Full(item));
        }
        state.put(item);
        wake_receiver(state);
        Ok(())
    }

    /// Puts a message in whether there is room or not: what an actor sends itself. On [`Closed`]
    /// the item stays where it is.
    pub(crate) fn push_past_bound(&self, item: &mut Option<T>) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed);
        }
        if let Some(item) = item.take() {
            state.put(item);
        }
        wake_receiver(state);
        Ok(())
    }

    /// Puts a message in, or into the waiting line.
    ///
    /// `item` is taken as soon as it is queued or waits. On [`Closed`] it is there (again).
    pub(crate) fn poll_push(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        item: &mut Option<T>,
    ) -> Poll<Result<(), Closed>> {
        if let Some(held) = *ticket {
            let held = self.poll_in_line(cx, held, item);
            if held.is_ready() {
                *ticket = None;
            }
            return held;
        }
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(Err(Closed));
        }
        let has_room = self.has_room(&state);
        // Moved from its place straight into the queue: each move counts.
        let Some(message) = item.take() else {
            return Poll::Ready(Ok(()));
        };
        if has_room {
            state.put(message);
            wake_receiver(state);
            return Poll::Ready(Ok(()));
        }
        let place = Ticket(state.next_ticket);
        state.next_ticket += 1;
        state.line.push_back(Waiting {
            ticket: place,
            item: message,
            waker: cx.waker().clone(),
        });
        self.crowded.store(true, Ordering::Release);
        *ticket = Some(place);
        // The receiver may have made room after we looked, and looked for a crowd before there was
        // one. With this fence, and its own, one of us sees the other.
        fence(Ordering::SeqCst);
        let admitted = self.admit_into_queue(&mut state);
        drop(state);
        admitted.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// How a sender in the waiting line fares.
    fn poll_in_line(
        &self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        item: &mut Option<T>,
    ) -> Poll<Result<(), Closed>> {
        let mut state = self.lock();
        let Some(place) = state.place_of(ticket) else {
            return Poll::Ready(Ok(())); // admitted
        };
        // Wakers are others' code: they are dropped outside the lock.
        if state.closed {
            let waiting = state.line.remove(place);
            drop(state);
            *item = waiting.map(|waiting| waiting.item);
            return Poll::Ready(Err(Closed));
        }
        let waker = &mut state.line[place].waker;
        if !waker.will_wake(cx.waker()) {
            let before = mem::replace(waker, cx.waker().clone());
            drop(state);
            drop(before);
        }
        Poll::Pending
    }

    /// Leaves the waiting line; the message, unless it was admitted before.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<T> {
        let mut state = self.lock();
        let place = state.place_of(ticket)?;
        let waiting = state.line.remove(place)?;
        self.note_crowd(&state);
        drop(state);
        Some(waiting.item) // the waker is dropped here, outside the lock
    }

    /// Refuses sends from now on; what is queued stays. Senders that wait take theirs back.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if mem::replace(&mut state.closed, true) {
            return;
        }
        let receiver = state.receiver.take();
        let waiting: Vec<Waker> = state.line.iter().map(|w| w.waker.clone()).collect();
        drop(state);
        receiver.into_iter().chain(waiting).for_each(Waker::wake);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// True while the sender with this ticket waits in line.
    pub(crate) fn is_in_line(&self, ticket: Ticket) -> bool {
        let state = self.lock();
        !state.closed && state.place_of(ticket).is_some()
    }

    /// Lets the sender with this ticket in, past the bound and past those before it.
    pub(crate) fn let_in(&self, ticket: Ticket) {
        let mut state = self.lock();
        let place = state.place_of(ticket).filter(|_| !state.closed);
        let Some(waiting) = place.and_then(|place| state.line.remove(place)) else {
            return;
        };
        self.note_crowd(&state);
        state.put(waiting.item);
        wake_receiver(state);
        waiting.waker.wake();
    }

    /// How many messages wait.
    pub(crate) fn depth(&self) -> usize {
        let queued = self.lock().queue.len();
        queued + self.in_hand.load(Ordering::Acquire)
    }

    /// What waits, for those who look from outside.
    pub(crate) fn load(&self) -> Load {
        let state = self.lock();
        let in_hand = self.in_hand.load(Ordering::Acquire);
        let since = if in_hand > 0 {
            Moment::from_bits(self.in_hand_since.load(Ordering::Relaxed))
        } else {
            state.since
        };
        let depth = state.queue.len() + in_hand;
        Load {
            depth,
            capacity: self.capacity,
            senders: state.line.len(),
            oldest: (depth > 0).then(|| since.elapsed()),
        }
    }

    // ---- the receiver's side: one task, with one batch

    /// Takes a message of the batch, and keeps the count; false if there is none.
    pub(crate) fn take(&self, batch: &mut VecDeque<T>, item: &mut Option<T>) -> bool {
        *item = batch.pop_front();
        if item.is_none() {
            return false;
        }
        // Release: a sender that reads the lower count finds the line in order.
        self.in_hand.store(batch.len(), Ordering::Release);
        if batch.len().is_multiple_of(ADMIT_EVERY) {
            self.admit();
        }
        true
    }

    /// Swaps the queue for the empty `batch`, or arranges to be woken.
    pub(crate) fn poll_refill(
        &self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<T>,
    ) -> Poll<Refill> {
        debug_assert!(batch.is_empty());
        let mut state = self.lock();
        let mut admitted = if state.queue.is_empty() {
            self.admit_into_queue(&mut state)
        } else {
            Vec::new()
        };
        let found = if !state.queue.is_empty() {
            mem::swap(&mut state.queue, batch);
            let since = state.since.to_bits();
            self.in_hand_since.store(since, Ordering::Relaxed);
            self.in_hand.store(batch.len(), Ordering::Release);
            // What an actor tells itself passes the bound, and must not shut out others for ever.
            if batch.len() > self.capacity {
                admitted.extend(self.admit_one(&mut state));
            }
            Poll::Ready(Refill::Ready)
        } else if state.closed {
            Poll::Ready(Refill::Closed)
        } else {
            shrink(&mut state.queue);
            shrink(&mut state.line);
            shrink(batch);
            let sleeps = state
                .receiver
                .as_ref()
                .is_some_and(|w| w.will_wake(cx.waker()));
            if !sleeps {
                state.receiver = Some(cx.waker().clone());
            }
            Poll::Pending
        };
        drop(state);
        admitted.into_iter().for_each(Waker::wake);
        found
    }

    /// Lets senders in that wait, before the receiver waits itself: for nobody knows how long, so
    /// that no sender may be overlooked.
    pub(crate) fn admit_before_waiting(&self) {
        fence(Ordering::SeqCst); // pairs with the one of a sender that joins the line
        self.admit();
    }

    /// Lets senders in that wait, as far as there is room.
    fn admit(&self) {
        if !self.crowded.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.lock();
        let admitted = self.admit_into_queue(&mut state);
        drop(state);
        admitted.into_iter().for_each(Waker::wake);
    }

    /// Closes, and takes out all that waits, so that it is dropped outside the lock.
    pub(crate) fn close_and_drain(&self) -> VecDeque<T> {
        self.close();
        let mut state = self.lock();
        self.in_hand.store(0, Ordering::Release);
        mem::take(&mut state.queue)
    }

    // ---- under the lock

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing runs user code under this lock, so that a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, state: &State<T>) -> bool {
        state.line.is_empty() && self.has_space(state)
    }

    fn has_space(&self, state: &State<T>) -> bool {
        state.queue.len() + self.in_hand.load(Ordering::Acquire) < self.capacity
    }

    /// Moves the head of the line into the queue while there is space; whom to wake.
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

    /// Moves the head of the line into the queue; whom to wake.
    fn admit_one(&self, state: &mut State<T>) -> Option<Waker> {
        if state.closed {
            return None; // they take theirs back
        }
        let waiting = state.line.pop_front()?;
        state.put(waiting.item);
        self.note_crowd(state);
        Some(waiting.waker)
    }

    fn note_crowd(&self, state: &State<T>) {
        self.crowded
            .store(!state.line.is_empty(), Ordering::Release);
    }
}

impl<T> State<T> {
    fn put(&mut self, item: T) {
        if self.queue.is_empty() {
            self.since = Moment::now();
        }
        self.queue.push_back(item);
    }

    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        self.line
            .binary_search_by_key(&ticket, |waiting| waiting.ticket)
            .ok()
    }
}

/// After a push: outside the lock, which this ends.
fn wake_receiver<T>(mut state: MutexGuard<'_, State<T>>) {
    let receiver = state.receiver.take();
    drop(state);
    if let Some(receiver) = receiver {
        receiver.wake();
    }
}

fn shrink<T>(buffer: &mut VecDeque<T>) {
    if buffer.capacity().saturating_mul(size_of::<T>()) > KEPT_BYTES {
        buffer.shrink_to(KEPT_BYTES / size_of::<T>().max(1));
    }
}

#[cfg(test)]
mod tests;

#[cfg(all(test, conclib_loom))]
mod loom_tests;
