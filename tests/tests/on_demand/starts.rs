//! Starts on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::system::{LookupError, OnDemandError};
use conclib::{SpawnError, Urn};
use conclib_tests::{SECOND, TestResult, gate, poll_once, settle, within};
use tokio::task::JoinSet;

use super::{Act, Add, Child, Counter, IDLE, Store};

#[tokio::test]
async fn any_message_or_lookup_starts_the_actor() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let counters = system.on_demand("counter/*", store.loader()).await?;
    assert!(counters.is_empty() && system.is_empty());
    assert_eq!(within(system.ask("counter/1", Add(2))).await, Ok(2));
    within(system.tell("counter/2", Add(3))).await?;
    assert_eq!(within(system.ask("counter/2", Add(1))).await, Ok(4));
    let third = system.actor::<Counter>("counter/3")?;
    assert_eq!(within(third.ask(Add(1))).await, Ok(1));
    let fourth: Recipient<Add> = system.recipient("counter/4")?;
    assert_eq!(within(fourth.ask(Add(1))).await, Ok(1));
    assert_eq!((counters.len(), system.len()), (4, 4));
    assert_eq!(store.log().len(), 4);

    // They are in the snapshot as others are.
    let snapshot = system.snapshot();
    let second = snapshot.actor("counter/2").ok_or("it is there")?;
    assert_eq!((second.handled, second.restarts), (2, 0));

    // Other URNs and types are not found.
    for absent in ["counter/", "counter", "other/1", "counter/with space"] {
        let error = within(system.ask(absent, Add(1))).await;
        assert!(
            matches!(error, Err(AskError::ActorNotFound { .. })),
            "{absent}: {error:?}"
        );
    }
    let wrong = system.actor::<Child>("counter/1");
    assert!(matches!(wrong, Err(LookupError::WrongType { .. })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_messages_start_one_actor() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    system.on_demand("counter/*", store.loader()).await?;
    for round in 0..20 {
        let mut askers = JoinSet::new();
        for _ in 0..16 {
            let system = system.clone();
            askers.spawn(async move { system.ask(format!("counter/{round}"), Add(1)).await });
        }
        let mut sums = within(askers.join_all()).await;
        sums.sort_by_key(|sum| sum.clone().ok());
        let all: Vec<_> = (1..=16).map(Ok).collect();
        assert_eq!(sums, all);
    }
    assert_eq!(store.log().len(), 20);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_a_slow_factory_until_their_deadlines() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let loads = store.clone();
    let factory = move |urn: Urn| {
        let store = loads.clone();
        async move {
            tokio::time::sleep(2 * SECOND).await;
            store.load(&urn)
        }
    };
    system.on_demand("counter/*", factory).await?;
    let impatient = system.ask("counter/1", Add(100)).timeout(SECOND);
    let (first, late, second) = tokio::join!(
        system.ask("counter/1", Add(1)),
        impatient,
        system.ask("counter/1", Add(1)),
    );
    let delivered = Delivered::No;
    assert_eq!(late, Err(AskError::Timeout { delivered }));
    assert_eq!((first, second), (Ok(1), Ok(2)));
    assert_eq!(store.log(), ["counter/1 loaded"]);
    Ok(())
}

#[tokio::test]
async fn longest_pattern_counts_and_spawned_actors_keep_their_urns() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    system.on_demand("counter/*", store.loader()).await?;
    system
        .on_demand("counter/child/*", |_| async { Child })
        .await?;
    assert!(system.actor::<Child>("counter/child/1").is_ok());
    assert!(system.actor::<Counter>("counter/child").is_ok());

    let spawned = system.spawn(Child).urn("counter/7").await?;
    assert_eq!(system.actor::<Child>("counter/7")?, spawned);
    let taken = system.spawn(Child).urn("counter/child").await;
    assert!(
        matches!(taken, Err(SpawnError::UrnTaken { .. })),
        "{taken:?}"
    );
    Ok(())
}

#[tokio::test]
async fn invalid_and_taken_patterns_are_errors() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    for pattern in ["counter/", "*/counter", "two words/*", ""] {
        let error = system.on_demand(pattern, store.loader()).await.unwrap_err();
        assert!(
            matches!(error, OnDemandError::InvalidPattern { .. }),
            "{error:?}"
        );
    }
    system.on_demand("counter/*", store.loader()).await?;
    let taken = system.on_demand("counter/*", store.loader()).await;
    assert_eq!(
        taken.unwrap_err().to_string(),
        "the pattern `counter/*` is taken"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn bound_on_live_actors_is_overloaded_and_nothing_else() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let counters = system.on_demand("counter/*", store.loader());
    let counters = counters.max(2).idle(IDLE).await?;
    for name in ["counter/1", "counter/2", "counter/1"] {
        within(system.ask(name, Add(1))).await?;
    }
    let third = system.ask("counter/3", Add(1)).await;
    assert!(
        matches!(third, Err(AskError::Overloaded { .. })),
        "{third:?}"
    );
    let back = system.tell("counter/3", Add(1)).await.unwrap_err();
    assert!(matches!(back.reason(), AskError::Overloaded { .. }));
    assert!(matches!(
        system.actor::<Counter>("counter/3"),
        Err(LookupError::Overloaded { .. })
    ));
    tokio::time::sleep(3 * IDLE).await;
    assert!(counters.is_empty());
    assert_eq!(within(system.ask("counter/3", Add(1))).await, Ok(1));
    Ok(())
}

#[tokio::test]
async fn thread_without_a_runtime_starts_an_actor() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    system.on_demand("counter/*", store.loader()).await?;
    let asks = system.clone();
    let thread = std::thread::spawn(move || asks.ask("counter/1", Add(1)).blocking());
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(thread.join().unwrap(), Ok(1));
    Ok(())
}

#[tokio::test]
async fn factory_that_asks_its_own_actor_gets_a_cycle() -> TestResult {
    let system = ActorSystem::new();
    let own = system.clone();
    let (errors, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let factory = move |urn: Urn| {
        let (own, errors) = (own.clone(), errors.clone());
        async move {
            errors.send(own.ask(&urn, Add(1)).await).unwrap();
            None::<Counter>
        }
    };
    system.on_demand("counter/*", factory).await?;
    let absent = within(system.ask("counter/1", Add(1))).await;
    assert!(
        matches!(absent, Err(AskError::ActorNotFound { .. })),
        "{absent:?}"
    );
    let cycle = within(seen.recv()).await.ok_or("the factory ran")?;
    assert!(matches!(cycle, Err(AskError::AskCycle { .. })), "{cycle:?}");
    within(system.shutdown()).await; // the factory owns the system
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_them_and_starts_no_more() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let counters = system.on_demand("counter/*", store.loader()).await?;
    within(system.ask("counter/1", Add(5))).await?;
    let (gate, mut handle) = gate();
    let mut waits = system.ask("counter/2", Act::Wait(gate));
    assert!(poll_once(&mut waits).await.is_pending());
    handle.reached().await;
    let mut shutdown = system.shutdown();
    assert!(poll_once(&mut shutdown).await.is_pending());
    let late = system.ask("counter/3", Add(1)).await;
    assert_eq!(late, Err(AskError::NoResponder));
    assert_eq!(
        system.actor::<Counter>("counter/3"),
        Err(LookupError::SystemClosed)
    );
    let again = system.on_demand("again/*", store.loader()).await;
    assert_eq!(again.unwrap_err(), OnDemandError::SystemClosed);
    handle.open();
    assert!(within(shutdown).await.is_clean());
    assert_eq!(within(waits).await, Ok(0));
    settle().await;
    assert!(counters.is_empty());
    let saved = "counter/1 saved: its system was shut down".to_owned();
    assert!(store.log().contains(&saved), "{:?}", store.log());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dropping_the_system_ends_actors_and_drops_the_factory() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let owned = Arc::new(AtomicUsize::new(0));
    let (counts, loads) = (owned.clone(), store.loader());
    let factory = move |urn| {
        counts.fetch_add(1, Ordering::Relaxed);
        loads(urn)
    };
    let counters = system.on_demand("counter/*", factory).await?;
    within(system.ask("counter/1", Add(1))).await?;
    assert_eq!(owned.load(Ordering::Relaxed), 1);
    drop(system);
    settle().await;
    assert!(counters.is_empty());
    assert_eq!(Arc::strong_count(&owned), 1);
    assert_eq!(store.log().len(), 2, "{:?}", store.log());
    Ok(())
}
