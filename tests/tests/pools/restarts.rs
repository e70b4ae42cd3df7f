//! Restarts of workers and of supervised pools.

use std::time::Duration;

use conclib::pool::Route;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::{TestResult, within};

use super::{Explode, Note, PoolState, PoolWorker, Slow, Who, who};

#[tokio::test(start_paused = true)]
async fn restarting_worker_is_not_the_least_loaded() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let pool = state.pool(2).route(Route::LeastLoaded);
    let pool = system.spawn(pool.backoff(Backoff::from_secs(30))).await?;
    assert!(matches!(
        within(pool.ask(Explode)).await,
        Err(AskError::Failed { .. })
    ));
    let begun = tokio::time::Instant::now();
    let slow = tokio::spawn(pool.ask(Slow));
    within(async {
        while state.log.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let waits = pool.ask(Who { key: 0 });
    let waits = tokio::spawn(waits);
    tokio::task::yield_now().await;
    state.admit(1);
    assert_eq!(within(slow).await??, 1);
    assert_eq!(within(waits).await??, 1);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "the first was not awaited"
    );
    Ok(())
}

#[tokio::test]
async fn failure_of_a_surplus_worker_does_not_fail_the_pool() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let pool = system.spawn(state.pool(2)).urn("workers").await?;
    let slow = [tokio::spawn(pool.ask(Slow)), tokio::spawn(pool.ask(Slow))];
    within(async {
        while state.log.count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pool.tell(Note(1)).await?;
    let fails = tokio::spawn(pool.ask(Explode));
    within(async {
        while system.snapshot().queued() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = system.actor::<PoolWorker>("workers/2")?;
    within(pool.resize(1)).await?;
    state.admit(2);
    for slow in slow {
        within(slow).await??;
    }
    assert!(matches!(within(fails).await?, Err(AskError::Failed { .. })));
    within(second.stopped()).await;
    assert_eq!(who(&pool, 0).await, 0);
    assert!(!pool.is_stopped());
    Ok(())
}

#[tokio::test]
async fn supervised_pool_keeps_waiting_messages() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let makes = state.clone();
    let pool = system.supervise(move || {
        let pool = makes.pool(1).budget(0, Duration::from_secs(60));
        async move { pool }
    });
    let pool = pool.backoff(Backoff::none()).urn("workers").await?;
    let slow = tokio::spawn(pool.ask(Slow));
    within(async {
        while state.log.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let fails = tokio::spawn(pool.ask(Explode));
    // Four wait for the worker, the exploding one first, and four for the pool.
    let mut notes = Vec::new();
    for n in 0..10 {
        notes.push(tokio::spawn(pool.tell(Note(n))));
    }
    within(async {
        while system.snapshot().queued() < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    state.admit(1);
    assert_eq!(within(slow).await??, 0);
    assert!(matches!(within(fails).await?, Err(AskError::Failed { .. })));
    for note in notes {
        within(note).await??;
    }
    assert!(who(&pool, 0).await > 0, "by a worker of the next life");
    let last = state.log.entries().pop();
    assert_eq!(last.as_deref(), Some("9"), "{:?}", state.log);
    Ok(())
}

#[tokio::test]
async fn pool_is_killed_while_waiting_for_room() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    let pool = system.spawn(state.pool(1)).mailbox(1).await?;
    let asks: Vec<_> = (0..7).map(|_| tokio::spawn(pool.ask(Slow))).collect();
    within(async {
        while system.snapshot().queued() < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pool.kill();
    for ask in asks {
        assert_eq!(within(ask).await?, Err(AskError::ActorStopped));
    }
    within(pool.stopped()).await;
    assert!(system.is_empty());
    Ok(())
}
