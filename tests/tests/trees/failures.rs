//! Failures of children and parents.

use std::future::ready;
use std::time::Duration;

use conclib::StopReason;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run_async};
use conclib_tests::{Log, SECOND, TestResult, gate, poll_once, settle, within};
use tokio::time::Instant;

use super::tree;

#[tokio::test(start_paused = true)]
async fn escalated_child_failure_fails_the_parent() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = within(system.spawn(ScriptedActor::new("top", &log))).await?;
    let (middle, leaf) = (ScriptedActor::new("middle", &log), lives("leaf", &log));
    let spawning = run_async(|ctx| {
        let spawn = ctx.spawn(middle).urn("middle").escalate();
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(top.ask(spawning)).await?;
    let spawning = run_async(|ctx| {
        let spawn = ctx.supervise(leaf).urn("leaf").budget(1, SECOND);
        let spawn = spawn.backoff(Backoff::none()).escalate();
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(system.ask("middle", spawning)).await?;
    // The first failure is within the budget.
    within(system.ask("leaf", fail())).await.unwrap_err();
    within(system.ask("leaf", note("lives"))).await?;
    within(system.ask("leaf", fail())).await.unwrap_err();
    let reason = within(top.stopped()).await;
    let failure = reason.failure().ok_or("no failure")?.to_string();
    let says = "its child `middle` failed: its child `leaf` failed: panicked: on purpose";
    assert_eq!(failure, says);
    assert!(system.is_empty());
    Ok(())
}

/// An error whose `Display` panics.
#[derive(Debug)]
struct Mute;

impl std::fmt::Display for Mute {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("mute")
    }
}

impl std::error::Error for Mute {}

#[tokio::test(start_paused = true)]
async fn error_whose_display_panics_is_a_failure_like_others() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = within(system.spawn(ScriptedActor::new("top", &log))).await?;
    let child = ScriptedActor::new("a", &log);
    let spawning = run_async(|ctx| {
        let spawn = ctx.spawn(child).urn("a").escalate();
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(top.ask(spawning)).await?;
    let a = system.actor::<ScriptedActor>("a")?;
    let failing = run_async(|_| Box::pin(async { Err(Mute.into()) }));
    within(a.ask(failing)).await.unwrap_err();
    let reason = within(a.stopped()).await;
    assert!(reason.is_failure(), "{reason:?}");
    let reason = within(top.stopped()).await;
    let failure = reason.failure().ok_or("no failure")?.to_string();
    assert_eq!(
        failure,
        "its child `a` failed: an error whose text panicked: mute"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn parent_fails_after_its_current_message() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = within(system.spawn(ScriptedActor::new("top", &log))).await?;
    let child = ScriptedActor::new("a", &log);
    let spawning = run_async(|ctx| {
        let spawn = ctx.spawn(child).urn("a").escalate();
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(top.ask(spawning)).await?;
    let (hold, mut keeper) = gate();
    let mut in_hand = top.ask(Pass(hold));
    assert!(poll_once(&mut in_hand).await.is_pending());
    keeper.reached().await;
    within(system.ask("a", fail())).await.unwrap_err();
    settle().await;
    assert!(!top.is_stopped());
    keeper.open();
    assert_eq!(within(in_hand).await, Ok(()));
    let reason = within(top.stopped()).await;
    assert!(matches!(reason, StopReason::Failed(_)), "{reason}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn children_stop_before_the_next_incarnation_of_their_parent() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let factory = move || {
        let (child, grandchild) = (
            ScriptedActor::new("a", &written),
            ScriptedActor::new("x", &written),
        );
        let child = child.starting(|ctx| {
            let spawn = ctx.spawn(grandchild).urn("x");
            Box::pin(async {
                spawn.await?;
                Ok(())
            })
        });
        ready(ScriptedActor::new("top", &written).starting(|ctx| {
            let spawn = ctx.spawn(child).urn("a");
            Box::pin(async {
                spawn.await?;
                Ok(())
            })
        }))
    };
    let top = within(system.supervise(factory).backoff(Backoff::none())).await?;
    within(top.ask(fail())).await.unwrap_err();
    within(top.ask(note("lives"))).await?;
    let life = ["top starts", "a starts", "x starts"];
    let end = [
        "x stops: its parent stopped",
        "a stops: its parent stopped",
        "top fails: panicked: on purpose",
    ];
    let expected = [&life[..], &end, &life, &["top lives"]].concat();
    assert_eq!(log.entries(), expected);
    assert_eq!(system.len(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn parent_does_not_wait_for_the_restart_of_a_child() -> TestResult {
    for kill in [false, true] {
        let (system, top, log) = tree().await?;
        let child = lives("c", &log);
        let spawning = run_async(|ctx| {
            let spawn = ctx.supervise(child).urn("c");
            let spawn = spawn.backoff(Backoff::from_secs(10));
            Box::pin(async {
                spawn.await?;
                Ok(())
            })
        });
        within(top.ask(spawning)).await?;
        let c = system.actor::<ScriptedActor>("c")?;
        within(c.ask(fail())).await.unwrap_err();
        settle().await;
        let began = Instant::now();
        if kill {
            top.kill();
        } else {
            top.stop();
        }
        within(top.stopped()).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let reason = c.stopped().await;
        assert_eq!(matches!(reason, StopReason::Killed), kill, "{reason}");
        assert_eq!(
            matches!(reason, StopReason::ParentStopped),
            !kill,
            "{reason}"
        );
        assert!(system.is_empty());
    }
    Ok(())
}
