//! Counters: everything that is lost or refused is counted once, by kind, at each place that it passes.

mod backlog;
mod fleet;
mod lost;
mod times;

use std::time::Duration;

use conclib::bus::Proxy;
use conclib::error::AskErrorKind;
use conclib::metrics::{ActorTypeMetrics, ErrorCount, StopKind};
use conclib::prelude::*;
use conclib_tests::bus::Bus;

use conclib_tests::{eventually, within};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const MS: Duration = Duration::from_millis(1);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Count(u32);

/// A message that no actor here handles.
#[derive(ActorMessage, Serialize, Deserialize)]
struct Unknown;

/// A message of the same name as [`Count`], with other contents.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Count", response = u32)]
struct Misread(String);

#[derive(Actor)]
#[actor(urn = "counter", mailbox = 10)]
struct Counter {
    gate: CancellationToken,
    total: u32,
}

#[handlers]
impl Counter {
    #[handler]
    async fn count(&mut self, Count(n): Count) -> u32 {
        self.gate.cancelled().await;
        self.total += n;
        self.total
    }
}

struct Fixture {
    system: ActorSystem,
    proxy: Proxy,
    client: ProxyClient,
    counter: ActorRef<Counter>,
    gate: CancellationToken,
    bus: Bus,
}

impl Fixture {
    /// A counter whose gate is closed, on each bus.
    async fn start(bus: Bus) -> Self {
        let (system, gate) = (ActorSystem::new(), CancellationToken::new());
        let counter = Counter {
            gate: gate.clone(),
            total: 0,
        };
        let counter = system.spawn(counter).await.unwrap();
        let proxy = start_proxy(&system, &bus.config).await.unwrap();
        let client = ProxyClient::connect(&bus.config).await.unwrap();
        Self {
            system,
            proxy,
            client,
            counter,
            gate,
            bus,
        }
    }

    fn counter_metrics(&self) -> ActorTypeMetrics {
        self.system.metrics().of("Counter").unwrap().clone()
    }

    fn lost_tells(&self, kind: AskErrorKind) -> u64 {
        let lost = self.proxy.stats().lost_tells;
        let of_kind = |error: &&ErrorCount| error.kind == kind;
        lost.iter().filter(of_kind).map(|error| error.count).sum()
    }
}

#[tokio::test]
async fn tells_into_a_full_mailbox_are_counted_exactly() {
    for bus in [Bus::memory(), Bus::redis().await] {
        let fixture = Fixture::start(bus).await;
        // The first message occupies the handler, and ten wait.
        for n in 0..1_000 {
            fixture.client.tell("counter", Count(n)).await.unwrap();
        }
        eventually("all have arrived", async || {
            fixture.proxy.stats().received_tells == 1_000
        })
        .await;
        let lost = fixture.lost_tells(AskErrorKind::Overloaded);
        assert!((989..=990).contains(&lost), "{lost}");
        let metrics = fixture.counter_metrics();
        assert_eq!(metrics.lost_as(AskErrorKind::Overloaded), lost);
        let stats = fixture.client.stats();
        assert_eq!((stats.tells.ok, stats.tells.failed()), (1_000, 0));
        fixture.gate.cancel();
        eventually("the others are handled", async || {
            fixture.counter_metrics().handled == 1_000 - lost
        })
        .await;
        assert_eq!(fixture.proxy.stats().lost_tells.len(), 1);
    }
}

#[tokio::test]
async fn each_tell_that_no_handler_begins_is_counted_with_its_reason() {
    let fixture = Fixture::start(Bus::memory()).await;
    let tell = async |n| {
        let tell = fixture.client.tell("counter", Count(n));
        tell.timeout(50 * MS).await.unwrap();
    };
    let arrived = async |count| {
        eventually("the tells have arrived", async || {
            fixture.proxy.stats().received_tells == count
        })
        .await;
    };
    tell(0).await; // occupies the handler
    arrived(1).await;
    sleep(20 * MS).await;
    tell(1).await; // expires in the mailbox
    fixture.client.tell("counter", Unknown).await.unwrap();
    fixture
        .client
        .tell("counter", Misread(String::new()))
        .await
        .unwrap();
    fixture.client.tell("absent", Count(1)).await.unwrap();
    arrived(5).await;
    assert_eq!(fixture.lost_tells(AskErrorKind::ActorNotFound), 1);
    sleep(80 * MS).await;
    fixture.gate.cancel();
    eventually("three are refused in the mailbox", async || {
        let lost = fixture.proxy.stats().lost_tells;
        lost.iter().map(|error| error.count).sum::<u64>() == 4
    })
    .await;
    for kind in [
        AskErrorKind::Timeout,
        AskErrorKind::Unhandled,
        AskErrorKind::BadRequest,
    ] {
        assert_eq!(fixture.lost_tells(kind), 1, "{kind}");
        assert_eq!(fixture.counter_metrics().lost_as(kind), 1, "{kind}");
    }
    assert_eq!(fixture.counter_metrics().handled, 1);
}

#[tokio::test]
async fn messages_of_an_actor_that_ends_are_counted() {
    let fixture = Fixture::start(Bus::memory()).await;
    for n in 0..5 {
        fixture.client.tell("counter", Count(n)).await.unwrap();
    }
    let waiting = fixture.counter.ask(Count(5));
    let waiting = tokio::spawn(waiting);
    eventually("one is handled, and five wait", async || {
        fixture.counter_metrics().queued == 5
    })
    .await;
    fixture.counter.kill();
    fixture.counter.stopped().await;
    assert_eq!(within(waiting).await.unwrap(), Err(AskError::ActorStopped));
    let metrics = fixture.counter_metrics();
    assert_eq!(metrics.lost_as(AskErrorKind::ActorStopped), 5);
    assert_eq!(metrics.stopped_as(StopKind::Killed), 1);
    assert_eq!(metrics.actors(), 0);
    assert_eq!(fixture.lost_tells(AskErrorKind::ActorStopped), 4);
    // Later ones, too.
    assert!(fixture.counter.try_tell(Count(1)).is_err());
    assert!(fixture.counter.tell(Count(1)).await.is_err());
    assert!(fixture.counter.ask(Count(1)).await.is_err());
    let metrics = fixture.counter_metrics();
    assert_eq!(metrics.lost_as(AskErrorKind::ActorStopped), 8);
}

#[tokio::test]
async fn asks_are_counted_alike_on_both_sides() {
    for bus in [Bus::memory(), Bus::redis().await] {
        let fixture = Fixture::start(bus).await;
        fixture.gate.cancel();
        for n in 0..10 {
            fixture.client.ask("counter", Count(n)).await.unwrap();
        }
        for _ in 0..3 {
            assert!(fixture.client.ask("absent", Count(0)).await.is_err());
        }
        assert!(
            fixture
                .client
                .ask("counter", Misread(String::new()))
                .await
                .is_err()
        );
        let (client, proxy) = (fixture.client.stats(), fixture.proxy.stats());
        assert_eq!(client.asks, proxy.asks);
        assert_eq!((client.asks.ok, client.asks.total()), (10, 14));
        assert_eq!(client.asks.of(AskErrorKind::ActorNotFound), 3);
        assert_eq!(client.asks.of(AskErrorKind::BadRequest), 1);
        assert_eq!((proxy.received_asks, proxy.abandoned_asks), (14, 0));
        assert_eq!((client.in_flight, client.abandoned), (0, 0));
    }
}

#[tokio::test]
async fn caller_that_leaves_is_counted_on_both_sides() {
    let fixture = Fixture::start(Bus::memory()).await;
    let ask = fixture.client.ask("counter", Count(1));
    assert!(tokio::time::timeout(20 * MS, ask).await.is_err());
    assert_eq!(fixture.client.stats().abandoned, 1);
    sleep(50 * MS).await; // the cancel arrives before the answer
    fixture.gate.cancel();
    eventually("the handler has ended", async || {
        fixture.proxy.stats().abandoned_asks == 1
    })
    .await;
}

#[tokio::test]
async fn durable_messages_are_counted() {
    let fixture = Fixture::start(Bus::memory()).await;
    fixture.gate.cancel();
    for key in ["a", "a", "b"] {
        let ask = fixture.client.ask("counter", Count(1)).idempotency_key(key);
        ask.await.unwrap();
    }
    let refused = fixture
        .client
        .ask("counter", Count(2))
        .idempotency_key("a")
        .await;
    assert!(matches!(refused, Err(AskError::KeyReused { .. })));
    let durable = fixture.proxy.stats().durable;
    assert_eq!(
        (durable.handled, durable.duplicates, durable.key_conflicts),
        (2, 1, 1)
    );
    let stats = fixture.client.stats();
    assert_eq!(
        (stats.durable.ok, stats.durable.failed(), stats.asks.total()),
        (3, 1, 0)
    );
}

#[derive(Actor)]
struct Passer;

#[handlers]
impl Passer {
    #[handler]
    fn count(&mut self, Count(n): Count) -> u32 {
        n
    }
}

/// Actors end while others read: no sum ever falls, and at the end all are exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sums_rise_only_and_are_exact_at_the_end() {
    const ACTORS: u32 = 2_000;
    const ASKS: u32 = 5;
    let system = ActorSystem::new();
    let spawning = async |system: ActorSystem| {
        for _ in 0..ACTORS {
            let passer = system.spawn(Passer).await.unwrap();
            for n in 0..ASKS {
                assert_eq!(passer.ask(Count(n)).await, Ok(n));
            }
            passer.stop();
        }
    };
    let tasks: Vec<_> = (0..3)
        .map(|_| tokio::spawn(spawning(system.clone())))
        .collect();
    let mut last = 0;
    while tasks.iter().any(|task| !task.is_finished()) {
        let metrics = system.metrics();
        let handled = metrics.of("Passer").map_or(0, |passer| passer.handled);
        assert!(handled >= last, "{handled} after {last}");
        last = handled;
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    eventually("all have ended", async || system.is_empty()).await;
    let all = u64::from(3 * ACTORS);
    eventually("the sums are exact", async || {
        let metrics = system.metrics();
        let passer = metrics.of("Passer").unwrap();
        passer.handled == all * u64::from(ASKS) && passer.stopped_as(StopKind::Requested) == all
    })
    .await;
}

#[tokio::test]
async fn counters_are_written_and_read_as_json() {
    let fixture = Fixture::start(Bus::memory()).await;
    fixture.gate.cancel();
    assert!(fixture.client.ask("absent", Count(0)).await.is_err());
    let metrics = fixture.system.metrics();
    let json = serde_json::to_string(&metrics).unwrap();
    assert_eq!(
        serde_json::from_str::<conclib::metrics::SystemMetrics>(&json).unwrap(),
        metrics
    );
    let stats = fixture.proxy.stats();
    let json = serde_json::to_string(&stats).unwrap();
    assert!(
        json.contains(r#"{"kind":"actor_not_found","delivered":"No","count":1}"#),
        "{json}"
    );
    assert_eq!(
        serde_json::from_str::<conclib::metrics::ProxyStats>(&json).unwrap(),
        stats
    );
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Wait;

#[derive(Actor)]
#[actor(mailbox = 1000)]
struct Mixed;

#[handlers]
impl Mixed {
    #[handler]
    fn count(&mut self, Count(n): Count) -> u32 {
        n
    }

    #[handler]
    async fn wait(&mut self, _: Wait) {
        std::future::pending::<()>().await;
    }
}

/// Handlers are counted once for all messages that follow each other: also if the actor is killed meanwhile.
#[tokio::test]
async fn messages_are_counted_by_handler() {
    let system = ActorSystem::new();
    let mixed = system.spawn(Mixed).await.unwrap();
    for n in 0..500 {
        mixed.try_tell(Count(n)).unwrap();
    }
    mixed.try_tell(Wait).unwrap();
    mixed.try_tell(Count(0)).unwrap();
    eventually("the last handler waits", async || {
        system.metrics().of("Mixed").unwrap().handled == 500
    })
    .await;
    mixed.kill();
    mixed.stopped().await;
    let metrics = system.metrics();
    let mixed = metrics.of("Mixed").unwrap();
    let handlers: Vec<_> = mixed
        .handlers
        .iter()
        .map(|count| {
            (
                &*count.handler,
                count.message.as_deref(),
                count.handled,
                count.failed,
            )
        })
        .collect();
    assert_eq!(handlers, [("count", Some("Count"), 500, 0)]);
    assert_eq!(
        (mixed.handled, mixed.lost_as(AskErrorKind::ActorStopped)),
        (500, 1)
    );
}

/// A durable message that finds a full mailbox, or whose actor ends, is delivered again: it is not lost.
#[tokio::test]
async fn durable_messages_that_wait_are_not_lost() {
    let fixture = Fixture::start(Bus::memory()).await;
    for n in 0..30 {
        let tell = fixture.client.tell("counter", Count(n)).durable();
        tell.await.unwrap();
    }
    eventually("the mailbox is full", async || {
        fixture.counter_metrics().queued == 10
    })
    .await;
    sleep(100 * MS).await; // further ones are offered again and again
    fixture.counter.kill();
    fixture.counter.stopped().await;
    assert_eq!(fixture.counter_metrics().lost, []);
    let gate = CancellationToken::new();
    gate.cancel();
    let next = Counter { gate, total: 0 };
    fixture.system.spawn(next).await.unwrap();
    eventually("all are handled", async || {
        fixture.proxy.stats().durable.handled >= 29
    })
    .await;
    assert_eq!(fixture.counter_metrics().lost, []);
    assert_eq!(fixture.proxy.stats().asks.total(), 0);
}

/// A raw handler that fails has begun its message.
#[tokio::test]
async fn tell_that_a_raw_handler_refuses_is_not_lost() {
    #[derive(Actor)]
    #[actor(urn = "raw")]
    struct Raw;

    #[handlers]
    impl Raw {
        #[handler]
        fn any(&mut self, envelope: RequestEnvelope) -> Result<(), UnexpectedMessage> {
            envelope.extract::<Count>().map(drop)
        }
    }

    let fixture = Fixture::start(Bus::memory()).await;
    fixture.system.spawn(Raw).await.unwrap();
    fixture.client.tell("raw", Unknown).await.unwrap();
    eventually("it is handled", async || {
        let metrics = fixture.system.metrics();
        metrics.of("Raw").unwrap().handled == 1
    })
    .await;
    assert_eq!(fixture.proxy.stats().lost_tells, []);
}
