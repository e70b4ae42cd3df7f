//! Failed actors in snapshots.

use std::future::ready;

use conclib::Urn;
use conclib::prelude::*;
use conclib::snapshot::Snapshot;
use conclib::supervision::Restart;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run_async};
use conclib_tests::{Log, SECOND, TestResult, gate, within};

use super::{failed, spent, urns};

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
    assert_eq!(Snapshot::deserialize(&json)?, snapshot);

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
        within(actor.stopped()).await;
    }
    // A failed start.
    let mortal =
        ScriptedActor::new("a", &log).starting(|_| Box::pin(ready(Err(Failure::msg("no")))));
    within(system.spawn(mortal).urn("start")).await.unwrap_err();
    // A group, and its member.
    let group = Supervisor::new(Strategy::OneForAll).budget(0, SECOND);
    let group = group.member(ChildSpec::new(lives("a", &log)).urn("member"));
    let group = within(system.spawn(group).urn("group")).await?;
    within(system.ask("member", fail())).await.unwrap_err();
    within(group.stopped()).await;
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
    within(parent.stopped()).await;

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
    assert!(within(stopped.stopped()).await.is_failure());
    let killed = system.spawn(ScriptedActor::new("a", &log)).await?;
    killed.kill();
    within(killed.stopped()).await;
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
        within(actor.stopped()).await;
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
