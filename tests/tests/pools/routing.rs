//! Choice of the worker: turns, load, keys, lookups.

use std::collections::HashMap;

use conclib::pool::{Pool, Route};
use conclib::prelude::*;
use conclib::system::LookupError;
use conclib_tests::{TestResult, poll_once, within};

use super::{PoolState, PoolWorker, Slow, Who, who};

#[tokio::test]
async fn workers_take_turns() -> TestResult {
    let system = ActorSystem::new();
    let pool = system.spawn(PoolState::default().pool(3)).await?;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(who(&pool, 0).await);
    }
    assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    Ok(())
}

#[tokio::test]
async fn least_loaded_worker_is_chosen() -> TestResult {
    let state = PoolState::with_gate();
    let system = ActorSystem::new();
    let pool = system
        .spawn(state.pool(2).route(Route::LeastLoaded))
        .await?;
    let mut slow = pool.ask(Slow);
    assert!(poll_once(&mut slow).await.is_pending());
    let busy = state.clone();
    within(async {
        while busy.log.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let idle = who(&pool, 0).await;
    for _ in 0..5 {
        assert_eq!(who(&pool, 0).await, idle);
    }
    state.admit(1);
    assert_ne!(within(slow).await?, idle);
    Ok(())
}

#[tokio::test]
async fn key_meets_the_same_worker_and_few_keys_move() -> TestResult {
    let system = ActorSystem::new();
    let state = PoolState::default();
    let pool = state.pool(4).by_key(|message: &Who| message.key);
    let pool = system.spawn(pool).await?;
    let mut before = HashMap::new();
    for key in 0..200 {
        before.insert(key, who(&pool, key).await);
    }
    for key in 0..200 {
        assert_eq!(before[&key], who(&pool, key).await);
    }
    let used: std::collections::HashSet<_> = before.values().collect();
    assert_eq!(used.len(), 4, "all workers have keys");
    within(pool.resize(5)).await?;
    let mut moved = 0;
    for key in 0..200 {
        let now = who(&pool, key).await;
        if now != before[&key] {
            assert_eq!(now, 4, "keys move to the new worker only");
            moved += 1;
        }
    }
    assert!((10..=90).contains(&moved), "{moved} of 200 moved");
    Ok(())
}

#[tokio::test]
async fn pool_is_found_by_its_urn_and_by_its_messages() -> TestResult {
    let system = ActorSystem::new();
    let pool = system
        .spawn(PoolState::default().pool(2))
        .urn("workers")
        .await?;
    assert_eq!(within(system.ask("workers", Who { key: 1 })).await, Ok(0));
    let recipient: Recipient<Who> = system.recipient("workers")?;
    assert_eq!(recipient.ask(Who { key: 1 }).await, Ok(1));
    assert_eq!(system.actor::<Pool<PoolWorker>>("workers")?, pool);
    assert!(system.actor::<PoolWorker>("workers/1").is_ok());
    assert!(matches!(
        system.actor::<PoolWorker>("workers"),
        Err(LookupError::WrongType { .. })
    ));
    assert!(matches!(
        system.recipient::<conclib_tests::messages::Double>("workers"),
        Err(LookupError::Unhandled { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn other_processes_ask_a_pool_with_and_without_keys() -> TestResult {
    let config = Config::memory();
    let system = ActorSystem::new();
    start_proxy(&system, &config).await?;
    system
        .spawn(PoolState::default().pool(3))
        .urn("turns")
        .await?;
    let keyed = PoolState::default()
        .pool(3)
        .by_key(|message: &Who| message.key);
    system.spawn(keyed).urn("keys").await?;
    let client = ProxyClient::connect(&config).await?;
    let mut turns = Vec::new();
    for _ in 0..3 {
        turns.push(within(client.ask("turns", Who { key: 7 })).await?);
    }
    assert_eq!(turns, [0, 1, 2]);
    let first = within(client.ask("keys", Who { key: 7 })).await?;
    for _ in 0..5 {
        assert_eq!(within(client.ask("keys", Who { key: 7 })).await?, first);
    }
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}
