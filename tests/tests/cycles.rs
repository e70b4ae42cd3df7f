//! Deadlock detection: actors that would wait for themselves get an error.

use std::sync::Arc;
use std::time::Duration;

use conclib::error::Delivered;
use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::{Log, TestResult, within};
use tokio::sync::Barrier;

type Outcome = Result<u32, AskError>;

/// A step within a handler; the answer is its result.
#[derive(ActorMessage)]
#[message(local, response = Outcome)]
enum Do {
    Nothing,
    /// Asks an actor to do something.
    Ask(&'static str, Box<Do>),
    /// Asks an actor with a timeout.
    AskWithin(Duration, &'static str),
    /// Tells an actor notes.
    Tell(u32, &'static str),
    /// Asks an actor that answers later, from a task that asks back.
    AskLater(&'static str, &'static str),
    /// Stops an actor and awaits its end.
    StopAndWait(&'static str),
    /// Spawns a child that asks this actor as it starts.
    SpawnAsker,
    /// Waits until others have reached the barrier.
    Meet(Arc<Barrier>, Box<Do>),
}

use Do::{Ask, AskLater, AskWithin, Meet, Nothing, SpawnAsker, StopAndWait, Tell};

/// Answered from a task that asks another actor first.
#[derive(ActorMessage)]
#[message(local, response = Outcome)]
struct Later(&'static str);

#[derive(ActorMessage)]
#[message(local)]
struct Note;

#[derive(Actor)]
#[actor(mailbox = 2)]
struct Node {
    system: ActorSystem,
    /// The actor that it asks in `on_stop`, and the log of the result.
    last_words: Option<(&'static str, Log)>,
}

#[handlers]
impl Node {
    #[handler]
    async fn run(&mut self, order: Do, ctx: &mut Context<Self>) -> Outcome {
        let order = match order {
            Meet(barrier, then) => {
                barrier.wait().await;
                *then
            }
            order => order,
        };
        match order {
            Nothing | Meet(..) => Ok(1),
            Ask(urn, then) => self.system.ask(urn, *then).await.unwrap_or_else(Err),
            AskWithin(time, urn) => {
                let ask = self.system.ask(urn, Nothing).timeout(time);
                ask.await.unwrap_or_else(Err)
            }
            Tell(count, urn) => {
                for _ in 0..count {
                    let told = self.system.tell(urn, Note).await;
                    told?;
                }
                Ok(count)
            }
            AskLater(urn, back) => self.system.ask(urn, Later(back)).await.unwrap_or_else(Err),
            StopAndWait(urn) => {
                let node = self.system.actor::<Node>(urn)?;
                node.stop();
                node.stopped().await;
                Ok(1)
            }
            SpawnAsker => {
                let log = Log::default();
                let child = Asker {
                    parent: ctx.actor_ref(),
                    log: log.clone(),
                };
                let spawned = ctx.spawn(child).await;
                assert!(spawned.is_ok(), "{spawned:?}");
                assert_eq!(log.count(), 1);
                assert!(log.entries()[0].contains("wait for itself"), "{log:?}");
                Ok(1)
            }
        }
    }

    #[handler]
    fn later(&mut self, Later(urn): Later, reply: Reply<Outcome>) {
        let asked = self.system.ask(urn, Nothing);
        tokio::spawn(async move { reply.send(asked.await.unwrap_or_else(Err)) });
    }

    #[handler]
    fn note(&mut self, _: Note) {}

    async fn on_stop(&mut self) {
        if let Some((urn, log)) = &self.last_words {
            let result = self.system.ask(*urn, Nothing).await;
            log.add(format!("{result:?}"));
        }
    }
}

/// Asks its parent as it starts.
#[derive(Actor)]
struct Asker {
    parent: ActorRef<Node>,
    log: Log,
}

#[handlers]
impl Asker {
    async fn on_start(&mut self) {
        let result = self.parent.ask(Nothing).await;
        self.log
            .add(result.map_or_else(|error| error.to_string(), |_| "answered".to_owned()));
    }
}

async fn nodes(urns: &[&'static str]) -> Result<ActorSystem, conclib::SpawnError> {
    let system = ActorSystem::new();
    for urn in urns {
        let node = Node {
            system: system.clone(),
            last_words: None,
        };
        system.spawn(node).urn(*urn).await?;
    }
    Ok(system)
}

fn ask(urn: &'static str, then: Do) -> Do {
    Ask(urn, Box::new(then))
}

fn cycle(chain: &[&str]) -> Outcome {
    let chain = chain
        .iter()
        .map(|urn| urn.parse().expect("a URN"))
        .collect();
    Err(AskError::AskCycle { chain })
}

#[tokio::test]
async fn actor_that_asks_itself_gets_a_cycle_error() -> TestResult {
    let system = nodes(&["a"]).await?;
    let result = within(system.ask("a", ask("a", Nothing))).await?;
    assert_eq!(result, cycle(&["a", "a"]));
    assert_eq!(
        result.unwrap_err().to_string(),
        "deadlock: `a` would wait for itself (a -> a)"
    );
    let unknown = AskError::AskCycle { chain: Vec::new() };
    let text = "deadlock: the actor would wait for itself";
    assert_eq!(unknown.to_string(), text);
    assert_eq!(
        within(system.ask("a", Nothing)).await,
        Ok(Ok(1)),
        "it goes on"
    );
    Ok(())
}

#[tokio::test]
async fn chain_names_every_waiting_actor() -> TestResult {
    let system = nodes(&["a", "b", "c"]).await?;
    let round = ask("b", ask("c", ask("a", Nothing)));
    assert_eq!(
        within(system.ask("a", round)).await?,
        cycle(&["c", "a", "b", "c"])
    );
    Ok(())
}

#[tokio::test]
async fn cycle_is_reported_before_the_timeout() -> TestResult {
    let system = nodes(&["a", "b"]).await?;
    let round = ask("b", AskWithin(Duration::from_secs(3600), "a"));
    assert_eq!(
        within(system.ask("a", round)).await?,
        cycle(&["b", "a", "b"])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_actors_ask_each_other_within_handlers() -> TestResult {
    let system = nodes(&["a", "b"]).await?;
    for _ in 0..500 {
        let barrier = Arc::new(Barrier::new(2));
        let meet = |then| Meet(barrier.clone(), Box::new(then));
        let a = system.ask("a", meet(ask("b", Nothing)));
        let b = system.ask("b", meet(ask("a", Nothing)));
        let (a, b) = within(async { tokio::try_join!(a, b) }).await?;
        assert!(a.is_ok() != b.is_ok() || a.is_err(), "{a:?} {b:?}");
        for result in [a, b] {
            let cycle = matches!(result, Ok(1) | Err(AskError::AskCycle { .. }));
            assert!(cycle, "{result:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn two_actors_with_full_mailboxes_tell_each_other() -> TestResult {
    let system = nodes(&["a", "b"]).await?;
    let barrier = Arc::new(Barrier::new(2));
    let meet = |then| Meet(barrier.clone(), Box::new(then));
    let a = system.ask("a", meet(Tell(10, "b")));
    let b = system.ask("b", meet(Tell(10, "a")));
    let (a, b) = within(async { tokio::try_join!(a, b) }).await?;
    let cycles = [&a, &b].map(|result| matches!(result, Err(AskError::AskCycle { .. })));
    assert!(cycles.contains(&true), "{a:?} {b:?}");
    assert!(cycles.contains(&false), "the other goes on: {a:?} {b:?}");
    let texts =
        [a, b].map(|result| result.map_or_else(|error| error.to_string(), |_| String::new()));
    let expected = [
        "deadlock: `a` would wait for itself (a -> b -> a)",
        "deadlock: `b` would wait for itself (b -> a -> b)",
    ];
    assert!(
        expected
            .iter()
            .any(|text| texts.contains(&(*text).to_owned())),
        "{texts:?}"
    );
    Ok(())
}

#[tokio::test]
async fn asks_one_after_another_are_no_cycle() -> TestResult {
    let system = nodes(&["a", "b", "c"]).await?;
    for _ in 0..200 {
        // `b` has answered `a` and asks it, before `a` has looked at the answer.
        let asked = system.ask("a", ask("b", Nothing));
        let back = system.ask("b", ask("a", Nothing));
        let other = system.ask("c", ask("b", ask("a", Nothing)));
        let _ = within(async { tokio::join!(asked, back, other) }).await;
        assert_eq!(within(system.ask("a", ask("b", Nothing))).await, Ok(Ok(1)));
        assert_eq!(within(system.ask("b", ask("a", Nothing))).await, Ok(Ok(1)));
    }
    Ok(())
}

#[tokio::test]
async fn kept_reply_ends_the_edge() -> TestResult {
    let system = nodes(&["a", "b"]).await?;
    // `a` waits for `b`, whose task asks `c`, and `b` itself may ask `a` meanwhile.
    let c = Node {
        system: system.clone(),
        last_words: None,
    };
    system.spawn(c).urn("c").await?;
    assert_eq!(within(system.ask("a", AskLater("b", "c"))).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn child_asks_its_spawner_in_on_start() -> TestResult {
    let system = nodes(&["a"]).await?;
    assert_eq!(within(system.ask("a", SpawnAsker)).await, Ok(Ok(1)));
    Ok(())
}

#[tokio::test]
async fn awaited_actor_asks_in_on_stop() -> TestResult {
    let system = nodes(&["a"]).await?;
    let log = Log::default();
    let last_words = Some(("a", log.clone()));
    let node = Node {
        system: system.clone(),
        last_words,
    };
    system.spawn(node).urn("b").await?;
    assert_eq!(within(system.ask("a", StopAndWait("b"))).await, Ok(Ok(1)));
    assert!(log.entries()[0].contains("AskCycle"), "{log:?}");
    Ok(())
}

#[tokio::test]
async fn asking_actor_is_answered_while_its_end_is_awaited() -> TestResult {
    let system = nodes(&["a", "b"]).await?;
    let barrier = Arc::new(Barrier::new(2));
    let meet = |then| Meet(barrier.clone(), Box::new(then));
    let a = system.ask("a", meet(StopAndWait("b")));
    let b = system.ask("b", meet(ask("a", Nothing)));
    let (a, b) = within(async { tokio::try_join!(a, b) }).await?;
    assert_eq!(a, Ok(1));
    assert!(matches!(b, Err(AskError::AskCycle { .. })), "{b:?}");
    Ok(())
}

/// The handler tells its own pool this many notes.
#[derive(ActorMessage)]
#[message(local)]
struct Flood(u32);

#[derive(Actor)]
#[actor(mailbox = 1)]
struct Flooder {
    pool: &'static str,
    system: ActorSystem,
    log: Log,
}

#[handlers]
impl Flooder {
    #[handler]
    async fn flood(&mut self, Flood(count): Flood) {
        self.log.add("handled");
        for _ in 0..count {
            let told = self.system.tell(self.pool, Flood(0)).await;
            if told.is_err() {
                self.log.add("refused");
            }
        }
    }
}

#[tokio::test]
async fn worker_that_floods_its_own_pool_does_not_block_it() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (inner, written) = (system.clone(), log.clone());
    let pool = Pool::new(1, move || {
        let (system, log) = (inner.clone(), written.clone());
        async move {
            Flooder {
                pool: "pool",
                system,
                log,
            }
        }
    });
    let pool = system.spawn(pool).urn("pool").mailbox(1).await?;
    pool.tell(Flood(50)).await?;
    within(async {
        while log.count() < 51 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let handled = log
        .entries()
        .iter()
        .filter(|entry| *entry == "handled")
        .count();
    let refused = log.count() - handled;
    assert_eq!(handled + refused, 51, "each was handled, or came back");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dropped_ask_is_no_edge() -> TestResult {
    let system = nodes(&["a", "b"]).await?;
    let busy = Arc::new(Barrier::new(2));
    let held = tokio::spawn(system.ask("b", Meet(busy.clone(), Box::new(Nothing))));
    within(async {
        while system
            .snapshot()
            .actors
            .iter()
            .all(|actor| actor.running.is_none())
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let given_up = system.ask("a", AskWithin(Duration::from_millis(5), "b"));
    let timeout = Err(AskError::Timeout {
        delivered: Delivered::No,
    });
    assert_eq!(within(given_up).await?, timeout);
    busy.wait().await;
    within(held).await??.ok();
    assert_eq!(within(system.ask("b", ask("a", Nothing))).await, Ok(Ok(1)));
    Ok(())
}
