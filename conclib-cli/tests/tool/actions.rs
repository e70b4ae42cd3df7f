//! `stop`, `kill`, `restart`, `drain` and `log`.

use std::future::ready;
use std::sync::Mutex;

use conclib::inspect::LogControl;
use conclib::prelude::*;
use conclib_tests::actors::{Raw, Worker};
use conclib_tests::bus::Bus;
use conclib_tests::durable::open_shop;
use conclib_tests::{Log, eventually, within};
use serde_json::json;

use crate::support::{Tool, fixture};

/// The filter of a log, without a log.
#[derive(Debug)]
struct Filter(Mutex<String>);

impl LogControl for Filter {
    fn filter(&self) -> Option<String> {
        Some(self.0.lock().unwrap().clone())
    }

    fn set_filter(&self, filter: &str) -> Result<(), String> {
        if filter.contains('!') {
            return Err("it is no filter".to_owned());
        }
        filter.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }
}

/// A system that allows actions, and the tool for it.
pub(crate) async fn operated() -> (Bus, ActorSystem, conclib::Proxy, Tool) {
    let bus = Bus::redis().await;
    let system = ActorSystem::new();
    let config = bus.config.clone().allow_admin();
    let config = config.log_control(Filter(Mutex::new("info".to_owned())));
    let proxy = conclib::start_proxy(&system, &config).await.unwrap();
    system.spawn(Raw).await.unwrap();
    let tool = Tool::new(&bus.url());
    (bus, system, proxy, tool)
}

/// Arguments with a reason and consent.
pub(crate) fn because<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [
        arguments,
        &["--reason", "a test", "--operator", "ann", "--yes"],
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_are_stopped_killed_and_restarted() {
    let (_bus, system, proxy, tool) = operated().await;
    let stopped = tool.run(&because(&["stop", "raw"])).await;
    assert!(stopped.ok().starts_with("main: done"), "{stopped:?}");
    tool.run(&because(&["stop", "raw"])).await.failed(4);
    system.supervise(|| ready(Worker::default())).await.unwrap();
    tool.run(&["tell", "worker", "Record", r#"{"n":7}"#])
        .await
        .ok();
    for arguments in [&["restart", "worker"][..], &["restart", "worker", "--now"]] {
        let restarted = tool.run(&because(arguments)).await;
        restarted.ok();
    }
    let restarted = tool
        .run(&because(&["restart", "worker", "--json"]))
        .await
        .json();
    assert_eq!(
        (&restarted["action"], &restarted["urn"]),
        (&json!("restart"), &json!("worker"))
    );
    // The new incarnation knows nothing of the old one.
    eventually("it has restarted", async || {
        tool.run(&["ask", "worker", "Recorded"]).await.output == "[]\n"
    })
    .await;
    tool.run(&because(&["kill", "worker"])).await.ok();
    eventually("it has ended", async || {
        tool.run(&["ping", "worker"]).await.code == Some(4)
    })
    .await;
    assert!(proxy.stats().operators.actions >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_actions_are_4_and_say_why() {
    let (_bus, _system, _proxy, tool) = operated().await;
    let refused = tool.run(&because(&["restart", "raw"])).await;
    assert!(refused.failed(4).contains("not possible: "), "{refused:?}");
    let filter = tool.run(&because(&["log", "a!"])).await;
    assert!(filter.failed(4).contains("it is no filter"), "{filter:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_need_a_reason_consent_and_permission() {
    let (_bus, _system, _proxy, tool) = operated().await;
    let run = tool.run(&["stop", "raw", "--yes"]).await;
    assert!(run.failed(2).contains("needs a reason"), "{run:?}");
    let run = tool.run(&["stop", "raw", "--reason", "a test"]).await;
    assert!(
        run.failed(2)
            .contains("Stop `raw` (Raw, 0 messages queued) of main?"),
        "{run:?}"
    );
    tool.run(&["ping", "raw"]).await.ok();
    // A program that does not allow actions.
    let (_bus, tool) = fixture().await;
    let run = tool.run(&because(&["stop", "raw"])).await;
    assert!(run.failed(8).contains("CONCLIB_ADMIN=1"), "{run:?}");
    tool.run(&["ping", "raw"]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filter_of_a_log_is_changed_for_a_time() {
    let (_bus, _system, _proxy, tool) = operated().await;
    assert_eq!(tool.run(&["log"]).await.ok(), "main: info");
    let changed = tool.run(&because(&["log", "debug", "--for", "1h"])).await;
    assert!(changed.ok().contains("`debug`"), "{changed:?}");
    let state = tool.run(&["log", "--json"]).await.json();
    assert_eq!(
        (&state[0]["filter"], &state[0]["controllable"]),
        (&json!("debug"), &json!(true))
    );
    assert!(state[0]["reverts_in_seconds"].as_u64().unwrap() > 3000);
    tool.run(&because(&["log", "--reset"])).await.ok();
    assert_eq!(tool.run(&["log"]).await.ok(), "main: info");
    let (_bus, tool) = fixture().await;
    assert!(tool.run(&["log"]).await.ok().contains("cannot be changed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_is_drained() {
    let (_bus, system, proxy, tool) = operated().await;
    open_shop(&system, "shop", &Log::default()).await;
    let drained = tool.run(&because(&["drain", "main"])).await;
    assert!(
        drained.ok().contains("the process may live on"),
        "{drained:?}"
    );
    within(proxy.stopped()).await;
    tool.run(&["ping"]).await.failed(3);
}
