//! An actor without a framework: a task, a bounded channel, and a `oneshot` for each reply.

use tokio::sync::{mpsc, oneshot};

use crate::peer::{Counting, Done, MAILBOX, PERIOD, Peer, beat};

/// A message of the actor that sums.
pub(crate) enum Message {
    /// A tell.
    Add(u64),
    /// An ask for the sum.
    Ask(u64, oneshot::Sender<u64>),
    /// Counted in common.
    Count,
}

async fn sum(mut mailbox: mpsc::Receiver<Message>) {
    let mut sum = 0_u64;
    while let Some(message) = mailbox.recv().await {
        match message {
            Message::Add(n) => sum = sum.wrapping_add(n),
            Message::Ask(n, reply) => {
                sum = sum.wrapping_add(n);
                // An asker that no longer waits needs no reply.
                let _ = reply.send(sum);
            }
            Message::Count => beat(),
        }
    }
}

/// Beats until its mailbox is closed.
async fn heart(mut mailbox: mpsc::Receiver<Message>) {
    let mut interval = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            message = mailbox.recv() => if message.is_none() { return },
            _ = interval.tick() => beat(),
        }
    }
}

/// One of a ring.
async fn node(mut mailbox: mpsc::Receiver<u64>, next: mpsc::Sender<u64>, done: Done) {
    while let Some(hops) = mailbox.recv().await {
        match hops.checked_sub(1) {
            Some(hops) => next.send(hops).await.expect("the next one lives"),
            None => done.send(()).expect("the token is awaited"),
        }
    }
}

/// No framework.
#[derive(Clone)]
pub(crate) struct TokioMpsc;

impl Peer for TokioMpsc {
    type Actor = mpsc::Sender<Message>;
    type Node = mpsc::Sender<u64>;

    fn new() -> Self {
        Self
    }

    async fn spawn(&self) -> Self::Actor {
        let (actor, mailbox) = mpsc::channel(MAILBOX);
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
            let (actor, mailbox) = mpsc::channel(MAILBOX);
            tokio::spawn(heart(mailbox));
            std::mem::forget(actor);
        }
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let (first, first_mailbox) = mpsc::channel(MAILBOX);
        let mut next = first.clone();
        for _ in 1..length {
            let (actor, mailbox) = mpsc::channel(MAILBOX);
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

impl Counting for TokioMpsc {
    async fn count(&self, actor: &Self::Actor) {
        let sent = actor.send(Message::Count).await;
        assert!(sent.is_ok(), "the actor lives");
    }
}
