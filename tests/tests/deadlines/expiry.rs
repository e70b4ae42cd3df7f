//! Expired messages are not handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use conclib::error::Delivered;
use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::{MS, TestResult, within};

use super::{LONG, TimedWorker, Work, late, worker};

#[tokio::test(start_paused = true)]
async fn expired_message_is_not_handled() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let first = tokio::spawn(worker.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let second = worker.ask(Work(MS)).timeout(50 * MS).await;
    assert_eq!(
        second,
        Err(late(Delivered::No)),
        "its handler has not started"
    );
    assert_eq!(within(first).await?, Ok(7));
    let third = worker.ask(Work(100 * MS)).timeout(50 * MS).await;
    assert_eq!(
        third,
        Err(late(Delivered::Accepted)),
        "its handler has started"
    );
    assert_eq!(worker.ask(Work(MS)).await, Ok(7));
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn asker_dropped_before_its_deadline_takes_the_message_back() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let first = tokio::spawn(worker.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let with = tokio::spawn(worker.ask(Work(MS)).timeout(5000 * MS));
    let without = tokio::spawn(worker.ask(Work(MS)));
    tokio::task::yield_now().await;
    with.abort();
    without.abort();
    assert_eq!(within(first).await?, Ok(7));
    assert_eq!(worker.ask(Work(MS)).await, Ok(7));
    // A queued message without a deadline is handled.
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

/// Forwards its work.
#[derive(Actor)]
struct Desk(ActorRef<TimedWorker>);

#[handlers]
impl Desk {
    #[handler]
    async fn work(&mut self, message: Work, reply: Reply<u32>) -> Result<(), Failure> {
        self.0.forward(message, reply).await?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn forwarded_message_keeps_its_deadline() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let desk = system.spawn(Desk(worker.clone())).await?;
    let first = tokio::spawn(worker.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let asked = desk.ask(Work(MS)).timeout(50 * MS).await;
    assert_eq!(
        asked,
        Err(late(Delivered::Accepted)),
        "the handler of the desk has started"
    );
    assert_eq!(within(first).await?, Ok(7));
    assert_eq!(worker.ask(Work(MS)).await, Ok(7));
    assert_eq!(begun.load(SeqCst), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn pool_workers_check_the_deadline() -> TestResult {
    let system = ActorSystem::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = begun.clone();
    let make = move || std::future::ready(TimedWorker(counter.clone()));
    let pool = system.spawn(Pool::new(1, make)).await?;
    let first = tokio::spawn(pool.ask(Work(100 * MS)));
    tokio::task::yield_now().await;
    let second = pool.ask(Work(MS)).timeout(50 * MS).await;
    assert_eq!(second, Err(late(Delivered::No)));
    assert_eq!(within(first).await?, Ok(7));
    let third = pool.ask(Work(100 * MS)).timeout(50 * MS).await;
    assert_eq!(third, Err(late(Delivered::Accepted)));
    assert_eq!(pool.ask(Work(MS)).await, Ok(7));
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

#[test]
fn blocking_ask_takes_its_message_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let system = ActorSystem::new();
    let (worker, begun, first) = runtime.block_on(async {
        let (worker, begun) = worker(&system).await;
        let first = tokio::spawn(worker.ask(LONG));
        while begun.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        (worker, begun, first)
    });
    let asked = worker.ask(Work(MS)).timeout(10 * MS).blocking();
    assert_eq!(asked, Err(late(Delivered::No)));
    assert_eq!(begun.load(SeqCst), 1);
    worker.kill();
    assert!(runtime.block_on(first).unwrap().is_err());
}
