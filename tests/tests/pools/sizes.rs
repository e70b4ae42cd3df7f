//! Resizing, full pools, starts and stops.

use std::collections::HashMap;

use conclib::SpawnError;
use conclib::pool::Pool;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::{TestResult, poll_once, within};
use futures_util::future::join_all;

use super::{Note, PoolState, PoolWorker, Slow, Who, who};

#[tokio::test]
async fn resize_waits_for_queued_messages() -> TestResult {
    let state = PoolState::with_gate();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(1)).await?;
    within(pool.resize(3)).await?;
    assert_eq!(state.made(), 3);
    let slow: Vec<_> = (0..3).map(|_| tokio::spawn(pool.ask(Slow))).collect();
    within(async {
        while state.log.count() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(pool.resize(0)).await?; // at least one
    state.admit(3);
    for answer in slow {
        assert!(within(answer).await??.lt(&3));
    }
    for _ in 0..3 {
        assert_eq!(who(&pool, 0).await, 0);
    }
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test]
async fn full_pool_makes_its_senders_wait() -> TestResult {
    let state = PoolState::with_gate();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(2)).mailbox(1).await?;
    // Two run, eight wait for their workers, one waits in the pool, one in its mailbox.
    let mut asks: Vec<_> = (0..12).map(|_| tokio::spawn(pool.ask(Slow))).collect();
    within(async {
        while system.snapshot().queued() < 9 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut thirteenth = pool.tell(Note(1));
    assert!(poll_once(&mut thirteenth).await.is_pending());
    state.admit(12);
    within(thirteenth).await?;
    for ask in asks.drain(..) {
        within(ask).await??;
    }
    Ok(())
}

#[tokio::test]
async fn stopping_pool_handles_queued_messages() -> TestResult {
    let state = PoolState::default();
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(3)).await?;
    let told = join_all((0..50).map(|n| pool.tell(Note(n))));
    assert!(within(told).await.iter().all(Result::is_ok));
    assert!(within(system.shutdown()).await.is_clean());
    assert_eq!(state.log.count(), 50);
    Ok(())
}

#[tokio::test]
async fn pool_does_not_start_if_its_workers_do_not() {
    let pool = Pool::new(2, || async {
        Err::<PoolWorker, _>(Failure::msg("no worker today"))
    })
    .backoff(Backoff::none());
    let failed = within(ActorSystem::new().spawn(pool)).await;
    let Err(SpawnError::StartFailed { failure, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert!(failure.to_string().contains("no worker today"), "{failure}");
}

#[tokio::test]
async fn replacement_worker_gets_the_keys_of_its_predecessor() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let pool = state.pool(4).by_key(|message: &Who| message.key);
    let pool = system.spawn(pool).urn("workers").await?;
    let mut before = HashMap::new();
    for key in 0..100 {
        before.insert(key, who(&pool, key).await);
    }
    let second = system.actor::<PoolWorker>("workers/2")?;
    second.stop();
    within(second.stopped()).await;
    for (key, worker) in before {
        let now = if worker == 1 { 4 } else { worker };
        assert_eq!(who(&pool, key).await, now);
    }
    Ok(())
}

#[tokio::test]
async fn taken_worker_urn_is_skipped() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let stranger = system.spawn(conclib_tests::actors::Raw);
    let _stranger = stranger.urn("workers/2").await?;
    let pool = system.spawn(state.pool(2)).urn("workers").await?;
    assert!(system.actor::<PoolWorker>("workers/3").is_ok());
    assert_eq!([who(&pool, 0).await, who(&pool, 0).await], [0, 1]);
    Ok(())
}
