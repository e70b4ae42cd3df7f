//! Leases: one system serves a node, and others take over.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use conclib::bus::{ConnectionState, ProxyEnd};
use conclib::{ActorSystem, AskError, Config, ConnectError, Proxy, ProxyClient, start_proxy};
use conclib_tests::actors::{GatedActor, Worker};
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Enter};
use conclib_tests::process::Program;
use conclib_tests::relay::{Direction, Mode, Relay};
use conclib_tests::{TEST_TIMEOUT, eventually, within};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::raw::Peer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_has_one_system() {
    let fixture = Bus::redis().await.fixture().await;
    let second = ActorSystem::new();
    let start = Instant::now();
    let taken = timeout(TEST_TIMEOUT, start_proxy(&second, &fixture.bus.config)).await;
    let took = start.elapsed();
    match taken.unwrap() {
        Err(ConnectError::NodeTaken { holder, .. }) => assert!(holder > 1_700_000_000_000),
        other => panic!("{other:?}"),
    }
    assert!(took > Duration::from_millis(6_900), "{took:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    // The serving system noticed nothing, and other nodes are free.
    assert_eq!(fixture.client.ask("worker", Double { n: 1 }).await, Ok(2));
    for config in [
        fixture.bus.config.clone().node("second"),
        fixture.bus.config.clone().namespace("other"),
    ] {
        start_proxy(&second, &config).await.unwrap();
        let client = ProxyClient::connect(&config).await.unwrap();
        match client.ask("worker", Double { n: 1 }).await {
            Err(AskError::ActorNotFound { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(second.shutdown().await.is_clean());
}

/// A flag for the callers: closed when they may stop.
fn flag() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_system_takes_over_and_no_ask_is_left_behind() {
    let fixture = Bus::redis().await.fixture().await;
    let config = fixture.bus.config.clone();
    let waiting = tokio::spawn(async move {
        let system = ActorSystem::new();
        system.spawn(Worker::default()).await.unwrap();
        start_proxy(&system, &config).await.unwrap();
        (system, Instant::now())
    });
    sleep(Duration::from_millis(300)).await; // it has asked for the lease at least once
    let over = flag();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, over) = (fixture.client.clone(), over.clone());
            tokio::spawn(async move {
                while !over.is_closed() {
                    match client.ask("worker", Double { n: 1 }).await {
                        Ok(2) | Err(AskError::ActorStopped) => {}
                        Err(AskError::NoResponder | AskError::ActorNotFound { .. }) => {
                            sleep(Duration::from_millis(1)).await;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    let stopping = Instant::now();
    assert!(fixture.system.shutdown().await.is_clean());
    assert!(stopping.elapsed() < Duration::from_secs(3));
    let (_second, took_over) = within(waiting).await.unwrap();
    let gap = took_over - stopping;
    assert!(gap < Duration::from_secs(3), "{gap:?}");
    for n in 0..20 {
        assert_eq!(fixture.client.ask("worker", Double { n }).await, Ok(2 * n));
    }
    over.close();
    for caller in callers {
        within(caller).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_that_cannot_pop_takes_no_lease() {
    let bus = Bus::redis().await;
    let peer = Peer::connect(&bus.config).await;
    peer.pretend_to_serve(7).await;
    let redis = (Ipv4Addr::LOCALHOST, bus.config.port().unwrap());
    let relay = Relay::start(redis.into()).await.unwrap();
    let config = Config::new(&format!("redis://127.0.0.1:{}", relay.port())).unwrap();
    let waiting = tokio::spawn(async move { start_proxy(&ActorSystem::new(), &config).await });
    eventually("it waits for the lease", async || {
        let counts = peer.command(&["INFO", "commandstats"]).await;
        counts.contains("cmdstat_eval:")
    })
    .await;
    assert_eq!(relay.set("pops", Direction::FromRedis, Mode::Swallowing), 1);
    peer.command(&["DEL", "conclib:{n:main}:lease"]).await;
    match within(waiting).await.unwrap() {
        Err(error) => assert!(error.to_string().contains("cannot be popped"), "{error}"),
        Ok(proxy) => panic!("{proxy:?}"),
    }
    assert!(!peer.has_lease().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systems_come_and_go_and_no_ask_runs_into_its_deadline() {
    let bus = Bus::redis().await;
    let client = bus.client().await;
    let over = flag();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (client, over) = (client.clone(), over.clone());
            tokio::spawn(async move {
                let mut answered = 0;
                while !over.is_closed() {
                    match client.ask("worker", Double { n: 1 }).await {
                        Ok(2) => answered += 1,
                        Err(AskError::Timeout { delivered }) => panic!("timeout: {delivered}"),
                        Err(AskError::NoResponder) => sleep(Duration::from_millis(1)).await,
                        _ => {}
                    }
                }
                answered
            })
        })
        .collect();
    for _ in 0..30 {
        let (system, _) = bus.system().await;
        system.spawn(Worker::default()).await.unwrap();
        assert_eq!(client.ask("worker", Double { n: 2 }).await, Ok(4));
        let stopping = Instant::now();
        assert!(system.shutdown().await.is_clean());
        let took = stopping.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    over.close();
    let mut answered = 0;
    for caller in callers {
        answered += within(caller).await.unwrap();
    }
    assert!(answered > 0);
    assert_eq!(client.in_flight(), 0);
}

/// Takes the lease away, and waits until the proxy has another.
async fn lose_lease(peer: &Peer, proxy: &Proxy) {
    let before = peer.inbox().await;
    peer.command(&["DEL", "conclib:{n:main}:lease"]).await;
    eventually("there is another lease", async || {
        peer.has_lease().await && peer.inbox().await != before
    })
    .await;
    let mut state = proxy.connection_state();
    drop(state.wait_for(ConnectionState::is_connected).await);
}

/// The number of connections of a Redis, without the asking one.
async fn connections(peer: &Peer) -> usize {
    let list = peer.command(&["CLIENT", "LIST"]).await;
    list.matches("name=conclib:").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_systems_leave_nothing_behind() {
    let bus = Bus::redis().await;
    let peer = Peer::connect(&bus.config).await;
    let idle = async |what| eventually(what, async || connections(&peer).await == 0).await;
    // A system that is shut down, and a dropped one.
    for dropped in [false, true] {
        let (system, _) = bus.system().await;
        system.spawn(Worker::default()).await.unwrap();
        let client = bus.client().await;
        assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
        eventually("they are open", async || connections(&peer).await == 6).await;
        if dropped {
            drop((system, client));
        } else {
            system.shutdown().await;
            client.shutdown().await;
        }
        idle("the connections are closed").await;
    }
    // A system whose proxy is shut down.
    let (system, proxy) = bus.system().await;
    proxy.shutdown().await;
    idle("the proxy's connections are closed").await;
    // A system that loses its lease again and again.
    let proxy = start_proxy(&system, &bus.config).await.unwrap();
    for _ in 0..3 {
        lose_lease(&peer, &proxy).await;
        eventually("they are open", async || connections(&peer).await == 4).await;
    }
    assert!(within(system.shutdown()).await.is_clean());
    idle("the connections of the lost lease are closed").await;
    // The only keys left are that of the epochs and the empty stream of durable messages with
    // its group.
    let keys = peer.command(&[
        "EVAL",
        "local keys = redis.call('KEYS', '*') table.sort(keys) return table.concat(keys, ' ')",
        "0",
    ]);
    assert_eq!(
        keys.await,
        "conclib:{n:main}:durable conclib:{n:main}:epoch"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_taken_before_a_lost_lease_are_answered() {
    let fixture = Bus::redis().await.fixture().await;
    let peer = Peer::connect(&fixture.bus.config).await;
    let (gate, watch) = GatedActor::closed();
    fixture.system.spawn(gate).await.unwrap();
    let ask = tokio::spawn(fixture.client.ask("gate", Enter { n: 5 }));
    eventually("it is in its handler", async || watch.entered() == 1).await;
    lose_lease(&peer, &fixture.proxy).await;
    let asked = fixture.client.ask("worker", Double { n: 1 }).await;
    assert_eq!(asked, Ok(2));
    watch.admit(1);
    assert_eq!(within(ask).await.unwrap(), Ok(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_process_executes_no_request_from_before_its_next_lease() {
    let bus = Bus::redis().await;
    let url = bus.url();
    let mut actors = Program::start(env!("CARGO_BIN_EXE_actor_process"), &[&url]);
    actors.line("ready").await;
    let client = bus.client().await;
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    actors.suspend().await;
    // It is taken off the inbox, where the process waits for it.
    let timeout = Duration::from_secs(9);
    let ask = tokio::spawn(client.ask("gate", Enter { n: 1 }).timeout(timeout));
    sleep(Duration::from_secs(7)).await;
    let asked = client.ask("worker", Double { n: 1 }).timeout(timeout).await;
    assert_eq!(asked, Err(AskError::NoResponder));
    actors.signal("CONT").await;
    let asked = ask.await.unwrap();
    assert!(
        matches!(asked, Err(AskError::NoResponder | AskError::Timeout { .. })),
        "{asked:?}"
    );
    eventually("it serves again", async || {
        client.ask("worker", Double { n: 1 }).await == Ok(2)
    })
    .await;
    actors.signal("TERM").await;
    assert_eq!(actors.line("stopped ").await, "Stopped passed 0");
    assert!(actors.ended().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_process_yields_to_its_successor() {
    let bus = Bus::redis().await;
    let url = bus.url();
    let mut first = Program::start(env!("CARGO_BIN_EXE_actor_process"), &[&url]);
    first.line("ready").await;
    first.suspend().await;
    // It starts as soon as the lease of the other one has expired.
    let (second, proxy) = bus.system().await;
    second.spawn(Worker::default()).await.unwrap();
    first.signal("CONT").await;
    assert_eq!(first.line("stopped ").await, "LeaseLost passed 0");
    assert!(first.ended().await);
    let client = bus.client().await;
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    assert!(proxy.connection_state().borrow().is_connected());
    assert!(second.shutdown().await.is_clean());
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
}
