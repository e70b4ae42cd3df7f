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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Drained buffers keep at most this many bytes.
const KEPT_BYTES: usize = 4096;

/// While senders wait, the receiver looks after the line at least this often, in messages: often
/// enough that a line moves, and rarely enough that a fast handler is not stopped by each of them.
const ADMIT_EVERY: usize = 32;

pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    /// How many messages of the receiver's batch are not handled yet. Only the receiver writes.
    in_hand: AtomicUsize,
    /// True while senders wait. Written under the lock; the receiver looks without it.
    crowded: AtomicBool,
    /// How many messages may wait.
    capacity: usize,
}

struct State<T> {
    /// What has been sent since the receiver last swapped.
    queue: VecDeque<T>,
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
                line: VecDeque::new(),
                next_ticket: 0,
                receiver: None,
                closed: false,
            }),
            in_hand: AtomicUsize::new(0),
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
        state.queue.push_back(item);
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
        state.queue.extend(item.take());
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
            state.queue.push_back(message);
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

    /// How many messages wait, those of the batch included.
    #[cfg(test)]
    fn len(&self) -> usize {
        let queued = self.lock().queue.len();
        queued + self.in_hand.load(Ordering::Relaxed)
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
        let admitted = if state.queue.is_empty() {
            self.admit_into_queue(&mut state)
        } else {
            Vec::new()
        };
        let found = if !state.queue.is_empty() {
            mem::swap(&mut state.queue, batch);
            self.in_hand.store(batch.len(), Ordering::Release);
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
        while !state.closed && self.has_space(state) {
            let Some(waiting) = state.line.pop_front() else {
                break;
            };
            state.queue.push_back(waiting.item);
            admitted.push(waiting.waker);
        }
        self.note_crowd(state);
        admitted
    }

    fn note_crowd(&self, state: &State<T>) {
        self.crowded
            .store(!state.line.is_empty(), Ordering::Release);
    }
}

impl<T> State<T> {
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
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// A send as the futures above do it.
    async fn send(mailbox: Arc<Mailbox<u32>>, message: u32) -> Result<(), Option<u32>> {
        let (mut ticket, mut item) = (None, Some(message));
        poll_fn(|cx| mailbox.poll_push(cx, &mut ticket, &mut item))
            .await
            .map_err(|Closed| item)
    }

    async fn receive(mailbox: &Mailbox<u32>, batch: &mut VecDeque<u32>) -> Option<u32> {
        if batch.is_empty() && poll_fn(|cx| mailbox.poll_refill(cx, batch)).await == Refill::Closed
        {
            return None;
        }
        let mut item = None;
        mailbox.take(batch, &mut item).then_some(())?;
        item
    }

    #[tokio::test]
    async fn messages_come_in_order() {
        let mailbox = Mailbox::new(10);
        let mut batch = VecDeque::new();
        for n in 0..10 {
            mailbox.try_push(n).unwrap();
        }
        assert!(matches!(mailbox.try_push(10), Err(Rejected::Full(10))));
        for n in 0..10 {
            assert_eq!(receive(&mailbox, &mut batch).await, Some(n));
        }
    }

    #[tokio::test]
    async fn capacity_counts_the_batch_in_hand() {
        let mailbox = Mailbox::new(2);
        let mut batch = VecDeque::new();
        mailbox.try_push(1).unwrap();
        mailbox.try_push(2).unwrap();
        assert_eq!(receive(&mailbox, &mut batch).await, Some(1));
        assert_eq!(mailbox.len(), 1);
        mailbox.try_push(3).unwrap();
        assert!(matches!(mailbox.try_push(4), Err(Rejected::Full(4))));
    }

    #[tokio::test]
    async fn senders_wait_in_line_and_nobody_barges_in() {
        let mailbox = Arc::new(Mailbox::new(1));
        let mut batch = VecDeque::new();
        mailbox.try_push(0).unwrap();
        let waiting: Vec<_> = (1..=3)
            .map(|n| tokio::spawn(send(mailbox.clone(), n)))
            .collect();
        while mailbox.lock().line.len() < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(receive(&mailbox, &mut batch).await, Some(0));
        // There is room for one, and it belongs to the first in line.
        assert!(matches!(mailbox.try_push(9), Err(Rejected::Full(9))));
        for n in 1..=3 {
            assert_eq!(receive(&mailbox, &mut batch).await, Some(n));
        }
        for sender in waiting {
            sender.await.unwrap().unwrap();
        }
        mailbox.try_push(9).unwrap();
    }

    #[tokio::test]
    async fn closing_gives_waiting_messages_back_and_keeps_queued_ones() {
        let mailbox = Arc::new(Mailbox::new(1));
        let mut batch = VecDeque::new();
        mailbox.try_push(0).unwrap();
        let waiting = tokio::spawn(send(mailbox.clone(), 1));
        while mailbox.lock().line.is_empty() {
            tokio::task::yield_now().await;
        }
        mailbox.close();
        assert_eq!(waiting.await.unwrap(), Err(Some(1)));
        assert!(matches!(mailbox.try_push(2), Err(Rejected::Closed(2))));
        assert_eq!(receive(&mailbox, &mut batch).await, Some(0));
        assert_eq!(receive(&mailbox, &mut batch).await, None);
    }

    #[tokio::test]
    async fn a_dropped_wait_leaves_the_line() {
        let mailbox = Arc::new(Mailbox::new(1));
        mailbox.try_push(0).unwrap();
        let (mut ticket, mut item) = (None, Some(1));
        let first = poll_fn(|cx| Poll::Ready(mailbox.poll_push(cx, &mut ticket, &mut item))).await;
        assert!(first.is_pending());
        assert_eq!(mailbox.withdraw(ticket.unwrap()), Some(1));
        assert_eq!(mailbox.withdraw(ticket.unwrap()), None);
        let mut batch = VecDeque::new();
        assert_eq!(receive(&mailbox, &mut batch).await, Some(0));
        mailbox.try_push(2).unwrap();
    }

    #[tokio::test]
    async fn the_line_shrinks_when_it_has_gone() {
        let mailbox = Mailbox::new(1);
        let mut batch = VecDeque::new();
        let mut items: Vec<_> = (0..10_000).map(|n| (None, Some(n))).collect();
        for (ticket, item) in &mut items {
            let pushed = poll_fn(|cx| Poll::Ready(mailbox.poll_push(cx, ticket, item))).await;
            assert!(pushed.is_pending() || mailbox.len() == 1);
        }
        while mailbox.len() > 0 {
            receive(&mailbox, &mut batch).await;
        }
        let idle = poll_fn(|cx| Poll::Ready(mailbox.poll_refill(cx, &mut batch))).await;
        assert!(idle.is_pending());
        let state = mailbox.lock();
        assert!(state.line.capacity() * size_of::<Waiting<u32>>() <= KEPT_BYTES * 2);
    }

    /// A waker that, when it is dropped, looks whether the mailbox is locked.
    struct Looks {
        mailbox: Arc<Mailbox<u32>>,
        seen_locked: Arc<AtomicBool>,
    }

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            let locked = self.mailbox.state.try_lock().is_err();
            self.seen_locked.fetch_or(locked, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakers_are_dropped_outside_the_lock() {
        let mailbox = Arc::new(Mailbox::new(1));
        mailbox.try_push(0).unwrap();
        let seen_locked = Arc::new(AtomicBool::new(false));
        let (mut ticket, mut item) = (None, Some(1));
        let mut poll = || {
            let waker = Waker::from(Arc::new(Looks {
                mailbox: mailbox.clone(),
                seen_locked: seen_locked.clone(),
            }));
            mailbox.poll_push(&mut Context::from_waker(&waker), &mut ticket, &mut item)
        };
        assert!(poll().is_pending());
        assert!(poll().is_pending());
        mailbox.close();
        assert_eq!(poll(), Poll::Ready(Err(Closed)));
        assert!(!seen_locked.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn buffers_shrink_when_they_are_drained() {
        let mailbox = Mailbox::new(usize::MAX);
        let mut batch = VecDeque::new();
        for n in 0..100_000 {
            mailbox.try_push(n).unwrap();
        }
        while mailbox.len() > 0 {
            receive(&mailbox, &mut batch).await;
        }
        let idle = poll_fn(|cx| Poll::Ready(mailbox.poll_refill(cx, &mut batch))).await;
        assert!(idle.is_pending());
        assert!(batch.capacity() * size_of::<u32>() <= KEPT_BYTES * 2);
        assert!(mailbox.lock().queue.capacity() * size_of::<u32>() <= KEPT_BYTES * 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_senders_lose_nothing_and_keep_their_order() {
        const SENDERS: u32 = 8;
        const EACH: u32 = 5_000;
        let mailbox = Arc::new(Mailbox::new(7));
        for sender in 0..SENDERS {
            let mailbox = mailbox.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    send(mailbox.clone(), sender * EACH + n).await.unwrap();
                }
            });
        }
        let mut next = [0; SENDERS as usize];
        let mut batch = VecDeque::new();
        for _ in 0..SENDERS * EACH {
            let message = receive(&mailbox, &mut batch).await.unwrap();
            let sender = (message / EACH) as usize;
            assert_eq!(message % EACH, next[sender]);
            next[sender] += 1;
            assert!(mailbox.len() <= 7);
        }
    }
}
