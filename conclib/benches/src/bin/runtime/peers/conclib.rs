//! conclib: sync handlers where nothing is awaited.

use conclib::prelude::*;

use crate::peer::{Counting, Done, Peer, beat};

#[derive(ActorMessage)]
#[message(local, response = u64)]
struct Add(u64);

#[derive(ActorMessage)]
#[message(local)]
struct Count;

/// Sums.
#[derive(Actor)]
pub(crate) struct Sum(u64);

#[handlers]
impl Sum {
    #[handler]
    fn add(&mut self, Add(n): Add) -> u64 {
        self.0 = self.0.wrapping_add(n);
        self.0
    }

    #[handler]
    fn count(&mut self, _: Count) {
        beat();
    }
}

#[derive(ActorMessage)]
#[message(local)]
struct Beat;

#[derive(Actor)]
#[periodic(tick = Beat, every = "100ms")]
struct Heart;

#[handlers]
impl Heart {
    #[handler]
    fn beat(&mut self, _: Beat) {
        beat();
    }
}

#[derive(ActorMessage)]
#[message(local)]
struct Token(u64);

#[derive(ActorMessage)]
#[message(local)]
struct Link(ActorRef<Node>);

/// One of a ring.
#[derive(Actor)]
pub(crate) struct Node {
    next: Option<ActorRef<Node>>,
    done: Done,
}

#[handlers]
impl Node {
    #[handler]
    fn link(&mut self, Link(next): Link) {
        self.next = Some(next);
    }

    #[handler]
    async fn pass(&mut self, Token(hops): Token) {
        match (&self.next, hops.checked_sub(1)) {
            (Some(next), Some(hops)) => next.tell(Token(hops)).await.expect("the next one lives"),
            _ => self.done.send(()).expect("the token is awaited"),
        }
    }
}

/// The framework: one system.
#[derive(Clone)]
pub(crate) struct Conclib(ActorSystem);

impl Peer for Conclib {
    type Actor = ActorRef<Sum>;
    type Node = ActorRef<Node>;

    fn new() -> Self {
        Self(ActorSystem::new())
    }

    async fn spawn(&self) -> Self::Actor {
        self.0.spawn(Sum(0)).await.expect("it starts")
    }

    async fn tell(&self, actor: &Self::Actor, n: u64) {
        actor.tell(Add(n)).await.expect("the actor lives");
    }

    async fn ask(&self, actor: &Self::Actor, n: u64) -> u64 {
        actor.ask(Add(n)).await.expect("it replies")
    }

    async fn stop(&self, actors: Vec<Self::Actor>) {
        for actor in &actors {
            actor.stop();
        }
        for actor in actors {
            actor.stopped().await;
        }
    }

    async fn periodic(&self, actors: usize) {
        for _ in 0..actors {
            self.0.spawn(Heart).await.expect("it starts");
        }
        // The system owns its actors, and stops them when its last handle goes.
        std::mem::forget(self.0.clone());
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let node = |next| Node {
            next,
            done: done.clone(),
        };
        let last = self.0.spawn(node(None)).await.expect("it starts");
        let mut first = last.clone();
        for _ in 1..length {
            first = self.0.spawn(node(Some(first))).await.expect("it starts");
        }
        last.tell(Link(first.clone())).await.expect("it lives");
        first
    }

    async fn pass(&self, node: &Self::Node, hops: u64) {
        node.tell(Token(hops)).await.expect("the node lives");
    }
}

impl Counting for Conclib {
    async fn count(&self, actor: &Self::Actor) {
        actor.tell(Count).await.expect("the actor lives");
    }
}

/// Actors that are asked by their URN.
pub(crate) struct Registered {
    /// The system in which they are looked up.
    system: ActorSystem,
    /// Their URNs.
    urns: Vec<String>,
}

impl Registered {
    /// Spawns this many actors.
    pub(crate) async fn new(actors: usize) -> Self {
        let system = ActorSystem::new();
        let urns: Vec<_> = (0..actors).map(|n| format!("account/{n}")).collect();
        for urn in &urns {
            let spawn = system.spawn(Sum(0)).urn(urn.as_str());
            spawn.await.expect("it starts");
        }
        Self { system, urns }
    }

    /// Asks the actor with that number.
    pub(crate) async fn ask(&self, actor: usize, n: u64) -> u64 {
        let urn = &self.urns[actor];
        self.system.ask(urn, Add(n)).await.expect("it replies")
    }
}
