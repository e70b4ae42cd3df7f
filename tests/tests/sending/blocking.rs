//! Blocking tells and asks.

use std::thread;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::messages::{Double, Pass, note};
use conclib_tests::{Log, SECOND, TestResult, gate, poll_once, within};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

use super::{SHORT, busy_worker, spawn_worker};

#[test]
fn threads_without_a_runtime_tell_and_ask() -> TestResult {
    let runtime = Runtime::new()?;
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, keeper) = runtime
        .block_on(busy_worker(&system, &log))
        .map_err(|error| error.to_string())?;

    worker.tell(note("in")).blocking()?;
    let back = worker.tell(note("late")).timeout(SHORT).blocking();
    let back = back.unwrap_err();
    let delivered = Delivered::No;
    assert_eq!(
        back.into_parts(),
        (note("late"), AskError::Timeout { delivered })
    );
    let late = worker.ask(Double { n: 1 }).timeout(SHORT).blocking();
    assert_eq!(late, Err(AskError::Timeout { delivered }));

    // Both wait: for room, and then for the answer.
    let teller = worker.clone();
    let telling = thread::spawn(move || teller.tell(note("told")).timeout(60 * SECOND).blocking());
    let asker = worker.clone();
    let asking = thread::spawn(move || asker.ask(Double { n: 21 }).blocking());
    keeper.open();
    telling.join().map_err(|_| "it panicked")??;
    assert_eq!(asking.join().map_err(|_| "it panicked")?, Ok(42));
    worker.ask(Double { n: 0 }).blocking()?;
    assert_eq!(log.entries(), ["in", "told"]);

    // An ask that was polled as a future keeps its deadline.
    let (gate, mut keeper) = gate();
    let mut ask = worker.ask(Pass(gate)).timeout(SHORT);
    runtime.block_on(async {
        assert!(poll_once(&mut ask).await.is_pending());
        keeper.reached().await;
    });
    let delivered = Delivered::Accepted;
    assert_eq!(ask.blocking(), Err(AskError::Timeout { delivered }));
    keeper.open();

    // A blocking wait reports the end of the runtime.
    let (gate, mut keeper) = conclib_tests::gate();
    let asker = worker.clone();
    let waiting = thread::spawn(move || asker.ask(Pass(gate)).blocking());
    runtime.block_on(keeper.reached());
    drop(runtime);
    let ended = waiting.join().map_err(|_| "it panicked")?;
    assert_eq!(ended, Err(AskError::ActorStopped));
    assert_eq!(
        worker.ask(Double { n: 1 }).blocking(),
        Err(AskError::ActorStopped)
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn blocking_calls_work_in_spawn_blocking() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = spawn_worker(&system, &log).await?;
    let asker = worker.clone();
    let answer = spawn_blocking(move || asker.ask(Double { n: 2 }).blocking());
    assert_eq!(within(answer).await?, Ok(4));

    let (gate, mut keeper) = gate();
    worker.tell(Pass(gate)).await?;
    keeper.reached().await;
    let asker = worker.clone();
    // By the real clock: the paused one does not move meanwhile.
    let late = spawn_blocking(move || asker.ask(Double { n: 2 }).timeout(SHORT).blocking());
    let delivered = Delivered::No;
    assert_eq!(late.await?, Err(AskError::Timeout { delivered }));
    keeper.open();
    Ok(())
}

/// Asks the recipient in a blocking call within the handler.
#[derive(ActorMessage)]
#[message(local)]
struct Block(Recipient<Double>);

#[derive(Actor)]
struct Blocker;

#[handlers]
impl Blocker {
    #[handler]
    fn block(&mut self, Block(other): Block) -> Result<(), Failure> {
        other.ask(Double { n: 1 }).blocking()?;
        Ok(())
    }
}

#[tokio::test]
async fn blocking_call_in_a_task_panics() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = spawn_worker(&system, &log).await?;
    // The same if it would not have to wait.
    let teller = worker.clone();
    let told = tokio::spawn(async move { teller.tell(note("never told")).blocking() });
    assert!(within(told).await.is_err_and(|error| error.is_panic()));

    let blocker = system.spawn(Blocker).await?;
    let sent = within(blocker.ask(Block(worker.recipient()))).await;
    assert!(matches!(sent, Err(AskError::Failed { .. })));
    assert_eq!(worker.ask(Double { n: 1 }).await, Ok(2));
    assert_eq!(log.count(), 0);
    Ok(())
}
