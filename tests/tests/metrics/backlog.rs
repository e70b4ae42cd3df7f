//! The backlog of a node on the bus: read while it is asked for, and never in the way of the one that asks.

use std::time::Duration;

use conclib::bus::Proxy;
use conclib::metrics::BacklogStats;
use conclib_tests::bus::Bus;
use conclib_tests::eventually;

use crate::{Count, Fixture};

/// The backlog of a proxy, once it has been read as it is expected.
async fn backlog(proxy: &Proxy, is_expected: impl Fn(&BacklogStats) -> bool) -> BacklogStats {
    eventually("the backlog is read", async || {
        proxy.stats().backlog.as_ref().is_some_and(&is_expected)
    })
    .await;
    proxy.stats().backlog.unwrap()
}

#[tokio::test]
async fn durable_messages_that_wait_are_seen() {
    for bus in [Bus::memory(), Bus::redis().await] {
        let fixture = Fixture::start(bus).await;
        let Fixture { proxy, client, .. } = &fixture;
        for n in 0..30 {
            client.tell("counter", Count(n)).durable().await.unwrap();
        }
        let later = client
            .tell("counter", Count(100))
            .after(Duration::from_secs(3_600));
        later.await.unwrap();
        let seen = backlog(proxy, |backlog| backlog.delayed == Some(1)).await;
        assert_eq!(
            (seen.stored, seen.inbox, seen.dead_letters),
            (Some(30), Some(0), Some(0))
        );
        assert!(seen.oldest.is_some_and(|age| age < Duration::from_secs(60)));
        let durable = proxy.stats().durable;
        assert_eq!(durable.in_flight, 30, "{durable:?}");
        fixture.gate.cancel();
        let seen = backlog(proxy, |backlog| backlog.stored == Some(0)).await;
        assert_eq!((seen.delayed, seen.oldest), (Some(1), None));
        eventually("none is claimed", async || {
            proxy.stats().durable.in_flight == 0
        })
        .await;
    }
}

#[tokio::test]
async fn dead_letters_and_deferred_messages_are_seen() {
    let fixture = Fixture::start(Bus::memory()).await;
    let Fixture { proxy, client, .. } = &fixture;
    for n in 0..5 {
        client.tell("absent", Count(n)).durable().await.unwrap();
    }
    eventually("they wait for their actor", async || {
        proxy.stats().durable.deferred == 5
    })
    .await;
    client
        .tell("counter", crate::Unknown)
        .durable()
        .await
        .unwrap();
    fixture.gate.cancel();
    let seen = backlog(proxy, |backlog| backlog.dead_letters == Some(1)).await;
    assert_eq!(seen.stored, Some(5));
}

/// A Redis that is away keeps no reader waiting, and the last figures stay.
#[tokio::test]
async fn outage_delays_no_reader() {
    let bus = Bus::redis().await;
    let mut fixture = Fixture::start(bus).await;
    let redis = fixture.bus.redis.take().unwrap();
    let proxy = &fixture.proxy;
    let tell = fixture.client.tell("counter", Count(1)).durable();
    tell.await.unwrap();
    let before = backlog(proxy, |backlog| backlog.stored == Some(1)).await;
    redis.shutdown().await.unwrap();
    eventually("the connection is lost", async || {
        !proxy.state().is_connected()
    })
    .await;
    let start = std::time::Instant::now();
    let stats = proxy.stats();
    assert!(start.elapsed() < Duration::from_millis(100));
    if let Some(backlog) = stats.backlog {
        assert_eq!(backlog.stored, before.stored);
        assert!(backlog.oldest >= before.oldest);
    }
}
