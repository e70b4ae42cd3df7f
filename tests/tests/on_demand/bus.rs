//! Messages from other processes, on the bus in memory.

use std::time::Duration;

use conclib::Urn;
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::{SECOND, TestResult, eventually, within};

use super::{Add, Counter, IDLE, Store};

#[tokio::test]
async fn request_from_the_bus_starts_an_actor() -> TestResult {
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    let store = Store::default();
    let loads = store.clone();
    let factory = move |urn: Urn| {
        let store = loads.clone();
        async move { (urn != "counter/absent").then(|| store.load(&urn)) }
    };
    let counters = system.on_demand("counter/*", factory);
    let counters = counters.max(2).idle(Duration::from_millis(100)).await?;
    let client = bus.client().await;
    assert_eq!(within(client.ask("counter/1", Add(1))).await, Ok(1));
    within(client.tell("counter/1", Add(1))).await?;
    assert_eq!(within(client.ask("counter/1", Add(1))).await, Ok(3));

    for _ in 0..2 {
        let absent = within(client.ask("counter/absent", Add(1))).await;
        assert!(
            matches!(absent, Err(AskError::ActorNotFound { .. })),
            "{absent:?}"
        );
    }
    // At the bound.
    let mut held = Vec::new();
    for urn in ["counter/1", "counter/2"] {
        eventually("the absent one has left its place", async || {
            held.extend(system.actor::<Counter>(urn));
            held.last().is_some_and(|actor| *actor.urn() == urn)
        })
        .await;
    }
    let third = within(client.ask("counter/3", Add(1))).await;
    assert!(
        matches!(third, Err(AskError::Overloaded { .. })),
        "{third:?}"
    );
    drop(held);
    eventually("all are idle", async || counters.is_empty()).await;
    assert_eq!(within(client.ask("counter/1", Add(1))).await, Ok(4));
    Ok(())
}

#[tokio::test]
async fn private_actors_start_only_from_inside() -> TestResult {
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    system.on_demand("secret/*", |_| async { Secret }).await?;
    let client = bus.client().await;
    let hidden = within(client.ask("secret/1", Add(1))).await;
    assert!(
        matches!(hidden, Err(AskError::ActorNotFound { .. })),
        "{hidden:?}"
    );
    assert_eq!(within(system.ask("secret/1", Add(1))).await, Ok(1));
    let hidden = within(client.ask("secret/1", Add(1))).await;
    assert!(
        matches!(hidden, Err(AskError::ActorNotFound { .. })),
        "{hidden:?}"
    );
    Ok(())
}

#[derive(Actor)]
#[actor(private)]
struct Secret;

#[handlers]
impl Secret {
    #[handler]
    fn add(&mut self, Add(n): Add) -> u64 {
        n
    }
}

#[tokio::test]
async fn durable_messages_start_actors_and_wait_at_the_bound() -> TestResult {
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    let store = Store::default();
    let counters = system.on_demand("counter/*", store.loader());
    let counters = counters.max(1).idle(Duration::from_millis(50)).await?;
    let client = bus.client().await;
    for name in 1..=5 {
        let told = client.tell(format!("counter/{name}"), Add(name)).durable();
        within(told).await?;
    }
    let saved = || store.0.lock().unwrap().saved.values().sum::<u64>();
    eventually("each is handled", async || saved() == 15).await;
    eventually("all are idle", async || counters.is_empty()).await;
    let asked = client.ask("counter/9", Add(1)).durable();
    assert_eq!(within(asked).await, Ok(1));
    Ok(())
}

#[tokio::test]
async fn durable_messages_of_failed_and_absent_starts_are_delivered_again() -> TestResult {
    let bus = Bus::memory();
    let visibility = Duration::from_millis(200);
    let config = bus.config.clone().visibility_timeout(visibility);
    let system = ActorSystem::new();
    let store = Store::default();
    let (loads, start) = (store.clone(), tokio::time::Instant::now());
    let factory = move |urn: Urn| {
        let store = loads.clone();
        async move {
            if start.elapsed() > SECOND {
                Ok(Some(store.load(&urn)))
            } else if urn == "counter/absent" {
                Ok(None)
            } else {
                Err(Failure::msg("no disk"))
            }
        }
    };
    let counters = system.on_demand("counter/*", factory).idle(IDLE);
    counters.budget(0, SECOND).await?;
    let _proxy = start_proxy(&system, &config).await?;
    let client = ProxyClient::connect(&config).await?;
    let (absent, failing) = (
        client.ask("counter/absent", Add(1)).durable(),
        client.ask("counter/1", Add(2)).durable(),
    );
    let (absent, failing) = within(async { tokio::join!(absent, failing) }).await;
    assert_eq!((absent, failing), (Ok(1), Ok(2)));
    Ok(())
}
