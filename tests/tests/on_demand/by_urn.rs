//! Messages by URN whose actor ends after it was found, and before it has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use conclib::prelude::*;
use conclib_tests::{SECOND, TestResult, settle, within};

use super::{Act, Add, Counter, Store};

/// Actors on demand at `counter/1` and its like.
async fn counters() -> Result<ActorSystem, conclib::system::OnDemandError> {
    let (system, store) = (ActorSystem::new(), Store::default());
    system.on_demand("counter/*", store.loader()).await?;
    Ok(system)
}

/// Has the actor stop itself, and waits until it has.
async fn stop(system: &ActorSystem) -> Result<ActorRef<Counter>, AskError> {
    let actor = system.actor::<Counter>("counter/1")?;
    within(actor.ask(Act::Stop)).await?;
    within(actor.stopped()).await;
    Ok(actor)
}

#[tokio::test(start_paused = true)]
async fn message_by_urn_is_handled_by_the_next_actor() -> TestResult {
    let system = counters().await?;
    let ask = system.ask("counter/1", Add(1)).attribute("tenant", "7");
    let tell = system.tell("counter/1", Add(2));
    let (blocking, telling) = (
        system.ask("counter/1", Add(4)),
        system.tell("counter/1", Add(8)),
    );
    let gone = stop(&system).await?;
    assert_eq!(within(ask.timeout(SECOND)).await, Ok(1));
    within(tell).await?;
    let thread = thread::spawn(|| (blocking.blocking(), telling.blocking().is_ok()));
    let answers = tokio::task::spawn_blocking(|| thread.join());
    let answers = within(answers).await?.expect("no panic");
    assert_eq!(answers, (Ok(7), true));
    assert_eq!(within(system.ask("counter/1", Add(0))).await, Ok(15));
    // One by a reference is for its actor only.
    assert_eq!(gone.ask(Add(1)).await, Err(AskError::ActorStopped));
    let told = gone.tell(Add(1)).await.unwrap_err();
    assert_eq!(told.reason(), &AskError::ActorStopped);
    Ok(())
}

/// Takes the URN of a counter.
#[derive(Actor)]
struct StandIn;

#[handlers]
impl StandIn {
    #[handler]
    fn add(&mut self, Add(n): Add) -> u64 {
        1000 + n
    }
}

#[tokio::test(start_paused = true)]
async fn message_by_urn_is_for_the_actor_that_has_the_urn_by_then() -> TestResult {
    let system = counters().await?;
    let (ask, unhandled) = (
        system.ask("counter/1", Add(1)),
        system.ask("counter/1", Act::Stop),
    );
    let (told, late) = (
        system.tell("counter/1", Act::Stop),
        system.ask("counter/1", Add(1)),
    );
    stop(&system).await?;
    system.spawn(StandIn).urn("counter/1").await?;
    assert_eq!(within(ask).await, Ok(1001));
    let unhandled = within(unhandled).await;
    assert!(
        matches!(&unhandled, Err(AskError::Unhandled { urn, .. }) if urn == "counter/1"),
        "{unhandled:?}"
    );
    let back = within(told).await.unwrap_err();
    assert!(matches!(back.reason(), AskError::Unhandled { .. }));
    assert!(matches!(back.into_message(), Act::Stop));
    within(system.shutdown()).await;
    assert_eq!(within(late).await, Err(AskError::NoResponder));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn message_by_urn_gets_the_error_of_the_next_start() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let is_there = Arc::new(AtomicBool::new(true));
    let there = is_there.clone();
    let factory = move |urn| {
        let counter = there.load(Ordering::Relaxed).then(|| store.load(&urn));
        async move { counter }
    };
    system.on_demand("counter/*", factory).await?;
    let ask = system.ask("counter/1", Add(1));
    let tell = system.tell("counter/1", Add(1));
    stop(&system).await?;
    is_there.store(false, Ordering::Relaxed);
    let urn = "counter/1".parse()?;
    let not_found = AskError::ActorNotFound { urn };
    assert_eq!(within(ask).await, Err(not_found.clone()));
    settle().await;
    let back = within(tell).await.unwrap_err();
    assert_eq!(back.reason(), &not_found);
    Ok(())
}

/// Asks its peer by URN, after that has stopped itself.
#[derive(Actor)]
struct Asker(ActorSystem);

#[handlers]
impl Asker {
    #[handler]
    async fn add(&mut self, Add(n): Add) -> Result<u64, Failure> {
        let ask = self.0.ask("peer/1", Add(n));
        self.0.ask("peer/1", Stop).await?;
        settle().await;
        Ok(ask.await?)
    }
}

#[derive(ActorMessage)]
#[message(local)]
struct Stop;

/// Asks the asker when it starts, if it has one.
#[derive(Actor)]
struct Peer {
    asker: Option<Recipient<Add>>,
    asked: Option<AskError>,
}

#[handlers]
impl Peer {
    async fn on_start(&mut self) {
        if let Some(asker) = self.asker.take() {
            self.asked = asker.ask(Add(1)).await.err();
        }
    }

    #[handler]
    fn add(&mut self, _: Add) -> u64 {
        u64::from(matches!(self.asked, Some(AskError::AskCycle { .. })))
    }

    #[handler]
    fn stop(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn deadlock_with_the_next_actor_is_found() -> TestResult {
    let system = ActorSystem::new();
    let asker = system.spawn(Asker(system.clone())).await?;
    let (known, is_second) = (asker.recipient(), AtomicBool::new(false));
    let factory = move |_| {
        let is_second = is_second.swap(true, Ordering::Relaxed);
        let asker = is_second.then(|| known.clone());
        async move { Peer { asker, asked: None } }
    };
    system.on_demand("peer/*", factory).await?;
    assert_eq!(within(asker.ask(Add(1))).await, Ok(1));
    asker.kill();
    Ok(())
}
