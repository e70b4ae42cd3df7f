//! Shutdowns of trees.

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use conclib::StopReason;
use conclib::prelude::*;
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::{ScriptedActor, run, run_async};
use conclib_tests::{Log, SECOND, TestResult, gate, poll_once, settle, within};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{children, stops, tree};

#[tokio::test(start_paused = true)]
async fn children_run_until_their_parent_has_handled_queued_messages() -> TestResult {
    let (system, top, log) = tree().await?;
    let (hold, mut keeper) = gate();
    top.tell(Pass(hold)).await?;
    keeper.reached().await;
    let a = system.actor::<ScriptedActor>("a")?;
    let asking = run_async(|_| {
        Box::pin(async move {
            a.ask(note("serves")).await?;
            Ok(())
        })
    });
    let mut asking = top.ask(asking);
    assert!(poll_once(&mut asking).await.is_pending());
    let shutdown = tokio::spawn(system.shutdown());
    settle().await;
    keeper.open();
    assert!(within(shutdown).await?.is_clean());
    assert_eq!(asking.await, Ok(()));
    let entries = log.entries();
    assert_eq!(
        entries[3..],
        [
            "a serves",
            "b stops: its parent stopped",
            "a stops: its parent stopped",
            "top stops: its system was shut down",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn child_may_shut_the_system_down() -> TestResult {
    let (system, top, log) = tree().await?;
    within(system.spawn(ScriptedActor::new("other", &log)).urn("other")).await?;
    let written = log.clone();
    let shutting_down = run_async(move |ctx| {
        let system = ctx.system();
        Box::pin(async move {
            if let Some(system) = system {
                let report = system.shutdown().await;
                written.add(format!("clean: {}", report.is_clean()));
            }
            Ok(())
        })
    });
    within(system.ask("a", shutting_down)).await?;
    within(top.stopped()).await;
    let entries = log.entries();
    assert_eq!(
        entries[4..],
        [
            "other stops: its system was shut down",
            "clean: true",
            "b stops: its parent stopped",
            "a stops: its parent stopped",
            "top stops: its system was shut down",
        ]
    );
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tree_that_shuts_the_system_down_is_killed_after_the_bound() -> TestResult {
    let (system, top, _log) = tree().await?;
    system.tell("x", run_async(|_| Box::pin(pending()))).await?;
    let began = Instant::now();
    let shutting_down = run_async(|ctx| {
        let system = ctx.system();
        Box::pin(async move {
            if let Some(system) = system {
                system.shutdown().timeout(5 * SECOND).await;
            }
            Ok(())
        })
    });
    within(system.ask("a", shutting_down)).await?;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let reason = within(top.stopped()).await;
    assert!(matches!(reason, StopReason::Killed), "{reason}");
    assert!(began.elapsed() <= 5 * SECOND, "{:?}", began.elapsed());
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutdown_kills_the_actor_that_overruns_its_bound_and_not_those_above_it() -> TestResult {
    let (system, _top, log) = tree().await?;
    system.tell("x", run_async(|_| Box::pin(pending()))).await?;
    let report = within(system.shutdown().timeout(5 * SECOND)).await;
    assert_eq!(report.killed, ["x"]); // y has stopped
    assert_eq!(
        stops(&log),
        [
            "a stops: its system was shut down",
            "b stops: its parent stopped",
            "top stops: its system was shut down",
        ]
    );
    assert_eq!(report.stuck, Vec::<conclib::Urn>::new());
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_blocks_a_thread_is_reported_with_its_parent() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = within(system.spawn(ScriptedActor::new("top", &log)).urn("top")).await?;
    children(&top, &["a", "b"], &log).await?;
    let (release, released) = mpsc::channel::<()>();
    let (began, begins) = oneshot::channel();
    let blocking = run(move |_| {
        let _ = began.send(());
        let _ = released.recv();
    });
    system.tell("a", blocking).await?;
    within(begins).await?;
    let report = within(system.shutdown().timeout(Duration::from_millis(10))).await;
    assert_eq!(report.stuck, ["a", "top"]);
    assert_eq!(report.killed, Vec::<conclib::Urn>::new());
    drop(release);
    within(top.stopped()).await;
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dropping_the_system_stops_trees_from_their_leaves() -> TestResult {
    let (system, top, log) = tree().await?;
    drop(system);
    within(top.stopped()).await;
    assert_eq!(
        log.entries()[3..],
        [
            "b stops: its parent stopped",
            "a stops: its parent stopped",
            "top stops: its system was shut down",
        ]
    );
    Ok(())
}
