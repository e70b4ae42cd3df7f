//! Ends of essential actors.

use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib::system::ActorFailure;
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, MS, TestResult, poll_once, settle, within};

/// The end that the system reports, or `None`.
async fn reported(system: &ActorSystem) -> Option<ActorFailure> {
    settle().await;
    match poll_once(&mut Box::pin(system.failed())).await {
        std::task::Poll::Ready(end) => Some(end),
        std::task::Poll::Pending => None,
    }
}

/// The URNs and reasons of all reported ends.
async fn all_reported(system: &ActorSystem) -> Vec<String> {
    let mut ends = Vec::new();
    while let Some(end) = reported(system).await {
        ends.push(format!("{}: {}", end.urn, end.reason));
    }
    ends
}

/// Has a running actor spawn an essential child at this URN.
fn spawn_child(urn: &'static str) -> conclib_tests::scripted::Run {
    run_async(move |ctx| {
        let child = ScriptedActor::new("child", &Log::default());
        let spawn = ctx.spawn(child).urn(urn).essential();
        Box::pin(async { Ok(spawn.await.map(drop)?) })
    })
}

#[tokio::test(start_paused = true)]
async fn every_end_of_an_essential_actor_is_reported() -> TestResult {
    type End = fn(ActorRef<ScriptedActor>);
    let stops: End = |actor| actor.stop();
    let kills: End = |actor| actor.kill();
    let fails: End = |actor| drop(actor.try_tell(fail()));
    let stops_itself: End = |actor| drop(actor.try_tell(run(|ctx| ctx.stop())));
    for (end, says) in [
        (
            stops,
            "the actor `a`, which is essential, has ended: stop was requested",
        ),
        (
            kills,
            "the actor `a`, which is essential, has ended: it was killed",
        ),
        (fails, "the actor `a` failed, and will not start again"),
        (
            stops_itself,
            "the actor `a`, which is essential, has ended: stop was requested",
        ),
    ] {
        let system = ActorSystem::new();
        // Also one that escalates is reported once.
        let spawn = system.spawn(ScriptedActor::new("a", &Log::default()));
        let a = within(spawn.urn("a").essential().escalate()).await?;
        end(a);
        let end = within(system.failed()).await;
        assert_eq!(end.to_string(), says);
        assert!(reported(&system).await.is_none());
        assert!(
            system.actor::<ScriptedActor>("a").is_err(),
            "its URN is free"
        );
    }

    let system = ActorSystem::new();
    let spawn = system.spawn(ScriptedActor::new("a", &Log::default()));
    let a = within(spawn.urn("a").while_referenced().essential()).await?;
    drop(a);
    let says = ["a: its last reference was dropped"];
    assert_eq!(all_reported(&system).await, says);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn restarts_and_shutdowns_are_no_ends() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let spawn = system.supervise(lives("a", &log)).essential();
    let a = within(spawn.unlimited().backoff(Backoff::none())).await?;
    for _ in 0..20 {
        within(a.ask(fail())).await.unwrap_err();
    }
    within(a.ask(spawn_child("child"))).await?;
    assert!(reported(&system).await.is_none());
    within(system.shutdown()).await;
    assert!(a.is_stopped());
    assert!(reported(&system).await.is_none());

    // Nor are they if the shutdown has to kill.
    let system = ActorSystem::new();
    let a = within(system.spawn(ScriptedActor::new("a", &log)).essential()).await?;
    a.tell(run_async(|_| Box::pin(std::future::pending())))
        .await?;
    let report = within(system.shutdown().timeout(MS)).await;
    assert_eq!(report.killed.len(), 1);
    assert!(reported(&system).await.is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn child_that_ends_with_its_parent_is_reported_unless_that_restarts() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let spawn = system.supervise(lives("a", &log)).urn("a");
    let a = within(spawn.backoff(Backoff::none())).await?;
    within(a.ask(spawn_child("child"))).await?;
    // The parent starts again, and would start its child.
    within(a.ask(fail())).await.unwrap_err();
    within(a.ask(spawn_child("child"))).await?;
    assert!(reported(&system).await.is_none());
    // The parent is asked to stop.
    a.stop();
    within(a.stopped()).await;
    assert_eq!(all_reported(&system).await, ["child: its parent stopped"]);

    // An essential parent is reported as well, and grandchildren.
    let top = system.spawn(ScriptedActor::new("top", &log)).urn("top");
    let top = within(top.essential()).await?;
    within(top.ask(spawn_child("middle"))).await?;
    within(system.ask("middle", spawn_child("leaf"))).await?;
    top.stop();
    within(top.stopped()).await;
    let expected = [
        "leaf: its parent stopped",
        "middle: its parent stopped",
        "top: stop was requested",
    ];
    assert_eq!(all_reported(&system).await, expected);

    // A child that ends alone.
    let b = within(system.spawn(ScriptedActor::new("b", &log))).await?;
    within(b.ask(spawn_child("child"))).await?;
    system.actor::<ScriptedActor>("child")?.kill();
    assert_eq!(all_reported(&system).await, ["child: it was killed"]);
    assert!(!b.is_stopped());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn essential_actor_that_does_not_start_is_reported() -> TestResult {
    let system = ActorSystem::new();
    let mortal = ScriptedActor::new("a", &Log::default())
        .starting(|_| Box::pin(std::future::ready(Err(Failure::msg("no disk")))));
    let failed = within(system.spawn(mortal).urn("a").essential()).await;
    assert!(failed.is_err());
    assert_eq!(all_reported(&system).await, ["a: it failed: no disk"]);
    // A taken URN is no end of an actor.
    let a = within(
        system
            .spawn(ScriptedActor::new("a", &Log::default()))
            .urn("a"),
    )
    .await?;
    let again = system
        .spawn(ScriptedActor::new("a", &Log::default()))
        .urn("a");
    assert!(within(again.essential()).await.is_err());
    assert!(reported(&system).await.is_none());
    drop(a);
    Ok(())
}
