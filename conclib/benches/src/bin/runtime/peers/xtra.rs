//! xtra: bounded mailboxes; `detach` makes a tell of a send. It has no periodic messages, so that
//! each actor has a task with an interval. It keeps no order among messages of one priority: tells get
//! one above requests, so that a request that comes behind them is replied behind them.

use xtra::prelude::*;

use crate::peer::{Done, MAILBOX, PERIOD, Peer, beat};

struct Add(u64);
struct Beat;

/// Sums.
#[derive(xtra::Actor)]
pub(crate) struct Sum(u64);

impl Handler<Add> for Sum {
    type Return = u64;

    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
        self.0 = self.0.wrapping_add(n);
        self.0
    }
}

impl Handler<Beat> for Sum {
    type Return = ();

    async fn handle(&mut self, _: Beat, _: &mut Context<Self>) {
        beat();
    }
}

struct Token(u64);
struct Link(Address<Node>);

/// One of a ring.
#[derive(xtra::Actor)]
pub(crate) struct Node {
    next: Option<Address<Node>>,
    done: Done,
}

impl Handler<Link> for Node {
    type Return = ();

    async fn handle(&mut self, Link(next): Link, _: &mut Context<Self>) {
        self.next = Some(next);
    }
}

impl Handler<Token> for Node {
    type Return = ();

    async fn handle(&mut self, Token(hops): Token, _: &mut Context<Self>) {
        match (&self.next, hops.checked_sub(1)) {
            (Some(next), Some(hops)) => {
                let sent = next.send(Token(hops)).detach().await;
                drop(sent.expect("the next one lives"));
            }
            _ => self.done.send(()).expect("the token is awaited"),
        }
    }
}

/// The framework.
#[derive(Clone)]
pub(crate) struct Xtra;

impl Peer for Xtra {
    type Actor = Address<Sum>;
    type Node = Address<Node>;

    fn new() -> Self {
        Self
    }

    async fn spawn(&self) -> Self::Actor {
        xtra::spawn_tokio(Sum(0), Mailbox::bounded(MAILBOX))
    }

    async fn tell(&self, actor: &Self::Actor, n: u64) {
        let sent = actor.send(Add(n)).priority(1).detach().await;
        drop(sent.expect("the actor lives"));
    }

    async fn ask(&self, actor: &Self::Actor, n: u64) -> u64 {
        actor.send(Add(n)).await.expect("it replies")
    }

    async fn stop(&self, actors: Vec<Self::Actor>) {
        drop(actors);
    }

    async fn periodic(&self, actors: usize) {
        for _ in 0..actors {
            let actor = self.spawn().await;
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(PERIOD);
                loop {
                    interval.tick().await;
                    if actor.send(Beat).detach().await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let spawn = |next| {
            let done = done.clone();
            xtra::spawn_tokio(Node { next, done }, Mailbox::bounded(MAILBOX))
        };
        let last = spawn(None);
        let mut first = last.clone();
        for _ in 1..length {
            first = spawn(Some(first));
        }
        last.send(Link(first.clone())).await.expect("it lives");
        first
    }

    async fn pass(&self, node: &Self::Node, hops: u64) {
        let sent = node.send(Token(hops)).detach().await;
        drop(sent.expect("the node lives"));
    }
}
