//! The control word, and an actor's incarnations with their mailbox, under loom: each test passes in
//! every order of its threads' steps. A task that sleeps for ever fails it.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::thread;

use super::*;
use crate::mailbox::{Batch, Mailbox, Refill};
use crate::sync::Mutex;
use crate::sync::model::{block_on, explore};

/// The parts of an actor that its task shares with others: messages are numbers.
struct ModelCell {
    mailbox: Mailbox<u32>,
    control: Control,
}

impl ModelCell {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(capacity),
            control: Control::default(),
        })
    }

    fn signal(&self, signal: Signal) {
        self.control.add(signal);
        self.mailbox.wake();
    }

    /// Runs the actor's task as the runner does: registers its waker once, at the first poll.
    fn run<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let mut is_registered = false;
        block_on(poll_fn(|cx| {
            if !mem::replace(&mut is_registered, true) {
                self.mailbox.register(cx.waker());
            }
            poll(cx)
        }))
    }

    fn poll_killed(&self) -> Poll<()> {
        if self.control.is_killed() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// The kill wakes the task.
#[test]
fn kill_while_the_task_goes_to_sleep() {
    explore(|| {
        let cell = ModelCell::new(1);
        let target = cell.clone();
        let killer = thread::spawn(move || target.signal(Signal::KILL));
        cell.run(|_| cell.poll_killed());
        killer.join().unwrap();
    });
}

/// Each of two signals wakes the task: the first leaves the waker registered.
#[test]
fn kill_after_another_signal() {
    explore(|| {
        let cell = ModelCell::new(1);
        let target = cell.clone();
        let signals = thread::spawn(move || {
            target.signal(Signal::RESTART_WITH_GROUP);
            target.signal(Signal::KILL);
        });
        cell.run(|_| cell.poll_killed());
        signals.join().unwrap();
    });
}

/// A message and a signal both wake a task that waits for a message: neither uses up the wake of the
/// other.
#[test]
fn message_and_signal_while_the_task_waits_for_a_message() {
    explore(|| {
        let mut actor = ModelActor::new(1);
        let cell = actor.cell.clone();
        let signals = thread::spawn(move || cell.signal(Signal::RESTART_WITH_GROUP));
        let cell = actor.cell.clone();
        let sender = thread::spawn(move || send_all(&cell.mailbox, [7]));
        let cell = actor.cell.clone();
        let batch = &mut actor.batch;
        let mut is_refilled = false;
        cell.run(|_| {
            is_refilled = is_refilled || cell.mailbox.poll_refill(batch).is_ready();
            if is_refilled && cell.control.restarts_with_group() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        signals.join().unwrap();
        assert_eq!(sender.join().unwrap(), []);
    });
}

/// The end of an incarnation.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
    /// By a failure after a given number of messages.
    Failed,
}

/// An actor's task, reduced to the parts that threads share. Messages are numbers; handling one
/// records it.
struct ModelActor {
    cell: Arc<ModelCell>,
    batch: Batch<u32>,
    handled: Vec<u32>,
}

impl ModelActor {
    fn new(capacity: usize) -> Self {
        Self {
            cell: ModelCell::new(capacity),
            batch: Batch::default(),
            handled: Vec::new(),
        }
    }

    /// Runs the actor's code as the runner does: reads the control word before each poll, and admits
    /// senders before it waits.
    fn guarded(&mut self, mut code: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<End>) -> End {
        let cell = self.cell.clone();
        cell.run(|cx| {
            if cell.poll_killed().is_ready() {
                return Poll::Ready(End::Killed);
            }
            let polled = code(self, cx);
            if polled.is_pending() {
                cell.mailbox.admit_before_waiting();
            }
            polled
        })
    }

    /// Runs an incarnation: handles messages until it is stopped or killed, or has handled
    /// `fails_after` of them.
    fn serve(&mut self, fails_after: usize) -> End {
        let mut left = fails_after;
        self.guarded(|actor, _| {
            loop {
                if let Some(message) = actor.cell.mailbox.next_in(&mut actor.batch) {
                    actor.handled.extend(message.take());
                    left -= 1;
                    if left == 0 {
                        return Poll::Ready(End::Failed);
                    }
                    continue;
                }
                match actor.cell.mailbox.poll_refill(&mut actor.batch) {
                    Poll::Ready(Refill::Ready { .. }) => {}
                    Poll::Ready(Refill::Closed) => return Poll::Ready(End::Stopped),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
    }

    /// Ends the task. Returns the messages that were not handled.
    fn end(&mut self) -> Vec<u32> {
        let mailbox = &self.cell.mailbox;
        let refused = mailbox.close_and_drain(&mut self.batch).collect();
        mailbox.forget_receiver();
        refused
    }
}

/// Sends one message after another. Returns those that a closed mailbox gave back.
fn send_all(mailbox: &Mailbox<u32>, messages: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut returned = Vec::new();
    for message in messages {
        let (mut ticket, mut item) = (None, Some(message));
        if block_on(poll_fn(|cx| mailbox.poll_push(cx, &mut ticket, &mut item))).is_err() {
            returned.extend(item);
        }
    }
    returned
}

/// An incarnation ends amid its batch, and the next one continues with it. A waiting sender is admitted
/// between the two, and its message is handled after the earlier ones.
#[test]
fn restart_amid_a_batch_keeps_queued_messages() {
    explore(|| {
        let mut actor = ModelActor::new(2);
        assert_eq!(send_all(&actor.cell.mailbox, [0, 1]), []);
        let sent = ModelCell::new(1);
        let (cell, tell) = (actor.cell.clone(), sent.clone());
        let sender = thread::spawn(move || {
            assert_eq!(send_all(&cell.mailbox, [2]), []);
            tell.signal(Signal::KILL);
        });
        assert_eq!(actor.serve(1), End::Failed);
        actor.guarded(|_, cx| {
            sent.mailbox.register(cx.waker());
            sent.poll_killed().map(|()| End::Failed)
        });
        assert_eq!(actor.serve(2), End::Failed);
        assert_eq!(actor.handled, [0, 1, 2]);
        sender.join().unwrap();
    });
}

/// A restart amid a batch, while the actor is asked to stop. Each message is handled, in order, or
/// comes back to its sender; the stop wakes the task.
#[test]
fn stop_during_a_restart_and_a_send() {
    explore(|| {
        let mut actor = ModelActor::new(2);
        assert_eq!(send_all(&actor.cell.mailbox, [0, 1]), []);
        let cell = actor.cell.clone();
        let sender = thread::spawn(move || send_all(&cell.mailbox, [2, 3]));
        let cell = actor.cell.clone();
        let stop = thread::spawn(move || cell.mailbox.close());
        assert_eq!(actor.serve(1), End::Failed);
        assert_eq!(actor.serve(usize::MAX), End::Stopped);
        assert_eq!(actor.end(), []);
        let returned = sender.join().unwrap();
        stop.join().unwrap();
        assert_eq!([actor.handled, returned].concat(), [0, 1, 2, 3]);
    });
}

/// A restart amid a batch, while the actor is killed. The actor ends as killed, and each message is
/// handled, refused, or back with its sender, once and in this order.
#[test]
fn kill_during_a_restart_and_a_send() {
    explore(|| {
        let mut actor = ModelActor::new(2);
        assert_eq!(send_all(&actor.cell.mailbox, [0, 1]), []);
        let cell = actor.cell.clone();
        let sender = thread::spawn(move || send_all(&cell.mailbox, [2, 3]));
        let cell = actor.cell.clone();
        let killer = thread::spawn(move || {
            cell.signal(Signal::KILL);
            cell.mailbox.close();
        });
        let mut end = actor.serve(1);
        if end == End::Failed {
            end = actor.serve(usize::MAX);
        }
        if end == End::Stopped {
            // The task saw only the closed mailbox; before its last hook it sees the kill.
            end = actor.guarded(|_, _| Poll::Ready(End::Stopped));
        }
        assert_eq!(end, End::Killed);
        let refused = actor.end();
        let returned = sender.join().unwrap();
        killer.join().unwrap();
        assert_eq!([actor.handled, refused, returned].concat(), [0, 1, 2, 3]);
    });
}

// ---- actors on demand

/// The actors at one URN, one after another, reduced to their mailboxes: the place in the registry, whose
/// lock is that of its shard.
#[derive(Default)]
struct ModelUrn {
    actor: Mutex<Option<Arc<ModelCell>>>,
    /// The mailboxes of the actors that lookups have started.
    started: Mutex<Vec<Arc<ModelCell>>>,
}

impl ModelUrn {
    /// Finds the actor, or starts one.
    fn find(&self) -> Arc<ModelCell> {
        let mut actor = self.actor.lock();
        let found = actor.get_or_insert_with(|| {
            let cell = ModelCell::new(2);
            self.started.lock().push(cell.clone());
            cell
        });
        found.clone()
    }

    /// Sends a message; to the next actor if the one that was found has ended.
    fn send(&self, message: u32) {
        while !send_all(&self.find().mailbox, [message]).is_empty() {}
    }

    /// Ends the actor if its mailbox is empty, and frees its place in one step.
    fn retire(&self) -> bool {
        let mut actor = self.actor.lock();
        let ended = actor
            .as_ref()
            .is_some_and(|cell| cell.mailbox.close_if_empty(|| true));
        if ended {
            actor.take();
        }
        ended
    }

    /// Handles all messages of the actors that were started.
    fn rest(&self) -> Vec<u32> {
        let started = std::mem::take(&mut *self.started.lock());
        let rest = started.iter().flat_map(|cell| {
            let mut batch = Batch::default();
            cell.mailbox.close_and_drain(&mut batch).collect::<Vec<_>>()
        });
        rest.collect()
    }
}

/// An idle actor ends while messages come: each is handled by it or by its successor, once, and those of
/// one sender in their order.
#[test]
fn idle_actor_ends_while_messages_come() {
    explore(|| {
        let urn = Arc::new(ModelUrn::default());
        let mut actor = ModelActor::new(1);
        *urn.actor.lock() = Some(actor.cell.clone());
        let name = urn.clone();
        let sender = thread::spawn(move || {
            name.send(0);
            name.send(1);
        });
        // The incarnation has ended; another begins for the messages that have come, one at a time.
        while !urn.retire() {
            assert_eq!(actor.serve(1), End::Failed);
        }
        assert_eq!(actor.end(), [], "no message in a closed mailbox");
        sender.join().unwrap();
        let handled = [actor.handled, urn.rest()].concat();
        assert_eq!(handled, [0, 1]);
    });
}

/// The signal of idleness wakes the task, which withdraws it if a message has come, and another signal
/// is not lost with it.
#[test]
fn idle_signal_against_a_message_and_a_kill() {
    explore(|| {
        let mut actor = ModelActor::new(1);
        let cell = actor.cell.clone();
        let idle = thread::spawn(move || cell.signal(Signal::IDLE));
        let cell = actor.cell.clone();
        let sender = thread::spawn(move || {
            assert_eq!(send_all(&cell.mailbox, [7]), []);
            cell.signal(Signal::KILL);
        });
        let cell = actor.cell.clone();
        cell.run(|_| {
            if cell.control.is_only_idle() && cell.mailbox.is_occupied() {
                cell.control.withdraw_idle();
            }
            cell.poll_killed()
        });
        idle.join().unwrap();
        sender.join().unwrap();
        assert_eq!(actor.end(), [7]);
        assert!(cell.control.is_killed());
    });
}
