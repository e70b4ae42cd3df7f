//! `dead` and `durable`.

use std::collections::BTreeMap;

use conclib::bus::Role;
use conclib::durable::DeadLetters;
use conclib_tests::actors::{GatedActor, Raw};
use conclib_tests::bus::{Bus, BusFixture};
use conclib_tests::durable::open_shop;
use conclib_tests::{Log, eventually};
use serde_json::{Value, json};

use crate::refusals::create_user;
use crate::support::{Tool, fixture};

/// Dead letters: messages to `shop`, which has no handler for one of them, and to `desk`, which was there only
/// for a while.
async fn bury(bus: &BusFixture) {
    for (name, n, key) in [
        ("Stranger", 1, "a-1"),
        ("Stranger", 2, "a-2"),
        ("Odd", 3, "b-3"),
    ] {
        let message = BTreeMap::from([("n", n)]);
        let told = bus.client.tell_named("shop", name, &message);
        told.idempotency_key(key)
            .attribute("tenant", "7")
            .await
            .unwrap();
    }
    let dead = DeadLetters::connect(&bus.bus.config).await.unwrap();
    eventually("they are dead", async || {
        dead.list().await.unwrap().len() == 3
    })
    .await;
}

async fn with_dead_letters() -> (BusFixture, Tool) {
    let (bus, tool) = fixture().await;
    open_shop(&bus.system, "shop", &Log::default()).await;
    bury(&bus).await;
    (bus, tool)
}

fn keys(listed: &Value) -> Vec<&str> {
    let letters = listed.as_array().unwrap();
    letters
        .iter()
        .map(|letter| letter["key"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_and_shown() {
    let (_bus, tool) = with_dead_letters().await;
    let listed = tool.run(&["dead", "ls", "--json"]).await.json();
    assert_eq!(keys(&listed), ["a-1", "a-2", "b-3"]);
    let first = &listed[0];
    assert_eq!(
        (&first["urn"], &first["message"]),
        (&json!("shop"), &json!("Stranger"))
    );
    assert_eq!(first["attributes"], json!({"tenant": "7"}));
    assert!(first["reason"].as_str().unwrap().contains("no handler"));
    // Contents only if they are asked for.
    assert!(first.get("payload").is_none());
    let listed = tool
        .run(&["dead", "ls", "--json", "--payload", "--limit", "1"])
        .await
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["payload"], json!({"n": 1}));

    let table = tool.run(&["dead", "ls"]).await;
    let lines: Vec<_> = table.ok().lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("ID "), "{table:?}");
    assert!(
        !table.output.contains("{\"n\"") && lines[3].contains("b-3"),
        "{table:?}"
    );

    let id = first["id"].as_str().unwrap();
    let shown = tool.run(&["dead", "show", id]).await;
    assert!(shown.ok().contains("attributes  tenant=7") && !shown.output.contains("payload"));
    let shown = tool.run(&["dead", "show", id, "--payload"]).await;
    assert!(shown.ok().contains(r#"payload     {"n":1}"#), "{shown:?}");
    let shown = tool.run(&["dead", "show", id, "--json"]).await.json();
    assert_eq!(shown["key"], "a-1");
    for missing in ["1-0", "0-0", "x"] {
        tool.run(&["dead", "show", missing]).await.failed(4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_filtered() {
    let (_bus, tool) = with_dead_letters().await;
    for (filter, expected) in [
        (&["--message", "Odd"][..], &["b-3"][..]),
        (&["--message", "Str*"], &["a-1", "a-2"]),
        (&["--key", "*-2"], &["a-2"]),
        (&["--urn", "shop", "--key", "a-*"], &["a-1", "a-2"]),
        (&["--urn", "desk"], &[]),
        (&["--reason", "no handler for `Odd`"], &["b-3"]),
        (&["--older-than", "1h"], &[]),
        (&["--newer-than", "1h", "--message", "Odd"], &["b-3"]),
    ] {
        let arguments = [&["dead", "ls", "--json"], filter].concat();
        let listed = tool.run(&arguments).await.json();
        assert_eq!(keys(&listed), expected, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_changed_only_with_consent() {
    let (bus, tool) = with_dead_letters().await;
    let dead = DeadLetters::connect(&bus.bus.config).await.unwrap();
    for arguments in [
        &["dead", "rm", "--all"][..],
        &["dead", "replay", "--all"],
        &["dead", "rm", "--urn", "shop"],
    ] {
        let run = tool.run(arguments).await;
        assert!(run.failed(2).starts_with("3 dead letters\n"), "{run:?}");
        assert!(run.errors.contains("Nothing was changed"), "{run:?}");
    }
    let run = tool.run(&["dead", "rm", "--all", "--json"]).await;
    let error: Value = serde_json::from_str(run.failed(2)).unwrap();
    assert_eq!(
        error["text"],
        "Remove for good: 3 dead letters? Nothing was changed."
    );
    assert_eq!(dead.list().await.unwrap().len(), 3);
    let removed = tool
        .run(&["dead", "rm", "--message", "Odd", "--yes", "--json"])
        .await;
    removed.ok();
    let removed = removed.json();
    assert_eq!(
        (&removed["chosen"], &removed["changed"], &removed["missing"]),
        (&json!(1), &json!(1), &json!([]))
    );
    let letter = &removed["letters"][0];
    assert_eq!(
        (&letter["urn"], &letter["message"], &letter["key"]),
        (&json!("shop"), &json!("Odd"), &json!("b-3"))
    );
    assert_eq!(letter["new_id"], json!(null));
    let removed = tool.run(&["dead", "rm", "--all", "--yes"]).await;
    let lines: Vec<_> = removed.output.lines().collect();
    assert!(
        lines[0].ends_with(": Stranger for shop, key a-1"),
        "{removed:?}"
    );
    assert_eq!((removed.code, &lines[2..]), (Some(0), &["removed 2"][..]));
    assert!(dead.list().await.unwrap().is_empty());
    let none = tool.run(&["dead", "rm", "--all"]).await;
    assert_eq!((none.code, &*none.output), (Some(0), "removed 0\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_message_is_handled() {
    let (bus, tool) = fixture().await;
    // The actor is of an older version, without a handler for orders.
    let order = BTreeMap::from([("n", 5)]);
    let old = bus.system.spawn(Raw).urn("shop").await.unwrap();
    let ask = bus.client.ask_named::<u32>("shop", "Order", &order);
    ask.idempotency_key("order-5").await.unwrap_err();
    let listed = tool.run(&["dead", "ls", "--json"]).await.json();
    let id = listed[0]["id"].as_str().unwrap();
    old.stop();
    old.stopped().await;
    let log = Log::default();
    open_shop(&bus.system, "shop", &log).await;
    let replayed = tool.run(&["dead", "replay", id]).await;
    let (line, sum) = replayed.ok().split_once('\n').unwrap();
    let start = format!("replayed {id}: Order for shop, key order-5, now ");
    let new_id = line.strip_prefix(&start).unwrap();
    assert!(sum == "replayed 1" && new_id != id, "{replayed:?}");
    eventually("it is handled", async || log.entries() == ["5"]).await;
    let again = tool.run(&["dead", "replay", id]).await;
    assert!(again.failed(4).contains(id), "{again:?}");
    let again = tool.run(&["dead", "replay", id, "--json"]).await;
    assert_eq!(
        again.json(),
        json!({"chosen": 1, "changed": 0, "letters": [], "missing": [id]})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_messages_are_listed() {
    let bus = Bus::redis().await;
    let tool = Tool::new(&bus.url());
    assert_eq!(
        tool.run(&["durable", "ls", "--json"]).await.json(),
        json!([])
    );
    for n in ["1", "2", "3"] {
        let value = format!(r#"{{"n":{n}}}"#);
        let urn = format!("shop/{n}");
        tool.run(&["tell", &urn, "Order", &value, "--key", n])
            .await
            .ok();
    }
    let listed = tool.run(&["durable", "ls", "--json"]).await.json();
    assert_eq!(keys(&listed), ["1", "2", "3"]);
    assert!(listed[0].get("payload").is_none());
    // No process serves the node.
    assert_eq!(listed[0]["actor"], json!(null));
    let arguments = ["durable", "ls", "--json", "--payload", "--urn", "*/2"];
    let listed = tool.run(&arguments).await.json();
    assert_eq!(
        (keys(&listed), &listed[0]["payload"]),
        (vec!["2"], &json!({"n": 2}))
    );
    let table = tool.run(&["durable", "ls", "--limit", "2"]).await;
    assert_eq!(table.ok().lines().count(), 3, "{table:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_messages_name_the_state_of_their_actors() {
    let (bus, tool) = fixture().await;
    let (gate, control) = GatedActor::closed();
    bus.system.spawn(gate).await.unwrap();
    for urn in ["gate", "nowhere", "gate", "gone"] {
        tool.run(&["tell", urn, "Enter", r#"{"n":1}"#, "--durable"])
            .await
            .ok();
    }
    eventually("a handler runs", async || control.entered() == 1).await;
    let operator = create_user(&bus.bus, "operator", Role::Operator).await;
    let listed = operator.run(&["durable", "ls", "--json"]).await;
    listed.ok();
    let listed = listed.json();
    let states = listed.as_array().unwrap().iter();
    let states: Vec<_> = states.map(|row| (&row["urn"], &row["actor"])).collect();
    let (running, missing) = (&json!("running"), &json!("missing"));
    assert_eq!(
        states,
        [
            (&json!("gate"), running),
            (&json!("nowhere"), missing),
            (&json!("gate"), running),
            (&json!("gone"), missing),
        ]
    );
    let table = tool.run(&["durable", "ls", "--urn", "nowhere"]).await;
    assert!(table.ok().contains("nowhere  missing  Enter"), "{table:?}");
    control.admit(2);
}
