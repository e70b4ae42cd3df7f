//! Shutdowns of systems with actors on demand: their place, their time, and the state that they save.

use std::future::{pending, ready};
use std::time::Duration;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::scripted::{Run, ScriptedActor, run_async};
use conclib_tests::{GateHandle, Log, SECOND, TestResult, gate, poll_once, settle, within};
use tokio::time::{Instant, sleep};

use super::{Add, Store};

/// The time that an order takes to save itself.
const SAVING: Duration = Duration::from_millis(20);

/// Saves an order.
#[derive(ActorMessage)]
#[message(local, response = ())]
struct Save;

/// An actor that the orders need for their ends.
#[derive(Actor, Default)]
#[actor(urn = "archive", mailbox = 20_000)]
struct Archive {
    saved: usize,
    log: Log,
}

#[handlers]
impl Archive {
    #[handler]
    fn save(&mut self, _: Save) {
        self.saved += 1;
    }

    fn on_stop(&mut self) {
        self.log.add(format!("{} saved", self.saved));
    }
}

#[derive(Actor)]
struct Order;

#[handlers]
impl Order {
    #[handler]
    fn add(&mut self, Add(n): Add) -> u64 {
        n
    }

    #[handler]
    async fn run(&mut self, _: Hang) {
        pending::<()>().await;
    }

    async fn on_stop(&mut self, ctx: &mut Context<Self>) {
        sleep(SAVING).await;
        let system = ctx.system().expect("it is shutting down");
        system.ask("archive", Save).await.expect("it stops later");
    }
}

/// A handler that does not end.
#[derive(ActorMessage)]
#[message(local)]
struct Hang;

/// A system with an archive, and this many live orders.
async fn orders(count: usize) -> Result<(ActorSystem, Log), Box<dyn std::error::Error>> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let archive = Archive {
        log: log.clone(),
        ..Archive::default()
    };
    system.spawn(archive).await?;
    system.on_demand("order/*", |_| ready(Order)).await?;
    for number in 0..count {
        assert_eq!(system.ask(format!("order/{number}"), Add(1)).await?, 1);
    }
    Ok((system, log))
}

/// A younger actor that waits at a gate within a handler, and then adds to an order.
async fn asks_later(system: &ActorSystem, urn: &'static str, log: &Log) -> GateHandle {
    let (hold, mut keeper) = gate();
    let written = log.clone();
    let asking: Run = run_async(move |ctx| {
        let system = ctx.system();
        Box::pin(async move {
            hold.pass().await;
            let system = system.ok_or(Failure::msg("no system"))?;
            written.add(format!("{:?}", system.ask(urn, Add(7)).await));
            Ok(())
        })
    });
    let asks = system.spawn(ScriptedActor::new("asks", &Log::default()));
    asks.await
        .expect("it starts")
        .tell(asking)
        .await
        .expect("it runs");
    keeper.reached().await;
    keeper
}

#[tokio::test(start_paused = true)]
async fn actors_of_a_pattern_stop_at_the_same_time_and_before_older_ones() -> TestResult {
    let (system, log) = orders(10_000).await?;
    let began = Instant::now();
    let report = within(system.shutdown().timeout(25 * SECOND)).await;
    assert!(report.is_clean(), "{} killed", report.killed.len());
    assert_eq!(log.entries(), ["10000 saved"]);
    assert!(began.elapsed() < 2 * SAVING, "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn younger_actors_may_still_start_them() -> TestResult {
    let (system, log) = orders(1).await?;
    let keeper = asks_later(&system, "order/9", &log).await;
    let shutdown = tokio::spawn(system.shutdown());
    settle().await;
    keeper.open();
    assert!(within(shutdown).await?.is_clean());
    assert_eq!(log.entries(), ["Ok(7)", "2 saved"]);
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn older_actors_learn_that_they_start_and_accept_no_more() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let keeper = asks_later(&system, "order/9", &log).await;
    let orders = system.on_demand("order/*", |_| ready(Order)).await?;
    let shutdown = tokio::spawn(system.shutdown());
    settle().await;
    keeper.open();
    assert!(within(shutdown).await?.is_clean());
    assert_eq!(log.entries(), ["Err(NoResponder)"]);
    assert_eq!(AskError::NoResponder.delivered(), Delivered::No);
    assert!(orders.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_that_they_do_not_accept_or_begin_are_certainly_not_executed() -> TestResult {
    let (system, _log) = orders(2).await?;
    let slow = system.on_demand("slow/*", |_| pending::<Order>()).await?;
    let mut starting = system.ask("slow/1", Add(1));
    assert!(poll_once(&mut starting).await.is_pending());
    let shutdown = tokio::spawn(system.shutdown());
    assert_eq!(within(starting).await, Err(AskError::NoResponder));
    while !slow.is_empty() {
        tokio::task::yield_now().await;
    }
    settle().await; // it saves itself
    let late = within(system.ask("order/1", Add(1))).await;
    assert_eq!(late, Err(AskError::NoResponder));
    assert!(within(shutdown).await?.is_clean());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_that_overruns_takes_no_chance_from_the_others() -> TestResult {
    let (system, log) = orders(100).await?;
    let hangs = system.spawn(Order).urn("hangs").await?;
    hangs.tell(Hang).await?;
    let began = Instant::now();
    let report = within(system.shutdown().timeout(5 * SECOND)).await;
    assert_eq!(report.killed, ["hangs"]);
    assert!(report.stuck.is_empty());
    assert_eq!(log.entries(), ["100 saved"]);
    assert!(began.elapsed() < 6 * SECOND, "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_of_a_pattern_that_overruns_is_killed_alone() -> TestResult {
    let (system, log) = orders(100).await?;
    system.tell("order/7", Hang).await?;
    let began = Instant::now();
    let report = within(system.shutdown().timeout(5 * SECOND)).await;
    assert_eq!(report.killed, ["order/7"]);
    assert_eq!(log.entries(), ["99 saved"]);
    assert!(began.elapsed() < 6 * SECOND, "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actors_that_overrun_the_grace_too_are_killed_at_its_end() -> TestResult {
    let (system, log) = orders(100).await?;
    for urn in ["hangs", "hangs/2"] {
        let hangs = system.spawn(Order).urn(urn).await?;
        hangs.tell(Hang).await?;
    }
    system.tell("order/7", Hang).await?;
    let began = Instant::now();
    let report = within(system.shutdown().timeout(5 * SECOND)).await;
    assert_eq!(report.killed, ["hangs/2", "hangs", "order/7"]);
    assert!(report.stuck.is_empty());
    assert!(began.elapsed() < 7 * SECOND, "{:?}", began.elapsed());
    // In the grace, the archive stops at the same time as the orders, which fail if they come too late.
    assert_eq!(log.entries().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_during_a_shutdown_lose_no_state() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let counters = system.on_demand("counter/*", store.loader()).await?;
    let mut asking = Vec::new();
    for task in 0..4 {
        let system = system.clone();
        asking.push(tokio::spawn(async move {
            let mut count = 0_u64;
            loop {
                count += 1;
                match system.ask(format!("counter/{task}-{count}"), Add(1)).await {
                    Ok(_) => {}
                    Err(AskError::NoResponder) => return count,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }));
    }
    conclib_tests::eventually("actors start", async || counters.len() > 100).await;
    let report = within(system.shutdown()).await;
    assert!(report.is_clean(), "{report:?}");
    assert!(system.is_empty());
    for asks in asking {
        assert!(within(asks).await? > 0);
    }
    assert!(system.is_empty());
    let log = store.log();
    let of = |what: &str| log.iter().filter(|entry| entry.contains(what)).count();
    assert_eq!(of("loaded"), of("saved"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutdown_in_their_own_handler_stops_them_last() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let factory = move |_| ready(ScriptedActor::new("scripted", &written));
    system.on_demand("scripted/*", factory).await?;
    let shut_down = run_async(|ctx| {
        let system = ctx.system();
        Box::pin(async move {
            let report = system.ok_or(Failure::msg("no system"))?.shutdown().await;
            assert!(report.is_clean());
            Ok(())
        })
    });
    let mut other = system.ask("scripted/2", run_async(|_| Box::pin(async { Ok(()) })));
    assert!(poll_once(&mut other).await.is_pending());
    assert_eq!(within(system.ask("scripted/1", shut_down)).await, Ok(()));
    conclib_tests::eventually("both end", async || system.is_empty()).await;
    Ok(())
}
