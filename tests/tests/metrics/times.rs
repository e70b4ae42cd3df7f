//! Times of messages and asks, and asks by message.

use std::time::Duration;

use conclib::bus::Proxy;
use conclib::error::AskErrorKind;
use conclib::metrics::{DurationHistogram, Exporter, HandlerCount};
use conclib::prelude::*;
use conclib_tests::eventually;
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[derive(ActorMessage, Serialize, Deserialize)]
struct Nap {
    millis: u64,
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Break;

#[derive(Actor)]
#[actor(urn = "sleeper")]
struct Sleeper;

#[handlers]
impl Sleeper {
    #[handler]
    async fn nap(&mut self, Nap { millis }: Nap) {
        sleep(u32::try_from(millis).unwrap() * MS).await;
    }

    #[handler]
    async fn fall(&mut self, _: Break) -> Result<(), Failure> {
        sleep(500 * MS).await;
        Err(Failure::msg("fell"))
    }
}

async fn serving() -> (ActorSystem, Proxy, ProxyClient) {
    let (system, config) = (ActorSystem::new(), Config::memory());
    system.spawn(Sleeper).await.unwrap();
    let proxy = start_proxy(&system, &config).await.unwrap();
    (system, proxy, ProxyClient::connect(&config).await.unwrap())
}

fn handler(system: &ActorSystem, name: &str) -> HandlerCount {
    let metrics = system.metrics();
    let handlers = &metrics.of("Sleeper").unwrap().handlers;
    let of_name = handlers.iter().find(|handler| handler.handler == name);
    of_name.unwrap().clone()
}

/// A duration as a histogram has it, exact to an eighth.
#[track_caller]
fn assert_is_near(histogram: &DurationHistogram, quantile: f64, expected: Duration) {
    let found = histogram.quantile(quantile).unwrap();
    assert!(
        found.abs_diff(expected) <= expected / 8,
        "{found:?}, {histogram:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn messages_from_the_bus_are_timed_in_queue_and_handler() {
    let (system, _proxy, client) = serving().await;
    let slow = client.ask("sleeper", Nap { millis: 1_000 }).into_future();
    let slow = tokio::spawn(slow);
    eventually("the handler runs", async || {
        system
            .metrics()
            .of("Sleeper")
            .unwrap()
            .longest_running
            .is_some()
    })
    .await;
    client.ask("sleeper", Nap { millis: 10 }).await.unwrap(); // waits for the first
    slow.await.unwrap().unwrap();

    let nap = handler(&system, "nap");
    assert_eq!((nap.handled, nap.times.count()), (2, 2));
    assert_is_near(&nap.times, 0.5, 10 * MS);
    assert_is_near(&nap.times, 1.0, 1_000 * MS);
    let queued = system.metrics().of("Sleeper").unwrap().queue_times.clone();
    assert_eq!(queued.count(), 2);
    assert_is_near(&queued, 1.0, 1_000 * MS);

    let stats = client.stats();
    let [asks] = &stats.messages[..] else {
        panic!("{stats:?}");
    };
    assert_eq!((&*asks.message, asks.asks.ok), ("Nap", 2));
    assert_is_near(&asks.times, 1.0, 1_010 * MS);
    assert!(stats.round_trips.count() > 0);
}

#[tokio::test(start_paused = true)]
async fn handlers_that_fail_or_are_killed_are_timed() {
    let (system, _proxy, client) = serving().await;
    assert!(client.ask("sleeper", Break).await.is_err());
    assert_is_near(&handler(&system, "fall").times, 1.0, 500 * MS);

    let sleeper = system.spawn(Sleeper).await.unwrap();
    let killed = client.ask("sleeper", Nap { millis: 60_000 }).into_future();
    let killed = tokio::spawn(killed);
    sleep(2_000 * MS).await;
    sleeper.kill();
    sleeper.stopped().await;
    assert!(killed.await.unwrap().is_err());
    let nap = handler(&system, "nap");
    assert_eq!((nap.handled, nap.failed, nap.times.count()), (0, 0, 1));
    assert_is_near(&nap.times, 1.0, 2_000 * MS);
}

#[tokio::test(start_paused = true)]
async fn local_messages_are_sampled_if_an_exporter_asks_for_it() {
    let system = ActorSystem::new();
    let sleeper = system.spawn(Sleeper).await.unwrap();
    let ask = async |count: u32| {
        for _ in 0..count {
            sleeper.ask(Nap { millis: 4 }).await.unwrap();
        }
    };
    ask(100).await;
    Exporter::new().system(&system).publish();
    ask(100).await;
    assert_eq!(handler(&system, "nap").times.count(), 0);
    Exporter::new().system(&system).sample_local(10).publish();
    ask(100).await;
    let times = handler(&system, "nap").times;
    assert!((9..=10).contains(&times.count()), "{times:?}");
    assert_is_near(&times, 0.5, 4 * MS);
    Exporter::new().system(&system).sample_local(0).publish();
    ask(100).await;
    let after = handler(&system, "nap").times.count();
    assert!(after <= times.count() + 1, "{after}");
}

#[tokio::test(start_paused = true)]
async fn asks_are_counted_by_message_and_outcome() {
    let (_system, _proxy, client) = serving().await;
    client.ask("sleeper", Nap { millis: 1 }).await.unwrap();
    client.tell("sleeper", Nap { millis: 1 }).await.unwrap();
    assert!(client.ask("absent", Nap { millis: 1 }).await.is_err());
    let late = client.ask("sleeper", Nap { millis: 60_000 });
    assert!(late.timeout(100 * MS).await.is_err());
    assert!(client.ask("absent", Break).await.is_err());
    let stats = client.stats();
    let names: Vec<_> = stats.messages.iter().map(|asks| &*asks.message).collect();
    assert_eq!(names, ["Break", "Nap"]);
    let nap = &stats.messages[1];
    assert_eq!(
        (nap.asks.ok, nap.asks.total(), nap.times.count()),
        (1, 3, 3)
    );
    assert_eq!(nap.asks.of(AskErrorKind::Timeout), 1);
    let all: u64 = stats.messages.iter().map(|asks| asks.asks.total()).sum();
    assert_eq!(all, stats.asks.total());
}
