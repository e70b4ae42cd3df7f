//! A Redis that goes away, and one that does not answer.

use std::time::Duration;

use conclib::{AskError, Config, ProxyClient, ProxyEnd, RedisDaemon, start_proxy, start_redis};
use conclib_tests::actors::Worker;
use conclib_tests::bus::{BOUND, Bus, Stage, eventually};
use conclib_tests::messages::{Double, Hold, Release};
use conclib_tests::process::signal;
use tokio::time::{Instant, sleep, timeout};

use crate::raw::Peer;

const SECOND: Duration = Duration::from_secs(1);

fn is_an_outage(error: &AskError) -> bool {
    matches!(
        error,
        AskError::Unavailable { .. }
            | AskError::Disconnected { .. }
            | AskError::Timeout { .. }
            | AskError::NoResponder
    )
}

/// Asks until it is answered.
async fn answered(client: &ProxyClient) {
    eventually("it is answered again", async || {
        let asked = client.ask("worker", Double { n: 1 }).timeout(SECOND).await;
        asked == Ok(2)
    })
    .await;
}

async fn start_again(config: &Config) -> RedisDaemon {
    let mut tries = 0..20;
    loop {
        match start_redis(config).await {
            Ok(redis) => return redis,
            Err(error) => assert!(tries.next().is_some(), "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_is_killed_and_comes_back_empty() {
    let Stage {
        system,
        proxy,
        client,
        mut bus,
    } = Bus::redis().await.stage().await;
    let ask = |millis| {
        let patience = Duration::from_millis(millis);
        let ask = client.ask("keeper", Hold).timeout(patience);
        tokio::spawn(async move {
            let start = Instant::now();
            let asked = timeout(patience + SECOND, ask).await;
            let error = asked.expect("it ends by its deadline").unwrap_err();
            assert!(is_an_outage(&error), "{error:?}");
            start.elapsed()
        })
    };
    let mut asks: Vec<_> = (0..50).map(|n| ask(500 + 10 * n)).collect();
    eventually("they are sent", async || client.in_flight() == 50).await;
    drop(bus.redis.take()); // kills it
    for _ in 0..50 {
        asks.push(ask(1_000));
        sleep(Duration::from_millis(10)).await;
    }
    for ask in asks {
        timeout(BOUND, ask).await.unwrap().unwrap();
    }
    assert_eq!(client.in_flight(), 0);
    bus.redis = Some(start_again(&bus.config).await);
    // The lease is gone with the data, and the proxy does not take what it no longer owns.
    let end = timeout(BOUND, proxy.stopped()).await;
    assert_eq!(end.unwrap(), ProxyEnd::LeaseLost);
    // Another proxy of the same system goes on with the same actors.
    start_proxy(&system, &bus.config).await.unwrap();
    answered(&client).await;
    assert_eq!(
        client.ask("keeper", Release { n: 1 }).await.map(|_| ()),
        Ok(())
    );
    let shutdown = timeout(BOUND, system.shutdown()).await;
    assert!(shutdown.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_without_a_redis_does_not_take_long() {
    let Stage {
        system,
        client,
        mut bus,
        ..
    } = Bus::redis().await.stage().await;
    let held = tokio::spawn(client.ask("keeper", Hold).timeout(SECOND));
    eventually("it is sent", async || client.in_flight() == 1).await;
    drop(bus.redis.take());
    let start = Instant::now();
    assert!(system.shutdown().await.is_clean());
    client.shutdown().await;
    let took = start.elapsed();
    assert!(took < 4 * SECOND, "{took:?}");
    assert!(timeout(BOUND, held).await.unwrap().unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_does_not_answer_for_a_while() {
    let Stage {
        system,
        client,
        bus,
        proxy,
    } = Bus::redis().await.stage().await;
    let peer = Peer::connect(&bus.config).await;
    let process = peer.process().await;
    signal("STOP", &process).await;
    let patience = Duration::from_millis(700);
    let start = Instant::now();
    let asks = futures_util::future::join_all(
        (0..100).map(|n| client.ask("worker", Double { n }).timeout(patience)),
    );
    for asked in timeout(patience + SECOND, asks).await.unwrap() {
        let error = asked.unwrap_err();
        assert!(is_an_outage(&error), "{error:?}");
    }
    assert!(start.elapsed() >= patience);
    signal("CONT", &process).await;
    // That was too short for the lease to run out.
    answered(&client).await;
    assert!(
        timeout(Duration::from_millis(10), proxy.stopped())
            .await
            .is_err()
    );
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_does_not_answer_until_the_lease_has_run_out() {
    let Stage {
        system,
        client,
        bus,
        proxy,
    } = Bus::redis().await.stage().await;
    let peer = Peer::connect(&bus.config).await;
    let process = peer.process().await;
    signal("STOP", &process).await;
    let start = Instant::now();
    let end = timeout(BOUND, proxy.stopped()).await.unwrap();
    let took = start.elapsed();
    assert_eq!(end, ProxyEnd::LeaseLost);
    assert!(
        took < 7 * SECOND,
        "it says so when the lease ends: {took:?}"
    );
    signal("CONT", &process).await;
    // What it had sent to keep the lease does not keep its successor away.
    let start = Instant::now();
    let next = timeout(BOUND, start_proxy(&system, &bus.config)).await;
    next.unwrap().unwrap();
    let took = start.elapsed();
    assert!(took < 4 * SECOND, "{took:?}");
    answered(&client).await;
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_survive_a_cut_connection() {
    let Stage {
        system,
        client,
        bus,
        ..
    } = Bus::redis().await.stage().await;
    let peer = Peer::connect(&bus.config).await;
    for round in 0..3 {
        let asks: Vec<_> = (0..300)
            .map(|_| tokio::spawn(client.ask("keeper", Hold)))
            .collect();
        eventually("they are sent", async || client.in_flight() == 300).await;
        // A request that comes after them proves that they have arrived.
        assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
        let cut = async {
            peer.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        };
        let release = async {
            let keeper = system.recipient::<Release>("keeper").unwrap();
            sleep(Duration::from_millis(3)).await;
            keeper.ask(Release { n: round }).await.unwrap()
        };
        let (count, ()) = tokio::join!(release, cut);
        assert_eq!(count, 300);
        for ask in asks {
            assert_eq!(timeout(BOUND, ask).await.unwrap().unwrap(), Ok(round));
        }
        answered(&client).await;
    }
    let worker = system.spawn(Worker::default()).urn("other").await.unwrap();
    assert_eq!(worker.ask(Double { n: 1 }).await, Ok(2));
    assert_eq!(client.in_flight(), 0);
}
