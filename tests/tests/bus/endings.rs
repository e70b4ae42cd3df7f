//! Every ask ends, also without an answer.

use std::time::Duration;

use conclib::bus::ProxyEnd;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::actors::{GatedActor, Worker};
use conclib_tests::bus::BusFixture;
use conclib_tests::eventually;
use conclib_tests::messages::{Double, Enter, Forget, Hold, Record, Release};
use tokio::time::{Instant, timeout};

/// A bound that holds on a busy machine, and is well before any deadline here.
const SOON: Duration = Duration::from_secs(10);

pub(crate) async fn handler_never_answers(fixture: BusFixture) {
    let timeout = Duration::from_millis(300);
    let start = Instant::now();
    let asked = fixture.client.ask("holder", Hold).timeout(timeout).await;
    let delivered = Delivered::Accepted;
    assert_eq!(asked, Err(AskError::Timeout { delivered }));
    assert!(start.elapsed() >= timeout);
    assert!(start.elapsed() < timeout + Duration::from_secs(1));
    assert_eq!(fixture.client.in_flight(), 0);
}

pub(crate) async fn each_ask_has_its_own_timeout(fixture: BusFixture) {
    let client = &fixture.client;
    let ask = |millis| {
        let timeout = Duration::from_millis(millis);
        let ask = client.ask("holder", Hold).timeout(timeout);
        async move {
            let start = Instant::now();
            let asked = ask.await;
            assert!(matches!(asked, Err(AskError::Timeout { .. })), "{asked:?}");
            start.elapsed()
        }
    };
    let (long, short) = tokio::join!(ask(600), ask(50));
    assert!(short < Duration::from_millis(550), "{short:?}");
    assert!(long >= Duration::from_millis(600), "{long:?}");
}

pub(crate) async fn no_time_means_not_sent(fixture: BusFixture) {
    let client = &fixture.client;
    let asked = client.ask("holder", Hold).timeout(Duration::ZERO).await;
    let delivered = Delivered::No;
    assert_eq!(asked, Err(AskError::Timeout { delivered }));
    let asked = client.ask("worker", Double { n: 1 }).timeout(Duration::MAX);
    assert!(matches!(asked.await, Err(AskError::BadRequest { .. })));
}

pub(crate) async fn no_actor_system_is_known_at_once(fixture: BusFixture) {
    let config = fixture.bus.config.clone().node("absent");
    let client = ProxyClient::connect(&config).await.unwrap();
    for _ in 0..3 {
        let asked = timeout(SOON, client.ask("worker", Double { n: 1 })).await;
        assert_eq!(asked.unwrap(), Err(AskError::NoResponder));
        let told = client.tell("worker", Double { n: 9 }).await.unwrap_err();
        assert_eq!(told, AskError::NoResponder);
    }
    // A system that starts later is found.
    let system = ActorSystem::new();
    start_proxy(&system, &config).await.unwrap();
    system.spawn(Worker::default()).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
}

pub(crate) async fn client_is_shut_down(fixture: BusFixture) {
    let client = &fixture.client;
    let held: Vec<_> = (0..10)
        .map(|_| tokio::spawn(client.ask("holder", Hold)))
        .collect();
    eventually("they are sent", async || client.in_flight() == 10).await;
    timeout(SOON, client.shutdown()).await.unwrap();
    for ask in held {
        let asked = timeout(SOON, ask).await.unwrap().unwrap();
        assert_eq!(asked, Err(AskError::Closed));
    }
    assert_eq!(
        client.ask("worker", Double { n: 1 }).await,
        Err(AskError::Closed)
    );
    let told = client
        .clone()
        .tell("worker", Double { n: 1 })
        .await
        .unwrap_err();
    assert_eq!(told, AskError::Closed);
    assert_eq!(client.in_flight(), 0);
    client.shutdown().await;
    // Another client is not affected.
    let other = fixture.bus.client().await;
    assert_eq!(other.ask("worker", Double { n: 1 }).await, Ok(2));
}

pub(crate) async fn last_clone_of_a_client_is_dropped(fixture: BusFixture) {
    let BusFixture {
        client,
        bus,
        system,
        ..
    } = fixture;
    // An ask in flight keeps the connection.
    let ask = client.ask("worker", Double { n: 1 });
    drop(client);
    assert_eq!(ask.await, Ok(2));
    let other = bus.client().await;
    assert_eq!(other.ask("worker", Double { n: 1 }).await, Ok(2));
    assert!(system.shutdown().await.is_clean());
}

pub(crate) async fn dropped_ask_frees_its_slot(fixture: BusFixture) {
    let client = &fixture.client;
    let asks: Vec<_> = (0..100)
        .map(|_| tokio::spawn(client.ask("holder", Hold)))
        .collect();
    eventually("they are sent", async || client.in_flight() == 100).await;
    // The answer to a later request proves that they have arrived.
    let asked = client.ask("holder", Forget).await;
    assert_eq!(asked, Err(AskError::NoReply));
    for ask in asks {
        ask.abort();
        assert!(ask.await.is_err());
    }
    assert_eq!(client.in_flight(), 0);
    // Never polled, it was never sent.
    drop(client.ask("holder", Hold));
    assert_eq!(client.in_flight(), 0);
    // Their late answers do no harm.
    assert_eq!(client.ask("holder", Release { n: 1 }).await, Ok(100));
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
}

pub(crate) async fn expired_request_is_not_executed(fixture: BusFixture) {
    let client = &fixture.client;
    let (gate, watch) = GatedActor::closed();
    fixture.system.spawn(gate).await.unwrap();
    let first = tokio::spawn(client.ask("gate", Enter { n: 1 }));
    eventually("it is in its handler", async || watch.entered() == 1).await;
    let timeout = Duration::from_millis(100);
    let expired = client.ask("gate", Enter { n: 2 }).timeout(timeout).await;
    assert!(
        matches!(expired, Err(AskError::Timeout { .. })),
        "{expired:?}"
    );
    let told = client.tell("gate", Enter { n: 3 }).timeout(timeout);
    told.await.unwrap();
    tokio::time::sleep(2 * timeout).await; // its deadline is on the bus' clock, in ms
    let last = tokio::spawn(client.ask("gate", Enter { n: 4 }));
    eventually("it is sent", async || client.in_flight() == 2).await;
    watch.admit(10);
    assert_eq!(first.await.unwrap(), Ok(1));
    assert_eq!(last.await.unwrap(), Ok(4));
    assert_eq!(watch.entered(), 2);
}

pub(crate) async fn system_is_shut_down_under_load(fixture: BusFixture) {
    let client = &fixture.client;
    let (gate, watch) = GatedActor::closed();
    fixture.system.spawn(gate).await.unwrap();
    let held: Vec<_> = (0..100)
        .map(|_| tokio::spawn(client.ask("holder", Hold)))
        .collect();
    let waiting: Vec<_> = (0..100)
        .map(|n| tokio::spawn(client.ask("gate", Enter { n })))
        .collect();
    eventually("it is in its handler", async || watch.entered() == 1).await;
    // These run until the shutdown answers that there is no responder.
    let busy: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                loop {
                    if let Err(error) = client.ask("worker", Double { n: 1 }).await {
                        return error;
                    }
                }
            })
        })
        .collect();
    eventually("all are sent", async || client.in_flight() >= 200).await;
    watch.admit(1000);
    let start = Instant::now();
    assert!(fixture.system.shutdown().await.is_clean());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(fixture.proxy.stopped().await, ProxyEnd::Stopped);
    let ended = async {
        for ask in held {
            let asked = ask.await.unwrap();
            assert!(
                matches!(asked, Err(AskError::NoReply | AskError::NoResponder)),
                "{asked:?}"
            );
        }
        for (n, ask) in (0..).zip(waiting) {
            let asked = ask.await.unwrap();
            let fine = asked == Ok(n) || asked == Err(AskError::NoResponder);
            assert!(fine, "{asked:?}");
        }
        for ask in busy {
            let error = ask.await.unwrap();
            let fine = matches!(
                error,
                AskError::NoResponder | AskError::ActorNotFound { .. }
            );
            assert!(fine || error == AskError::ActorStopped, "{error:?}");
        }
    };
    timeout(SOON, ended)
        .await
        .expect("none is left to its deadline");
    assert_eq!(client.in_flight(), 0);
}

pub(crate) async fn system_is_dropped(fixture: BusFixture) {
    let BusFixture {
        system,
        proxy,
        client,
        bus,
    } = fixture;
    let held = tokio::spawn(client.ask("holder", Hold));
    eventually("it is sent", async || client.in_flight() == 1).await;
    client.tell("worker", Record { n: 1 }).await.unwrap();
    drop(system);
    let end = timeout(SOON, proxy.stopped()).await;
    assert_eq!(end.expect("the proxy stops"), ProxyEnd::Stopped);
    let asked = timeout(SOON, held).await.expect("it is answered").unwrap();
    assert!(
        matches!(asked, Err(AskError::NoReply | AskError::NoResponder)),
        "{asked:?}"
    );
    let asked = timeout(SOON, client.ask("worker", Double { n: 1 })).await;
    assert_eq!(asked.unwrap(), Err(AskError::NoResponder));
    // The next system need not wait until the lease expires.
    let (next, _) = timeout(Duration::from_secs(5), bus.system()).await.unwrap();
    next.spawn(Worker::default()).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
}

pub(crate) async fn proxy_is_shut_down_alone(fixture: BusFixture) {
    let BusFixture {
        system,
        proxy,
        client,
        bus,
    } = fixture;
    let (gate, watch) = GatedActor::closed();
    system.spawn(gate).await.unwrap();
    let under_way = tokio::spawn(client.ask("gate", Enter { n: 1 }));
    eventually("it is in its handler", async || watch.entered() == 1).await;
    let shutdown = tokio::spawn({
        let proxy = proxy.clone();
        async move { proxy.shutdown().await }
    });
    assert_eq!(proxy.stopped().await, ProxyEnd::Stopped);
    assert_eq!(
        client.ask("worker", Double { n: 1 }).await,
        Err(AskError::NoResponder)
    );
    watch.admit(1);
    assert_eq!(under_way.await.unwrap(), Ok(1));
    timeout(SOON, shutdown).await.unwrap().unwrap();
    // The actors live, and another proxy serves them.
    assert_eq!(system.ask("worker", Double { n: 1 }).await, Ok(2));
    start_proxy(&system, &bus.config).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = bool)]
struct ShutDown;

/// Shuts its own system down.
#[derive(Actor)]
#[actor(urn = "caretaker")]
struct Caretaker;

#[handlers]
impl Caretaker {
    #[handler]
    async fn shut_down(&mut self, _: ShutDown, ctx: &mut Context<Self>) -> bool {
        match ctx.system() {
            Some(system) => system.shutdown().await.is_clean(),
            None => false,
        }
    }
}

pub(crate) async fn ask_that_shuts_the_system_down_is_answered(fixture: BusFixture) {
    fixture.system.spawn(Caretaker).await.unwrap();
    let asked = timeout(SOON, fixture.client.ask("caretaker", ShutDown)).await;
    assert_eq!(asked.unwrap(), Ok(true));
    let asked = timeout(SOON, fixture.client.ask("worker", Double { n: 1 })).await;
    assert_eq!(asked.unwrap(), Err(AskError::NoResponder));
}
