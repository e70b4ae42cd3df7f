//! The exporter of metrics, read back as Prometheus reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use conclib::bus::Proxy;
use conclib::metrics::Exporter;
use conclib::prelude::*;
use conclib::topic::Topic;
use conclib_tests::bus::Bus;
use conclib_tests::eventually;
use conclib_tests::redis::send_command;
use conclib_tests::wire::{Request, inbox};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
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
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(seconds, &Exporter::BUCKETS);
        Self(builder.unwrap().build_recorder())
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
        match self.sample(series)? {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => Some(value),
            other => panic!("{other:?}"),
        }
    }

    /// The number of durations of a histogram that are at most as long as a bound, in seconds.
    fn up_to(&self, bound: f64, series: &str) -> Option<f64> {
        let Value::Histogram(buckets) = self.sample(series)? else {
            panic!("{series} is no histogram");
        };
        let bucket = buckets.iter().find(|bucket| bucket.less_than >= bound);
        Some(bucket.unwrap().count)
    }

    fn sample(&self, series: &str) -> Option<Value> {
        let mut words = series.split(' ');
        let family = words.next().unwrap();
        let labels: BTreeMap<_, _> = words.map(|label| label.split_once('=').unwrap()).collect();
        let scrape = self.scrape();
        let sample = scrape.samples.iter().find(|sample| {
            let pairs = sample.labels.iter();
            let found: BTreeMap<_, _> = pairs.map(|(label, value)| (&**label, &**value)).collect();
            sample.metric == family && found == labels
        })?;
        Some(sample.value.clone())
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

/// Waits until the bus was read for what waits there: from then on it has series.
async fn has_backlog(proxy: &Proxy) {
    eventually("the bus is read", async || proxy.stats().backlog.is_some()).await;
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

#[derive(ActorMessage, Serialize, Deserialize)]
struct Nap {
    millis: u32,
}

#[derive(Actor)]
#[actor(urn = "sleeper")]
struct Sleeper;

#[handlers]
impl Sleeper {
    #[handler]
    async fn nap(&mut self, Nap { millis }: Nap) {
        tokio::time::sleep(millis * Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn times_are_scraped_as_histograms() {
    let (system, _proxy, client) = serving().await;
    system.spawn(Sleeper).await.unwrap();
    let scraper = Scraper::new();
    let mut exporter = scraper.exporter(|| Exporter::new().system(&system).client("web", &client));
    let handler = "conclib_handler_seconds actor=Sleeper handler=nap";
    let asks = "conclib_client_ask_seconds client=web message=Nap";
    let queue = "conclib_bus_queue_seconds actor=Sleeper";
    for round in 1..=2 {
        for millis in [20, 20, 400, 2_000] {
            client.ask("sleeper", Nap { millis }).await.unwrap();
        }
        scraper.publish(&mut exporter);
        scraper.publish(&mut exporter); // nothing new
        let round = f64::from(round);
        for histogram in [handler, asks] {
            for (bound, count) in [(0.01, 0.0), (0.025, 2.0), (0.5, 3.0), (60.0, 4.0)] {
                let found = scraper.up_to(bound, histogram);
                assert_eq!(found, Some(round * count), "{histogram}, {bound} s");
            }
        }
        assert_eq!(scraper.up_to(60.0, queue), Some(round * 4.0));
        assert_eq!(
            scraper.value("conclib_client_asks_total client=web message=Nap status=ok delivered="),
            Some(round * 4.0)
        );
    }
    for end in ["node=main", "client=web"] {
        let round_trips = format!("conclib_bus_round_trip_seconds {end}");
        assert!(scraper.up_to(60.0, &round_trips) > Some(0.0), "{end}");
    }
}

#[derive(ActorMessage, Serialize, Deserialize, Clone)]
struct News;

#[derive(Actor)]
#[actor(mailbox = 2)]
struct Reader;

#[handlers]
impl Reader {
    #[handler]
    fn news(&mut self, _: News) {}
}

#[tokio::test]
async fn topics_and_what_waits_on_the_bus_are_scraped() {
    let (system, proxy, client) = serving().await;
    let topic = Topic::new();
    topic.subscribe(&system.spawn(Reader).await.unwrap().recipient());
    for _ in 0..5 {
        topic.publish(News);
    }
    for n in 0..7 {
        client.tell("absent", Halve(n)).durable().await.unwrap();
    }
    eventually("they wait for their actor", async || {
        let stats = proxy.stats();
        let stored = stats.backlog.and_then(|backlog| backlog.stored);
        stats.durable.deferred == 7 && stored == Some(7)
    })
    .await;
    let scraper = Scraper::new();
    let mut exporter = scraper.exporter(|| Exporter::new().system(&system).topic("news", &topic));
    scraper.publish(&mut exporter);
    for (series, value) in [
        ("conclib_topic_dropped_total topic=news", 3.0),
        ("conclib_durable_stored node=main", 7.0),
        ("conclib_durable_deferred node=main", 7.0),
        ("conclib_durable_in_flight node=main", 0.0),
        ("conclib_durable_delayed node=main", 0.0),
        ("conclib_dead_letters node=main", 0.0),
        ("conclib_bus_inbox_length node=main", 0.0),
    ] {
        assert_eq!(scraper.value(series), Some(value), "{series}");
    }
    assert!(scraper.value("conclib_durable_oldest_seconds node=main") < Some(60.0));
}

/// A peer makes up names of messages: of actors that do not know them, and of one that takes any name.
#[tokio::test]
async fn names_that_a_peer_makes_up_make_one_series() {
    const NAMES: u64 = 10_000;
    let fixture = Bus::redis().await.fixture().await;
    let scraper = Scraper::new();
    let mut exporter = scraper.exporter(|| Exporter::new().system(&fixture.system));
    let inbox = inbox(fixture.proxy.epoch().unwrap());
    let send = async |first: u64, count: u64| {
        let requests = (first..first + count).map(|n| Request {
            kind: 1,
            id: n,
            urn: if n % 2 == 0 { "worker" } else { "raw" }.to_owned(),
            message: format!("MadeUp{n}"),
            ..Request::double(1, 1)
        });
        let frames: Vec<_> = requests.map(|request| request.frame()).collect();
        for frames in frames.chunks(200) {
            let mut command = vec![&b"RPUSH"[..], inbox.as_bytes()];
            command.extend(frames.iter().map(Vec::as_slice));
            send_command(fixture.bus.address(), &command).await.unwrap();
            eventually("they are taken", async || {
                let metrics = fixture.system.metrics();
                metrics.types.iter().all(|of_type| of_type.queued == 0)
            })
            .await;
        }
        eventually("all have arrived", async || {
            fixture.proxy.stats().received_tells == first + count
        })
        .await;
    };
    send(0, 200).await;
    eventually("some are handled", async || {
        let metrics = fixture.system.metrics();
        metrics.of("Raw").unwrap().handled > 0
    })
    .await;
    has_backlog(&fixture.proxy).await;
    scraper.publish(&mut exporter);
    let before = scraper.scrape().samples.len();
    send(200, NAMES).await;
    scraper.publish(&mut exporter);
    let text = scraper.0.handle().render();
    assert!(!text.contains("MadeUp"), "{text}");
    let added = scraper.scrape().samples.len() - before;
    assert_eq!(added, 0, "the one of all other names was there");
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
    let (system, proxy, client) = serving().await;
    has_backlog(&proxy).await;
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
        let named = families(text).into_iter();
        let named: Vec<_> = named
            .map(|family| family.trim_end_matches("_bucket"))
            .collect();
        assert!(named.len() > 5);
        for family in named {
            assert!(page.contains(&family), "{family}");
        }
    }
    let board: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/operations/board.json")).unwrap();
    assert_eq!(board["panels"].as_array().unwrap().len(), 24);
}

/// A board with a mistake is shown empty, or not at all.
#[test]
fn panels_of_the_board_have_what_grafana_needs() {
    let board: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/operations/board.json")).unwrap();
    let mut places = std::collections::HashSet::new();
    for (number, panel) in (1..).zip(board["panels"].as_array().unwrap()) {
        assert_eq!(panel["id"], number);
        assert_eq!(panel["type"], "timeseries");
        let title = panel["title"].as_str().unwrap();
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(place), "{title} covers another panel");
        }
        let targets = panel["targets"].as_array().unwrap();
        for (target, letter) in targets.iter().zip("ABCDEF".chars()) {
            assert_eq!(target["refId"], letter.to_string(), "{title}");
            assert!(target["expr"].as_str().unwrap().contains("$job"), "{title}");
            let names_series = target["legendFormat"]
                .as_str()
                .is_some_and(|text| text.contains("{{"));
            assert!(names_series, "{title}");
            for part in [panel, target] {
                assert_eq!(part["datasource"]["uid"], "${datasource}", "{title}");
            }
        }
        assert!(!targets.is_empty(), "{title}");
    }
}
