//! The mailbox under loom: each test holds in every order of its threads' steps, and with every
//! stale value that the memory model lets them read. A thread that sleeps for ever fails it.

use std::future::poll_fn;
use std::sync::Arc;

use loom::thread;

use super::*;
use crate::mailbox::receiver::saturate;
use crate::sync::model::{block_on, explore};

/// A send under way, as the futures do it.
struct PendingSend {
    ticket: Option<Ticket>,
    item: Option<u32>,
}

impl PendingSend {
    fn new(message: u32) -> Self {
        Self {
            ticket: None,
            item: Some(message),
        }
    }

    fn poll(&mut self, mailbox: &Mailbox<u32>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        mailbox.poll_push(cx, &mut self.ticket, &mut self.item)
    }

    /// Waits until the message is queued; the error holds it if the mailbox was closed.
    fn finish(mut self, mailbox: &Mailbox<u32>) -> Result<(), Option<u32>> {
        let sent = block_on(poll_fn(|cx| self.poll(mailbox, cx)));
        sent.map_err(|Closed| self.item)
    }
}

fn send(mailbox: &Mailbox<u32>, message: u32) -> Result<(), Option<u32>> {
    PendingSend::new(message).finish(mailbox)
}

/// The context of a poll that need not be woken.
fn idle() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The receiver's end, with its batch. It checks the bound whenever it holds messages.
struct Receiver {
    mailbox: Arc<Mailbox<u32>>,
    batch: Batch<u32>,
}

impl Receiver {
    /// A full mailbox whose receiver has these messages in its batch.
    fn full(messages: impl IntoIterator<Item = u32>) -> Self {
        let messages = VecDeque::from_iter(messages.into_iter().map(Some));
        let mailbox = Mailbox::new(messages.len());
        mailbox
            .batch_status
            .count
            .store(saturate(messages.len()), Ordering::Release);
        mailbox.lock().batch_limit = saturate(messages.len());
        Self {
            mailbox: Arc::new(mailbox),
            batch: Batch {
                messages,
                begun: false,
                is_burst: false,
            },
        }
    }

    fn empty(capacity: usize) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new(capacity)),
            batch: Batch::default(),
        }
    }

    fn send(&self, message: u32) -> thread::JoinHandle<Result<(), Option<u32>>> {
        let mailbox = self.mailbox.clone();
        thread::spawn(move || send(&mailbox, message))
    }

    fn take(&mut self) -> Option<u32> {
        self.mailbox.next_in(&mut self.batch)?.take()
    }

    /// The next message, or `None` when the mailbox is closed and empty; waits for it.
    fn next(&mut self) -> Option<u32> {
        if let Some(message) = self.take() {
            return Some(message);
        }
        let Self { mailbox, batch } = self;
        let mut is_registered = false;
        let refilled = poll_fn(|cx| {
            if !mem::replace(&mut is_registered, true) {
                mailbox.register(cx.waker()); // each `block_on` has a waker of its own
            }
            mailbox.poll_refill(batch)
        });
        if block_on(refilled) == Refill::Closed {
            return None;
        }
        let waiting = batch.messages.len() + mailbox.lock().queue.len();
        assert!(waiting <= mailbox.capacity, "more than may wait");
        self.take()
    }

    /// All messages until the mailbox is closed and empty.
    fn rest(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Every message arrives once, those of one sender in their order, never more than fit in, and
/// no thread sleeps for ever.
#[test]
fn two_senders_and_one_place() {
    explore(|| {
        let mut receiver = Receiver::empty(1);
        let mailbox = receiver.mailbox.clone();
        let first = thread::spawn(move || {
            send(&mailbox, 10).unwrap();
            send(&mailbox, 11).unwrap();
        });
        let second = receiver.send(20);
        let mut arrived: Vec<_> = (0..3).map(|_| receiver.next().unwrap()).collect();
        first.join().unwrap();
        second.join().unwrap().unwrap();
        let at = |message| arrived.iter().position(|&arrived| arrived == message);
        assert!(at(10) < at(11));
        arrived.sort_unstable();
        assert_eq!(arrived, [10, 11, 20]);
    });
}

/// A handler that waits for a waiting sender, after the last message or amid its batch: the
/// sender sees the room, or the receiver sees the sender.
#[test]
fn handler_waits_for_a_sender_that_waits_for_room() {
    for batch in [1, 2] {
        explore(move || {
            let mut receiver = Receiver::full(0..batch);
            let sender = receiver.send(9);
            assert_eq!(receiver.take(), Some(0));
            receiver.mailbox.admit_before_waiting();
            sender.join().unwrap().unwrap();
        });
    }
}

/// Waiting senders are admitted by a receiver that goes to sleep and by one that is woken, and none
/// is left behind.
#[test]
fn senders_wait_while_the_receiver_goes_to_sleep() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let senders = [receiver.send(1), receiver.send(2)];
        let mut arrived: Vec<_> = (0..3).map(|_| receiver.next().unwrap()).collect();
        for sender in senders {
            sender.join().unwrap().unwrap();
        }
        arrived.sort_unstable();
        assert_eq!(arrived, [0, 1, 2]);
    });
}

/// Room belongs to the first waiting sender, also at the moment when it comes to be.
#[test]
fn waiting_senders_are_not_overtaken() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let mailbox = receiver.mailbox.clone();
        let first = &mut PendingSend::new(1);
        assert!(first.poll(&mailbox, &mut idle()).is_pending());
        let second = receiver.send(2);
        assert_eq!(receiver.next(), Some(0));
        assert_eq!(receiver.next(), Some(1));
        assert_eq!(receiver.next(), Some(2));
        second.join().unwrap().unwrap();
    });
}

/// A receiver that goes to sleep while a message comes wakes, however the message comes.
#[test]
fn receiver_that_goes_to_sleep_sees_a_message() {
    let pushes: [fn(&Mailbox<u32>); 3] = [
        |mailbox| mailbox.try_push(|| Some(1)).unwrap(),
        |mailbox| mailbox.push_past_bound(|| Some(1)).unwrap(),
        |mailbox| send(mailbox, 1).unwrap(),
    ];
    for push in pushes {
        explore(move || {
            let mut receiver = Receiver::empty(1);
            let mailbox = receiver.mailbox.clone();
            let sender = thread::spawn(move || push(&mailbox));
            assert_eq!(receiver.next(), Some(1));
            sender.join().unwrap();
        });
    }
}

/// A receiver that goes to sleep while the mailbox is closed wakes.
#[test]
fn receiver_that_goes_to_sleep_sees_the_stop() {
    explore(|| {
        let mut receiver = Receiver::empty(1);
        let mailbox = receiver.mailbox.clone();
        let stop = thread::spawn(move || mailbox.close());
        assert_eq!(receiver.next(), None);
        stop.join().unwrap();
    });
}

/// A waiting sender that was polled with another waker before is woken by its last one.
#[test]
fn last_waker_of_a_sender_counts() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let mailbox = receiver.mailbox.clone();
        let sender = thread::spawn(move || {
            let mut sending = PendingSend::new(1);
            if sending.poll(&mailbox, &mut idle()).is_pending() {
                sending.finish(&mailbox).unwrap();
            }
        });
        assert_eq!(receiver.next(), Some(0));
        assert_eq!(receiver.next(), Some(1));
        sender.join().unwrap();
    });
}

/// A message sent while the mailbox is closed is received or comes back: never both, never neither.
#[test]
fn close_against_a_push() {
    explore(|| {
        let mut receiver = Receiver::empty(1);
        let sender = receiver.send(1);
        receiver.mailbox.close();
        let arrived = receiver.rest();
        match sender.join().unwrap() {
            Ok(()) => assert_eq!(arrived, [1]),
            Err(returned) => assert_eq!((returned, arrived), (Some(1), vec![])),
        }
    });
}

/// The same for what an actor sends itself.
#[test]
fn close_against_a_push_past_the_bound() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let mailbox = receiver.mailbox.clone();
        let sender = thread::spawn(move || {
            let mut item = Some(1);
            let pushed = mailbox.push_past_bound(|| item.take());
            pushed.map_err(|_closed| item)
        });
        receiver.mailbox.close();
        let arrived = receiver.rest();
        match sender.join().unwrap() {
            Ok(()) => assert_eq!(arrived, [0, 1]),
            Err(returned) => assert_eq!((returned, arrived), (Some(1), vec![0])),
        }
    });
}

/// The same for a waiting sender, while the receiver makes room: it learns of its end too.
#[test]
fn close_against_a_waiting_sender() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let sender = receiver.send(1);
        let mailbox = receiver.mailbox.clone();
        let stop = thread::spawn(move || mailbox.close());
        let arrived = receiver.rest();
        match sender.join().unwrap() {
            Ok(()) => assert_eq!(arrived, [0, 1]),
            Err(returned) => assert_eq!((returned, arrived), (Some(1), vec![0])),
        }
        stop.join().unwrap();
    });
}

/// A sender that waited before the mailbox was closed gets its message back, although the
/// receiver makes room afterwards.
#[test]
fn no_message_is_queued_after_the_close() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let mailbox = receiver.mailbox.clone();
        let mut sending = PendingSend::new(1);
        assert!(sending.poll(&mailbox, &mut idle()).is_pending());
        mailbox.close();
        let receiver = thread::spawn(move || receiver.rest());
        assert_eq!(sending.finish(&mailbox), Err(Some(1)));
        assert_eq!(receiver.join().unwrap(), [0]);
    });
}

/// The same as for a close, for an actor that ends at once: waiting messages are taken out once, and none
/// is queued afterwards.
#[test]
fn close_and_drain_against_senders() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let first = receiver.send(1);
        let second = receiver.send(2);
        assert_eq!(receiver.take(), Some(0));
        let drained = receiver.mailbox.close_and_drain(&mut Batch::default());
        let mut seen = Vec::from_iter(drained);
        for (message, sender) in [(1, first), (2, second)] {
            if let Err(returned) = sender.join().unwrap() {
                assert_eq!(returned, Some(message));
                seen.push(message);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        let state = receiver.mailbox.lock();
        assert!(state.queue.is_empty() && state.waiters.is_empty());
    });
}

/// A mailbox closes when it is empty, or a sender is in it: the sender's message is there or comes back,
/// and not both.
#[test]
fn close_if_empty_against_senders() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let senders = [receiver.send(1), receiver.send(2)];
        assert_eq!(receiver.take(), Some(0));
        let closed = receiver.mailbox.close_if_empty(|| true);
        receiver.mailbox.close();
        let handled = receiver.rest();
        let returned = senders.map(|sender| sender.join().unwrap().err().flatten());
        assert!(!closed || handled.is_empty());
        let mut seen = [handled, returned.into_iter().flatten().collect()].concat();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

/// A reference that is counted before the sender looks at the mailbox is seen by the decision to close,
/// or its owner sees the mailbox closed.
#[test]
fn close_if_empty_against_a_new_reference() {
    explore(|| {
        let mailbox = Arc::new(Mailbox::<u32>::new(1));
        let references = Arc::new(AtomicU32::new(0));
        let (looks, counts) = (mailbox.clone(), references.clone());
        let lookup = thread::spawn(move || {
            counts.fetch_add(1, Ordering::Relaxed);
            looks.is_closed()
        });
        let closed = mailbox.close_if_empty(|| references.load(Ordering::Acquire) == 0);
        let saw_it_closed = lookup.join().unwrap();
        assert_eq!(saw_it_closed, closed && mailbox.is_closed());
    });
}

/// A send that is dropped while it waits takes its message back or has sent it, and the one behind
/// it in the wait queue is not forgotten.
#[test]
fn dropped_send_against_its_admission() {
    explore(|| {
        let mut receiver = Receiver::full([0]);
        let mailbox = receiver.mailbox.clone();
        let dropped = thread::spawn(move || {
            let mut sending = PendingSend::new(1);
            let sent = sending.poll(&mailbox, &mut idle());
            sent.is_pending()
                .then(|| mailbox.withdraw(sending.ticket.unwrap()))
        });
        let behind = receiver.send(2);
        let mut seen = Vec::new();
        while seen.last() != Some(&2) {
            seen.extend(receiver.next());
        }
        behind.join().unwrap().unwrap();
        seen.extend(dropped.join().unwrap().flatten());
        receiver.mailbox.close();
        seen.extend(receiver.rest());
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    });
}
