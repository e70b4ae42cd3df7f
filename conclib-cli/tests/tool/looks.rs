//! `status`, `doctor`, `acl` and `completions`.

use std::time::Duration;

use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::eventually;
use serde_json::json;

use crate::support::{Tool, fixture};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_who_serves_and_what_waits() {
    let (bus, tool) = fixture().await;
    let status = tool.run(&["status", "--json"]).await;
    status.ok();
    let status = status.json();
    let node = &status["nodes"][0];
    assert_eq!(
        (&status["namespace"], &node["node"]),
        (&json!("conclib"), &json!("main"))
    );
    assert_eq!(node["lease"]["epoch"].as_u64(), bus.proxy.epoch());
    assert_eq!(
        (&node["served"], &node["lease"]["serving"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&node["inbox"], &node["durable"]["stored"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(
        node["dead_letters"],
        json!({"stored": 0, "oldest": null, "oldest_seconds": null})
    );
    assert_eq!(status["redis"]["server"]["is_primary"], true);
    let offset = status["redis"]["clock_offset_ms"].as_f64().unwrap();
    assert!(offset.abs() < 1000.0, "{offset}");
    let table = tool.run(&["status"]).await;
    assert!(
        table.ok().contains("lease         serving, epoch "),
        "{table:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_is_3_while_no_system_serves() {
    let bus = Bus::redis().await;
    let tool = Tool::new(&bus.url());
    let status = tool.run(&["status", "--json"]).await;
    assert!(status.failed(3).contains("no_responder"), "{status:?}");
    assert_eq!(status.json()["served"], false);
    assert_eq!(status.json()["nodes"][0]["lease"], json!(null));
    let doctor = tool.run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(3), "{doctor:?}");
    assert!(doctor.output.contains("error no_responder"), "{doctor:?}");
    assert!(
        doctor.output.contains("try: start the actor process"),
        "{doctor:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_that_waits_too_long_is_7() {
    let (_bus, tool) = fixture().await;
    tool.run(&["tell", "missing", "Order", r#"{"n":1}"#, "--durable"])
        .await
        .ok();
    let probe = |max| {
        let tool = tool.clone();
        async move { tool.run(&["status", "--max-oldest", max]).await }
    };
    assert_eq!(probe("1h").await.code, Some(0));
    eventually("it is old enough", async || {
        probe("1ms").await.code == Some(7)
    })
    .await;
    let run = probe("1ms").await;
    assert!(run.failed(7).contains("has waited"), "{run:?}");
    let doctor = tool.run(&["doctor", "--max-oldest", "1ms", "--json"]).await;
    assert_eq!(doctor.code, Some(7), "{doctor:?}");
    assert_eq!(doctor.json()["worst"], "error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_settings_that_lose_messages() {
    let (bus, tool) = fixture().await;
    let finding = async |check: &str| {
        let run = tool.run(&["doctor", "--json"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let report = run.json();
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["check"] == check);
        found.cloned().unwrap_or_default()
    };
    assert_eq!(finding("ask").await["level"], "ok");
    assert_eq!(finding("inspect").await["level"], "ok");
    assert_eq!(finding("eviction").await, json!(null));
    let set = async |name: &str, value: &str| {
        assert_eq!(bus.bus.command(&["CONFIG", "SET", name, value]).await, "OK");
    };
    set("maxmemory", "1gb").await;
    set("maxmemory-policy", "allkeys-lru").await;
    let eviction = finding("eviction").await;
    assert_eq!(eviction["level"], "warn");
    assert!(eviction["advice"].as_str().unwrap().contains("noeviction"));
    set("appendonly", "no").await;
    set("save", "").await;
    let persistence = finding("persistence").await;
    assert_eq!(persistence["level"], "warn");
    assert!(
        persistence["text"].as_str().unwrap().starts_with("none"),
        "{persistence}"
    );
    set("appendonly", "yes").await;
    assert_eq!(finding("persistence").await["level"], "ok");
    let lines = tool.run(&["doctor"]).await;
    assert!(lines.ok().contains("warn  eviction"), "{lines:?}");
    assert!(
        lines
            .output
            .contains("try: set `maxmemory-policy noeviction`"),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_of_a_fleet_has_its_members() {
    let bus = Bus::redis().await;
    let mut systems = Vec::new();
    for instance in ["eu-1", "eu-2"] {
        let system = ActorSystem::new();
        let config = bus.config.clone().fleet().instance(instance);
        systems.push((
            conclib::start_proxy(&system, &config).await.unwrap(),
            system,
        ));
    }
    let tool = Tool::new(&bus.url());
    let fleet = tool.run(&["status", "--fleet", "--json"]).await;
    let nodes = fleet.json()["nodes"].clone();
    let nodes: Vec<_> = nodes.as_array().unwrap().iter().collect();
    let names: Vec<_> = nodes
        .iter()
        .map(|node| node["node"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["eu-1", "eu-2"]);
    assert!(nodes.iter().all(|node| node["served"] == true), "{nodes:?}");
    let table = tool.run(&["status", "--fleet"]).await;
    assert!(table.ok().contains("MEMBER"), "{table:?}");
    // Without the switch a user looks at a node where no process serves.
    let doctor = tool.run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(3), "{doctor:?}");
    assert!(doctor.output.contains("give --fleet"), "{doctor:?}");
    let (_, gone) = systems.remove(0);
    gone.shutdown().await;
    eventually("one serves", async || {
        let status = tool.run(&["status", "--fleet", "--json"]).await.json();
        let nodes = status["nodes"].as_array().unwrap().clone();
        nodes.iter().filter(|node| node["served"] == true).count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_roles_are_printed() {
    // No Redis is needed.
    let tool = Tool::new("redis://127.0.0.1:1");
    let config = Config::new("redis://127.0.0.1:1")
        .unwrap()
        .namespace("shop");
    let rules = config.acl(conclib::bus::Role::Client);
    let printed = tool.run(&["acl", "client", "--namespace", "shop"]).await;
    assert_eq!(printed.ok(), rules);
    let line = tool
        .run(&["acl", "client", "--namespace", "shop", "--user", "web"])
        .await;
    assert_eq!(line.ok(), format!("user web off resetpass {rules}"));
    let fleet = tool
        .run(&["acl", "proxy", "--fleet", "--json"])
        .await
        .json();
    assert!(fleet["rules"].as_str().unwrap().contains("{map}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completions_are_for_each_shell() {
    let tool = Tool::new("");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tool.run(&["completions", shell]).await;
        assert!(script.ok().contains("conclib"), "{shell}");
    }
}

/// A reader that has enough, such as `head`, is no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_without_a_reader_ends_quietly() {
    let tool = Tool::new("");
    let mut child = tool.command(&["completions", "bash"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await;
    let output = output.unwrap().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}
