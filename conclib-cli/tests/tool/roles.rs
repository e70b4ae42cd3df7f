//! Users of Redis with the rules of a role.

use conclib::bus::Role;
use conclib_tests::durable::open_shop;
use conclib_tests::{Log, eventually};
use serde_json::json;

use crate::actions::{because, operated};
use crate::refusals::create_user;
use crate::support::fixture;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_can_do_what_they_are_for() {
    let (bus, system, _proxy, _) = operated().await;
    open_shop(&system, "shop", &Log::default()).await;
    let observer = create_user(&bus, "observer", Role::Observer).await;
    for arguments in [
        &["ls"][..],
        &["tree"],
        &["actor", "shop"],
        &["failures"],
        &["top", "--once"],
        &["metrics"],
        &["log"],
        &["status"],
        &["status", "--max-oldest", "1h"],
        &["doctor"],
    ] {
        assert_eq!(observer.run(arguments).await.code, Some(0), "{arguments:?}");
    }
    for arguments in [
        &["dead", "ls"][..],
        &["durable", "ls"],
        &["ask", "shop", "Order", r#"{"n":1}"#],
    ] {
        assert_eq!(observer.run(arguments).await.code, Some(8), "{arguments:?}");
    }
    let denied = observer.run(&because(&["stop", "shop"])).await;
    assert_eq!(denied.code, Some(8), "{denied:?}");
    let operator = create_user(&bus, "operator", Role::Operator).await;
    for arguments in [
        &["dead", "ls"][..],
        &["durable", "ls"],
        &["status", "--max-oldest", "1h"],
    ] {
        assert_eq!(operator.run(arguments).await.code, Some(0), "{arguments:?}");
    }
    operator.run(&because(&["stop", "shop"])).await.ok();
}

/// The ages of durable messages are those that the process tells: a user who reads them could read contents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observer_sees_the_age_of_the_oldest_durable_message() {
    let (bus, tool) = fixture().await;
    let observer = create_user(&bus.bus, "observer", Role::Observer).await;
    let oldest = async || {
        let metrics = observer.run(&["metrics"]).await;
        let mut lines = metrics.ok().lines();
        let start = "conclib_durable_oldest_seconds{node=\"main\"} ";
        let seconds = lines.find_map(|line| line.strip_prefix(start));
        seconds
            .expect("the family is there")
            .parse::<f64>()
            .unwrap()
    };
    assert!(oldest().await.abs() < f64::EPSILON);
    tool.run(&["tell", "missing", "Order", r#"{"n":1}"#, "--durable"])
        .await
        .ok();
    eventually("it is old enough", async || {
        let probe = observer
            .run(&["status", "--max-oldest", "1ms", "--json"])
            .await;
        assert!(matches!(probe.code, Some(0 | 7)), "{probe:?}");
        probe.code == Some(7)
    })
    .await;
    let probe = observer.run(&["status", "--max-oldest", "1ms"]).await;
    assert!(probe.failed(7).contains("has waited"), "{probe:?}");
    assert!(
        probe.output.contains("1 stored, 0 delayed, oldest "),
        "{probe:?}"
    );
    assert_eq!(
        observer.run(&["status", "--max-oldest", "1h"]).await.code,
        Some(0)
    );
    eventually("the age is published", async || oldest().await > 0.0).await;
}

/// A user without the right to inspect gets no age, and is told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn families_that_may_not_be_read_are_named() {
    let (bus, tool) = fixture().await;
    let observer = create_user(&bus.bus, "observer", Role::Observer).await;
    let rule = ["ACL", "SETUSER", "observer", "clearselectors"];
    let allowed = [
        "(+rpush +pexpire %W~conclib:{n:main}:inspect:*)",
        "(+get %R~conclib:{n:main}:lease)",
    ];
    bus.bus.command(&[&rule[..], &allowed[..]].concat()).await;
    drop(tool);
    let metrics = observer.run(&["metrics"]).await;
    assert_eq!(metrics.code, Some(0), "{metrics:?}");
    assert!(metrics.output.contains("conclib_member_up"), "{metrics:?}");
    for family in [
        "conclib_bus_inbox_length",
        "conclib_durable_stored",
        "conclib_durable_oldest_seconds",
        "conclib_dead_letters",
    ] {
        assert!(!metrics.output.contains(family), "{metrics:?}");
        let lines = metrics.errors.lines();
        let named =
            lines.filter(|line| line.starts_with(&format!("{family} of main is left out: ")));
        assert_eq!(named.count(), 1, "{metrics:?}");
    }
    assert!(metrics.errors.contains("NOPERM"), "{metrics:?}");
}

/// A user who looks at one node has no right to the members of a fleet, and needs none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observer_of_a_node_is_not_told_of_a_fleet() {
    let (bus, _) = fixture().await;
    let observer = create_user(&bus.bus, "observer", Role::Observer).await;
    let status = observer.run(&["status", "--json"]).await;
    status.ok();
    assert_eq!(status.json()["refused"], json!([]));
    let doctor = observer.run(&["doctor"]).await;
    assert!(!doctor.ok().contains("warn  rights"), "{doctor:?}");
    // It asks no actors either, which costs nothing to see.
    assert!(
        doctor.ok().contains("this user may not ask actors"),
        "{doctor:?}"
    );
    let denied = bus.bus.command(&["ACL", "LOG"]).await;
    assert!(
        denied.contains("xrange") && !denied.contains("hgetall"),
        "{denied}"
    );
}
