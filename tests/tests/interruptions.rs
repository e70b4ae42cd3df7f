//! Stops and kills of supervised actors during factories, hooks and backoff.

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::supervision::{Backoff, Restart};
use conclib_tests::messages::note;
use conclib_tests::scripted::{NewActor, ScriptedActor, fail, lives};
use conclib_tests::{
    Gate, Log, LogsDrop, PanicsOnDrop, TestResult, gate, poll_once, settle, within,
};
use tokio::time::Instant;

/// A factory that waits at one gate per state; the first state is ready at once.
fn slow(log: &Log, gates: Vec<Gate>) -> impl FnMut() -> NewActor + Send + use<> {
    let log = log.clone();
    let mut gates = gates.into_iter();
    move || {
        let (probe, gate) = (ScriptedActor::new("a", &log), gates.next());
        let held = LogsDrop(log.clone(), "factory's future dropped");
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.pass().await;
            }
            std::mem::forget(held);
            probe
        })
    }
}

#[tokio::test(start_paused = true)]
async fn stop_or_kill_ends_the_first_factory_at_once() -> TestResult {
    for kill in [false, true] {
        let (system, log, began) = (ActorSystem::new(), Log::default(), Instant::now());
        let (hold, mut keeper) = gate();
        let mut spawn = system.supervise(slow(&log, vec![hold])).urn("a");
        assert!(poll_once(&mut spawn).await.is_pending());
        keeper.reached().await;
        let a = system.actor::<ScriptedActor>("a")?;
        let mut waits = a.ask(note("waits"));
        assert!(poll_once(&mut waits).await.is_pending());
        if kill {
            a.kill();
        } else {
            a.stop();
        }
        let error = within(spawn).await.unwrap_err();
        match error {
            SpawnError::Killed { .. } if kill => {}
            SpawnError::Stopped {
                reason: StopReason::Requested,
                ..
            } if !kill => {}
            error => return Err(error.into()),
        }
        assert!(system.is_empty() && a.is_stopped());
        assert_eq!(waits.await, Err(AskError::ActorStopped));
        assert_eq!(log.entries(), ["factory's future dropped"]);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn factory_future_may_panic_on_drop() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let mut spawn = system
        .supervise(move || {
            let (held, probe) = (PanicsOnDrop, ScriptedActor::new("a", &log));
            async move {
                pending::<()>().await;
                drop(held);
                probe
            }
        })
        .urn("a");
    assert!(poll_once(&mut spawn).await.is_pending());
    settle().await;
    let a = system.actor::<ScriptedActor>("a")?;
    a.stop();
    let reason = within(a.stopped()).await;
    assert!(matches!(reason, StopReason::Requested), "{reason}");
    let error = within(spawn).await.unwrap_err();
    assert!(matches!(error, SpawnError::Stopped { .. }), "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_or_kill_ends_a_restart_factory_at_once() -> TestResult {
    for kill in [false, true] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let ((open, _), (hold, mut keeper)) = (gate(), gate());
        let spawn = system.supervise(slow(&log, vec![open, hold]));
        let a = within(spawn.backoff(Backoff::none())).await?;
        a.tell(fail()).await?;
        keeper.reached().await;
        if kill {
            a.kill();
        } else {
            a.stop();
        }
        let reason = within(a.stopped()).await;
        assert_eq!(matches!(reason, StopReason::Killed), kill, "{reason}");
        assert_eq!(matches!(reason, StopReason::Requested), !kill, "{reason}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_or_kill_ends_the_backoff_at_once() -> TestResult {
    for kill in [false, true] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let spawn = system.supervise(lives("a", &log));
        let a = within(spawn.backoff(Backoff::from_secs(10))).await?;
        assert!(matches!(
            within(a.ask(fail())).await,
            Err(AskError::Failed { .. })
        ));
        let mut waits = a.ask(note("waits"));
        assert!(poll_once(&mut waits).await.is_pending());
        settle().await;
        let began = Instant::now();
        if kill {
            a.kill();
        } else {
            a.stop();
        }
        let reason = within(a.stopped()).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(matches!(reason, StopReason::Killed), kill, "{reason}");
        assert_eq!(matches!(reason, StopReason::Requested), !kill, "{reason}");
        assert_eq!(waits.await, Err(AskError::ActorStopped));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn kill_ends_the_last_hook_at_once() -> TestResult {
    for fails in [false, true] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let written = log.clone();
        let spawn = system.supervise(move || {
            let probe = ScriptedActor::new("a", &written);
            let probe = probe.failing(|_| Box::pin(pending()));
            ready(probe.stopping(|_| Box::pin(pending())))
        });
        let a = within(spawn.backoff(Backoff::none())).await?;
        if fails {
            assert!(matches!(
                within(a.ask(fail())).await,
                Err(AskError::Failed { .. })
            ));
        } else {
            a.stop();
        }
        settle().await;
        assert_eq!(log.count(), 2, "the hook runs");
        assert!(!a.is_stopped());
        a.kill();
        let reason = within(a.stopped()).await;
        assert!(matches!(reason, StopReason::Killed), "{reason}");
        assert_eq!(log.count(), 2);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_during_on_start_handles_queued_messages() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (hold, mut keeper) = gate();
    let mut hold = Some(hold);
    let written = log.clone();
    let factory = move || {
        let hold = hold.take();
        ready(ScriptedActor::new("a", &written).starting(move |_| {
            Box::pin(async move {
                if let Some(hold) = hold {
                    hold.pass().await;
                }
                Ok(())
            })
        }))
    };
    let mut spawn = system.supervise(factory).restart(Restart::Always).urn("a");
    assert!(poll_once(&mut spawn).await.is_pending());
    keeper.reached().await;
    system.tell("a", note("queued")).await?;
    system.actor::<ScriptedActor>("a")?.stop();
    keeper.open();
    let a = within(spawn).await?;
    within(a.stopped()).await;
    let stops = "a stops: stop was requested";
    assert_eq!(log.entries(), ["a starts", "a queued", stops]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn last_reference_may_be_dropped_during_a_restart() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let made = Arc::new(AtomicU32::new(0));
    let (count, mut probes) = (made.clone(), lives("a", &log));
    let spawn = system.supervise(move || {
        count.fetch_add(1, Ordering::Relaxed);
        probes()
    });
    let spawn = spawn.while_referenced().urn("a");
    let a = within(spawn.backoff(Backoff::from_secs(10))).await?;
    within(a.ask(note("lives"))).await?;
    a.tell(fail()).await?;
    settle().await;
    let phase = system.snapshot().actor("a").map(|a| a.phase);
    assert_eq!(phase, Some(conclib::snapshot::Phase::Restarting));
    drop(a);
    settle().await;
    assert!(system.is_empty());
    assert_eq!(made.load(Ordering::Relaxed), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn restart_keeps_an_actor_that_is_referenced() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let spawn = system.supervise(lives("a", &log)).while_referenced();
    let a = within(spawn.backoff(Backoff::none())).await?;
    a.tell(fail()).await?;
    within(a.ask(note("lives"))).await?;
    drop(a);
    settle().await;
    assert!(system.is_empty());
    let stops = "a stops: its last reference was dropped";
    assert_eq!(log.entries()[2..], ["a starts", "a lives", stops]);
    Ok(())
}
