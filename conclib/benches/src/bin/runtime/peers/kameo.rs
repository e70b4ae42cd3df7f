//! kameo: bounded mailboxes, builders that are awaited; without the feature `tracing`. It has no
//! periodic messages, so that each actor has a task with an interval.

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn as _};
use kameo::mailbox::bounded;
use kameo::message::{Context, Message};

use crate::peer::{Counting, Done, MAILBOX, PERIOD, Peer, beat};

struct Add(u64);
struct Count;

/// Sums.
#[derive(Actor)]
pub(crate) struct Sum(u64);

impl Message<Add> for Sum {
    type Reply = u64;

    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self, u64>) -> u64 {
        self.0 = self.0.wrapping_add(n);
        self.0
    }
}

impl Message<Count> for Sum {
    type Reply = ();

    async fn handle(&mut self, _: Count, _: &mut Context<Self, ()>) {
        beat();
    }
}

struct Token(u64);
struct Link(ActorRef<Node>);

/// One of a ring.
#[derive(Actor)]
pub(crate) struct Node {
    next: Option<ActorRef<Node>>,
    done: Done,
}

impl Message<Link> for Node {
    type Reply = ();

    async fn handle(&mut self, Link(next): Link, _: &mut Context<Self, ()>) {
        self.next = Some(next);
    }
}

impl Message<Token> for Node {
    type Reply = ();

    async fn handle(&mut self, Token(hops): Token, _: &mut Context<Self, ()>) {
        match (&self.next, hops.checked_sub(1)) {
            (Some(next), Some(hops)) => next.tell(Token(hops)).await.expect("the next one lives"),
            _ => self.done.send(()).expect("the token is awaited"),
        }
    }
}

/// The framework.
#[derive(Clone)]
pub(crate) struct Kameo;

impl Peer for Kameo {
    type Actor = ActorRef<Sum>;
    type Node = ActorRef<Node>;

    fn new() -> Self {
        Self
    }

    async fn spawn(&self) -> Self::Actor {
        Sum::spawn_with_mailbox(Sum(0), bounded(MAILBOX))
    }

    async fn tell(&self, actor: &Self::Actor, n: u64) {
        actor.tell(Add(n)).await.expect("the actor lives");
    }

    async fn ask(&self, actor: &Self::Actor, n: u64) -> u64 {
        actor.ask(Add(n)).await.expect("it replies")
    }

    async fn stop(&self, actors: Vec<Self::Actor>) {
        for actor in &actors {
            actor.stop_gracefully().await.expect("the actor lives");
        }
        for actor in actors {
            actor.wait_for_shutdown().await;
        }
    }

    async fn periodic(&self, actors: usize) {
        for _ in 0..actors {
            let actor = self.spawn().await;
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(PERIOD);
                loop {
                    interval.tick().await;
                    if actor.tell(Count).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let spawn = |next| {
            let done = done.clone();
            Node::spawn_with_mailbox(Node { next, done }, bounded(MAILBOX))
        };
        let last = spawn(None);
        let mut first = last.clone();
        for _ in 1..length {
            first = spawn(Some(first));
        }
        last.tell(Link(first.clone())).await.expect("it lives");
        first
    }

    async fn pass(&self, node: &Self::Node, hops: u64) {
        node.tell(Token(hops)).await.expect("the node lives");
    }
}

impl Counting for Kameo {
    async fn count(&self, actor: &Self::Actor) {
        actor.tell(Count).await.expect("the actor lives");
    }
}
