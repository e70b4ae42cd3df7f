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
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};
use crate::time::coarse::CoarseInstant;

pub(crate) use line::Ticket;
pub(crate) use receiver::{Batch, Refill};

use line::Line;

/// In this order, so that what senders write for each message and what the receiver writes for each
/// are never on one cache line, which they would take from each other.
#[repr(C)]
pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    /// How many messages may wait.
    capacity: usize,
    /// With what is before it and seldom written, as much as a cache line.
    _apart: [u64; 2],
    hand: Hand,
}

/// What the receiver looks at or writes for each message.
struct Hand {
    /// How many messages of the receiver's batch are not handled yet. Only the receiver writes.
    count: AtomicU32,
    /// When the first message of the batch came in. Only the receiver writes.
    since: AtomicU64,
    /// True while senders wait. Written under the lock; the receiver looks without it.
    crowded: AtomicBool,
}

/// In this order: what is written for each message first.
#[repr(C)]
struct State<T> {
    /// What has been sent since the receiver last swapped. Each is there: they are `Option`s
    /// because the receiver takes them out of their places.
    queue: VecDeque<Option<T>>,
    /// The receiver, if it sleeps.
    receiver: Option<Waker>,
    /// The batch in hand is no greater than this: what it was when somebody last looked.
    at_most_in_hand: u32,
    /// When the first of the queue came: the one look at the clock that a batch costs.
    since: CoarseInstant,
    /// Senders that wait for room.
    line: Line<T>,
    /// No more sends.
    closed: bool,
}

/// The mailbox does not take messages any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Why a message did not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
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

impl<T> Mailbox<T> {
    /// A mailbox for `capacity` messages, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                since: CoarseInstant::default(),
                at_most_in_hand: 0,
                line: Line::new(),
                receiver: None,
                closed: false,
            }),
            capacity: capacity.max(1),
            _apart: [0; 2],
            hand: Hand {
                count: AtomicU32::new(0),
                since: AtomicU64::new(0),
                crowded: AtomicBool::new(false),
            },
        }
    }

    /// Puts a message in if there is room and nobody waits for it.
    ///
    /// `make` runs under the lock, and only if the message gets in: it is made in its place, since
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
        state.put(make);
        wake_receiver(state);
        Ok(())
    }

    /// Puts a message in whether there is room or not: what an actor sends itself. Like
    /// [`try_push`](Self::try_push) otherwise.
    pub(crate) fn push_past_bound(&self, make: impl FnOnce() -> Option<T>) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        state.put(make);
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
        let has_room = self.has_room(&mut state);
        // Moved from its place straight into the queue: each move counts.
        let Some(message) = item.take() else {
            return Poll::Ready(Ok(()));
        };
        if has_room {
            state.put(|| Some(message));
            wake_receiver(state);
            return Poll::Ready(Ok(()));
        }
        *ticket = Some(self.join_line(state, cx.waker(), message));
        Poll::Pending
    }

    /// Puts a message into the waiting line.
    #[cold]
    fn join_line(&self, mut state: MutexGuard<'_, State<T>>, sender: &Waker, item: T) -> Ticket {
        let ticket = state.line.join(item, sender.clone());
        self.hand.crowded.store(true, Ordering::Release);
        // The receiver may have made room after we looked, and looked for a crowd before there was
        // one. With this fence, and its own, one of us sees the other.
        fence(Ordering::SeqCst);
        let admitted = self.admit_into_queue(&mut state);
        drop(state);
        admitted.into_iter().for_each(Waker::wake);
        ticket
    }

    /// How a sender in the waiting line fares.
    fn poll_in_line(
        &self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        item: &mut Option<T>,
    ) -> Poll<Result<(), Closed>> {
        let mut state = self.lock();
        if state.closed {
            let Some(waiting) = state.line.leave(ticket) else {
                return Poll::Ready(Ok(())); // admitted before
            };
            drop(state);
            *item = Some(waiting.item);
            return Poll::Ready(Err(Closed)); // the waker is dropped here, outside the lock
        }
        let Some(waker) = state.line.waker_mut(ticket) else {
            return Poll::Ready(Ok(())); // admitted
        };
        // Wakers are others' code: they are dropped outside the lock.
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
        let waiting = state.line.leave(ticket)?;
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
        let waiting = state.line.wakers();
        drop(state);
        receiver.into_iter().chain(waiting).for_each(Waker::wake);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// True while the sender with this ticket waits in line.
    pub(crate) fn is_in_line(&self, ticket: Ticket) -> bool {
        let state = self.lock();
        !state.closed && state.line.has(ticket)
    }

    /// Lets the sender with this ticket in, past the bound and past those before it.
    pub(crate) fn let_in(&self, ticket: Ticket) {
        let mut state = self.lock();
        if state.closed {
            return; // it takes its message back
        }
        let Some(waiting) = state.line.leave(ticket) else {
            return;
        };
        self.note_crowd(&state);
        state.put(|| Some(waiting.item));
        wake_receiver(state);
        waiting.waker.wake();
    }

    /// How many messages wait.
    pub(crate) fn depth(&self) -> usize {
        let queued = self.lock().queue.len();
        queued + self.hand.len()
    }

    /// What waits, for those who look from outside.
    pub(crate) fn load(&self) -> Load {
        let state = self.lock();
        let in_hand = self.hand.len();
        let since = if in_hand > 0 {
            CoarseInstant::from_bits(self.hand.since.load(Ordering::Relaxed))
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

    // ---- under the lock

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock()
    }

    #[inline]
    fn has_room(&self, state: &mut State<T>) -> bool {
        state.line.is_empty() && self.has_space(state)
    }

    #[inline]
    fn has_space(&self, state: &mut State<T>) -> bool {
        // The receiver writes its count for each message. Whoever reads it takes its cache line
        // away, and so only who has to does.
        if state.at_most() < self.capacity {
            return true;
        }
        state.at_most_in_hand = self.hand.count.load(Ordering::Acquire);
        state.at_most() < self.capacity
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
        state.put(|| Some(waiting.item));
        self.note_crowd(state);
        Some(waiting.waker)
    }

    fn note_crowd(&self, state: &State<T>) {
        self.hand
            .crowded
            .store(!state.line.is_empty(), Ordering::Release);
    }
}

impl Hand {
    fn len(&self) -> usize {
        self.count.load(Ordering::Acquire) as usize
    }
}

impl<T> State<T> {
    /// Not more messages than this wait.
    #[inline]
    fn at_most(&self) -> usize {
        self.queue.len() + self.at_most_in_hand as usize
    }

    #[inline(always)]
    fn put(&mut self, make: impl FnOnce() -> Option<T>) {
        if self.queue.is_empty() {
            self.since = CoarseInstant::now();
            if self.queue.capacity() == 0 {
                // Many an actor never has more than one; whoever does grows as usual.
                self.queue.reserve_exact(1);
            }
        }
        // The place first, so that nothing that could fail lies between it and the message. There
        // is nothing in it that would have to be dropped.
        self.queue.push_back(None);
        if let Some(place) = self.queue.back_mut() {
            mem::forget(mem::replace(place, make()));
        }
    }
}

/// After a push: outside the lock, which this ends.
#[inline]
fn wake_receiver<T>(mut state: MutexGuard<'_, State<T>>) {
    let receiver = state.receiver.take();
    drop(state);
    if let Some(receiver) = receiver {
        receiver.wake();
    }
}

mod line;
mod receiver;

#[cfg(test)]
mod tests;

#[cfg(all(test, conclib_loom))]
mod loom_tests;
