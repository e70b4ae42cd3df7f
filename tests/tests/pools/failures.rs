//! Workers that fail or are stopped.

use std::time::Duration;

use conclib::prelude::*;
use conclib_tests::{TestResult, within};
use futures_util::future::join_all;

use super::{Explode, Note, PoolState, PoolWorker, who};

#[tokio::test]
async fn failed_worker_restarts_and_others_continue() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(2)).await?;
    assert!(matches!(
        within(pool.ask(Explode)).await,
        Err(AskError::Failed { .. })
    ));
    let answers = [who(&pool, 0).await, who(&pool, 0).await];
    assert_eq!(
        answers,
        [1, 2],
        "the second, and the successor of the first"
    );
    assert_eq!(state.made(), 3);
    Ok(())
}

#[tokio::test]
async fn messages_waiting_for_a_failed_worker_are_not_lost() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(1)).await?;
    let explode = pool.ask(Explode);
    let notes = (0..8).map(|n| pool.tell(Note(n)));
    let (exploded, told) = within(async { tokio::join!(explode, join_all(notes)) }).await;
    assert!(matches!(exploded, Err(AskError::Failed { .. })));
    assert!(told.iter().all(Result::is_ok));
    assert_eq!(who(&pool, 0).await, 1);
    let expected: Vec<_> = (0..8).map(|n| n.to_string()).collect();
    assert_eq!(state.log.entries(), expected);
    Ok(())
}

#[tokio::test]
async fn spent_budget_fails_the_pool() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = state.pool(2).budget(1, Duration::from_secs(60));
    let pool = system.spawn(pool).urn("workers").await?;
    for _ in 0..4 {
        let _ = within(pool.ask(Explode)).await;
    }
    let reason = within(pool.stopped()).await;
    let failure = reason.failure().expect("a failure").to_string();
    assert!(failure.contains("`workers/"), "{failure}");
    assert!(system.is_empty(), "its workers are gone as well");
    Ok(())
}

#[tokio::test]
async fn stopped_worker_is_replaced() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(2)).urn("workers").await?;
    let first = system.actor::<PoolWorker>("workers/1")?;
    first.stop();
    within(first.stopped()).await;
    let mut answers = [who(&pool, 0).await, who(&pool, 0).await];
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
    assert!(system.actor::<PoolWorker>("workers/3").is_ok());
    Ok(())
}
