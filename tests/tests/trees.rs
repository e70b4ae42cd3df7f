//! Parents and children: order of ends, failures, shutdowns.

use std::future::{pending, ready};
use std::sync::mpsc;
use std::time::Duration;

use conclib::prelude::*;
use conclib::{Backoff, SpawnError, StopReason};
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, PanicsOnDrop, SECOND, TestResult, gate, poll_once, settle, within};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Spawns children of another actor, in order.
async fn children(
    parent: &ActorRef<ScriptedActor>,
    names: &[&'static str],
    log: &Log,
) -> Result<(), AskError> {
    for name in names.iter().copied() {
        let child = ScriptedActor::new(name, log);
        let spawning = run_async(move |ctx| {
            let spawn = ctx.spawn(child).urn(name);
            Box::pin(async {
                spawn.await?;
                Ok(())
            })
        });
        within(parent.ask(spawning)).await?;
    }
    Ok(())
}

/// A tree: `top`, its children `a` and `b`, and `b`'s children `x` and `y`.
async fn tree() -> Result<(ActorSystem, ActorRef<ScriptedActor>, Log), Box<dyn std::error::Error>> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let silent = Log::default();
    let top = within(system.spawn(ScriptedActor::new("top", &log)).urn("top")).await?;
    children(&top, &["a", "b"], &log).await?;
    children(&system.actor("b")?, &["x", "y"], &silent).await?;
    Ok((system, top, log))
}

/// The entries of stops, in order.
fn stops(log: &Log) -> Vec<String> {
    let entries = log.entries().into_iter();
    entries.filter(|entry| entry.contains(" stops: ")).collect()
}

// ---- ends

#[tokio::test(start_paused = true)]
async fn children_stop_before_their_parent_the_newest_first() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = within(system.spawn(ScriptedActor::new("top", &log))).await?;
    children(&top, &["a", "b"], &log).await?;
    children(&system.actor("b")?, &["x", "y"], &log).await?;
    top.stop();
    within(top.wait_stopped()).await;
    let parent = |name: &str| format!("{name} stops: its parent stopped");
    let top = "top stops: stop was requested".to_owned();
    assert_eq!(
        stops(&log),
        [parent("y"), parent("x"), parent("b"), parent("a"), top]
    );
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_count_as_stopped_before_their_parent() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    for _ in 0..500 {
        let top = within(system.spawn(ScriptedActor::new("top", &log))).await?;
        children(&top, &["a"], &log).await?;
        let a = system.actor::<ScriptedActor>("a")?;
        top.stop();
        a.stop();
        within(top.wait_stopped()).await;
        assert!(a.is_stopped());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn kill_takes_the_whole_tree_and_runs_no_hook() -> TestResult {
    let (system, top, log) = tree().await?;
    let leaves = [system.actor::<ScriptedActor>("x")?, system.actor("a")?];
    let before = log.count();
    top.kill();
    let reason = within(top.wait_stopped()).await;
    assert!(matches!(reason, StopReason::Killed), "{reason}");
    assert!(system.is_empty());
    for leaf in leaves {
        let reason = leaf.wait_stopped().await;
        assert!(matches!(reason, StopReason::Killed), "{reason}");
    }
    assert_eq!(log.count(), before);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn kill_ends_children_that_are_being_stopped() -> TestResult {
    let (system, top, _log) = tree().await?;
    let x = system.actor::<ScriptedActor>("x")?;
    x.tell(run_async(|_| Box::pin(pending()))).await?;
    top.stop();
    settle().await;
    assert!(!top.is_stopped());
    top.kill();
    within(top.wait_stopped()).await;
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn end_of_a_child_does_not_affect_its_parent() -> TestResult {
    let (system, top, log) = tree().await?;
    within(system.ask("a", fail())).await.unwrap_err();
    settle().await;
    assert!(system.actor::<ScriptedActor>("a").is_err());
    within(top.ask(note("lives"))).await?;
    let b = system.actor::<ScriptedActor>("b")?;
    b.stop();
    within(b.wait_stopped()).await;
    assert_eq!(system.len(), 1);
    top.stop();
    within(top.wait_stopped()).await;
    assert_eq!(stops(&log).len(), 2, "b and top");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_start_stops_the_children_spawned_in_on_start() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let child = ScriptedActor::new("a", &log);
    let top = ScriptedActor::new("top", &log).starting(|ctx| {
        let spawn = ctx.spawn(child).urn("a");
        Box::pin(async {
            spawn.await?;
            Err(Failure::msg("no"))
        })
    });
    let error = within(system.spawn(top)).await.unwrap_err();
    assert!(matches!(error, SpawnError::StartFailed { .. }), "{error}");
    let a = "a stops: its parent stopped";
    assert_eq!(log.entries(), ["top starts", "a starts", a]);
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ending_actor_spawns_no_children() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (child, written) = (ScriptedActor::new("a", &log), log.clone());
    let top = ScriptedActor::new("top", &log).stopping(move |ctx| {
        let spawn = ctx.spawn(child);
        Box::pin(async move {
            let refused = spawn.await.map(drop);
            written.add(format!("{refused:?}"));
            Ok(())
        })
    });
    let top = within(system.spawn(top).urn("top")).await?;
    top.stop();
    within(top.wait_stopped()).await;
    let entries = log.entries();
    let refused = entries.last().map(String::as_str).unwrap_or_default();
    assert!(refused.contains("ParentStopped"), "{entries:?}");
    assert!(system.is_empty());
    Ok(())
}

/// The message of a timer panics on drop.
#[tokio::test(start_paused = true)]
async fn panic_on_drop_does_not_cost_children_their_last_hook() -> TestResult {
    let (_system, top, log) = tree().await?;
    let setting_up = run(|ctx| {
        let bomb = PanicsOnDrop;
        ctx.after(SECOND, run(move |_| drop(bomb)));
        let bomb = PanicsOnDrop;
        ctx.pipe(async move {
            pending::<()>().await;
            run(move |_| drop(bomb))
        });
    });
    within(top.ask(setting_up)).await?;
    top.stop();
    let reason = within(top.wait_stopped()).await;
    assert!(matches!(reason, StopReason::Requested), "{reason}");
    assert_eq!(stops(&log).len(), 3, "a, b and top");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn context_may_be_shared_with_futures_of_a_handler() -> TestResult {
    let (system, top, _log) = tree().await?;
    let sharing = run_async(|ctx| {
        Box::pin(async {
            let shared: &Context<ScriptedActor> = ctx;
            settle().await;
            shared
                .spawn(ScriptedActor::new("c", &Log::default()))
                .await?;
            Ok(())
        })
    });
    within(top.ask(sharing)).await?;
    assert_eq!(system.len(), 6);
    Ok(())
}

// ---- failures

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
    let reason = within(top.wait_stopped()).await;
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
    let reason = within(a.wait_stopped()).await;
    assert!(reason.is_failure(), "{reason:?}");
    let reason = within(top.wait_stopped()).await;
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
    let reason = within(top.wait_stopped()).await;
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
        within(top.wait_stopped()).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let reason = c.wait_stopped().await;
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

// ---- shutdowns

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
    within(top.wait_stopped()).await;
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
    let reason = within(top.wait_stopped()).await;
    assert!(matches!(reason, StopReason::Killed), "{reason}");
    assert!(began.elapsed() <= 5 * SECOND, "{:?}", began.elapsed());
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn shutdown_kills_the_tree_that_overruns_its_bound() -> TestResult {
    let (system, _top, _log) = tree().await?;
    system.tell("x", run_async(|_| Box::pin(pending()))).await?;
    let report = within(system.shutdown().timeout(5 * SECOND)).await;
    assert_eq!(report.killed, ["x", "b", "a", "top"]); // y has stopped
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
    within(top.wait_stopped()).await;
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dropping_the_system_stops_trees_from_their_leaves() -> TestResult {
    let (system, top, log) = tree().await?;
    drop(system);
    within(top.wait_stopped()).await;
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
