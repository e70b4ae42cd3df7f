//! tokio-actors: one message type and one response type for each actor, bounded mailboxes.

use std::sync::Arc;

use tokio_actors::{
    Actor, ActorConfig, ActorContext, ActorExt as _, ActorHandle, ActorResult, ActorSystem,
    StopReason,
};

use crate::peer::{Done, MAILBOX, PERIOD, Peer, beat};

/// Sums.
pub(crate) struct Sum(u64);

impl Actor for Sum {
    type Message = u64;
    type Response = u64;

    async fn handle(&mut self, n: u64, _: &mut ActorContext<Self>) -> ActorResult<u64> {
        self.0 = self.0.wrapping_add(n);
        Ok(self.0)
    }
}

struct Heart;

impl Actor for Heart {
    type Message = ();
    type Response = ();

    async fn on_started(&mut self, ctx: &mut ActorContext<Self>) -> ActorResult<()> {
        ctx.schedule(()).every(PERIOD).await?;
        Ok(())
    }

    async fn handle(&mut self, (): (), _: &mut ActorContext<Self>) -> ActorResult<()> {
        beat();
        Ok(())
    }
}

/// A message of a ring.
pub(crate) enum Pass {
    /// The next actor.
    Link(ActorHandle<Node>),
    /// A token with the number of hops left.
    Token(u64),
}

/// One of a ring.
pub(crate) struct Node {
    next: Option<ActorHandle<Node>>,
    done: Done,
}

impl Actor for Node {
    type Message = Pass;
    type Response = ();

    async fn handle(&mut self, message: Pass, _: &mut ActorContext<Self>) -> ActorResult<()> {
        match message {
            Pass::Link(next) => self.next = Some(next),
            Pass::Token(hops) => match (&self.next, hops.checked_sub(1)) {
                (Some(next), Some(hops)) => {
                    let sent = next.notify(Pass::Token(hops)).await;
                    sent.expect("the next one lives");
                }
                _ => self.done.send(()).expect("the token is awaited"),
            },
        }
        Ok(())
    }
}

/// The framework: one system.
#[derive(Clone)]
pub(crate) struct TokioActors(Arc<ActorSystem>);

impl TokioActors {
    async fn start<A: Actor>(&self, actor: A) -> ActorHandle<A> {
        let config = ActorConfig::default().with_mailbox_capacity(MAILBOX);
        let spawn = actor.spawn().on_system(&self.0).with_config(config);
        spawn.await.expect("it starts")
    }
}

impl Peer for TokioActors {
    type Actor = ActorHandle<Sum>;
    type Node = ActorHandle<Node>;

    fn new() -> Self {
        Self(ActorSystem::create("measured").expect("the name is free"))
    }

    async fn spawn(&self) -> Self::Actor {
        self.start(Sum(0)).await
    }

    async fn tell(&self, actor: &Self::Actor, n: u64) {
        actor.notify(n).await.expect("the actor lives");
    }

    async fn ask(&self, actor: &Self::Actor, n: u64) -> u64 {
        actor.send(n).await.expect("it replies")
    }

    async fn stop(&self, actors: Vec<Self::Actor>) {
        for actor in &actors {
            let sent = actor.stop(StopReason::Graceful).await;
            sent.expect("the actor lives");
        }
        for actor in actors {
            actor.wait_stopped().await;
        }
    }

    async fn periodic(&self, actors: usize) {
        for _ in 0..actors {
            self.start(Heart).await;
        }
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let node = |next| Node {
            next,
            done: done.clone(),
        };
        let last = self.start(node(None)).await;
        let mut first = last.clone();
        for _ in 1..length {
            first = self.start(node(Some(first))).await;
        }
        let linked = last.notify(Pass::Link(first.clone())).await;
        linked.expect("it lives");
        first
    }

    async fn pass(&self, node: &Self::Node, hops: u64) {
        let sent = node.notify(Pass::Token(hops)).await;
        sent.expect("the node lives");
    }
}
