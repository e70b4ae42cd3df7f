//! Pending replies and deadlock detection: requests that are forwarded, distributed by a pool, kept
//! for later, or moved into a task.

mod forwarded;
mod kept;
mod resizing;

use std::future::{Future, Ready, ready};
use std::pin::Pin;

use conclib::pool::Pool;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::{poll_once, within};

type Outcome = Result<u32, AskError>;
type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Awaits a future within the handler.
#[derive(ActorMessage)]
#[message(local, response = Outcome)]
struct Run(Work);

/// Polls a future once within the handler, and keeps it.
#[derive(ActorMessage)]
#[message(local)]
struct Begin(Work);

/// Awaits the kept future within the handler.
#[derive(ActorMessage)]
#[message(local, response = Outcome)]
struct End;

/// Forwards work to another actor.
#[derive(ActorMessage)]
#[message(local, response = Outcome)]
struct Via(ActorRef<Node>, Work);

/// Forwards work to another actor, and to a third if that one waits for the asker.
#[derive(ActorMessage)]
#[message(local, response = Outcome)]
struct ViaEither(ActorRef<Node>, ActorRef<Node>, Work);

#[derive(Actor, Default)]
#[actor(mailbox = 1)]
struct Node {
    kept: Option<Work>,
}

#[handlers]
impl Node {
    #[handler]
    async fn run(&mut self, Run(work): Run) -> Outcome {
        work.await
    }

    #[handler]
    async fn begin(&mut self, Begin(mut work): Begin) {
        assert!(poll_once(&mut work).await.is_pending());
        self.kept = Some(work);
    }

    #[handler]
    async fn end(&mut self, _: End) -> Outcome {
        match self.kept.take() {
            Some(work) => work.await,
            None => Ok(0),
        }
    }

    #[handler]
    async fn via(&mut self, Via(to, work): Via, reply: Reply<Outcome>) {
        // The asker gets the error.
        let _ = to.forward(Run(work), reply).await;
    }

    #[handler]
    async fn via_either(&mut self, ViaEither(to, or, work): ViaEither, reply: Reply<Outcome>) {
        if let Err(back) = to.forward(Run(work), reply).await {
            assert!(matches!(back.reason(), AskError::AskCycle { .. }));
            let (run, reply) = back.into_parts();
            let _ = or.forward(run, reply).await;
        }
    }
}

fn run(work: impl Future<Output = Outcome> + Send + 'static) -> Run {
    Run(Box::pin(work))
}

/// Asks, and flattens the result.
async fn ask(to: ActorRef<Node>, work: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
    to.ask(run(work)).await.unwrap_or_else(Err)
}

async fn ask_pool(
    to: ActorRef<Pool<Node>>,
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Outcome {
    to.ask(run(work)).await.unwrap_or_else(Err)
}

fn answer() -> Ready<Outcome> {
    ready(Ok(1))
}

async fn node(system: &ActorSystem, urn: &str) -> Result<ActorRef<Node>, conclib::SpawnError> {
    system.spawn(Node::default()).urn(urn).await
}

fn pool(size: usize) -> Pool<Node> {
    Pool::new(size, || async { Node::default() }).backoff(Backoff::none())
}

fn cycle(chain: &[&str]) -> Outcome {
    let chain = chain
        .iter()
        .map(|urn| urn.parse().expect("a URN"))
        .collect();
    Err(AskError::AskCycle { chain })
}

/// Waits until this many messages are in the mailbox.
async fn depth(system: &ActorSystem, urn: &str, depth: usize) {
    let found = |actor: &conclib::snapshot::ActorSnapshot| {
        actor.urn.as_str() == urn && actor.queued == depth
    };
    within(async {
        while !system.snapshot().actors.iter().any(found) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
