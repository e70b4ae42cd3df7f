use std::future::poll_fn;
use std::sync::Arc;
use std::task::Wake;

use super::*;
use crate::mailbox::receiver::RETAINED_BYTES;

/// A send as the futures of `tell` and `ask` do it.
async fn send(mailbox: Arc<Mailbox<u32>>, message: u32) -> Result<(), Option<u32>> {
    let (mut ticket, mut item) = (None, Some(message));
    poll_fn(|cx| mailbox.poll_push(cx, &mut ticket, &mut item))
        .await
        .map_err(|Closed| item)
}

async fn receive(mailbox: &Mailbox<u32>, batch: &mut Batch<u32>) -> Option<u32> {
    loop {
        if let Some(message) = mailbox.next_in(batch) {
            return message.take();
        }
        let refilled = poll_fn(|cx| {
            mailbox.register(cx.waker());
            mailbox.poll_refill(batch)
        });
        if refilled.await == Refill::Closed {
            return None;
        }
    }
}

#[tokio::test]
async fn messages_come_in_order() {
    let mailbox = Mailbox::new(10);
    let mut batch = Batch::default();
    for n in 0..10 {
        mailbox.try_push(|| Some(n)).unwrap();
    }
    assert!(matches!(mailbox.try_push(|| Some(10)), Err(Refused::Full)));
    for n in 0..10 {
        assert_eq!(receive(&mailbox, &mut batch).await, Some(n));
    }
}

#[tokio::test]
async fn capacity_counts_the_batch() {
    let mailbox = Mailbox::new(2);
    let mut batch = Batch::default();
    mailbox.try_push(|| Some(1)).unwrap();
    mailbox.try_push(|| Some(2)).unwrap();
    assert_eq!(receive(&mailbox, &mut batch).await, Some(1));
    assert_eq!(mailbox.load().depth, 1);
    mailbox.try_push(|| Some(3)).unwrap();
    assert!(matches!(mailbox.try_push(|| Some(4)), Err(Refused::Full)));
}

#[tokio::test]
async fn removed_messages_leave_room_and_the_others_keep_their_order() {
    let mailbox = Arc::new(Mailbox::new(4));
    let mut batch = Batch::default();
    for n in 0..4 {
        mailbox.try_push(|| Some(n)).unwrap();
    }
    assert_eq!(receive(&mailbox, &mut batch).await, Some(0)); // which has ended
    mailbox.try_push(|| Some(4)).unwrap();
    let waiting = tokio::spawn(send(mailbox.clone(), 5));
    while mailbox.lock().waiters.is_empty() {
        tokio::task::yield_now().await;
    }
    mailbox.retain(&mut batch, |item| item.is_some_and(|n| n % 2 == 0));
    waiting.await.unwrap().unwrap();
    assert_eq!(mailbox.load().depth, 3);
    mailbox.try_push(|| Some(6)).unwrap();
    assert!(matches!(mailbox.try_push(|| Some(7)), Err(Refused::Full)));
    for n in [2, 4, 5, 6] {
        assert_eq!(receive(&mailbox, &mut batch).await, Some(n));
    }
    mailbox.retain(&mut batch, |_| false);
    assert!(!mailbox.is_occupied());
}

#[tokio::test]
async fn senders_wait_in_order_and_are_not_overtaken() {
    let mailbox = Arc::new(Mailbox::new(1));
    let mut batch = Batch::default();
    mailbox.try_push(|| Some(0)).unwrap();
    let waiting: Vec<_> = (1..=3)
        .map(|n| tokio::spawn(send(mailbox.clone(), n)))
        .collect();
    while mailbox.lock().waiters.len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(receive(&mailbox, &mut batch).await, Some(0));
    // There is room for one, and it belongs to the first in the wait queue.
    assert!(matches!(mailbox.try_push(|| Some(9)), Err(Refused::Full)));
    for n in 1..=3 {
        assert_eq!(receive(&mailbox, &mut batch).await, Some(n));
    }
    for sender in waiting {
        sender.await.unwrap().unwrap();
    }
    mailbox.try_push(|| Some(9)).unwrap();
}

#[tokio::test]
async fn closing_gives_waiting_messages_back_and_keeps_queued_ones() {
    let mailbox = Arc::new(Mailbox::new(1));
    let mut batch = Batch::default();
    mailbox.try_push(|| Some(0)).unwrap();
    let waiting = tokio::spawn(send(mailbox.clone(), 1));
    while mailbox.lock().waiters.is_empty() {
        tokio::task::yield_now().await;
    }
    mailbox.close();
    assert_eq!(waiting.await.unwrap(), Err(Some(1)));
    assert!(matches!(mailbox.try_push(|| Some(2)), Err(Refused::Closed)));
    assert_eq!(receive(&mailbox, &mut batch).await, Some(0));
    assert_eq!(receive(&mailbox, &mut batch).await, None);
}

#[tokio::test]
async fn dropped_wait_leaves_the_wait_queue() {
    let mailbox = Arc::new(Mailbox::new(1));
    mailbox.try_push(|| Some(0)).unwrap();
    let (mut ticket, mut item) = (None, Some(1));
    let first = poll_fn(|cx| Poll::Ready(mailbox.poll_push(cx, &mut ticket, &mut item))).await;
    assert!(first.is_pending());
    assert_eq!(mailbox.withdraw(ticket.unwrap()), Some(1));
    assert_eq!(mailbox.withdraw(ticket.unwrap()), None);
    let mut batch = Batch::default();
    assert_eq!(receive(&mailbox, &mut batch).await, Some(0));
    mailbox.try_push(|| Some(2)).unwrap();
}

#[tokio::test]
async fn wait_queue_shrinks_when_it_is_empty() {
    let mailbox = Mailbox::new(1);
    let mut batch = Batch::default();
    let mut items: Vec<_> = (0..10_000).map(|n| (None, Some(n))).collect();
    for (ticket, item) in &mut items {
        let pushed = poll_fn(|cx| Poll::Ready(mailbox.poll_push(cx, ticket, item))).await;
        assert!(pushed.is_pending() || mailbox.load().depth == 1);
    }
    while mailbox.load().depth > 0 {
        receive(&mailbox, &mut batch).await;
    }
    assert!(mailbox.next_in(&mut batch).is_none());
    assert!(mailbox.poll_refill(&mut batch).is_pending());
    let state = mailbox.lock();
    assert!(state.waiters.bytes() <= RETAINED_BYTES * 2);
}

/// A waker whose drop checks if the mailbox is locked.
struct ChecksLock {
    mailbox: Arc<Mailbox<u32>>,
    seen_locked: Arc<AtomicBool>,
}

impl Wake for ChecksLock {
    fn wake(self: Arc<Self>) {}
}

impl Drop for ChecksLock {
    fn drop(&mut self) {
        let locked = self.mailbox.state.try_lock().is_none();
        self.seen_locked.fetch_or(locked, Ordering::Relaxed);
    }
}

#[test]
fn wakers_are_dropped_outside_the_lock() {
    let mailbox = Arc::new(Mailbox::new(1));
    mailbox.try_push(|| Some(0)).unwrap();
    let seen_locked = Arc::new(AtomicBool::new(false));
    let (mut ticket, mut item) = (None, Some(1));
    let mut poll = || {
        let waker = Waker::from(Arc::new(ChecksLock {
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
    let mut batch = Batch::default();
    for n in 0..100_000 {
        mailbox.try_push(|| Some(n)).unwrap();
    }
    while mailbox.load().depth > 0 {
        receive(&mailbox, &mut batch).await;
    }
    assert!(mailbox.next_in(&mut batch).is_none());
    assert!(mailbox.poll_refill(&mut batch).is_pending());
    assert!(batch.messages.capacity() * size_of::<u32>() <= RETAINED_BYTES * 2);
    assert!(mailbox.lock().queue.capacity() * size_of::<u32>() <= RETAINED_BYTES * 2);
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
    let mut batch = Batch::default();
    for _ in 0..SENDERS * EACH {
        let message = receive(&mailbox, &mut batch).await.unwrap();
        let sender = (message / EACH) as usize;
        assert_eq!(message % EACH, next[sender]);
        next[sender] += 1;
        assert!(mailbox.load().depth <= 7);
    }
}

#[test]
fn sender_is_admitted_past_the_bound_and_past_others() {
    let mailbox = Mailbox::new(1);
    let mut cx = Context::from_waker(Waker::noop());
    let mut tickets = [None; 3];
    for (n, ticket) in tickets.iter_mut().enumerate() {
        let _ = mailbox.poll_push(&mut cx, ticket, &mut Some(n));
    }
    let last = tickets[2].expect("it waits");
    assert!(mailbox.is_waiting(last));
    mailbox.admit_past_bound(last);
    assert!(!mailbox.is_waiting(last));
    assert_eq!(mailbox.load().depth, 2);
    assert_eq!(mailbox.load().senders, 1);
    mailbox.admit_past_bound(last); // once
    assert_eq!(mailbox.load().depth, 2);
    let mut batch = Batch::default();
    assert!(mailbox.poll_refill(&mut batch).is_ready());
    assert_eq!(batch.messages, [Some(0), Some(2)]);
}

#[test]
fn actor_that_tells_itself_more_than_the_bound_shuts_no_sender_out() {
    let mailbox = Mailbox::new(1);
    let mut cx = Context::from_waker(Waker::noop());
    let mut ticket = None;
    let _ = mailbox.push_past_bound(|| Some(0));
    let _ = mailbox.push_past_bound(|| Some(0));
    assert!(
        mailbox
            .poll_push(&mut cx, &mut ticket, &mut Some(1))
            .is_pending()
    );
    let mut batch = Batch::default();
    for _ in 0..8 {
        let message = loop {
            match mailbox.next_in(&mut batch) {
                Some(message) => break message.take(),
                None => assert!(mailbox.poll_refill(&mut batch).is_ready()),
            }
        };
        if message == Some(1) {
            return;
        }
        let _ = mailbox.push_past_bound(|| Some(0)); // as its handler does
    }
    panic!("the sender still waits");
}
