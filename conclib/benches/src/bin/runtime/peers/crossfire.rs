//! An actor without a framework, with crossfire's queue, which has no locks: the limit of a mailbox. A task, a
//! bounded queue, and a `oneshot` for each reply.

use crossfire::mpsc::{Array, bounded_async};
use crossfire::{AsyncRx, MAsyncTx};
use tokio::sync::oneshot;

use crate::peer::{Done, MAILBOX, PERIOD, Peer, beat};

/// A message of the actor that sums.
pub(crate) enum Message {
    /// A tell.
    Add(u64),
    /// An ask for the sum.
    Ask(u64, oneshot::Sender<u64>),
}

async fn sum(mailbox: AsyncRx<Array<Message>>) {
    let mut sum = 0_u64;
    while let Ok(message) = mailbox.recv().await {
        match message {
            Message::Add(n) => sum = sum.wrapping_add(n),
            Message::Ask(n, reply) => {
                sum = sum.wrapping_add(n);
                // An asker that no longer waits needs no reply.
                let _ = reply.send(sum);
            }
        }
    }
}

/// Beats until its mailbox is closed.
async fn heart(mailbox: AsyncRx<Array<Message>>) {
    let mut interval = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            message = mailbox.recv() => if message.is_err() { return },
            _ = interval.tick() => beat(),
        }
    }
}

/// One of a ring.
async fn node(mailbox: AsyncRx<Array<u64>>, next: MAsyncTx<Array<u64>>, done: Done) {
    while let Ok(hops) = mailbox.recv().await {
        match hops.checked_sub(1) {
            Some(hops) => next.send(hops).await.expect("the next one lives"),
            None => done.send(()).expect("the token is awaited"),
        }
    }
}

/// No framework, and crossfire's queue.
#[derive(Clone)]
pub(crate) struct Crossfire;

impl Peer for Crossfire {
    type Actor = MAsyncTx<Array<Message>>;
    type Node = MAsyncTx<Array<u64>>;

    fn new() -> Self {
        Self
    }

    async fn spawn(&self) -> Self::Actor {
        let (actor, mailbox) = bounded_async(MAILBOX);
        tokio::spawn(sum(mailbox));
        actor
    }

    async fn tell(&self, actor: &Self::Actor, n: u64) {
        let sent = actor.send(Message::Add(n)).await;
        assert!(sent.is_ok(), "the actor lives");
    }

    async fn ask(&self, actor: &Self::Actor, n: u64) -> u64 {
        let (sender, reply) = oneshot::channel();
        let sent = actor.send(Message::Ask(n, sender)).await;
        assert!(sent.is_ok(), "the actor lives");
        reply.await.expect("it replies")
    }

    async fn stop(&self, actors: Vec<Self::Actor>) {
        drop(actors);
    }

    async fn periodic(&self, actors: usize) {
        for _ in 0..actors {
            let (actor, mailbox) = bounded_async(MAILBOX);
            tokio::spawn(heart(mailbox));
            std::mem::forget(actor);
        }
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let (first, first_mailbox) = bounded_async(MAILBOX);
        let mut next = first.clone();
        for _ in 1..length {
            let (actor, mailbox) = bounded_async(MAILBOX);
            tokio::spawn(node(mailbox, next, done.clone()));
            next = actor;
        }
        tokio::spawn(node(first_mailbox, next, done));
        first
    }

    async fn pass(&self, node: &Self::Node, hops: u64) {
        node.send(hops).await.expect("the node lives");
    }
}
