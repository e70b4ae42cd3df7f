//! `run` in processes of their own: turns, signals, exit codes.

use std::time::Duration;

use conclib::AskError;
use conclib_tests::bus::Bus;
use conclib_tests::eventually;
use conclib_tests::messages::{Double, Explode};
use conclib_tests::process::Program;
use conclib_tests::{SECOND, within};
use tokio::time::Instant;

use crate::held::hold;

fn start(bus: &Bus, options: &[&str]) -> Program {
    let url = bus.url();
    let arguments = [&[&*url], options].concat();
    Program::start(env!("CARGO_BIN_EXE_service_process"), &arguments)
}

async fn serves(bus: &Bus) {
    let client = bus.client().await;
    eventually("it serves", async || {
        match client.ask("worker", Double { n: 1 }).await {
            Ok(2) => true,
            Err(AskError::NoResponder) => false,
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signal_ends_a_service_in_good_order() {
    let bus = Bus::redis().await;
    for signal in ["TERM", "INT"] {
        let mut service = start(&bus, &[]);
        service.line("made").await;
        serves(&bus).await;
        service.signal(signal).await;
        let reason = format!("node=main reason=SIG{signal}");
        assert_eq!(service.line("the service stops").await, reason);
        let end = "node=main exit_code=0 cause=it was asked to stop";
        assert_eq!(service.line("the service has ended").await, end);
        assert_eq!(service.exit_code().await, Some(0));
        assert_eq!(
            bus.command(&["EXISTS", "conclib:{n:main}:lease"]).await,
            "0"
        );
    }
    // A service that waits for its turn, and one that makes its actors.
    let mut slow = start(&bus, &["slow"]);
    slow.line("turn").await;
    let mut waiting = start(&bus, &[]);
    let connected = async || {
        let list = bus.command(&["CLIENT", "LIST"]).await;
        list.matches(":pops ").count() == 2 // clients have none
    };
    eventually("both are connected", connected).await;
    for service in [&mut waiting, &mut slow] {
        service.signal("TERM").await;
        assert_eq!(service.exit_code().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standing_by_service_makes_its_actors_when_the_first_one_has_ended() {
    let bus = Bus::redis().await;
    let mut first = start(&bus, &[]);
    let earlier: u64 = first.line("turn ").await.parse().unwrap();
    first.line("made").await;
    let mut second = start(&bus, &["slow"]);
    serves(&bus).await;
    first.signal("TERM").await;
    assert_eq!(first.exit_code().await, Some(0));
    let later: u64 = second.line("turn ").await.parse().unwrap();
    assert!(later > earlier);
    // It has the lease, and no actors yet.
    let client = bus.client().await;
    let asked = client.ask("worker", Double { n: 1 }).await;
    assert_eq!(asked, Err(AskError::NoResponder));
    second.say("go on").await;
    serves(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_end_a_service_with_an_exit_code() {
    let bus = Bus::redis().await;
    for (options, code) in [
        (&["fails"], 1),
        (&["mortal"], 1),
        (&["instance=no/name"], 78),
    ] {
        let mut service = start(&bus, options);
        assert_eq!(service.exit_code().await, Some(code), "{options:?}");
    }
    let mut service = Program::start(env!("CARGO_BIN_EXE_service_process"), &["no URL"]);
    assert_eq!(service.exit_code().await, Some(78));
    assert_eq!(
        bus.command(&["EXISTS", "conclib:{n:main}:lease"]).await,
        "0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actor_that_does_not_stop_is_killed_and_a_second_signal_does_not_wait() {
    let bus = Bus::redis().await;
    for signals in [1, 2] {
        let mut service = start(&bus, &[]);
        service.line("made").await;
        serves(&bus).await;
        let client = bus.client().await;
        let asked = hold(&client, 2 * SECOND).await;
        let start = Instant::now();
        for _ in 0..signals {
            service.signal("TERM").await;
            tokio::time::sleep(SECOND / 10).await; // so that they come one by one
        }
        assert_eq!(service.exit_code().await, Some(1));
        let was_quick = start.elapsed() < 2 * SECOND;
        assert_eq!(was_quick, signals == 2, "{:?}", start.elapsed());
        drop(within(asked).await);
        let lease = ["EXISTS", "conclib:{n:main}:lease"];
        assert_eq!(bus.command(&lease).await, "0", "it is released");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_that_was_suspended_ends_or_stands_by_again() {
    let bus = Bus::redis().await;
    for (options, stands_by) in [(&[][..], false), (&["stand-by"], true)] {
        let mut first = start(&bus, options);
        first.line("made").await;
        serves(&bus).await;
        first.suspend().await;
        let mut second = start(&bus, &[]);
        second.line("made").await;
        serves(&bus).await;
        first.signal("CONT").await;
        if !stands_by {
            assert_eq!(first.exit_code().await, Some(75));
        }
        second.signal("TERM").await;
        assert_eq!(second.exit_code().await, Some(0));
        if stands_by {
            first.line("turn").await;
            serves(&bus).await;
            first.signal("TERM").await;
            assert_eq!(first.exit_code().await, Some(0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_signal_does_not_cut_short_a_shutdown_that_has_begun() {
    let bus = Bus::redis().await;
    let mut service = start(&bus, &[]);
    service.line("made").await;
    serves(&bus).await;
    let client = bus.client().await;
    let asked = hold(&client, 4 * SECOND).await;
    let start = Instant::now();
    client.tell("worker", Explode).await.unwrap();
    let lease = "conclib:{n:main}:lease";
    eventually("the shutdown has begun", async || {
        bus.command(&["EXISTS", lease]).await == "0"
    })
    .await;
    service.signal("TERM").await;
    assert_eq!(service.exit_code().await, Some(1));
    assert!(start.elapsed() >= 2 * SECOND, "{:?}", start.elapsed());
    drop(within(asked).await);
}

/// The time after which a process is ended that blocking work would keep, and as much again for a busy
/// machine.
const CUT_SHORT: Duration = Duration::from_secs(10);

/// Longer than a test waits.
const FOR_EVER: &str = "closure=1000000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closure_that_runs_does_not_hold_the_process() {
    let bus = Bus::redis().await;
    for (options, code) in [(&[FOR_EVER][..], 0), (&[FOR_EVER, "mortal"], 1)] {
        let mut service = start(&bus, options);
        if code == 0 {
            service.line("made").await;
            serves(&bus).await;
            service.signal("TERM").await;
        }
        let start = Instant::now();
        assert_eq!(service.exit_code().await, Some(code));
        assert!(start.elapsed() >= SECOND / 2, "{:?}", start.elapsed());
        assert!(start.elapsed() < CUT_SHORT, "{:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closure_that_ends_in_time_is_waited_for() {
    let bus = Bus::redis().await;
    let mut service = start(&bus, &["closure=200"]);
    service.line("made").await;
    serves(&bus).await;
    service.signal("TERM").await;
    service.line("closure ended").await;
    assert_eq!(service.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_signal_does_not_wait_for_closures_either() {
    let bus = Bus::redis().await;
    let mut service = start(&bus, &[FOR_EVER]);
    service.line("made").await;
    serves(&bus).await;
    let client = bus.client().await;
    let asked = hold(&client, 2 * SECOND).await;
    let start = Instant::now();
    for _ in 0..2 {
        service.signal("TERM").await;
        tokio::time::sleep(SECOND / 10).await; // so that they come one by one
    }
    assert_eq!(service.exit_code().await, Some(1));
    assert!(start.elapsed() < CUT_SHORT, "{:?}", start.elapsed());
    drop(within(asked).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_that_blocks_a_thread_of_the_runtime_does_not_hold_the_process() {
    let bus = Bus::redis().await;
    let mut service = start(&bus, &["blocks"]);
    service.line("made").await;
    service.signal("TERM").await;
    let start = Instant::now();
    assert_eq!(service.exit_code().await, Some(1));
    assert!(start.elapsed() < CUT_SHORT, "{:?}", start.elapsed());
}
