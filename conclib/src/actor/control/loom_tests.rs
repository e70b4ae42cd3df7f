//! The control word, and an actor's life with its mailbox, under loom: each test holds in every
//! order of its threads' steps. A task that sleeps for ever fails it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::thread;

use super::*;
use crate::mailbox::{Batch, Mailbox, Refill};
use crate::sync::model::{block_on, explore};

/// Waits for the kill as the runner does: says whom to wake, then looks.
fn poll_killed(control: &Control, cx: &mut Context<'_>, known: &mut Option<Waker>) -> Poll<()> {
    control.register(cx.waker(), known);
    if control.is_killed() {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// A kill is never slept through.
#[test]
fn a_kill_while_the_task_goes_to_sleep() {
    explore(|| {
        let control = Arc::new(Control::default());
        let target = control.clone();
        let killer = thread::spawn(move || target.kill());
        let mut known = None;
        block_on(poll_fn(|cx| poll_killed(&control, cx, &mut known)));
        killer.join().unwrap();
    });
}

/// Nor by a task that was polled with another waker before.
#[test]
fn a_kill_while_the_task_changes_its_waker() {
    explore(|| {
        let control = Arc::new(Control::default());
        let target = control.clone();
        let killer = thread::spawn(move || target.kill());
        let mut known = None;
        let noop = &mut Context::from_waker(Waker::noop());
        if poll_killed(&control, noop, &mut known).is_pending() {
            block_on(poll_fn(|cx| poll_killed(&control, cx, &mut known)));
        }
        killer.join().unwrap();
    });
}

/// Of two signals, neither is slept through: the first leaves the waker where it is.
#[test]
fn a_kill_after_another_signal() {
    explore(|| {
        let control = Arc::new(Control::default());
        let target = control.clone();
        let signals = thread::spawn(move || {
            target.restart_with_group();
            target.kill();
        });
        let mut known = None;
        block_on(poll_fn(|cx| {
            control.register(cx.waker(), &mut known);
            if control.has_signal() && control.is_killed() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        signals.join().unwrap();
    });
}

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
    /// It has handled as many messages as it can.
    Failed,
}

/// An actor's task, reduced to what its threads share: messages are numbers, and handling one is
/// noting it.
struct Life {
    mailbox: Arc<Mailbox<u32>>,
    control: Arc<Control>,
    batch: Batch<u32>,
    handled: Vec<u32>,
}

impl Life {
    fn new(capacity: usize) -> Self {
        Self {
            mailbox: Arc::new(Mailbox::new(capacity)),
            control: Arc::new(Control::default()),
            batch: Batch::default(),
            handled: Vec::new(),
        }
    }

    /// Runs the actor's code as the runner does: the control word before each poll, and senders let
    /// in when it waits.
    fn guarded(&mut self, mut code: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<End>) -> End {
        let mut known = None;
        block_on(poll_fn(|cx| {
            if poll_killed(&self.control, cx, &mut known).is_ready() {
                return Poll::Ready(End::Killed);
            }
            let polled = code(self, cx);
            if polled.is_pending() {
                self.mailbox.admit_before_waiting();
            }
            polled
        }))
    }

    /// One life: handles messages until it is stopped or killed, or has handled so many.
    fn serve(&mut self, fails_after: usize) -> End {
        let mut left = fails_after;
        self.guarded(|life, cx| {
            loop {
                if let Some(message) = life.mailbox.next_in(&mut life.batch) {
                    life.handled.extend(message.take());
                    left -= 1;
                    if left == 0 {
                        return Poll::Ready(End::Failed);
                    }
                    continue;
                }
                match life.mailbox.poll_refill(cx, &mut life.batch) {
                    Poll::Ready(Refill::Ready { .. }) => {}
                    Poll::Ready(Refill::Closed) => return Poll::Ready(End::Stopped),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
    }

    /// The end of the task: what was not handled.
    fn end(&mut self) -> Vec<u32> {
        let refused = self.mailbox.close_and_drain(&mut self.batch).collect();
        self.control.forget_task();
        refused
    }
}

/// Sends one after another until the mailbox is closed; what came back.
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

/// A life ends amid its batch, and the next one goes on with it. A sender that waits is let in
/// while what lies between the lives waits for it, and its message is handled after those before.
#[test]
fn a_restart_amid_a_batch_keeps_what_waits() {
    explore(|| {
        let mut life = Life::new(2);
        assert_eq!(send_all(&life.mailbox, [0, 1]), []);
        let (sent, mut known) = (Arc::new(Control::default()), None);
        let (mailbox, tell) = (life.mailbox.clone(), sent.clone());
        let sender = thread::spawn(move || {
            assert_eq!(send_all(&mailbox, [2]), []);
            tell.kill();
        });
        assert_eq!(life.serve(1), End::Failed);
        life.guarded(|_, cx| poll_killed(&sent, cx, &mut known).map(|()| End::Failed));
        assert_eq!(life.serve(2), End::Failed);
        assert_eq!(life.handled, [0, 1, 2]);
        sender.join().unwrap();
    });
}

/// The same while the actor is asked to stop: whatever got in is handled, in order, and what did
/// not comes back; the stop is not slept through.
#[test]
fn a_stop_against_a_restart_and_a_sender() {
    explore(|| {
        let mut life = Life::new(2);
        assert_eq!(send_all(&life.mailbox, [0, 1]), []);
        let mailbox = life.mailbox.clone();
        let sender = thread::spawn(move || send_all(&mailbox, [2, 3]));
        let mailbox = life.mailbox.clone();
        let stop = thread::spawn(move || mailbox.close());
        assert_eq!(life.serve(1), End::Failed);
        assert_eq!(life.serve(usize::MAX), End::Stopped);
        assert_eq!(life.end(), []);
        let returned = sender.join().unwrap();
        stop.join().unwrap();
        assert_eq!([life.handled, returned].concat(), [0, 1, 2, 3]);
    });
}

/// The same while the actor is killed: it ends as killed, and each message is handled, refused or
/// back with its sender, once and in this order.
#[test]
fn a_kill_against_a_restart_and_a_sender() {
    explore(|| {
        let mut life = Life::new(2);
        assert_eq!(send_all(&life.mailbox, [0, 1]), []);
        let mailbox = life.mailbox.clone();
        let sender = thread::spawn(move || send_all(&mailbox, [2, 3]));
        let (mailbox, control) = (life.mailbox.clone(), life.control.clone());
        let killer = thread::spawn(move || {
            control.kill();
            mailbox.close();
        });
        let mut end = life.serve(1);
        if end == End::Failed {
            end = life.serve(usize::MAX);
        }
        if end == End::Stopped {
            // It saw the closed mailbox alone; before its last hook it sees the kill.
            end = life.guarded(|_, _| Poll::Ready(End::Stopped));
        }
        assert_eq!(end, End::Killed);
        let refused = life.end();
        let returned = sender.join().unwrap();
        killer.join().unwrap();
        assert_eq!([life.handled, refused, returned].concat(), [0, 1, 2, 3]);
    });
}
