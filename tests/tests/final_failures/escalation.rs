//! Failures that reach the system.

use std::future::ready;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::supervision::Restart;
use conclib::system::ActorFailure;
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, TestResult, poll_once, settle, within};

#[tokio::test(start_paused = true)]
async fn escalated_root_failure_reaches_the_system() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    {
        let mut nothing = Box::pin(system.failed());
        assert!(poll_once(&mut nothing).await.is_pending());
    }
    for urn in ["one", "two", "quiet"] {
        let spawn = system.supervise(lives("a", &log)).urn(urn);
        let spawn = spawn.restart(Restart::Never);
        let actor = match urn {
            "quiet" => within(spawn).await?,
            _ => within(spawn.escalate()).await?,
        };
        within(actor.ask(fail())).await.unwrap_err();
        within(actor.stopped()).await;
    }
    // Both are returned, although no wait had begun.
    let failure: ActorFailure = within(system.failed()).await;
    assert_eq!(failure.urn, "one");
    assert!(matches!(failure.reason, StopReason::Failed(_)));
    assert_eq!(
        failure.to_string(),
        "the actor `one` failed and will not start again: it failed: panicked: on purpose"
    );
    assert_eq!(within(system.failed()).await.urn, "two");
    let mut nothing = Box::pin(system.failed());
    assert!(poll_once(&mut nothing).await.is_pending());
    drop(nothing);

    // A wait is woken.
    let waits = system.clone();
    let waits = tokio::spawn(async move { waits.failed().await });
    settle().await;
    let three = within(
        system
            .spawn(ScriptedActor::new("a", &log))
            .urn("three")
            .escalate(),
    )
    .await?;
    within(three.ask(fail())).await.unwrap_err();
    assert_eq!(within(waits).await?.urn, "three");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_failure_is_returned_once_despite_dropped_waits() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let mut waits: Vec<_> = (0..3).map(|_| Box::pin(system.failed())).collect();
    for wait in &mut waits {
        assert!(poll_once(wait).await.is_pending());
    }
    for urn in ["one", "two"] {
        let spawn = system
            .spawn(ScriptedActor::new("a", &log))
            .urn(urn)
            .escalate();
        let actor = within(spawn).await?;
        within(actor.ask(fail())).await.unwrap_err();
        within(actor.stopped()).await;
    }
    // The first has been woken, and is dropped before it looks.
    drop(waits.remove(0));
    let mut result = Vec::new();
    for wait in waits {
        result.push(within(wait).await.urn.to_string());
    }
    assert_eq!(result, ["one", "two"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requested_end_is_no_failure_for_the_system() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let ends: [fn(&ActorRef<ScriptedActor>); 2] = [ActorRef::stop, ActorRef::kill];
    for end in ends {
        let spawn = system.supervise(lives("a", &log)).escalate();
        let actor = within(spawn).await?;
        end(&actor);
        within(actor.stopped()).await;
    }
    let spawn = system.spawn(ScriptedActor::new("a", &log)).escalate();
    let actor = within(spawn).await?;
    within(actor.ask(run(|ctx| ctx.stop()))).await?;
    within(actor.stopped()).await;
    let mut nothing = Box::pin(system.failed());
    assert!(poll_once(&mut nothing).await.is_pending());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failure_escalates_through_the_parent_to_the_system() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = system
        .spawn(ScriptedActor::new("top", &log))
        .urn("top")
        .escalate();
    let top = within(top).await?;
    let child = ScriptedActor::new("a", &log);
    let spawning = run_async(|ctx| {
        let spawn = ctx.spawn(child).urn("child").escalate();
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(top.ask(spawning)).await?;
    within(system.ask("child", fail())).await.unwrap_err();
    let failure = within(system.failed()).await;
    assert_eq!(failure.urn, "top");
    let text = failure.reason.to_string();
    assert!(text.contains("its child `child` failed"), "{text}");
    let mut nothing = Box::pin(system.failed());
    assert!(poll_once(&mut nothing).await.is_pending());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_start_reaches_the_system() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let mortal =
        ScriptedActor::new("a", &log).starting(|_| Box::pin(ready(Err(Failure::msg("no disk")))));
    let failed = within(system.spawn(mortal).urn("a").escalate()).await;
    assert!(matches!(failed, Err(SpawnError::StartFailed { .. })));
    assert_eq!(within(system.failed()).await.urn, "a");
    Ok(())
}
