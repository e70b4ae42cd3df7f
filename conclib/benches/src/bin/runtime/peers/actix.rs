//! actix: two arbiters beside the system's own, one for the actors and one for the senders.
//! Sending without a reply either ignores the bound of a mailbox (`do_send`) or fails when it
//! is full (`try_send`): a tell here is the second, again after a yield.

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::peer::{Done, MAILBOX, PERIOD, Peer, beat};
use crate::rows::Workers;

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);

/// Sums.
pub(crate) struct Sum(u64);

impl Actor for Sum {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Add> for Sum {
    type Result = u64;

    fn handle(&mut self, Add(n): Add, _: &mut Self::Context) -> u64 {
        self.0 = self.0.wrapping_add(n);
        self.0
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Sum {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

struct Heart;

impl Actor for Heart {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PERIOD, |_, _| beat());
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Token(u64);

#[derive(Message)]
#[rtype(result = "()")]
struct Link(Addr<Node>);

/// One of a ring.
pub(crate) struct Node {
    next: Option<Addr<Node>>,
    done: Done,
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Link> for Node {
    type Result = ();

    fn handle(&mut self, Link(next): Link, _: &mut Self::Context) {
        self.next = Some(next);
    }
}

impl Handler<Token> for Node {
    type Result = ();

    fn handle(&mut self, Token(hops): Token, _: &mut Self::Context) {
        match (&self.next, hops.checked_sub(1)) {
            (Some(next), Some(hops)) => next.do_send(Token(hops)),
            _ => self.done.send(()).expect("the token is awaited"),
        }
    }
}

/// The framework: the arbiter of its actors.
#[derive(Clone)]
pub(crate) struct Actix(ArbiterHandle);

impl Peer for Actix {
    type Actor = Addr<Sum>;
    type Node = Addr<Node>;

    fn new() -> Self {
        Self(Arbiter::new().handle())
    }

    fn run<F>(_: Workers, measurement: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        System::new().block_on(async {
            let (sender, result) = oneshot::channel();
            Arbiter::new().spawn(async {
                let _ = sender.send(measurement.await);
            });
            result.await.expect("the measurement is right")
        })
    }

    async fn spawn(&self) -> Self::Actor {
        Sum::start_in_arbiter(&self.0, |_| Sum(0))
    }

    async fn tell(&self, actor: &Self::Actor, n: u64) {
        let mut message = Add(n);
        while let Err(back) = actor.try_send(message) {
            let SendError::Full(full) = back else {
                panic!("the actor lives");
            };
            message = full;
            tokio::task::yield_now().await;
        }
    }

    async fn ask(&self, actor: &Self::Actor, n: u64) -> u64 {
        actor.send(Add(n)).await.expect("it replies")
    }

    async fn stop(&self, actors: Vec<Self::Actor>) {
        for actor in &actors {
            actor.send(Stop).await.expect("the actor lives");
        }
    }

    async fn periodic(&self, actors: usize) {
        for _ in 0..actors {
            let actor = Heart::start_in_arbiter(&self.0, |_| Heart);
            std::mem::forget(actor);
        }
    }

    async fn ring(&self, length: usize, done: Done) -> Self::Node {
        let spawn = |next| {
            let done = done.clone();
            Node::start_in_arbiter(&self.0, |_| Node { next, done })
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
        node.do_send(Token(hops));
    }
}
