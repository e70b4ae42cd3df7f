//! Failed starts, exhausted budgets, and nested groups.

use std::future::ready;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::scripted::{ScriptedActor, fail, run_async};
use conclib_tests::{Log, TestResult, settle, within};

use super::{A_AGAIN, B_FAILS, C_AGAIN, Member, News, SECOND, member, spawn, started, three};

#[tokio::test(start_paused = true)]
async fn spent_budget_ends_the_group() -> TestResult {
    let (system, group, mut news) = started(Strategy::OneForOne).await?;
    let b = system.actor::<ScriptedActor>("b")?;
    for name in ["a", "b", "c"] {
        within(system.ask(name, fail())).await.unwrap_err();
        settle().await;
    }
    news.get();
    within(system.ask("b", fail())).await.unwrap_err();
    let StopReason::Failed(failure) = within(group.stopped()).await else {
        return Err("it has not failed".into());
    };
    let says = "its member `b` ended too often (4 failures within 5 s): panicked: on purpose";
    assert_eq!(failure.to_string(), says);
    assert!(matches!(b.stopped().await, StopReason::Exhausted(_)));
    let stops = |name: &str| format!("{name} stops: its parent stopped");
    assert_eq!(news.get(), [B_FAILS.to_owned(), stops("c"), stops("a")]);
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn members_restarted_for_others_cost_no_budget() -> TestResult {
    let (system, _group, _news) = started(Strategy::OneForAll).await?;
    for _ in 0..3 {
        within(system.ask("b", fail())).await.unwrap_err();
        settle().await;
    }
    assert_eq!(system.len(), 4);
    tokio::time::sleep(5 * SECOND).await;
    within(system.ask("b", fail())).await.unwrap_err();
    settle().await;
    assert_eq!(system.len(), 4);
    Ok(())
}

/// A member whose first starts fail.
fn unlucky(
    log: &Log,
    failures: u32,
) -> Member<impl FnMut() -> std::future::Ready<ScriptedActor> + Send + use<>> {
    let log = log.clone();
    let mut lives = 0;
    let factory = move || {
        lives += 1;
        let fails = lives <= failures;
        ready(ScriptedActor::new("b", &log).starting(move |_| {
            Box::pin(ready(if fails {
                Err(Failure::msg("no luck"))
            } else {
                Ok(())
            }))
        }))
    };
    ChildSpec::new(factory).urn("b")
}

#[tokio::test(start_paused = true)]
async fn failed_start_restarts_the_earlier_members_too() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let group = Supervisor::new(Strategy::OneForAll)
        .backoff(Backoff::none())
        .member(member("a", &log))
        .member(unlucky(&log, 1))
        .member(member("c", &log));
    spawn(&system, group).await?;
    let expected = [
        "a starts", "b starts", A_AGAIN, "a starts", "b starts", "c starts",
    ];
    assert_eq!(log.entries(), expected);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn group_whose_start_fails_too_often_ends() -> TestResult {
    for strategy in [Strategy::OneForOne, Strategy::RestForOne] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let group = Supervisor::new(strategy)
            .backoff(Backoff::none())
            .member(member("a", &log))
            .member(unlucky(&log, 9))
            .member(member("c", &log));
        let error = spawn(&system, group).await.unwrap_err();
        assert!(matches!(error, SpawnError::StartFailed { .. }), "{error}");
        let text = Failure::from(error).to_string();
        assert!(text.ends_with(": no luck"), "{text}");
        let b = "b starts";
        let expected = ["a starts", b, b, b, b, "a stops: its parent stopped"];
        assert_eq!(log.entries(), expected);
        assert!(system.is_empty());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn group_with_a_taken_name_does_not_start() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    within(
        system
            .spawn(ScriptedActor::new("first", &Log::default()))
            .urn("c"),
    )
    .await?;
    let error = spawn(&system, three(Strategy::OneForAll, &log))
        .await
        .unwrap_err();
    let text = Failure::from(error).to_string();
    assert!(text.ends_with("the URN `c` is taken"), "{text}");
    assert_eq!(log.count(), 4, "a and b have started and stopped");
    assert_eq!(system.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn exhausted_group_restarts_as_a_member_of_another() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let inner = ChildSpec::new(move || {
        let group = Supervisor::new(Strategy::OneForOne).budget(1, 5 * SECOND);
        let group = group.backoff(Backoff::none());
        ready(
            group
                .member(member("x", &written))
                .member(member("y", &written)),
        )
    });
    let outer = Supervisor::new(Strategy::RestForOne)
        .backoff(Backoff::none())
        .member(member("a", &log))
        .member(inner.urn("inner"))
        .member(member("c", &log));
    spawn(&system, outer).await?;
    let mut news = News(log, 0);
    assert_eq!(news.get(), ["a starts", "x starts", "y starts", "c starts"]);
    within(system.ask("x", fail())).await.unwrap_err();
    settle().await;
    let fails = "x fails: panicked: on purpose";
    assert_eq!(news.get(), [fails, "x starts"]);
    within(system.ask("x", fail())).await.unwrap_err();
    settle().await;
    let y = "y stops: its parent stopped";
    let again = ["x starts", "y starts", "c starts"];
    assert_eq!(news.get(), [&[fails, y, C_AGAIN], &again[..]].concat());
    assert_eq!(system.len(), 6);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn exhausted_group_may_fail_its_parent() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let parent = within(system.spawn(ScriptedActor::new("top", &log))).await?;
    let group = three(Strategy::OneForOne, &log).budget(0, SECOND);
    let spawning = run_async(move |ctx| {
        let spawn = ctx.spawn(group).urn("group").escalate();
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(parent.ask(spawning)).await?;
    within(system.ask("a", fail())).await.unwrap_err();
    let reason = within(parent.stopped()).await;
    assert!(
        reason.to_string().contains("its child `group` failed"),
        "{reason}"
    );
    assert!(system.is_empty());
    Ok(())
}
