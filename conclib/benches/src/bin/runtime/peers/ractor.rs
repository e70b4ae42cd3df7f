//! ractor: one message type for each actor, unbounded mailboxes; without the feature
//! `message_span_propogation`.

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};

use crate::peer::{Done, PERIOD, Peer, beat};

/// A message of the actor that sums.
pub(crate) enum Message {
    /// A tell.
    Add(u64),
    /// An ask for the sum.
    Ask(u64, RpcReplyPort<u64>),
    /// Counted in common.
    Beat,
}

struct Sum;

impl Actor for Sum {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        sum: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add(n) => *sum = sum.wrapping_add(n),
            Message::Ask(n, reply) => {
                *sum = sum.wrapping_add(n);
                reply.send(*sum)?;
            }
            Message::Beat => beat(),
        }
        Ok(())
    }
}

/// A message of a ring.
pub(crate) enum Pass {
    /// The next actor.
    Link(ActorRef<Pass>),
    /// A token with the number of hops left.
    Token(u64),
}

struct Node;

impl Actor for Node {
    type Msg = Pass;
    type State = (Option<ActorRef<Pass>>, Done);
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        _: ActorRef<Pass>,
        state: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Pass>,
        message: Pass,
        (next, done): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Pass::Link(actor) => *next = Some(actor),
            Pass::Token(hops) => match (next, hops.checked_sub(1)) {
                (Some(next), Some(hops)) => next.cast(Pass::Token(hops))?,
                _ => done.send(())?,
            },
        }
        Ok(())
    }
}

async fn node(next: Option<ActorRef<Pass>>, done: &Done) -> Result<ActorRef<Pass>, SpawnErr> {
    let (actor, _) = Actor::spawn(None, Node, (next, done.clone())).await?;
    Ok(actor)
}

/// The framework.
#[derive(Clone)]
pub(crate) struct Ractor;

impl Peer for Ractor {
    type Actor = ActorRef<Message>;
    type Node = ActorRef<Pass>;

    fn new() -> Self {
        Self
    }

    async fn spawn(&self) -> Self::Actor {
        let (actor, _) = Actor::spawn(None, Sum, ()).await.expect("it starts");
        actor
    }

    async fn tell(&self, actor: &Self::Actor, n: u64) {
        actor.cast(Message::Add(n)).expect("the actor lives");
    }

    async fn ask(&self, actor: &Self::Actor, n: u64) -> u64 {
        let reply = actor.call(|port| Message::Ask(n, port), None).await;
        reply.expect("the actor lives").expect("it replies")
    }

    async fn stop(&self, actors: Vec<Self::Actor>) {
        for actor in &actors {
            actor.stop(None);
        }
        for actor in actors {
            actor.wait(None).await.expect("it ends");
        }
    }

    async fn periodic(&self, actors: usize) {
        for _ in 0..actors {
            self.spawn().await.send_interval(PERIOD, || Message::Beat);
        }
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let last = node(None, &done).await.expect("it starts");
        let mut first = last.clone();
        for _ in 1..length {
            first = node(Some(first), &done).await.expect("it starts");
        }
        last.cast(Pass::Link(first.clone())).expect("it lives");
        first
    }

    async fn pass(&self, node: &Self::Node, hops: u64) {
        node.cast(Pass::Token(hops)).expect("the node lives");
    }
}
