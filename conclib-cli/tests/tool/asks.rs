//! `ask`, `tell` and `ping`.

use conclib::prelude::*;
use conclib_tests::actors::GatedActor;
use conclib_tests::bus::Bus;
use conclib_tests::durable::open_shop;
use conclib_tests::messages::Recorded;
use conclib_tests::{Log, eventually};
use serde_json::json;

use crate::support::{Tool, fixture};

/// Answered with as much.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Doubled)]
struct Double {
    n: u32,
}

#[derive(Serialize, Deserialize)]
struct Doubled {
    n: u64,
}

/// Values of many kinds, which come back as they are.
#[derive(ActorMessage, Serialize, Deserialize, Clone)]
#[message(response = Echo)]
struct Echo {
    large: u64,
    small: i64,
    part: f64,
    short: f32,
    text: String,
    #[serde(with = "serde_bytes_vec")]
    bytes: Vec<u8>,
    choice: Choice,
    nothing: Option<u32>,
    pair: (u8, String),
}

#[derive(Serialize, Deserialize, Clone)]
enum Choice {
    Unit,
    Tuple(u8, u8),
    Fields { x: i8 },
}

/// Bytes as a message has them with `serde_bytes`.
mod serde_bytes_vec {
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

#[derive(Actor)]
#[actor(urn = "doubler")]
struct Doubler;

#[handlers]
impl Doubler {
    #[handler]
    fn double(&mut self, message: Double) -> Doubled {
        Doubled {
            n: u64::from(message.n) * 2,
        }
    }

    #[handler]
    fn echo(&mut self, message: Echo) -> Echo {
        message
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ask_prints_the_response() {
    let (bus, tool) = fixture().await;
    bus.system.spawn(Doubler).await.unwrap();
    let asked = tool.run(&["ask", "doubler", "Double", r#"{"n":21}"#]).await;
    assert_eq!(asked.ok(), r#"{"n":42}"#);
    let asked = tool.run_with_input(&["ask", "doubler", "Double", "-"], r#"{"n":4}"#);
    assert_eq!(asked.await.ok(), r#"{"n":8}"#);
    let path = std::env::temp_dir().join(format!("conclib-cli-{}.json", std::process::id()));
    std::fs::write(&path, r#"{"n":5}"#).unwrap();
    let file = format!("@{}", path.display());
    let asked = tool.run(&["ask", "doubler", "Double", &file]).await;
    assert_eq!(asked.ok(), r#"{"n":10}"#);
    std::fs::remove_file(path).unwrap();
    // A message without fields needs no value.
    let asked = tool.run(&["ask", "worker", "Recorded"]).await;
    assert_eq!(asked.ok(), "[]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_all_kinds_come_back_as_they_were() {
    let (bus, tool) = fixture().await;
    bus.system.spawn(Doubler).await.unwrap();
    for choice in [r#""Unit""#, r#"{"Tuple":[1,2]}"#, r#"{"Fields":{"x":-1}}"#] {
        let message = format!(
            r#"{{"large":18446744073709551615,"small":-9223372036854775808,"part":0.1,"short":0.1,"text":"größe \"x\"","bytes":{{"$base64":"AAH/"}},"choice":{choice},"nothing":null,"pair":[7,"x"]}}"#
        );
        let asked = tool.run(&["ask", "doubler", "Echo", &message]).await;
        assert_eq!(asked.ok(), message);
    }
    // An integer where a float is expected, and bytes as numbers.
    let asked = tool.run(&[
        "ask",
        "--bytes",
        "array",
        "worker",
        "Fill",
        r#"{"bytes":3}"#,
    ]);
    assert_eq!(asked.await.ok(), "[7,7,7]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_of_a_result_is_a_failure_if_asked_for() {
    let (_bus, tool) = fixture().await;
    let arguments = ["ask", "worker", "Withdraw", r#"{"cents":130}"#];
    let declined = r#"{"Err":{"missing":30}}"#;
    assert_eq!(tool.run(&arguments).await.ok(), declined);
    let failed = tool
        .run(&[&arguments[..], &["--fail-on-err"]].concat())
        .await;
    assert_eq!(failed.failed(1), "");
    assert_eq!(failed.output.trim_end(), declined);
    let paid = [
        "ask",
        "worker",
        "Withdraw",
        r#"{"cents":30}"#,
        "--fail-on-err",
    ];
    assert_eq!(tool.run(&paid).await.ok(), r#"{"Ok":70}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tell_sends_a_message() {
    let (bus, tool) = fixture().await;
    let told = tool.run(&["tell", "worker", "Record", r#"{"n":7}"#]).await;
    assert_eq!(told.ok(), "");
    let told = tool
        .run(&["tell", "worker", "Record", r#"{"n":8}"#, "--json"])
        .await;
    assert_eq!(told.json(), json!({"accepted": true, "stored": false}));
    let recorded = bus.client.ask("worker", Recorded).await;
    assert_eq!(recorded, Ok(vec![7, 8]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_go_along() {
    let (_bus, tool) = fixture().await;
    let attributes = ["--attribute", "tenant=7", "--attribute", "mood=a=b"];
    let asked = tool
        .run(&[&["ask", "raw", "Trace"], &attributes[..]].concat())
        .await;
    assert_eq!(asked.ok(), r#""mood=a=b,tenant=7""#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_message_is_stored_and_handled_once() {
    let bus = Bus::redis().await;
    let tool = Tool::new(&bus.url());
    let order = [
        "tell",
        "shop",
        "Order",
        r#"{"n":5}"#,
        "--durable",
        "--key",
        "order-5",
    ];
    // No actor system serves.
    let told = tool.run(&[&order[..], &["--json"]].concat()).await;
    assert_eq!(told.json(), json!({"accepted": true, "stored": true}));
    assert_eq!(
        bus.command(&["XLEN", "conclib:{n:main}:durable"]).await,
        "1"
    );
    let (system, _proxy) = bus.system().await;
    let log = Log::default();
    open_shop(&system, "shop", &log).await;
    let asked = tool
        .run(&["ask", "shop", "Order", r#"{"n":5}"#, "--key", "order-5"])
        .await;
    assert_eq!(asked.ok(), "5");
    let other = tool
        .run(&["ask", "shop", "Order", r#"{"n":6}"#, "--key", "order-5"])
        .await;
    assert!(other.failed(4).contains("use another key"), "{other:?}");
    assert_eq!(log.entries(), ["5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ask_that_times_out_in_its_handler_was_perhaps_executed() {
    let (bus, tool) = fixture().await;
    let (gate, control) = GatedActor::closed();
    bus.system.spawn(gate).await.unwrap();
    let arguments = [
        "ask",
        "gate",
        "Enter",
        r#"{"n":3}"#,
        "--timeout",
        "400ms",
        "--json",
    ];
    let run = tokio::spawn(async move { tool.run(&arguments).await });
    eventually("the handler runs", async || control.entered() == 1).await;
    let run = run.await.unwrap();
    let error: serde_json::Value = serde_json::from_str(run.failed(5)).unwrap();
    assert_eq!(error["error"], "timeout");
    assert_eq!(error["delivered"], "accepted");
    assert_eq!(error["exit"], 5);
    assert!(
        error["advice"]
            .as_str()
            .unwrap()
            .contains("look before you repeat")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_measures_the_way_to_an_actor() {
    let (_bus, tool) = fixture().await;
    let once = tool.run(&["ping", "worker"]).await;
    assert!(once.ok().starts_with("worker: answer 1 in "), "{once:?}");
    let arguments = ["ping", "raw", "-c", "20", "--interval", "1ms", "--json"];
    let many = tool.run(&arguments).await.json();
    assert_eq!((&many["sent"], &many["answered"]), (&json!(20), &json!(20)));
    let time = |name: &str| many["times_ms"][name].as_f64().unwrap();
    assert!(0.0 < time("min") && time("p50") <= time("p99") && time("p99") <= time("max"));
    let redis = tool.run(&["ping", "-c", "2", "--interval", "1ms"]).await;
    assert!(redis.ok().contains("2 sent, 2 answered\nmin "), "{redis:?}");
    let missing = tool.run(&["ping", "missing"]).await;
    assert!(missing.failed(4).contains("no actor has the URN `missing`"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_fleet_are_asked_by_name_and_by_node() {
    let bus = Bus::redis().await;
    let mut systems = Vec::new();
    for instance in ["eu-1", "eu-2"] {
        let system = ActorSystem::new();
        let config = bus.config.clone().fleet().instance(instance);
        if instance == "eu-2" {
            system.spawn(Doubler).listed().await.unwrap();
        }
        systems.push((
            conclib::start_proxy(&system, &config).await.unwrap(),
            system,
        ));
    }
    let tool = Tool::new(&bus.url());
    let ask = ["ask", "doubler", "Double", r#"{"n":1}"#];
    let fleet = tool.clone().with("CONCLIB_FLEET", "1");
    assert_eq!(fleet.run(&ask).await.ok(), r#"{"n":2}"#);
    assert_eq!(
        tool.run(&[&ask[..], &["--fleet"]].concat()).await.ok(),
        r#"{"n":2}"#
    );
    let node = |name| [&ask[..], &["--node", name]].concat();
    assert_eq!(fleet.run(&node("eu-2")).await.ok(), r#"{"n":2}"#);
    fleet.run(&node("eu-1")).await.failed(4);
    tool.run(&ask).await.failed(3);
}
