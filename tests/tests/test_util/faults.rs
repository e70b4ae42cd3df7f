//! Faults of the bus in memory: delays, losses, duplicates.

use std::time::Duration;

use conclib::bus::ConnectionState;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::test::{Faults, Probe, TestSystem, advance};
use conclib::{ConnectError, Proxy};
use conclib_tests::messages::{Double, Record};
use conclib_tests::{MS, SECOND, TestResult};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::panic_of;

const LOST: AskError = AskError::Timeout {
    delivered: Delivered::Accepted,
};

/// A system on a faulty bus, with a probe for each message, and a client.
struct FaultFixture {
    system: TestSystem,
    proxy: Proxy,
    doubler: Probe<Double>,
    log: Probe<Record>,
    client: ProxyClient,
    config: Config,
}

async fn fixture(faults: &Faults) -> FaultFixture {
    let config = Config::memory().faults(faults.clone());
    let system = TestSystem::new();
    let proxy = start_proxy(&system, &config).await.unwrap();
    let doubler = Probe::answering(&system, |asked: &Double| asked.n * 2);
    let doubler = doubler.urn("doubler").await.unwrap();
    let log = Probe::spawn(&system).urn("log").await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    FaultFixture {
        system,
        proxy,
        doubler,
        log,
        client,
        config,
    }
}

fn numbers(log: &Probe<Record>) -> Vec<u32> {
    log.received().into_iter().map(|record| record.n).collect()
}

#[tokio::test(start_paused = true)]
async fn lost_request_is_accepted_and_never_arrives() -> TestResult {
    let fixture = fixture(&Faults::seeded(1).lose(1.0)).await;
    let start = Instant::now();
    let lost = fixture
        .client
        .ask("doubler", Double { n: 1 })
        .timeout(SECOND);
    assert_eq!(lost.await, Err(LOST));
    assert_eq!(start.elapsed(), SECOND);
    fixture.client.tell("log", Record { n: 1 }).await?;
    fixture.log.expect_none(60 * SECOND).await;
    assert!(fixture.doubler.received().is_empty());
    fixture.system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_and_responses_are_lost_independently() {
    let fixture = fixture(&Faults::seeded(2).lose(0.3)).await;
    // All at once, so that many travel in one batch.
    let asks = (0..200).map(|n| fixture.client.ask("doubler", Double { n }));
    let ended = futures_util::future::join_all(asks).await;
    let mut answered = 0;
    for (n, ended) in (0..).zip(&ended) {
        match ended {
            Ok(answer) => {
                assert_eq!(*answer, n * 2);
                answered += 1;
            }
            Err(error) => assert_eq!(*error, LOST),
        }
    }
    let executed = fixture.doubler.received().len();
    // About 140 of 200 requests, and about 98 of their responses.
    assert!((110..170).contains(&executed), "{executed} were executed");
    assert!(
        (70..executed).contains(&answered),
        "{answered} of {executed}"
    );
    assert_eq!(fixture.client.in_flight(), 0);
    fixture.system.finish().await;
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_handled_and_answered_once() -> TestResult {
    let fixture = fixture(&Faults::seeded(3).duplicate(1.0)).await;
    for n in 0..50 {
        assert_eq!(fixture.client.ask("doubler", Double { n }).await, Ok(n * 2));
    }
    fixture.client.tell("log", Record { n: 7 }).await?;
    fixture.client.tell("log", Record { n: 8 }).await?;
    advance(SECOND).await;
    assert_eq!(fixture.doubler.received().len(), 50);
    assert_eq!(numbers(&fixture.log), [7, 8]);
    assert_eq!(fixture.client.in_flight(), 0);
    fixture.system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_and_responses_are_delayed() {
    let fixture = fixture(&Faults::seeded(4).delay(200 * MS..200 * MS)).await;
    let start = Instant::now();
    assert_eq!(fixture.client.ask("doubler", Double { n: 1 }).await, Ok(2));
    let took = start.elapsed();
    assert!((400 * MS..405 * MS).contains(&took), "it took {took:?}");
    fixture.system.finish().await;
}

#[tokio::test(start_paused = true)]
async fn delay_keeps_the_order_of_each_sender() {
    let fixture = fixture(&Faults::seeded(5).delay(MS..50 * MS).duplicate(0.3)).await;
    let other = ProxyClient::connect(&fixture.config).await.unwrap();
    let start = Instant::now();
    for n in 0..200 {
        fixture.client.tell("log", Record { n }).await.unwrap();
        other.tell("log", Record { n: 1000 + n }).await.unwrap();
    }
    advance(100 * MS).await;
    let mut all = numbers(&fixture.log);
    let overtakes = all.windows(2).any(|pair| pair[0] >= 1000 && pair[1] < 1000);
    assert!(overtakes, "the clients do not wait for each other: {all:?}");
    let theirs = all.extract_if(.., |n| *n >= 1000).collect::<Vec<_>>();
    assert!(all.is_sorted() && theirs.is_sorted());
    assert!(all.into_iter().eq(0..200) && theirs.into_iter().eq(1000..1200));
    assert!(start.elapsed() < SECOND);
    fixture.system.finish().await;
}

#[tokio::test(start_paused = true)]
async fn request_delayed_past_its_deadline_is_not_executed() {
    let fixture = fixture(&Faults::seeded(6).delay(2 * SECOND..3 * SECOND)).await;
    let late = fixture
        .client
        .ask("doubler", Double { n: 1 })
        .timeout(SECOND);
    assert_eq!(late.await, Err(LOST));
    fixture.doubler.expect_none(60 * SECOND).await;
    fixture.system.finish().await;
}

/// The results and durations of some asks.
async fn run(seed: u64) -> Vec<(Result<u32, AskError>, Duration)> {
    let faults = Faults::seeded(seed)
        .delay(5 * MS..50 * MS)
        .lose(0.1)
        .duplicate(0.05);
    let fixture = fixture(&faults).await;
    let other = ProxyClient::connect(&fixture.config).await.unwrap();
    let start = Instant::now();
    let mut ends = Vec::new();
    for n in 0..50 {
        for client in [&fixture.client, &other] {
            let ask = client.ask("doubler", Double { n }).timeout(SECOND).await;
            ends.push((ask, start.elapsed()));
        }
    }
    fixture.system.finish().await;
    ends
}

#[tokio::test(start_paused = true)]
async fn seed_repeats_a_run() {
    let first = run(7).await;
    assert!(first.iter().any(|(end, _)| end.is_err()));
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
    let faults = Faults::seeded(7);
    assert_eq!(faults.seed(), 7);
    assert!(format!("{faults:?}").contains("seed: 7"), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn bus_may_be_cut_for_a_while() -> TestResult {
    let faults = Faults::seeded(8).delay(500 * MS..500 * MS);
    let fixture = fixture(&faults).await;
    // One request and one response are on their way.
    let response = tokio::spawn(fixture.client.ask("doubler", Double { n: 1 }));
    advance(600 * MS).await;
    fixture.client.tell("log", Record { n: 2 }).await?;
    advance(100 * MS).await;
    assert_eq!(fixture.doubler.received().len(), 1);

    faults.cut();
    let start = Instant::now();
    let away = fixture.client.ask("doubler", Double { n: 3 }).await;
    assert!(
        matches!(away, Err(AskError::Unavailable { .. })),
        "{away:?}"
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    let away = ProxyClient::connect(&fixture.config).await;
    assert!(
        matches!(away, Err(ConnectError::Unavailable { .. })),
        "{away:?}"
    );
    fixture.log.expect_none(3 * SECOND).await;

    faults.resume();
    assert_eq!(fixture.log.expect().await.n, 2);
    assert_eq!(response.await?, Err(LOST));
    assert_eq!(fixture.client.ask("doubler", Double { n: 3 }).await, Ok(6));
    fixture.system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn proxy_retakes_the_lease_after_a_long_outage() -> TestResult {
    let faults = Faults::seeded(9);
    let fixture = fixture(&faults).await;
    faults.cut();
    let start = Instant::now();
    let mut proxy = fixture.proxy.connection_state();
    proxy.wait_for(|state| !state.is_connected()).await?;
    assert!(start.elapsed() <= 6 * SECOND, "{:?}", start.elapsed());
    faults.calm();
    let absent = fixture.client.ask("doubler", Double { n: 1 }).await;
    assert_eq!(absent, Err(AskError::NoResponder));
    proxy.wait_for(ConnectionState::is_connected).await?;
    assert_eq!(fixture.client.ask("doubler", Double { n: 1 }).await, Ok(2));
    fixture.system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calm_bus_has_no_faults() -> TestResult {
    let faults = Faults::seeded(10).lose(1.0);
    let fixture = fixture(&faults).await;
    let ask = || {
        fixture
            .client
            .ask("doubler", Double { n: 1 })
            .timeout(SECOND)
    };
    faults.calm();
    assert_eq!(ask().await, Ok(2));
    faults.resume();
    assert_eq!(ask().await, Err(LOST));
    fixture.system.finish().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn end_of_a_proxy_delivers_delayed_messages() -> TestResult {
    let hour = 3600 * SECOND;
    let config = Config::memory().timeout(24 * hour);
    let config = config.faults(Faults::seeded(11).delay(hour..2 * hour));
    let system = TestSystem::new();
    start_proxy(&system, &config).await?;
    let log = Probe::<Record>::spawn(&system).urn("log").await?;
    let clients = [
        ProxyClient::connect(&config).await?,
        ProxyClient::connect(&config).await?,
    ];
    for n in 0..2000 {
        for client in &clients {
            client.tell("log", Record { n }).await?;
        }
    }
    advance(SECOND).await;
    assert!(numbers(&log).is_empty());
    let start = Instant::now();
    system.finish().await;
    assert!(start.elapsed() < SECOND);
    assert_eq!(numbers(&log).len(), 4000);
    Ok(())
}

#[tokio::test]
async fn faults_need_the_bus_in_memory() -> TestResult {
    let config = Config::new("redis://127.0.0.1:1")?.faults(Faults::seeded(1));
    let problem = "the bus is wrong: faults need the one in memory, not a Redis";
    let refused = start_proxy(&ActorSystem::new(), &config).await;
    let refused = refused.err().ok_or("it is refused")?;
    assert!(matches!(refused, ConnectError::Config(_)), "{refused:?}");
    assert_eq!(refused.to_string(), problem);
    let refused = ProxyClient::connect(&config).await.err();
    assert_eq!(refused.ok_or("it is refused")?.to_string(), problem);
    Ok(())
}

#[test]
fn wrong_values_are_refused() {
    let faults = || Faults::seeded(1);
    for probability in [-0.1, 1.1, f64::NAN] {
        let lose = panic_of(|| faults().lose(probability));
        let text = format!("the probability of loss must be from 0 to 1, not {probability}");
        assert_eq!(lose, text);
        let duplicate = panic_of(|| faults().duplicate(probability));
        assert_eq!(duplicate, text.replace("loss", "duplication"));
    }
    let delay = panic_of(|| faults().delay(50 * MS..5 * MS));
    assert_eq!(delay, "a delay from 50ms to 5ms ends before it starts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_use_a_faulty_bus() {
    let fixture = fixture(&Faults::seeded(12).delay(MS..5 * MS).duplicate(0.5)).await;
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let client = fixture.client.clone();
        callers.spawn(async move {
            for n in caller * 100..caller * 100 + 20 {
                let ask = client.ask("doubler", Double { n });
                assert_eq!(ask.timeout(60 * SECOND).await, Ok(n * 2));
            }
        });
    }
    callers.join_all().await;
    assert_eq!(fixture.client.in_flight(), 0);
    fixture.system.finish().await;
}
