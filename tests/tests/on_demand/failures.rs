//! Failed and absent starts, and restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use conclib::Urn;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::supervision::{Backoff, Restart};
use conclib_tests::bus::Bus;
use conclib_tests::{SECOND, TestResult, poll_once, settle, within};

use super::{Act, Add, Counter, Store};

/// Calls of a factory, which takes a second for each.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    async fn call(&self) -> usize {
        tokio::time::sleep(SECOND).await;
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn absent_names_are_not_found_for_a_second() -> TestResult {
    let (system, calls, store) = (ActorSystem::new(), Calls::default(), Store::default());
    let (counts, loads) = (calls.clone(), store.clone());
    let factory = move |urn: Urn| {
        let (counts, store) = (counts.clone(), loads.clone());
        async move { (counts.call().await > 1).then(|| store.load(&urn)) }
    };
    let counters = system.on_demand("counter/*", factory).mailbox(1).await?;
    let not_found = AskError::ActorNotFound {
        urn: "counter/1".parse()?,
    };
    // The queued message and the senders that wait for room.
    let mut queued = system.ask("counter/1", Add(1));
    let mut waiting = system.ask("counter/1", Add(1));
    let mut told = system.tell("counter/1", Add(1));
    assert!(poll_once(&mut queued).await.is_pending());
    assert!(poll_once(&mut waiting).await.is_pending());
    assert!(poll_once(&mut told).await.is_pending());
    assert_eq!(within(queued).await, Err(not_found.clone()));
    assert_eq!(within(waiting).await, Err(not_found.clone()));
    let back = within(told).await.unwrap_err();
    assert_eq!(back.reason(), &not_found);
    assert_eq!(not_found.delivered(), Delivered::No);
    assert_eq!(
        within(system.ask("counter/1", Add(1))).await,
        Err(not_found)
    );
    assert_eq!(calls.count(), 1);
    settle().await;
    assert!(counters.is_empty() && system.snapshot().failed.is_empty());

    tokio::time::sleep(SECOND).await;
    assert_eq!(within(system.ask("counter/1", Add(1))).await, Ok(1));
    assert_eq!(calls.count(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_starts_are_failures_for_a_second() -> TestResult {
    let (system, calls, store) = (ActorSystem::new(), Calls::default(), Store::default());
    let (counts, loads) = (calls.clone(), store.clone());
    let factory = move |urn: Urn| {
        let (counts, store) = (counts.clone(), loads.clone());
        async move {
            match counts.call().await {
                1 | 2 => Err(Failure::msg("no disk")),
                3 => panic!("on purpose"),
                _ => Ok(store.load(&urn)),
            }
        }
    };
    let counters = system.on_demand("counter/*", factory).mailbox(1);
    let counters = counters.budget(1, 10 * SECOND).backoff(Backoff::none());
    let counters = counters.await?;
    let failed = AskError::ActorFailed {
        urn: "counter/1".parse()?,
    };
    let mut queued = system.ask("counter/1", Add(1));
    let mut waiting = system.ask("counter/1", Add(1));
    assert!(poll_once(&mut queued).await.is_pending());
    assert!(poll_once(&mut waiting).await.is_pending());
    assert_eq!(within(queued).await, Err(failed.clone()));
    assert_eq!(within(waiting).await, Err(failed.clone()));
    assert_eq!(failed.delivered(), Delivered::No);
    assert_eq!(within(system.ask("counter/1", Add(1))).await, Err(failed));
    settle().await;
    assert!(counters.is_empty());
    assert_eq!((calls.count(), system.snapshot().failed.len()), (2, 1));

    // A start with a failure that its budget allows.
    tokio::time::sleep(SECOND).await;
    assert_eq!(within(system.ask("counter/1", Add(1))).await, Ok(1));
    assert_eq!((calls.count(), system.snapshot().failed.len()), (4, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_starts_again_after_failures_within_its_budget() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let counters = system.on_demand("counter/*", store.loader());
    let counters = counters.budget(2, 60 * SECOND).backoff(Backoff::none());
    let counters = counters.await?;
    for sum in 1..=2 {
        assert_eq!(within(system.ask("counter/1", Add(1))).await, Ok(sum));
        let failed = within(system.ask("counter/1", Act::Fail)).await;
        assert!(matches!(failed, Err(AskError::Failed { .. })), "{failed:?}");
    }
    let snapshot = system.snapshot();
    let restarts = snapshot.actor("counter/1").map(|actor| actor.failures);
    assert_eq!((restarts, counters.len()), (Some(2), 1));
    let mut last = system.ask("counter/1", Act::Fail);
    let mut behind = system.ask("counter/1", Add(1));
    assert!(poll_once(&mut last).await.is_pending());
    assert!(poll_once(&mut behind).await.is_pending());
    assert!(matches!(within(last).await, Err(AskError::Failed { .. })));
    let failed = AskError::ActorFailed {
        urn: "counter/1".parse()?,
    };
    assert_eq!(within(behind).await, Err(failed.clone()));
    assert_eq!(within(system.ask("counter/1", Add(1))).await, Err(failed));
    tokio::time::sleep(SECOND).await;
    assert_eq!(within(system.ask("counter/1", Add(1))).await, Ok(3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_that_never_restarts_is_started_anew() -> TestResult {
    let (system, store) = (ActorSystem::new(), Store::default());
    let counters = system.on_demand("counter/*", store.loader());
    counters.restart(Restart::Never).await?;
    let actor = system.actor::<Counter>("counter/1")?;
    assert!(within(actor.ask(Act::Fail)).await.is_err());
    assert!(matches!(
        within(actor.stopped()).await,
        StopReason::Failed(_)
    ));
    assert!(matches!(
        actor.ask(Add(1)).await,
        Err(AskError::ActorFailed { .. })
    ));
    tokio::time::sleep(SECOND).await;
    assert_eq!(within(system.ask("counter/1", Add(1))).await, Ok(1));
    Ok(())
}

#[tokio::test]
async fn actor_without_a_thread_has_failed() -> TestResult {
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_threadless_process"));
    // Stacks that no address space has room for: no thread starts.
    process.env("RUST_MIN_STACK", (1_u64 << 62).to_string());
    let output = within(process.output()).await?;
    let (out, error) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    assert_eq!(
        (out.trim(), output.status.success()),
        ("as expected", true),
        "{error}"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn name_that_cannot_start_leaves_its_place_when_no_message_waits() -> TestResult {
    let bus = Bus::memory();
    let (system, _proxy) = bus.system().await;
    let client = bus.client().await;
    let (works, store) = (Arc::new(AtomicBool::new(false)), Store::default());
    let (does_work, loads) = (works.clone(), store.clone());
    let factory = move |urn: Urn| {
        let counter = if does_work.load(Ordering::Relaxed) {
            Ok(loads.load(&urn))
        } else {
            Err(Failure::msg("no disk"))
        };
        async move { counter }
    };
    let counters = system.on_demand("counter/*", factory).unlimited();
    let backoff = Backoff::starting_at(SECOND).up_to(SECOND);
    let counters = counters.backoff(backoff).max(3).await?;
    // Each takes a place, and has an end.
    let asks = async || {
        let local = system.ask("counter/1", Add(1)).timeout(3 * SECOND);
        let remote = client.ask("counter/2", Add(1)).timeout(3 * SECOND);
        let (local, remote) = tokio::join!(local, remote);
        for late in [local, remote] {
            assert!(matches!(late, Err(AskError::Timeout { .. })), "{late:?}");
        }
    };
    within(asks()).await;
    let held = system.actor::<Counter>("counter/3")?;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(counters.len(), 1);
    // A reference is a use of the actor.
    drop(held);
    tokio::time::sleep(3 * SECOND).await;
    assert!(counters.is_empty());

    // A message without an end waits as long as it takes, behind those that have ended.
    let mut waits = system.ask("counter/1", Add(1));
    assert!(poll_once(&mut waits).await.is_pending());
    within(asks()).await;
    within(system.tell("counter/3", Add(5))).await?;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(counters.len(), 2);
    works.store(true, Ordering::Relaxed);
    assert_eq!(within(waits).await, Ok(1));
    assert_eq!(within(system.ask("counter/3", Add(1))).await, Ok(6));
    Ok(())
}
