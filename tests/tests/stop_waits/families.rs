//! Parents and children that await each other.

use std::future::ready;
use std::time::Duration;

use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::messages::note;
use conclib_tests::scripted::{ScriptedActor, fail, run_async};
use conclib_tests::{Log, SECOND, TestResult, poll_once, settle, within};
use tokio::time::{Instant, timeout};

use super::{child, probe, stop_and_wait, wait};

#[tokio::test(start_paused = true)]
async fn child_that_stops_and_awaits_its_parent_continues() -> TestResult {
    for bound in [None, Some(SECOND)] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let top = probe(&system, "top", &log).await?;
        let a = child(&system, &top, ScriptedActor::new("a", &log), "a").await?;
        let (parent, written) = (top.clone(), log.clone());
        let began = Instant::now();
        let stopping = run_async(move |_| {
            Box::pin(async move {
                parent.tell(note("still handled")).await?;
                parent.stop();
                let wait = parent.stopped();
                let waited = match bound {
                    None => wait.await.to_string(),
                    Some(bound) => format!("{:?}", timeout(bound, wait).await),
                };
                written.add(format!("waited: {waited}"));
                Ok(())
            })
        });
        let asked = a.ask(stopping);
        assert_eq!(within(asked).await, Ok(()));
        let reason = within(top.stopped()).await;
        assert!(matches!(reason, StopReason::Requested), "{reason}");
        let reason = within(a.stopped()).await;
        assert!(matches!(reason, StopReason::ParentStopped), "{reason}");
        let waited = match bound {
            None => "waited: stop was requested",
            Some(_) => "waited: Ok(Requested)",
        };
        assert_eq!(
            log.entries()[2..],
            [
                "top still handled",
                waited,
                "a stops: its parent stopped",
                "top stops: stop was requested",
            ]
        );
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn child_that_awaits_its_parent_in_on_stop_continues() -> TestResult {
    for bound in [None, Some(SECOND)] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let top = probe(&system, "top", &log).await?;
        let (parent, written) = (top.clone(), log.clone());
        let last = ScriptedActor::new("a", &log).stopping(move |_| {
            Box::pin(async move {
                let wait = parent.stopped();
                let waited = match bound {
                    None => Ok(wait.await),
                    Some(bound) => timeout(bound, wait).await,
                };
                written.add(format!(
                    "waited: {waited:?}, ended: {}",
                    parent.is_stopped()
                ));
                Ok(())
            })
        });
        let a = child(&system, &top, last, "a").await?;
        top.stop();
        within(top.stopped()).await;
        let reason = within(a.stopped()).await;
        assert!(matches!(reason, StopReason::ParentStopped), "{reason}");
        assert_eq!(
            log.entries()[2..],
            [
                "a stops: its parent stopped",
                "waited: Ok(Requested), ended: false",
                "top stops: stop was requested",
            ]
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn descendant_that_awaits_the_top_of_its_tree_continues() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = probe(&system, "top", &log).await?;
    let middle = child(&system, &top, ScriptedActor::new("middle", &log), "middle").await?;
    let leaf = child(&system, &middle, ScriptedActor::new("leaf", &log), "leaf").await?;
    let asked = leaf.ask(stop_and_wait(&top, &log));
    assert_eq!(within(asked).await, Ok(()));
    within(top.stopped()).await;
    assert_eq!(
        log.entries()[3..],
        [
            "waited for top: stop was requested",
            "leaf stops: its parent stopped",
            "middle stops: its parent stopped",
            "top stops: stop was requested",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn child_that_awaits_its_failing_parent_continues() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let lives = move || ready(ScriptedActor::new("top", &written));
    let top = system.supervise(lives).urn("top").backoff(Backoff::none());
    let top = within(top).await?;
    let a = child(&system, &top, ScriptedActor::new("a", &log), "a").await?;
    let waits = tokio::spawn(a.ask(wait(&top, &log, false)));
    settle().await;
    assert!(within(top.ask(fail())).await.is_err());
    assert_eq!(within(waits).await?, Ok(()));
    within(top.ask(note("lives"))).await?;
    assert_eq!(
        log.entries()[2..],
        [
            "waited for top: it failed: panicked: on purpose",
            "a stops: its parent stopped",
            "top fails: panicked: on purpose",
            "top starts",
            "top lives",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_awaited_in_a_last_hook_continues() -> TestResult {
    for fails in [false, true] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let other = probe(&system, "other", &log).await?;
        let (waited_for, written) = (other.clone(), log.clone());
        let last = async move {
            waited_for.stop();
            let reason = waited_for.stopped().await;
            written.add(format!("other has ended: {reason}"));
            Ok(())
        };
        let state = ScriptedActor::new("a", &log);
        let state = if fails {
            state.failing(|_| Box::pin(last))
        } else {
            state.stopping(|_| Box::pin(last))
        };
        let a = system.spawn(state).urn("a").await?;
        let waits = tokio::spawn(other.ask(wait(&a, &log, false)));
        settle().await;
        let says = if fails {
            assert!(within(a.ask(fail())).await.is_err());
            "it failed: panicked: on purpose"
        } else {
            a.stop();
            "stop was requested"
        };
        assert_eq!(within(waits).await?, Ok(()));
        within(a.stopped()).await;
        assert_eq!(
            log.entries()[3..],
            [
                format!("waited for a: {says}").as_str(),
                "other stops: stop was requested",
                "other has ended: stop was requested",
            ]
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn starting_child_that_awaits_its_spawner_continues_on_stop() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = probe(&system, "top", &log).await?;
    let (parent, written) = (top.clone(), log.clone());
    let starts = ScriptedActor::new("a", &log).starting(move |_| {
        Box::pin(async move {
            let reason = parent.stopped().await;
            written.add(format!("waited: {reason}"));
            Ok(())
        })
    });
    let spawning = run_async(move |ctx| {
        let spawn = ctx.spawn(starts).urn("a");
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    let mut spawning = top.ask(spawning);
    assert!(poll_once(&mut spawning).await.is_pending());
    settle().await;
    assert!(poll_once(&mut spawning).await.is_pending());
    top.stop();
    assert_eq!(within(spawning).await, Ok(()));
    within(top.stopped()).await;
    assert_eq!(
        log.entries()[2..],
        [
            "waited: stop was requested",
            "a stops: its parent stopped",
            "top stops: stop was requested",
        ]
    );
    Ok(())
}
