//! Outages: a Redis that is killed, and one that does not answer.

use std::time::Duration;

use conclib::bus::ConnectionState;
use conclib::daemon::{RedisDaemon, start_redis};
use conclib::error::Delivered;
use conclib::{AskError, Config, ProxyClient};
use conclib_tests::actors::Worker;
use conclib_tests::bus::{Bus, BusFixture};
use conclib_tests::messages::{Double, Hold, Release};
use conclib_tests::process::signal;
use conclib_tests::{SECOND, TEST_TIMEOUT, eventually, within};
use tokio::time::{Instant, sleep, timeout};

use crate::raw::Peer;

fn is_an_outage(error: &AskError) -> bool {
    matches!(
        error,
        AskError::Unavailable { .. }
            | AskError::Disconnected { .. }
            | AskError::Timeout { .. }
            | AskError::NoResponder
    )
}

/// Asks until an answer comes.
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
async fn redis_is_killed_and_comes_back_empty() {
    let BusFixture {
        system,
        proxy,
        client,
        mut bus,
    } = Bus::redis().await.fixture().await;
    let ask = |millis| {
        let timeout = Duration::from_millis(millis);
        let ask = client.ask("holder", Hold).timeout(timeout);
        tokio::spawn(async move {
            let start = Instant::now();
            let asked = tokio::time::timeout(timeout + SECOND, ask).await;
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
        within(ask).await.unwrap();
    }
    assert_eq!(client.in_flight(), 0);
    bus.redis = Some(start_again(&bus.config).await);
    // The lease is gone with the data, and the proxy takes another.
    answered(&client).await;
    // Answers need only some of the connections: the others may come back later.
    for mut state in [proxy.connection_state(), client.connection_state()] {
        let connected = within(state.wait_for(ConnectionState::is_connected)).await;
        assert!(connected.is_ok());
    }
    assert_eq!(
        client.ask("holder", Release { n: 1 }).await.map(|_| ()),
        Ok(())
    );
    let shutdown = timeout(TEST_TIMEOUT, system.shutdown()).await;
    assert!(shutdown.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_without_a_redis_does_not_take_long() {
    let BusFixture {
        system,
        client,
        mut bus,
        ..
    } = Bus::redis().await.fixture().await;
    let held = tokio::spawn(client.ask("holder", Hold).timeout(SECOND));
    eventually("it is sent", async || client.in_flight() == 1).await;
    drop(bus.redis.take());
    let start = Instant::now();
    assert!(system.shutdown().await.is_clean());
    client.shutdown().await;
    let took = start.elapsed();
    assert!(took < 4 * SECOND, "{took:?}");
    assert!(within(held).await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_does_not_answer_for_a_while() {
    let BusFixture {
        system,
        client,
        bus,
        proxy,
    } = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&bus.config).await;
    let process = peer.process().await;
    signal("STOP", &process).await;
    let timeout = Duration::from_millis(700);
    let start = Instant::now();
    let asks = futures_util::future::join_all(
        (0..100).map(|n| client.ask("worker", Double { n }).timeout(timeout)),
    );
    for asked in tokio::time::timeout(timeout + SECOND, asks).await.unwrap() {
        let error = asked.unwrap_err();
        assert!(is_an_outage(&error), "{error:?}");
    }
    assert!(start.elapsed() >= timeout);
    signal("CONT", &process).await;
    // That was too short for the lease to expire.
    answered(&client).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(10), proxy.stopped())
            .await
            .is_err()
    );
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_does_not_answer_until_the_lease_has_run_out() {
    let BusFixture {
        system,
        client,
        bus,
        proxy,
    } = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&bus.config).await;
    let process = peer.process().await;
    signal("STOP", &process).await;
    let start = Instant::now();
    let mut state = proxy.connection_state();
    let lost = timeout(TEST_TIMEOUT, state.wait_for(|state| !state.is_connected())).await;
    drop(lost.unwrap().unwrap());
    let took = start.elapsed();
    assert!(took < 7 * SECOND, "{took:?}");
    sleep((7 * SECOND).saturating_sub(took)).await;
    signal("CONT", &process).await;
    // Renewals of the old lease, sent before, do not prevent the next one.
    let start = Instant::now();
    answered(&client).await;
    let took = start.elapsed();
    assert!(took < 6 * SECOND, "{took:?}");
    drop(state.wait_for(ConnectionState::is_connected).await);
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_survive_a_cut_connection() {
    let BusFixture {
        system,
        client,
        bus,
        ..
    } = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&bus.config).await;
    for round in 0..3 {
        let asks: Vec<_> = (0..300)
            .map(|_| tokio::spawn(client.ask("holder", Hold)))
            .collect();
        eventually("they are sent", async || client.in_flight() == 300).await;
        // The answer to a later request proves that they have arrived.
        assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
        let cut = async {
            peer.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        };
        let release = async {
            let keeper = system.recipient::<Release>("holder").unwrap();
            sleep(Duration::from_millis(3)).await;
            keeper.ask(Release { n: round }).await.unwrap()
        };
        let (count, ()) = tokio::join!(release, cut);
        assert_eq!(count, 300);
        for ask in asks {
            assert_eq!(within(ask).await.unwrap(), Ok(round));
        }
        answered(&client).await;
    }
    let worker = system.spawn(Worker::default()).urn("other").await.unwrap();
    assert_eq!(worker.ask(Double { n: 1 }).await, Ok(2));
    assert_eq!(client.in_flight(), 0);
}

/// The ids of the connections of that kind.
async fn connections(peer: &Peer, kind: &str) -> Vec<String> {
    let list = peer.command(&["CLIENT", "LIST"]).await;
    let ids = list.lines().filter(|line| line.contains(kind));
    ids.filter_map(|line| {
        let id = line.split(' ').find_map(|field| field.strip_prefix("id="));
        id.map(str::to_owned)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_request_connection_loses_and_doubles_no_request() {
    let fixture = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&fixture.bus.config).await;
    for kind in [":main:commands", ":main:replies"] {
        for round in 0..5 {
            let asks: Vec<_> = (0..400)
                .map(|n| {
                    tokio::spawn(
                        fixture
                            .client
                            .ask("worker", Double { n })
                            .timeout(SECOND * 3),
                    )
                })
                .collect();
            sleep(Duration::from_millis(round)).await;
            for id in connections(&peer, kind).await {
                peer.command(&["CLIENT", "KILL", "ID", &id]).await;
            }
            let mut refused = 0;
            for (n, ask) in (0..).zip(asks) {
                match within(ask).await.unwrap() {
                    Ok(doubled) => assert_eq!(doubled, 2 * n),
                    // It was not sent; requests that may have been lost were sent again.
                    Err(AskError::Unavailable { .. }) => refused += 1,
                    // An answer may have been on its way to the killed connection.
                    Err(AskError::Timeout {
                        delivered: Delivered::Accepted,
                    }) if kind.ends_with("replies") => {}
                    Err(error) => panic!("{kind}: {error:?}"),
                }
            }
            assert!(refused < 400, "{kind}");
            answered(&fixture.client).await;
        }
    }
    assert_eq!(fixture.client.in_flight(), 0);
}
