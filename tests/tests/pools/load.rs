//! Requests of other processes, resizing under load, expiry, stopping workers.

use std::time::Duration;

use conclib::pool::{Pool, Route};
use conclib::prelude::*;
use conclib_tests::{TestResult, poll_once, within};
use futures_util::future::join_all;

use super::{Explode, PoolState, PoolWorker, Slow, Who, who};

#[tokio::test]
async fn workers_take_undecoded_requests_of_other_processes() -> TestResult {
    let config = Config::memory();
    let system = ActorSystem::new();
    start_proxy(&system, &config).await?;
    let pool = Pool::new(2, || async { conclib_tests::actors::Raw });
    system.spawn(pool).urn("raws").await?;
    let client = ProxyClient::connect(&config).await?;
    for n in 0..4 {
        let double = conclib_tests::messages::Double { n };
        assert_eq!(within(client.ask("raws", double)).await, Ok(n * 2));
    }
    let stranger = within(client.ask("raws", conclib_tests::messages::Stranger)).await;
    let unhandled = matches!(&stranger, Err(AskError::Unhandled { urn, .. }) if urn == "raws");
    assert!(unhandled, "{stranger:?}");
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pool_is_resized_under_load_and_failures() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let pool = state.pool(3).budget(u32::MAX, Duration::from_secs(60));
    let pool = system
        .spawn(pool.route(Route::LeastLoaded))
        .mailbox(2)
        .await?;
    let askers = (0..4_u32).map(|asker| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for n in 0..500 {
                let answer = if n % 50 == asker {
                    pool.ask(Explode).await
                } else {
                    pool.ask(Who { key: n }).await
                };
                // Messages for a worker that fails while it stops are refused.
                let known = matches!(
                    answer,
                    Ok(_) | Err(AskError::Failed { .. } | AskError::ActorStopped)
                );
                assert!(known, "{answer:?}");
            }
        })
    });
    let changed = pool.clone();
    let resizer = tokio::spawn(async move {
        for n in 0..100 {
            changed.resize(n * 7 % 5).await?;
        }
        Ok::<_, AskError>(())
    });
    let askers: Vec<_> = askers.collect();
    for asker in within(join_all(askers)).await {
        asker?;
    }
    within(resizer).await??;
    assert!(!pool.is_stopped());
    assert!(within(system.shutdown()).await.is_clean());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn request_expires_while_waiting_for_a_worker() -> TestResult {
    let config = Config::memory();
    let (system, state) = (ActorSystem::new(), PoolState::with_gate());
    start_proxy(&system, &config).await?;
    let pool = state.pool(1).by_key(|message: &Who| message.key);
    let pool = system.spawn(pool).urn("keyed").await?;
    let client = ProxyClient::connect(&config).await?;
    let slow = tokio::spawn(pool.ask(Slow));
    let late = client.ask("keyed", Slow).timeout(Duration::from_secs(1));
    assert!(matches!(within(late).await, Err(AskError::Timeout { .. })));
    state.admit(2);
    within(slow).await??;
    assert_eq!(who(&pool, 0).await, 0);
    assert_eq!(state.log.count(), 1, "the second has expired");
    Ok(())
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct LastOne;

/// Stops after each message.
#[derive(Actor)]
struct Mayfly;

#[handlers]
impl Mayfly {
    #[handler]
    fn last_one(&mut self, _: LastOne, ctx: &mut Context<Self>) -> u32 {
        ctx.stop();
        1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_workers_lose_no_reply() -> TestResult {
    let system = ActorSystem::new();
    let pool = system.spawn(Pool::new(2, || async { Mayfly })).await?;
    let asks = (0..500).map(|_| tokio::spawn(pool.ask(LastOne)));
    for asked in within(join_all(asks)).await {
        assert_eq!(asked?, Ok(1));
    }
    Ok(())
}

#[tokio::test]
async fn stopping_pool_continues_without_a_stopped_worker() -> TestResult {
    let (system, state) = (ActorSystem::new(), PoolState::default());
    let pool = system.spawn(state.pool(2)).urn("pool").await?;
    let mut asks: Vec<_> = (0..4).map(|key| pool.ask(Who { key })).collect();
    for ask in &mut asks {
        assert!(poll_once(ask).await.is_pending());
    }
    system.actor::<PoolWorker>("pool/1")?.stop();
    let report = within(system.shutdown()).await;
    assert!(report.is_clean());
    for ask in asks {
        assert_eq!(within(ask).await, Ok(1), "by the other");
    }
    let reason = pool.stopped().await;
    assert!(matches!(reason, conclib::StopReason::Shutdown), "{reason}");

    // Without a worker, waiting messages are refused.
    let system = ActorSystem::new();
    let pool = system.spawn(state.pool(1)).urn("pool").await?;
    let mut ask = pool.ask(Who { key: 1 });
    assert!(poll_once(&mut ask).await.is_pending());
    system.actor::<PoolWorker>("pool/1")?.stop();
    assert!(within(system.shutdown()).await.is_clean());
    assert_eq!(within(ask).await, Err(AskError::ActorStopped));
    let reason = pool.stopped().await;
    assert!(matches!(reason, conclib::StopReason::Shutdown), "{reason}");
    Ok(())
}
