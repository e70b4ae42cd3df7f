//! Pending replies and deadlock detection: requests that are forwarded, distributed by a pool, kept
//! for later, or moved into a task.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use conclib::prelude::*;
use conclib::{Backoff, Pool, Route};
use conclib_tests::{Log, TestResult, gate, poll_once, within};
use tokio::sync::oneshot;

type Heard = Result<u32, AskError>;
type Work = Pin<Box<dyn Future<Output = Heard> + Send>>;

/// Awaits a future within the handler.
#[derive(ActorMessage)]
#[message(local, response = Heard)]
struct Run(Work);

/// Polls a future once within the handler, and keeps it.
#[derive(ActorMessage)]
#[message(local)]
struct Begin(Work);

/// Awaits the kept future within the handler.
#[derive(ActorMessage)]
#[message(local, response = Heard)]
struct End;

/// Forwards work to another actor.
#[derive(ActorMessage)]
#[message(local, response = Heard)]
struct Via(ActorRef<Node>, Work);

#[derive(Actor, Default)]
#[actor(mailbox = 1)]
struct Node {
    kept: Option<Work>,
}

#[handlers]
impl Node {
    #[handler]
    async fn run(&mut self, Run(work): Run) -> Heard {
        work.await
    }

    #[handler]
    async fn begin(&mut self, Begin(mut work): Begin) {
        assert!(poll_once(&mut work).await.is_pending());
        self.kept = Some(work);
    }

    #[handler]
    async fn end(&mut self, _: End) -> Heard {
        match self.kept.take() {
            Some(work) => work.await,
            None => Ok(0),
        }
    }

    #[handler]
    async fn via(&mut self, Via(to, work): Via, reply: Reply<Heard>) {
        // The asker gets the error.
        let _ = to.forward(Run(work), reply).await;
    }

    #[handler]
    async fn via_either(&mut self, ViaEither(to, or, work): ViaEither, reply: Reply<Heard>) {
        if let Err(back) = to.forward(Run(work), reply).await {
            assert!(matches!(back.reason(), AskError::AskCycle { .. }));
            let (run, reply) = back.into_parts();
            let _ = or.forward(run, reply).await;
        }
    }
}

fn run(work: impl Future<Output = Heard> + Send + 'static) -> Run {
    Run(Box::pin(work))
}

/// Asks, and flattens the result.
async fn ask(to: ActorRef<Node>, work: impl Future<Output = Heard> + Send + 'static) -> Heard {
    to.ask(run(work)).await.unwrap_or_else(Err)
}

async fn ask_pool(
    to: ActorRef<Pool<Node>>,
    work: impl Future<Output = Heard> + Send + 'static,
) -> Heard {
    to.ask(run(work)).await.unwrap_or_else(Err)
}

fn answer() -> Ready<Heard> {
    ready(Ok(1))
}

async fn node(system: &ActorSystem, urn: &str) -> Result<ActorRef<Node>, conclib::SpawnError> {
    system.spawn(Node::default()).urn(urn).await
}

fn pool(size: usize) -> Pool<Node> {
    Pool::new(size, || async { Node::default() }).backoff(Backoff::none())
}

fn cycle(chain: &[&str]) -> Heard {
    let chain = chain
        .iter()
        .map(|urn| urn.parse().expect("a URN"))
        .collect();
    Err(AskError::AskCycle { chain })
}

/// Waits until this many messages are in the mailbox.
async fn depth(system: &ActorSystem, urn: &str, depth: usize) {
    let found = |actor: &conclib::ActorSnapshot| actor.urn.as_str() == urn && actor.depth == depth;
    within(async {
        while !system.snapshot().actors.iter().any(found) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn receiver_of_a_forwarded_request_becomes_the_responder() -> TestResult {
    let system = ActorSystem::new();
    let (a, b, c) = (
        node(&system, "a").await?,
        node(&system, "b").await?,
        node(&system, "c").await?,
    );
    let back = ask(a.clone(), answer());
    let via = async move { b.ask(Via(c, Box::pin(back))).await.unwrap_or_else(Err) };
    assert_eq!(within(ask(a, via)).await, cycle(&["c", "a", "c"]));
    Ok(())
}

#[tokio::test]
async fn request_forwarded_to_an_actor_that_awaits_its_asker_ends() -> TestResult {
    let system = ActorSystem::new();
    let (a, b, c) = (
        node(&system, "a").await?,
        node(&system, "b").await?,
        node(&system, "c").await?,
    );
    let (gate, mut keeper) = gate();
    let log = Log::default();
    let done = log.clone();
    let forwarded = async move {
        done.add("executed");
        Ok(2)
    };
    let to = c.clone();
    let asks = tokio::spawn(ask(a.clone(), async move {
        gate.pass().await;
        let via = Via(to, Box::pin(forwarded));
        b.ask(via).await.unwrap_or_else(Err)
    }));
    keeper.reached().await;
    let waits = tokio::spawn(ask(c.clone(), ask(a, answer())));
    depth(&system, "a", 1).await;
    keeper.open();
    assert_eq!(within(asks).await?, cycle(&["a", "c", "a"]));
    assert_eq!(within(waits).await?, Ok(1), "the other goes on");
    assert_eq!(within(ask(c, answer())).await, Ok(1));
    assert_eq!(log.count(), 0, "what ended so was not executed");
    Ok(())
}

/// Forwards work to another actor, and to a third if that one waits for the asker.
#[derive(ActorMessage)]
#[message(local, response = Heard)]
struct ViaEither(ActorRef<Node>, ActorRef<Node>, Work);

#[tokio::test]
async fn forward_that_would_close_a_cycle_returns_message_and_reply() -> TestResult {
    let system = ActorSystem::new();
    let (a, b, c, d) = (
        node(&system, "a").await?,
        node(&system, "b").await?,
        node(&system, "c").await?,
        node(&system, "d").await?,
    );
    let (gate, mut keeper) = gate();
    let to = c.clone();
    let asks = tokio::spawn(ask(a.clone(), async move {
        gate.pass().await;
        let via = ViaEither(to, d, Box::pin(answer()));
        b.ask(via).await.unwrap_or_else(Err)
    }));
    keeper.reached().await;
    let waits = tokio::spawn(ask(c, ask(a, answer())));
    depth(&system, "a", 1).await;
    keeper.open();
    assert_eq!(within(asks).await?, Ok(1), "by the third");
    assert_eq!(within(waits).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn worker_that_asks_its_own_pool_is_answered_by_another() -> TestResult {
    let system = ActorSystem::new();
    for route in [Route::RoundRobin, Route::LeastLoaded] {
        let pool = system.spawn(pool(2).route(route)).await?;
        for _ in 0..20 {
            let inner = ask_pool(pool.clone(), answer());
            assert_eq!(within(ask_pool(pool.clone(), inner)).await, Ok(1));
            // So that each worker is chosen once.
            assert_eq!(within(ask_pool(pool.clone(), answer())).await, Ok(1));
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_worker_that_asks_its_own_pool_gets_a_cycle_error() -> TestResult {
    let system = ActorSystem::new();
    let single = system.spawn(pool(1)).urn("single").await?;
    let heard = within(ask_pool(single.clone(), ask_pool(single.clone(), answer()))).await;
    assert_eq!(heard, cycle(&["single/1", "single/1"]));

    let keyed = pool(3).by_key(|_: &Run| 7);
    let keyed = system.spawn(keyed).urn("keyed").await?;
    let heard = within(ask_pool(keyed.clone(), ask_pool(keyed.clone(), answer()))).await;
    assert!(matches!(heard, Err(AskError::AskCycle { .. })), "{heard:?}");

    let both = system.spawn(pool(2)).urn("both").await?;
    let third = ask_pool(both.clone(), answer());
    let second = ask_pool(both.clone(), third);
    let heard = within(ask_pool(both.clone(), second)).await;
    assert!(matches!(heard, Err(AskError::AskCycle { .. })), "{heard:?}");
    for _ in 0..4 {
        assert_eq!(within(ask_pool(both.clone(), answer())).await, Ok(1));
    }
    Ok(())
}

#[tokio::test]
async fn worker_is_the_responder_and_not_its_pool() -> TestResult {
    let system = ActorSystem::new();
    let a = node(&system, "a").await?;
    let pool = system.spawn(pool(2)).urn("pool").await?;
    let back = ask(a.clone(), answer());
    let heard = within(ask(a.clone(), ask_pool(pool.clone(), back))).await;
    assert_eq!(heard, cycle(&["pool/1", "a", "pool/1"]));

    // Another worker may ask meanwhile.
    let (gate, mut keeper) = gate();
    let slow = ask_pool(pool.clone(), async move {
        gate.pass().await;
        Ok(2)
    });
    let asks = tokio::spawn(ask(a.clone(), slow));
    keeper.reached().await;
    let waits = tokio::spawn(ask_pool(pool.clone(), ask(a.clone(), answer())));
    depth(&system, "a", 1).await;
    keeper.open();
    assert_eq!(within(asks).await?, Ok(2));
    assert_eq!(within(waits).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn nested_pool_forwards_requests() -> TestResult {
    let system = ActorSystem::new();
    let outer = Pool::new(1, || async { pool(1) });
    let outer: ActorRef<Pool<Pool<Node>>> = system.spawn(outer).urn("outer").await?;
    let inner = outer.clone();
    let again = async move { inner.ask(run(answer())).await.unwrap_or_else(Err) };
    let heard = within(outer.ask(run(again))).await?;
    assert_eq!(heard, cycle(&["outer/1/1", "outer/1/1"]));
    assert_eq!(within(outer.ask(run(answer()))).await, Ok(Ok(1)));
    Ok(())
}

/// Resizes its own pool in `on_start`.
#[derive(Actor)]
struct Grower {
    system: ActorSystem,
    log: Log,
}

#[handlers]
impl Grower {
    async fn on_start(&mut self) {
        if let Ok(pool) = self.system.actor::<Pool<Self>>("pool") {
            let resized = pool.resize(5).await;
            self.log.add(format!("{resized:?}"));
        }
    }
}

#[tokio::test]
async fn starting_worker_that_resizes_its_pool_gets_a_cycle_error() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (inner, written) = (system.clone(), log.clone());
    let pool = Pool::new(1, move || {
        let (system, log) = (inner.clone(), written.clone());
        async move { Grower { system, log } }
    });
    within(system.spawn(pool).urn("pool")).await?;
    assert!(log.entries()[0].contains("AskCycle"), "{log:?}");
    Ok(())
}

#[tokio::test]
async fn worker_resizes_its_pool_while_that_waits_for_room() -> TestResult {
    let system = ActorSystem::new();
    let pool = system.spawn(pool(1)).urn("pool").await?;
    let (gate, mut keeper) = gate();
    let resizes = pool.clone();
    let worker = tokio::spawn(ask_pool(pool.clone(), async move {
        gate.pass().await;
        resizes.resize(2).await.map(|()| 2)
    }));
    keeper.reached().await;
    // One message waits for the worker, and the pool waits with another.
    let others: Vec<_> = (0..2)
        .map(|_| tokio::spawn(ask_pool(pool.clone(), answer())))
        .collect();
    within(async {
        while !(system.snapshot().actors.iter()).any(|actor| actor.senders == 1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    keeper.open();
    assert_eq!(within(worker).await?, Ok(2));
    for other in others {
        assert_eq!(within(other).await?, Ok(1));
    }
    Ok(())
}

#[tokio::test]
async fn kept_request_holds_up_no_actor() -> TestResult {
    let system = ActorSystem::new();
    let (a, b) = (node(&system, "a").await?, node(&system, "b").await?);
    let (gate, mut keeper) = gate();
    let back = a.clone();
    let asked = ask(b.clone(), async move {
        gate.pass().await;
        ask(back, answer()).await
    });
    within(a.ask(Begin(Box::pin(asked)))).await?;
    keeper.reached().await;
    keeper.open();
    assert_eq!(within(ask(b, answer())).await, Ok(1), "it was answered");
    assert_eq!(within(a.ask(End)).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn resumed_request_is_a_wait_again() -> TestResult {
    let system = ActorSystem::new();
    let (a, b) = (node(&system, "a").await?, node(&system, "b").await?);
    let (gate, mut keeper) = gate();
    let back = a.clone();
    let asked = ask(b, async move {
        gate.pass().await;
        ask(back, answer()).await
    });
    within(a.ask(Begin(Box::pin(asked)))).await?;
    keeper.reached().await;
    let mut end = a.ask(End);
    assert!(poll_once(&mut end).await.is_pending());
    let end = tokio::spawn(end);
    within(async {
        // Until its second handler runs and waits.
        let runs = |actor: &conclib::ActorSnapshot| {
            actor
                .running
                .as_ref()
                .is_some_and(|running| running.name == "end")
        };
        while !system.snapshot().actors.iter().any(runs) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    keeper.open();
    assert_eq!(within(end).await??, cycle(&["b", "a", "b"]));
    Ok(())
}

#[tokio::test]
async fn request_moved_into_a_task_holds_up_no_actor() -> TestResult {
    let system = ActorSystem::new();
    let (a, b) = (node(&system, "a").await?, node(&system, "b").await?);
    let (gate_a, mut keeper_a) = gate();
    let (gate_b, mut keeper_b) = gate();
    let (moved, is_moved) = oneshot::channel();
    let back = a.clone();
    let asks = tokio::spawn(ask(a, async move {
        let mut asked = b.ask(run(async move {
            gate_b.pass().await;
            ask(back, answer()).await
        }));
        assert!(poll_once(&mut asked).await.is_pending());
        tokio::spawn(async move {
            assert!(poll_once(&mut asked).await.is_pending());
            let _ = moved.send(asked);
        });
        gate_a.pass().await;
        Ok(3)
    }));
    keeper_a.reached().await;
    keeper_b.reached().await;
    let asked = within(is_moved).await?;
    keeper_b.open();
    depth(&system, "a", 1).await;
    keeper_a.open();
    assert_eq!(within(asks).await?, Ok(3));
    assert_eq!(within(asked).await?, Ok(1));
    Ok(())
}

/// Fails once, and asks another actor before its second incarnation.
#[tokio::test(start_paused = true)]
async fn request_for_a_restarting_actor_is_still_a_wait() -> TestResult {
    let system = ActorSystem::new();
    let a = node(&system, "a").await?;
    let (log, lives) = (Log::default(), Arc::new(AtomicU32::new(0)));
    let (asks, written) = (a.clone(), log.clone());
    let phoenix = system.supervise(move || {
        let (asks, written) = (asks.clone(), written.clone());
        let life = lives.fetch_add(1, Ordering::SeqCst);
        async move {
            if life > 0 {
                written.add(format!("{:?}", ask(asks, answer()).await));
            }
            Node::default()
        }
    });
    let phoenix = within(phoenix.urn("phoenix")).await?;
    let (gate, mut keeper) = gate();
    let fails = phoenix.ask(run(async move {
        gate.pass().await;
        panic!("on purpose")
    }));
    let fails = tokio::spawn(fails);
    keeper.reached().await;
    let waits = tokio::spawn(ask(a, ask(phoenix, answer())));
    depth(&system, "phoenix", 1).await;
    keeper.open();
    assert!(matches!(within(fails).await?, Err(AskError::Failed { .. })));
    assert_eq!(within(waits).await?, Ok(1), "by the next life");
    let expected = cycle(&["phoenix", "a", "phoenix"]);
    assert_eq!(log.entries(), [format!("{expected:?}")]);
    Ok(())
}
