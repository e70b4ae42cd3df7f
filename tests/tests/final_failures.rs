//! Actors that fail and do not start again: snapshots, lookups, logs, escalation.

use std::future::ready;

use conclib::prelude::*;
use conclib::{
    ActorFailure, Backoff, Delivered, FailedActor, GroupMember, LookupError, Restart, SpawnError,
    Strategy, Supervisor, Urn,
};
use conclib_tests::logs;
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, SECOND, TestResult, gate, poll_once, settle, within};

/// A supervised actor that has exhausted its budget.
async fn spent(system: &ActorSystem, urn: &str) -> Result<ActorRef<ScriptedActor>, SpawnError> {
    let spawn = system.supervise(lives("it", &Log::default()));
    let actor = within(spawn.urn(urn).backoff(Backoff::none())).await?;
    for _ in 0..4 {
        let _ = within(actor.ask(fail())).await;
    }
    within(actor.wait_stopped()).await;
    Ok(actor)
}

fn failed(system: &ActorSystem) -> Vec<FailedActor> {
    system.snapshot().failed
}

fn urns(system: &ActorSystem) -> Vec<String> {
    let failed = failed(system).into_iter();
    failed.map(|actor| actor.urn.to_string()).collect()
}

// ---- the snapshot

#[tokio::test(start_paused = true)]
async fn snapshot_shows_failed_actors_until_the_urn_is_taken() -> TestResult {
    let system = ActorSystem::new();
    let began = std::time::SystemTime::now();
    spent(&system, "desk").await?;
    let snapshot = system.snapshot();
    assert!(snapshot.actors.is_empty());
    let [desk] = &snapshot.failed[..] else {
        return Err(format!("{snapshot:?}").into());
    };
    assert_eq!(desk.urn, "desk");
    assert_eq!(desk.actor_type, std::any::type_name::<ScriptedActor>());
    assert_eq!(desk.failures, 4);
    assert_eq!(
        desk.reason,
        "it failed too often; the last time: panicked: on purpose"
    );
    assert!(desk.parent.is_none() && desk.at >= began);

    let table = snapshot.to_string();
    let last = table.lines().last().ok_or("no table")?;
    assert!(last.starts_with("desk "), "{table}");
    assert!(
        last.ends_with(&desk.reason) && last.contains("  4  "),
        "{table}"
    );
    let json = serde_json::to_value(&snapshot)?;
    assert_eq!(json["failed"][0]["urn"], "desk");

    within(
        system
            .spawn(ScriptedActor::new("a", &Log::default()))
            .urn("desk"),
    )
    .await?;
    assert!(failed(&system).is_empty());
    assert!(!system.snapshot().to_string().contains("on purpose"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn snapshot_shows_every_actor_that_failed_for_good() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    // An unsupervised actor, and one with the policy `Never`.
    for policy in [None, Some(Restart::Never)] {
        let actor = match policy {
            None => {
                system
                    .spawn(ScriptedActor::new("a", &log))
                    .urn("once")
                    .await?
            }
            Some(policy) => {
                let spawn = system.supervise(lives("a", &log)).urn("never");
                spawn.restart(policy).await?
            }
        };
        within(actor.ask(fail())).await.unwrap_err();
        within(actor.wait_stopped()).await;
    }
    // A failed start.
    let mortal =
        ScriptedActor::new("a", &log).starting(|_| Box::pin(ready(Err(Failure::msg("no")))));
    within(system.spawn(mortal).urn("start")).await.unwrap_err();
    // A group, and its member.
    let group = Supervisor::new(Strategy::OneForAll).budget(0, SECOND);
    let group = group.member(GroupMember::new(lives("a", &log)).urn("member"));
    let group = within(system.spawn(group).urn("group")).await?;
    within(system.ask("member", fail())).await.unwrap_err();
    within(group.wait_stopped()).await;
    // A child, and the parent that fails with it.
    let parent = within(system.spawn(ScriptedActor::new("a", &log)).urn("parent")).await?;
    let child = ScriptedActor::new("a", &log);
    let spawning = run_async(|ctx| {
        let spawn = ctx.spawn(child).urn("child").escalate();
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(parent.ask(spawning)).await?;
    within(system.ask("child", fail())).await.unwrap_err();
    within(parent.wait_stopped()).await;

    assert_eq!(
        urns(&system),
        [
            "once", "never", "start", "member", "group", "child", "parent"
        ]
    );
    let child = &failed(&system)[5];
    assert_eq!(child.parent.as_ref().map(Urn::as_str), Some("parent"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn snapshot_does_not_show_stopped_actors() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let stopped = system.spawn(ScriptedActor::new("a", &log)).await?;
    let (hold, mut keeper) = gate();
    stopped.tell(Pass(hold)).await?;
    keeper.reached().await;
    stopped.tell(fail()).await?;
    stopped.stop();
    keeper.open();
    assert!(within(stopped.wait_stopped()).await.is_failure());
    let killed = system.spawn(ScriptedActor::new("a", &log)).await?;
    killed.kill();
    within(killed.wait_stopped()).await;
    assert!(failed(&system).is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn snapshot_keeps_the_newest_64_failures() -> TestResult {
    let system = ActorSystem::new();
    for number in 0..70 {
        let spawn = system.spawn(ScriptedActor::new("a", &Log::default()));
        let actor = within(spawn.urn(format!("user/{number}"))).await?;
        // Its text is cut.
        let failing = run_async(|_| Box::pin(ready(Err(Failure::msg("ä".repeat(10_000))))));
        within(actor.ask(failing)).await.unwrap_err();
        within(actor.wait_stopped()).await;
    }
    let kept = urns(&system);
    assert_eq!(kept.len(), 64);
    assert_eq!((&*kept[0], &*kept[63]), ("user/6", "user/69"));
    assert!(
        failed(&system)
            .iter()
            .all(|actor| actor.reason.len() <= 512)
    );
    let forgotten = within(system.ask("user/5", note("x"))).await;
    assert!(matches!(forgotten, Err(AskError::ActorNotFound { .. })));
    Ok(())
}

// ---- lookups

#[tokio::test(start_paused = true)]
async fn lookup_of_a_failed_actor_says_that_it_failed() -> TestResult {
    let system = ActorSystem::new();
    let actor = spent(&system, "desk").await?;
    let urn = actor.urn().clone();
    let says = AskError::ActorFailed { urn: urn.clone() };
    assert_eq!(
        says.to_string(),
        "the actor `desk` failed and will not start again"
    );
    assert_eq!(says.delivered(), Delivered::No);
    assert!(!says.is_retryable());

    assert_eq!(
        within(system.ask("desk", note("1"))).await,
        Err(says.clone())
    );
    let back = within(system.tell("desk", note("2"))).await.unwrap_err();
    assert_eq!(back.reason(), &says);
    let absent = LookupError::Failed { urn };
    assert_eq!(system.actor::<ScriptedActor>("desk"), Err(absent.clone()));
    let sought = system.recipient::<conclib_tests::messages::Note>("desk");
    assert_eq!(sought, Err(absent.clone()));
    assert_eq!(AskError::from(absent), says);

    // The same by a reference.
    assert_eq!(within(actor.ask(note("3"))).await, Err(says.clone()));
    let back = within(actor.tell(note("4"))).await.unwrap_err();
    assert_eq!(back.reason(), &says);
    assert_eq!(actor.try_tell(note("5")).unwrap_err().reason(), &says);
    let blocking = actor.ask(note("6"));
    let blocking = tokio::task::spawn_blocking(move || blocking.blocking());
    assert_eq!(blocking.await?, Err(says));

    // A successor at that URN is another actor.
    within(
        system
            .spawn(ScriptedActor::new("a", &Log::default()))
            .urn("desk"),
    )
    .await?;
    assert_eq!(within(system.ask("desk", note("7"))).await, Ok(()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lookup_of_a_stopped_actor_says_not_found() -> TestResult {
    let system = ActorSystem::new();
    let spawn = system.spawn(ScriptedActor::new("a", &Log::default()));
    let actor = within(spawn.urn("desk")).await?;
    actor.stop();
    within(actor.wait_stopped()).await;
    assert_eq!(actor.ask(note("1")).await, Err(AskError::ActorStopped));
    let absent = system.ask("desk", note("2")).await;
    assert!(matches!(absent, Err(AskError::ActorNotFound { .. })));
    Ok(())
}

// ---- the log

/// The logged lines with an error.
fn errors() -> Vec<String> {
    let log = logs::logged();
    let lines = log.lines().filter(|line| line.contains("ERROR"));
    lines.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn one_line_says_that_an_actor_will_not_start_again() -> TestResult {
    let system = ActorSystem::new();
    logs::capture();
    spent(&system, "desk").await?;
    let errors = errors();
    let last = errors.last().ok_or("no errors")?;
    assert!(
        last.contains("`desk` will not start again: 4 failures within 5 s"),
        "{last}"
    );
    assert!(
        last.contains("urn=desk") && last.contains("failure=panicked: on purpose"),
        "{last}"
    );
    let says = |line: &&String| line.contains("will not start again");
    assert_eq!(errors.iter().filter(says).count(), 1);
    assert_eq!(errors.len(), 5, "{errors:?}"); // one for each failure
    let again = |line: &&str| line.contains("starts again") && line.contains("urn=desk");
    assert_eq!(logs::logged().lines().filter(again).count(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn log_of_an_unsupervised_actor_says_that_it_stays_down() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    logs::capture();
    let once = within(system.spawn(ScriptedActor::new("a", &log)).urn("once")).await?;
    within(once.ask(fail())).await.unwrap_err();
    within(once.wait_stopped()).await;
    let says = "`once` failed and will not start again: it is not supervised";
    let lines = errors();
    assert!(lines.len() == 1 && lines[0].contains(says), "{lines:?}");
    assert!(
        lines[0].contains("failure=panicked: on purpose"),
        "{lines:?}"
    );

    logs::capture();
    let never = system.supervise(lives("a", &log)).urn("never");
    let never = within(never.restart(Restart::Never)).await?;
    within(never.ask(fail())).await.unwrap_err();
    within(never.wait_stopped()).await;
    let says = "`never` will not start again: its policy is Restart::Never";
    assert!(
        errors().iter().any(|line| line.contains(says)),
        "{:?}",
        errors()
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn log_of_a_failed_group_names_the_member() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = Supervisor::new(Strategy::OneForOne).budget(0, SECOND / 2);
    let group = group.member(GroupMember::new(lives("a", &log)).urn("member"));
    let group = within(system.spawn(group).urn("group")).await?;
    logs::capture();
    within(system.ask("member", fail())).await.unwrap_err();
    within(group.wait_stopped()).await;
    let lines = errors();
    let says = [
        "`member` will not start again: 1 failure within 0.5 s in its group",
        "`group` failed and will not start again: it is not supervised",
    ];
    for says in says {
        assert!(lines.iter().any(|line| line.contains(says)), "{lines:?}");
    }
    Ok(())
}

// ---- failures that reach the system

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
        within(actor.wait_stopped()).await;
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
        within(actor.wait_stopped()).await;
    }
    // The first has been woken, and is dropped before it looks.
    drop(waits.remove(0));
    let mut heard = Vec::new();
    for wait in waits {
        heard.push(within(wait).await.urn.to_string());
    }
    assert_eq!(heard, ["one", "two"]);
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
        within(actor.wait_stopped()).await;
    }
    let spawn = system.spawn(ScriptedActor::new("a", &log)).escalate();
    let actor = within(spawn).await?;
    within(actor.ask(run(|ctx| ctx.stop()))).await?;
    within(actor.wait_stopped()).await;
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
