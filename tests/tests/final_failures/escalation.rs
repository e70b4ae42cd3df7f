//! Failures that reach the system.

use std::error::Error;
use std::future::ready;
use std::io;

use conclib::SpawnError;
use conclib::error::ChildFailure;
use conclib::prelude::*;
use conclib::supervision::Restart;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib::system::ActorFailure;
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, SECOND, TestResult, poll_once, settle, within};

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
        "the actor `one` failed, and will not start again"
    );
    let source = failure.source().expect("the failure");
    assert_eq!(source.to_string(), "panicked: on purpose");
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
    let says = "it failed: its child `child` failed: panicked: on purpose";
    assert_eq!(text, says);
    assert_eq!(
        texts(&failure),
        [
            "the actor `top` failed, and will not start again",
            "its child `child` failed",
            "panicked: on purpose",
        ]
    );
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
    let error = failed.expect_err("it does not start");
    assert!(matches!(error, SpawnError::StartFailed { .. }));
    assert_eq!(texts(&error), ["the actor `a` did not start", "no disk"]);
    assert_eq!(within(system.failed()).await.urn, "a");
    Ok(())
}

/// An error of a handler travels up three actors to the program, and stays what it is.
#[tokio::test(start_paused = true)]
async fn error_at_the_bottom_is_found_in_the_failure_of_the_root() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let no_disk: fn() -> Failure = || Failure::from(io::Error::other("no disk"));
    let leaf = ScriptedActor::new("leaf", &log).starting(move |_| Box::pin(ready(Err(no_disk()))));
    let branch = ScriptedActor::new("branch", &log).starting(move |ctx| {
        let leaf = ctx.spawn(leaf).urn("leaf").escalate();
        Box::pin(async { Ok(leaf.await.map(drop)?) })
    });
    let started = within(system.spawn(branch).urn("branch").escalate()).await;
    let failure = within(system.failed()).await;
    for error in [
        &failure as &dyn Error,
        &started.expect_err("it does not start"),
    ] {
        let texts = texts(error);
        assert_eq!(texts[1..], ["the actor `leaf` did not start", "no disk"]);
    }
    let reason = failure.reason.failure().expect("a failure");
    let error = reason.downcast_ref::<io::Error>().expect("found");
    assert_eq!(error.kind(), io::ErrorKind::Other);
    assert!(matches!(
        reason.downcast_ref::<SpawnError>(),
        Some(SpawnError::StartFailed { urn, .. }) if urn == "leaf"
    ));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn spent_budget_of_a_group_keeps_the_failure_of_its_member() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = Supervisor::new(Strategy::OneForOne)
        .member(ChildSpec::new(lives("a", &log)).urn("a"))
        .budget(0, SECOND);
    let group = within(system.spawn(group).urn("group").escalate()).await?;
    let failing = run_async(|_| Box::pin(ready(Err(io::Error::other("no disk").into()))));
    within(system.ask("a", failing)).await.unwrap_err();
    let end = within(group.stopped()).await;
    let failure = end.failure().expect("a failure");
    let child = failure.downcast_ref::<ChildFailure>().expect("a child's");
    assert_eq!(child.urn, "a");
    assert!(failure.downcast_ref::<io::Error>().is_some());
    let says = "its member `a` ended too often (1 failure within 1 s): no disk";
    assert_eq!(failure.to_string(), says);
    Ok(())
}

/// The texts of an error and its sources.
fn texts(error: &dyn Error) -> Vec<String> {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect()
}
