//! Requests that are forwarded, or distributed by a pool.

use conclib::pool::{Pool, Route};
use conclib::prelude::*;
use conclib_tests::{Log, TestResult, gate, within};

use super::{Node, Run, Via, ViaEither, answer, ask, ask_pool, cycle, depth, node, pool, run};

#[tokio::test]
async fn receiver_of_a_forwarded_request_becomes_the_responder() -> TestResult {
    let system = ActorSystem::new();
    let (a, b, c) = (
        node(&system, "a").await?,
        node(&system, "b").await?,
        node(&system, "c").await?,
    );
    let back = ask(a.clone(), answer());
    let via = async move { b.ask(Via(c, Box::pin(back))).await.unwrap_or_else(Err) };
    assert_eq!(within(ask(a, via)).await, cycle(&["c", "a", "c"]));
    Ok(())
}

#[tokio::test]
async fn request_forwarded_to_an_actor_that_awaits_its_asker_ends() -> TestResult {
    let system = ActorSystem::new();
    let (a, b, c) = (
        node(&system, "a").await?,
        node(&system, "b").await?,
        node(&system, "c").await?,
    );
    let (gate, mut keeper) = gate();
    let log = Log::default();
    let done = log.clone();
    let forwarded = async move {
        done.add("executed");
        Ok(2)
    };
    let to = c.clone();
    let asks = tokio::spawn(ask(a.clone(), async move {
        gate.pass().await;
        let via = Via(to, Box::pin(forwarded));
        b.ask(via).await.unwrap_or_else(Err)
    }));
    keeper.reached().await;
    let waits = tokio::spawn(ask(c.clone(), ask(a, answer())));
    depth(&system, "a", 1).await;
    keeper.open();
    assert_eq!(within(asks).await?, cycle(&["a", "c", "a"]));
    assert_eq!(within(waits).await?, Ok(1), "the other goes on");
    assert_eq!(within(ask(c, answer())).await, Ok(1));
    assert_eq!(log.count(), 0, "what ended so was not executed");
    Ok(())
}

#[tokio::test]
async fn forward_that_would_close_a_cycle_returns_message_and_reply() -> TestResult {
    let system = ActorSystem::new();
    let (a, b, c, d) = (
        node(&system, "a").await?,
        node(&system, "b").await?,
        node(&system, "c").await?,
        node(&system, "d").await?,
    );
    let (gate, mut keeper) = gate();
    let to = c.clone();
    let asks = tokio::spawn(ask(a.clone(), async move {
        gate.pass().await;
        let via = ViaEither(to, d, Box::pin(answer()));
        b.ask(via).await.unwrap_or_else(Err)
    }));
    keeper.reached().await;
    let waits = tokio::spawn(ask(c, ask(a, answer())));
    depth(&system, "a", 1).await;
    keeper.open();
    assert_eq!(within(asks).await?, Ok(1), "by the third");
    assert_eq!(within(waits).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn worker_that_asks_its_own_pool_is_answered_by_another() -> TestResult {
    let system = ActorSystem::new();
    for route in [Route::RoundRobin, Route::LeastLoaded] {
        let pool = system.spawn(pool(2).route(route)).await?;
        for _ in 0..20 {
            let inner = ask_pool(pool.clone(), answer());
            assert_eq!(within(ask_pool(pool.clone(), inner)).await, Ok(1));
            // So that each worker is chosen once.
            assert_eq!(within(ask_pool(pool.clone(), answer())).await, Ok(1));
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_worker_that_asks_its_own_pool_gets_a_cycle_error() -> TestResult {
    let system = ActorSystem::new();
    let single = system.spawn(pool(1)).urn("single").await?;
    let result = within(ask_pool(single.clone(), ask_pool(single.clone(), answer()))).await;
    assert_eq!(result, cycle(&["single/1", "single/1"]));

    let keyed = pool(3).by_key(|_: &Run| 7);
    let keyed = system.spawn(keyed).urn("keyed").await?;
    let result = within(ask_pool(keyed.clone(), ask_pool(keyed.clone(), answer()))).await;
    assert!(
        matches!(result, Err(AskError::AskCycle { .. })),
        "{result:?}"
    );

    let both = system.spawn(pool(2)).urn("both").await?;
    let third = ask_pool(both.clone(), answer());
    let second = ask_pool(both.clone(), third);
    let result = within(ask_pool(both.clone(), second)).await;
    assert!(
        matches!(result, Err(AskError::AskCycle { .. })),
        "{result:?}"
    );
    for _ in 0..4 {
        assert_eq!(within(ask_pool(both.clone(), answer())).await, Ok(1));
    }
    Ok(())
}

#[tokio::test]
async fn worker_is_the_responder_and_not_its_pool() -> TestResult {
    let system = ActorSystem::new();
    let a = node(&system, "a").await?;
    let pool = system.spawn(pool(2)).urn("pool").await?;
    let back = ask(a.clone(), answer());
    let result = within(ask(a.clone(), ask_pool(pool.clone(), back))).await;
    assert_eq!(result, cycle(&["pool/1", "a", "pool/1"]));

    // Another worker may ask meanwhile.
    let (gate, mut keeper) = gate();
    let slow = ask_pool(pool.clone(), async move {
        gate.pass().await;
        Ok(2)
    });
    let asks = tokio::spawn(ask(a.clone(), slow));
    keeper.reached().await;
    let waits = tokio::spawn(ask_pool(pool.clone(), ask(a.clone(), answer())));
    depth(&system, "a", 1).await;
    keeper.open();
    assert_eq!(within(asks).await?, Ok(2));
    assert_eq!(within(waits).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn nested_pool_forwards_requests() -> TestResult {
    let system = ActorSystem::new();
    let outer = Pool::new(1, || async { pool(1) });
    let outer: ActorRef<Pool<Pool<Node>>> = system.spawn(outer).urn("outer").await?;
    let inner = outer.clone();
    let again = async move { inner.ask(run(answer())).await.unwrap_or_else(Err) };
    let result = within(outer.ask(run(again))).await?;
    assert_eq!(result, cycle(&["outer/1/1", "outer/1/1"]));
    assert_eq!(within(outer.ask(run(answer()))).await, Ok(Ok(1)));
    Ok(())
}
