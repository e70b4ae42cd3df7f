//! Instances: a process that starts again takes the place of its predecessor at once.

use std::time::Duration;

use conclib::bus::{ProxyEnd, acquire_lease};
use conclib::error::Delivered;
use conclib::{ActorSystem, AskError, Config, ConnectError, ProxyClient, start_proxy};
use conclib_tests::actors::{GatedActor, Worker};
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Enter};
use conclib_tests::process::Program;
use conclib_tests::{SECOND, eventually, within};
use tokio::time::{Instant, sleep};

use crate::held::hold;

conclib_tests::for_each_bus! {
    replaced {
        younger_process_serves_at_once_and_the_older_one_ends
        other_instances_wait
    }
}

/// Runs a case on a bus.
async fn run(bus: Bus, case: impl AsyncFnOnce(Bus)) {
    case(bus).await;
}

fn named(config: &Config, instance: &str) -> Config {
    config.clone().instance(instance)
}

mod replaced {
    use super::*;

    pub(super) async fn younger_process_serves_at_once_and_the_older_one_ends(bus: Bus) {
        let config = named(&bus.config, "worker-0");
        let (older, younger) = (ActorSystem::new(), ActorSystem::new());
        let (gate, control) = GatedActor::closed();
        older.spawn(gate).await.unwrap();
        let proxy = start_proxy(&older, &config).await.unwrap();
        let client = bus.client().await;
        let begun = tokio::spawn(client.ask("gate", Enter { n: 1 }));
        eventually("a handler has begun", async || control.entered() == 1).await;
        let queued = tokio::spawn(client.ask("gate", Enter { n: 2 }));
        eventually("another request waits", async || {
            older.snapshot().actor("gate").unwrap().queued == 1
        })
        .await;

        let start = Instant::now();
        let lease = acquire_lease(&younger, &config).await.unwrap();
        younger.spawn(Worker::default()).await.unwrap();
        lease.serve().await.unwrap();
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        serves(&client).await; // a request to the older one may be refused
        // The older one notices with its next renewal.
        assert_eq!(within(proxy.stopped()).await, ProxyEnd::Replaced);
        assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
        control.admit(1);
        assert_eq!(within(begun).await.unwrap(), Ok(1));
        assert_eq!(within(queued).await.unwrap(), Err(AskError::NoResponder));
        assert_eq!(control.entered(), 1);

        // The proxy that was replaced never takes the lease back. A new one is as a younger process.
        let again = start_proxy(&older, &config).await.map(drop);
        assert!(again.is_ok(), "{again:?}");
        assert!(older.shutdown().await.is_clean());
        assert!(younger.shutdown().await.is_clean());
    }

    pub(super) async fn other_instances_wait(bus: Bus) {
        let (first, second) = (ActorSystem::new(), ActorSystem::new());
        start_proxy(&first, &named(&bus.config, "worker-0"))
            .await
            .unwrap();
        for config in [named(&bus.config, "worker-1"), bus.config.clone()] {
            let start = Instant::now();
            let taken = start_proxy(&second, &config).await;
            assert!(
                matches!(taken, Err(ConnectError::NodeTaken { .. })),
                "{taken:?}"
            );
            assert!(start.elapsed() > 6 * SECOND);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_waits_is_replaced_too() {
    let bus = Bus::redis().await;
    let config = named(&bus.config, "worker-0");
    let holder = ActorSystem::new();
    let proxy = start_proxy(&holder, &bus.config).await.unwrap();
    let (older, younger) = (ActorSystem::new(), ActorSystem::new());
    let waiting = {
        let (older, config) = (older.clone(), config.clone());
        tokio::spawn(async move { acquire_lease(&older, &config).await })
    };
    sleep(Duration::from_millis(500)).await; // it has asked for the lease
    let lease = {
        let (younger, config) = (younger.clone(), config.clone());
        tokio::spawn(async move { acquire_lease(&younger, &config).await })
    };
    sleep(Duration::from_millis(500)).await;
    proxy.shutdown().await;
    // Whichever is first: the younger one has the lease in the end.
    let lease = within(lease).await.unwrap().unwrap();
    match within(waiting).await.unwrap() {
        Ok(older) => assert_eq!(within(older.lost()).await, ProxyEnd::Replaced),
        Err(error) => assert_eq!(error, ConnectError::Replaced),
    }
    assert!(lease.serve().await.is_ok());
}

async fn serves(client: &ProxyClient) {
    eventually("it serves", async || {
        client.ask("worker", Double { n: 1 }).await == Ok(2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_after_a_kill_loses_only_what_was_in_hand() {
    let bus = Bus::redis().await;
    let url = bus.url();
    let start = || {
        let arguments = [&*url, "instance=worker-0"];
        Program::start(env!("CARGO_BIN_EXE_service_process"), &arguments)
    };
    let mut first = start();
    let client = bus.client().await;
    serves(&client).await;
    let timeout = 10 * SECOND;
    let in_hand = hold(&client, timeout).await;
    first.kill().await;
    // The lease still stands: the bus accepts this one, for an inbox that is read no more.
    let accepted = tokio::spawn(client.ask("worker", Double { n: 2 }).timeout(timeout));
    eventually("the bus has it", async || {
        !bus.command(&["KEYS", "*inbox*"]).await.is_empty()
    })
    .await;
    let restarted = Instant::now();
    let _second = start();
    let asked = within(accepted).await.unwrap();
    assert_eq!(asked, Err(AskError::NoResponder));
    serves(&client).await;
    let took = restarted.elapsed();
    assert!(took < 2 * SECOND, "less than the lease: {took:?}");
    let delivered = Delivered::Accepted;
    let lost = within(in_hand).await.unwrap();
    assert_eq!(lost, Err(AskError::Timeout { delivered }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_predecessor_ends_as_replaced() {
    let bus = Bus::redis().await;
    let url = bus.url();
    let arguments = [&*url, "instance=worker-0", "stand-by"];
    let start = || Program::start(env!("CARGO_BIN_EXE_service_process"), &arguments);
    let client = bus.client().await;
    let mut first = start();
    serves(&client).await;
    first.suspend().await;
    let mut second = start();
    second.line("made").await;
    serves(&client).await;
    first.signal("CONT").await;
    // Not even one that is to stand by again.
    assert_eq!(first.exit_code().await, Some(76));
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    second.signal("TERM").await;
    assert_eq!(second.exit_code().await, Some(0));
}
