//! The exporter of metrics, read back as Prometheus reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use conclib::bus::Proxy;
use conclib::metrics::Exporter;
use conclib::prelude::*;
use conclib_tests::eventually;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use prometheus_parse::{Scrape, Value};

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Halve(u32);

#[derive(Actor)]
#[actor(urn = "halver", mailbox = 8)]
struct Halver;

#[handlers]
impl Halver {
    #[handler]
    fn halve(&mut self, Halve(n): Halve) -> Result<u32, Failure> {
        assert_ne!(n, 13, "unlucky");
        if n % 2 == 1 {
            return Err(Failure::msg("odd"));
        }
        Ok(n / 2)
    }
}

/// A generic type, whose name has paths in it.
#[derive(Actor)]
struct Holder<T: Send + 'static>(T);

#[handlers]
impl<T: Send + 'static> Holder<T> {}

/// A recorder of one test, and what Prometheus would have scraped.
struct Scraper(PrometheusRecorder);

impl Scraper {
    fn new() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }

    fn publish(&self, exporter: &mut Exporter) {
        metrics::with_local_recorder(&self.0, || exporter.publish());
    }

    fn exporter(&self, make: impl FnOnce() -> Exporter) -> Exporter {
        metrics::with_local_recorder(&self.0, make)
    }

    fn scrape(&self) -> Scrape {
        let text = self.0.handle().render();
        Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
    }

    /// The value of a series, written as its family and its labels, separated by spaces.
    fn value(&self, series: &str) -> Option<f64> {
        let mut words = series.split(' ');
        let family = words.next().unwrap();
        let labels: BTreeMap<_, _> = words.map(|label| label.split_once('=').unwrap()).collect();
        let scrape = self.scrape();
        let sample = scrape.samples.iter().find(|sample| {
            let pairs = sample.labels.iter();
            let found: BTreeMap<_, _> = pairs.map(|(label, value)| (&**label, &**value)).collect();
            sample.metric == family && found == labels
        })?;
        match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => Some(value),
            ref other => panic!("{other:?}"),
        }
    }
}

async fn serving() -> (ActorSystem, Proxy, ProxyClient) {
    let (system, config) = (ActorSystem::new(), Config::memory());
    let halver = system
        .supervise(|| async { Halver })
        .restart(conclib::supervision::Restart::OnFailure);
    halver.unlimited().await.unwrap();
    let proxy = start_proxy(&system, &config).await.unwrap();
    (system, proxy, ProxyClient::connect(&config).await.unwrap())
}

#[tokio::test]
async fn counters_of_all_ends_are_scraped() {
    let (system, _proxy, client) = serving().await;
    for n in [2, 4, 6] {
        assert_eq!(client.ask("halver", Halve(n)).await, Ok(n / 2));
    }
    for n in [1, 13] {
        assert!(client.ask("halver", Halve(n)).await.is_err());
    }
    assert!(client.ask("absent", Halve(2)).await.is_err());
    eventually("the actor runs again", async || {
        let metrics = system.metrics();
        let halver = metrics.of("Halver").unwrap();
        halver.restarts == 2 && halver.running == 1
    })
    .await;
    let scraper = Scraper::new();
    let mut exporter = scraper.exporter(|| Exporter::new().system(&system).client("web", &client));
    scraper.publish(&mut exporter);

    for (series, value) in [
        ("conclib_actors actor=Halver phase=running", 1.0),
        ("conclib_actor_handled_total actor=Halver", 3.0),
        ("conclib_actor_failures_total actor=Halver kind=error", 1.0),
        ("conclib_actor_failures_total actor=Halver kind=panic", 1.0),
        ("conclib_actor_restarts_total actor=Halver", 2.0),
        ("conclib_mailbox_messages actor=Halver", 0.0),
        ("conclib_bus_requests_total node=main kind=ask", 6.0),
        ("conclib_bus_answers_total node=main outcome=ok", 3.0),
        ("conclib_bus_answers_total node=main outcome=failed", 2.0),
        (
            "conclib_bus_answers_total node=main outcome=actor_not_found",
            1.0,
        ),
        ("conclib_lease_held node=main", 1.0),
        ("conclib_connection_up node=main", 1.0),
        ("conclib_connection_up client=web", 1.0),
        ("conclib_client_in_flight client=web", 0.0),
        (
            "conclib_client_requests_total client=web kind=ask status=ok delivered=",
            3.0,
        ),
        (
            "conclib_client_requests_total client=web kind=ask status=actor_not_found delivered=no",
            1.0,
        ),
    ] {
        assert_eq!(scraper.value(series), Some(value), "{series}");
    }
    let handler = "conclib_handler_messages_total actor=Halver handler=halve message=Halve";
    assert_eq!(scraper.value(&format!("{handler} outcome=ok")), Some(3.0));
    assert_eq!(
        scraper.value(&format!("{handler} outcome=failed")),
        Some(2.0)
    );
    let texts = scraper.scrape().docs;
    assert!(texts.contains_key("conclib_actors"), "families have texts");

    // Once more: the counters rise, and gauges follow.
    system.actor::<Halver>("halver").unwrap().stop();
    eventually("the actor has ended", async || system.is_empty()).await;
    scraper.publish(&mut exporter);
    for (series, value) in [
        ("conclib_actors actor=Halver phase=running", 0.0),
        (
            "conclib_actor_stopped_total actor=Halver reason=requested",
            1.0,
        ),
        ("conclib_actor_handled_total actor=Halver", 3.0),
    ] {
        assert_eq!(scraper.value(series), Some(value), "{series}");
    }
}

#[tokio::test]
async fn lost_messages_are_scraped_exactly() {
    let system = ActorSystem::new();
    let halver = system.spawn(Halver).await.unwrap();
    let refused = (0..1_000).filter(|n| halver.try_tell(Halve(2 * n)).is_err());
    assert_eq!(refused.count(), 992);
    let scraper = Scraper::new();
    let mut exporter = scraper.exporter(|| Exporter::new().system(&system));
    scraper.publish(&mut exporter);
    let lost = "conclib_actor_lost_total actor=Halver error=overloaded";
    assert_eq!(scraper.value(lost), Some(992.0));
}

/// Names from the bus make no series, and types are shown by their short names.
#[tokio::test]
async fn series_are_bounded_by_the_program() {
    let (system, _proxy, client) = serving().await;
    system.spawn(Holder(vec![String::new()])).await.unwrap();
    let scraper = Scraper::new();
    let mut exporter = scraper.exporter(|| Exporter::new().system(&system).client("web", &client));
    assert!(client.ask("absent-0", Halve(2)).await.is_err());
    scraper.publish(&mut exporter);
    let series = scraper.scrape().samples.len();
    for n in 1..1_000 {
        assert!(client.ask(format!("absent-{n}"), Halve(2)).await.is_err());
    }
    scraper.publish(&mut exporter);
    assert_eq!(scraper.scrape().samples.len(), series);
    let holder = "conclib_actors actor=Holder<Vec<String>> phase=running";
    assert_eq!(scraper.value(holder), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn exporter_keeps_no_system_and_publishes_at_its_interval() {
    let system = ActorSystem::new();
    let halver = system.spawn(Halver).await.unwrap();
    let scraper = Scraper::new();
    let exporter = scraper.exporter(|| Exporter::new().system(&system));
    let _local = metrics::set_default_local_recorder(&scraper.0);
    let mut running = Box::pin(exporter.run(Duration::from_secs(5)));
    let handled = || scraper.value("conclib_actor_handled_total actor=Halver");
    for (asks, published) in [(0, 0.0), (1, 1.0), (2, 3.0)] {
        for _ in 0..asks {
            halver.ask(Halve(2)).await.unwrap();
        }
        let _never = tokio::time::timeout(Duration::from_millis(5_001), &mut running).await;
        assert_eq!(handled(), Some(published));
    }
    drop(system);
    let reason = halver.stopped().await;
    assert!(matches!(reason, conclib::StopReason::Shutdown), "{reason}");
}

/// The proxies that serve a node one after another count together, and gauges fall with the last one.
#[tokio::test]
async fn counters_rise_on_with_the_next_proxy() {
    let (system, proxy, client) = serving().await;
    let scraper = Scraper::new();
    let mut exporter = scraper.exporter(|| Exporter::new().system(&system));
    let answers = "conclib_bus_answers_total node=main outcome=ok";
    let held = "conclib_lease_held node=main";
    for n in 0..5 {
        assert_eq!(client.ask("halver", Halve(2 * n)).await, Ok(n));
    }
    scraper.publish(&mut exporter);
    assert_eq!(
        (scraper.value(answers), scraper.value(held)),
        (Some(5.0), Some(1.0))
    );
    proxy.shutdown().await;
    scraper.publish(&mut exporter);
    assert_eq!(
        (scraper.value(answers), scraper.value(held)),
        (Some(5.0), Some(0.0))
    );
    start_proxy(&system, &Config::memory()).await.unwrap();
    scraper.publish(&mut exporter);
    assert_eq!(scraper.value(held), Some(1.0));
    system.shutdown().await;
    scraper.publish(&mut exporter);
    assert_eq!(
        (scraper.value(answers), scraper.value(held)),
        (Some(5.0), Some(0.0))
    );
    let running = "conclib_actors actor=Halver phase=running";
    assert_eq!(scraper.value(running), Some(0.0));
}

#[test]
fn board_and_alerts_name_families_of_the_page() {
    let families = |text: &'static str| {
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        words
            .filter(|word| word.starts_with("conclib_"))
            .collect::<Vec<_>>()
    };
    let page = families(include_str!("../../docs/metrics.md"));
    for text in [
        include_str!("../../docs/operations/board.json"),
        include_str!("../../docs/operations/alerts.yml"),
    ] {
        let named = families(text);
        assert!(named.len() > 5);
        for family in named {
            assert!(page.contains(&family), "{family}");
        }
    }
    let board: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/operations/board.json")).unwrap();
    assert_eq!(board["panels"].as_array().unwrap().len(), 15);
}
