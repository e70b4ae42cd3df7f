//! `ls`, `actor`, `tree`, `failures` and `metrics`.

use conclib::prelude::*;
use conclib_tests::actors::GatedActor;
use conclib_tests::bus::Bus;
use conclib_tests::durable::open_shop;
use conclib_tests::messages::Enter;
use conclib_tests::{Log, eventually, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{Tool, fixture};

fn urns(listed: &Value) -> Vec<&str> {
    let actors = listed["actors"].as_array().unwrap();
    actors
        .iter()
        .map(|actor| actor["urn"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_are_listed_in_order_and_in_pages() {
    let (_bus, tool) = fixture().await;
    let listed = tool.run(&["ls", "--json", "--sort", "name"]).await.json();
    assert_eq!(urns(&listed), ["holder", "raw", "worker"]);
    assert_eq!(
        (&listed["matching"], &listed["next"]),
        (&json!(3), &json!(null))
    );
    let worker = &listed["actors"][2];
    assert_eq!(
        (&worker["phase"], &worker["capacity"]),
        (&json!("running"), &json!(20_000))
    );
    let first = tool
        .run(&["ls", "--json", "--sort", "name", "--limit", "2"])
        .await
        .json();
    let next = first["next"].as_str().unwrap();
    let arguments = [
        "ls", "--json", "--sort", "name", "--node", "main", "--after", next,
    ];
    assert_eq!(urns(&tool.run(&arguments).await.json()), ["worker"]);
    tool.run(&["ls", "--node", "main", "--after", "x"])
        .await
        .failed(2);

    let filtered = tool
        .run(&["ls", "--json", "*o*er", "--type", "Worker"])
        .await
        .json();
    assert_eq!(
        (urns(&filtered), &filtered["total"]),
        (vec!["worker"], &json!(3))
    );
    let none = tool.run(&["ls", "--json", "--min-age", "1h"]).await.json();
    assert!(urns(&none).is_empty());
    let table = tool.run(&["ls", "--sort", "name", "--limit", "1"]).await;
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(
        table
            .output
            .contains("holder  ReplyHolder  running  0/20000"),
        "{table:?}"
    );
    assert!(
        table
            .errors
            .starts_with("1 of 3 actors; next: --node main --after "),
        "{table:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_are_summed_up() {
    let (_bus, tool) = fixture().await;
    tool.run(&["ask", "worker", "Double", r#"{"n":1}"#])
        .await
        .ok();
    let types = tool
        .run(&["ls", "--types", "--json", "--sort", "handled"])
        .await
        .json();
    let first = &types["types"][0];
    assert!(
        first["actor_type"].as_str().unwrap().ends_with("::Worker"),
        "{types}"
    );
    assert_eq!(
        (&first["actors"], &first["handled"]),
        (&json!(1), &json!(1))
    );
    let table = tool.run(&["ls", "--types", "--type", "Raw"]).await;
    assert_eq!(table.ok().lines().count(), 2, "{table:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actor_shows_what_it_does() {
    let (bus, tool) = fixture().await;
    let (gate, control) = GatedActor::closed();
    bus.system.spawn(gate).await.unwrap();
    let client = bus.client.clone();
    let entered = tokio::spawn(async move { client.ask("gate", Enter { n: 3 }).await });
    eventually("the handler runs", async || control.entered() == 1).await;
    let actor = tool.run(&["actor", "gate", "--json"]).await.json();
    assert_eq!(
        (&actor["urn"], &actor["node"]),
        (&json!("gate"), &json!("main"))
    );
    assert_eq!(actor["running"]["handler"], "enter");
    assert_eq!(actor["supervision"], "unsupervised");
    let lines = tool.run(&["actor", "gate"]).await;
    assert!(lines.ok().contains("running      enter "), "{lines:?}");
    control.admit(1);
    entered.await.unwrap().unwrap();
    let missing = tool.run(&["actor", "missing"]).await;
    assert!(
        missing.failed(4).contains("no actor has the URN `missing`"),
        "{missing:?}"
    );
}

/// The names of handlers are those of the type, also of those that no message has reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actor_lists_its_handlers() {
    let (_bus, tool) = fixture().await;
    tool.run(&["ask", "worker", "Double", r#"{"n":1}"#])
        .await
        .ok();
    let lines = tool.run(&["actor", "worker"]).await;
    let handler = |start: &str| {
        let mut lines = lines.ok().lines();
        let line = lines.find(|line| line.starts_with(&format!("handler      {start}")));
        line.unwrap_or_else(|| panic!("{start}: {lines:?}"))
    };
    let double = handler("double (Double): 1 handled, 0 failed by all of this type, p50 ");
    assert!(double.contains(", p99 "), "{double}");
    assert!(handler("explode (Explode)").ends_with("0 handled, 0 failed by all of this type"));
    let actor = tool.run(&["actor", "worker", "--json"]).await.json();
    let handlers = actor["handlers"].as_array().unwrap();
    let of = |name: &str| handlers.iter().find(|of| of["handler"] == name).unwrap();
    assert_eq!(
        (&of("double")["handled"], &of("record")["handled"]),
        (&json!(1), &json!(0))
    );
    assert!(of("double")["p99_ms"].as_f64().unwrap() > 0.0, "{actor}");
    assert_eq!(of("record")["p99_ms"], json!(null));
    assert_eq!(handlers.len(), 8, "{actor}");
}

#[derive(Actor)]
#[actor(urn = "parent")]
pub(crate) struct Parent;

#[handlers]
impl Parent {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        ctx.spawn(Child).urn("parent/child").await?;
        Ok(())
    }
}

#[derive(Actor)]
struct Child;

#[handlers]
impl Child {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tree_has_children_below_their_parents() {
    let (bus, tool) = fixture().await;
    bus.system.spawn(Parent).await.unwrap();
    let tree = tool.run(&["tree", "parent"]).await;
    assert_eq!(
        tree.ok(),
        "parent (Parent, running)\n  parent/child (Child, running)"
    );
    let all = tool.run(&["tree", "--json"]).await.json();
    assert_eq!(
        (&all[0]["node"], &all[0]["matching"]),
        (&json!("main"), &json!(5))
    );
    let roots = tool.run(&["tree", "--depth", "0", "--json"]).await.json();
    assert_eq!(roots[0]["actors"].as_array().unwrap().len(), 4);
    let cut = tool.run(&["tree", "--limit", "2"]).await;
    assert_eq!(
        (cut.output.lines().count(), cut.code),
        (2, Some(0)),
        "{cut:?}"
    );
    assert!(cut.errors.contains("2 of 5 actors"), "{cut:?}");
    tool.run(&["tree", "missing"]).await.failed(4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_shown_and_followed() {
    let (bus, tool) = fixture().await;
    open_shop(&bus.system, "shop", &Log::default()).await;
    assert_eq!(tool.run(&["failures"]).await.ok(), "");
    tool.run(&["tell", "shop", "Poison"]).await.ok();
    eventually("it has failed", async || !bus.system.failures().is_empty()).await;
    let line = tool.run(&["failures", "--json"]).await;
    let failure = line.json();
    assert_eq!(
        (&failure["urn"], &failure["message"]),
        (&json!("shop"), &json!("Poison"))
    );
    assert_eq!(
        (&failure["panic"], &failure["handler"]),
        (&json!(true), &json!("poison"))
    );
    assert_eq!(tool.run(&["failures", "--urn", "desk*"]).await.ok(), "");

    let mut follow = tool
        .command(&["failures", "-f", "--interval", "20ms"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let first = within(lines.next_line()).await.unwrap().unwrap();
    assert!(first.contains("main shop poison panic, "), "{first}");
    tool.run(&["tell", "worker", "Explode"]).await.ok();
    let second = within(lines.next_line()).await.unwrap().unwrap();
    assert!(second.contains("worker explode panic"), "{second}");
    follow.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_text_for_a_scraper() {
    let (_bus, tool) = fixture().await;
    tool.run(&["ask", "worker", "Double", r#"{"n":1}"#])
        .await
        .ok();
    let printed = tool.run(&["metrics"]).await;
    let text = printed.ok();
    for line in [
        "conclib_member_up{node=\"main\"} 1",
        "# TYPE conclib_actor_handled counter",
        "conclib_actor_handled_total{node=\"main\",actor=\"Worker\"} 1",
        "conclib_bus_answers_total{node=\"main\",outcome=\"ok\"} 1",
        "conclib_dead_letters{node=\"main\"} 0",
        "conclib_lease_held{node=\"main\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF"));

    let mut served = tool
        .command(&["metrics", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(served.stderr.take().unwrap()).lines();
    let line = within(errors.next_line()).await.unwrap().unwrap();
    let address = line
        .strip_prefix("serving http://")
        .and_then(|rest| rest.strip_suffix("/metrics"));
    let mut socket = TcpStream::connect(address.unwrap()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: tool\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut response = String::new();
    within(socket.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    assert!(
        response.contains("application/openmetrics-text; version=1.0.0"),
        "{response}"
    );
    assert!(
        response.contains("conclib_member_up{node=\"main\"} 1"),
        "{response}"
    );
    let process = served.id().unwrap().to_string();
    conclib_tests::process::signal("TERM", &process).await;
    let ended = within(served.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}

/// A series that appears with its first occurrence is missed by the alerts on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_of_alerts_are_there_from_the_start() {
    let (_bus, tool) = fixture().await;
    let metrics = tool.run(&["metrics"]).await;
    let has = |start: &str, value: &str| {
        let mut lines = metrics.ok().lines();
        lines.any(|line| line.starts_with(start) && line.ends_with(value))
    };
    for series in [
        "conclib_bus_anomalies_total{node=\"main\",kind=\"unreadable_request\"} 0",
        "conclib_bus_anomalies_total{node=\"main\",kind=\"reply_overflow\"} 0",
        "conclib_bus_lost_tells_total{node=\"main\",error=\"overloaded\"} 0",
        "conclib_bus_lost_tells_total{node=\"main\",error=\"bad_request\"} 0",
        "conclib_bus_answers_total{node=\"main\",outcome=\"overloaded\"} 0",
        "conclib_actor_lost_total{node=\"main\",actor=\"Worker\",error=\"overloaded\"} 0",
        "conclib_durable_ended_total{node=\"main\",verdict=\"dead_letter\"} 0",
    ] {
        assert!(has(series, ""), "{series}\n{metrics:?}");
    }
    let rules = include_str!("../../../docs/operations/alerts.yml");
    let words = rules.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let families = words.filter(|word| word.starts_with("conclib_"));
    let families: std::collections::BTreeSet<_> = families.collect();
    let missing = families
        .iter()
        .filter(|family| !has(&format!("{family}{{"), ""));
    // Members do not know the counters of clients.
    assert!(
        missing.eq(["conclib_client_requests_total"].iter()),
        "{metrics:?}"
    );
    assert!(families.len() > 7);
}

/// Members of a fleet, one of which has a listed actor.
async fn fleet() -> (Bus, Vec<(conclib::Proxy, ActorSystem)>, Tool) {
    let bus = Bus::redis().await;
    let mut systems = Vec::new();
    for instance in ["eu-1", "eu-2"] {
        let system = ActorSystem::new();
        let config = bus.config.clone().fleet().instance(instance);
        let proxy = conclib::start_proxy(&system, &config).await.unwrap();
        systems.push((proxy, system));
    }
    systems[1].1.spawn(Parent).listed().await.unwrap();
    let tool = Tool::new(&bus.url()).with("CONCLIB_FLEET", "1");
    (bus, systems, tool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_fleet_are_shown_together() {
    let (_bus, systems, tool) = fleet().await;
    let listed = tool.run(&["ls", "--json", "parent"]).await.json();
    assert_eq!(listed["actors"][0]["node"], "eu-2");
    let actor = tool.run(&["actor", "parent/child", "--json"]).await.json();
    assert_eq!(
        (&actor["node"], &actor["parent"]),
        (&json!("eu-2"), &json!("parent"))
    );
    let tree = tool.run(&["tree", "parent"]).await;
    assert!(tree.ok().contains("parent (Parent, running)"), "{tree:?}");
    let metrics = tool.run(&["metrics"]).await;
    for node in ["eu-1", "eu-2"] {
        assert!(
            metrics
                .ok()
                .contains(&format!("conclib_member_up{{node=\"{node}\"}} 1"))
        );
    }
    let top = tool.run(&["top", "--once", "--json"]).await.json();
    let nodes = top["members"].as_array().unwrap().iter();
    let nodes: Vec<_> = nodes
        .map(|member| member["node"].as_str().unwrap())
        .collect();
    assert_eq!(nodes, ["eu-1", "eu-2"]);
    drop(systems);
}

/// Never answers.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = ())]
struct Hang;

#[derive(Actor)]
struct Stuck;

#[handlers]
impl Stuck {
    #[handler]
    async fn hang(&mut self, _: Hang) {
        std::future::pending::<()>().await;
    }
}

#[derive(Actor)]
struct Waiting(ActorRef<Stuck>);

#[handlers]
impl Waiting {
    #[handler]
    async fn wait(&mut self, _: Hang) -> Result<(), Failure> {
        Ok(self.0.ask(Hang).await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actor_shows_who_waits_for_it() {
    let (bus, tool) = fixture().await;
    let stuck = bus.system.spawn(Stuck).urn("stuck").await.unwrap();
    let waiting = bus
        .system
        .spawn(Waiting(stuck))
        .urn("waiting")
        .await
        .unwrap();
    waiting.tell(Hang).await.unwrap();
    eventually("it is waited for", async || {
        let actor = tool.run(&["actor", "stuck", "--json"]).await;
        actor.ok();
        actor.json()["waited_for_by"] == json!(["waiting"])
    })
    .await;
    let actor = tool.run(&["actor", "stuck"]).await;
    assert!(actor.ok().contains("waited for   waiting"), "{actor:?}");
    let actor = tool.run(&["actor", "waiting"]).await;
    assert!(
        actor.ok().contains("waits for    stuck (answer)"),
        "{actor:?}"
    );
    let kill = tool.run(&["kill", "stuck", "--reason", "a test"]).await;
    assert!(
        kill.failed(2).contains("for which 1 actor waits"),
        "{kill:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_list_says_so() {
    let (_bus, tool) = fixture().await;
    let none = tool.run(&["ls", "work"]).await;
    assert_eq!(none.code, Some(0));
    assert!(
        none.errors
            .contains("none: in a pattern, * stands for any text"),
        "{none:?}"
    );
}
