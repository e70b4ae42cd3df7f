//! Order of ends.

use std::future::pending;

use conclib::prelude::*;
use conclib::{SpawnError, StopReason};
use conclib_tests::messages::note;
use conclib_tests::scripted::{ScriptedActor, fail, run, run_async};
use conclib_tests::{Log, PanicsOnDrop, SECOND, TestResult, settle, within};

use super::{children, stops, tree};

#[tokio::test(start_paused = true)]
async fn children_stop_before_their_parent_the_newest_first() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = within(system.spawn(ScriptedActor::new("top", &log))).await?;
    children(&top, &["a", "b"], &log).await?;
    children(&system.actor("b")?, &["x", "y"], &log).await?;
    top.stop();
    within(top.stopped()).await;
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
        within(top.stopped()).await;
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
    let reason = within(top.stopped()).await;
    assert!(matches!(reason, StopReason::Killed), "{reason}");
    assert!(system.is_empty());
    for leaf in leaves {
        let reason = leaf.stopped().await;
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
    within(top.stopped()).await;
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
    within(b.stopped()).await;
    assert_eq!(system.len(), 1);
    top.stop();
    within(top.stopped()).await;
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
    within(top.stopped()).await;
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
    let reason = within(top.stopped()).await;
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
