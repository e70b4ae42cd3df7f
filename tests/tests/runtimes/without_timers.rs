//! Runtimes without timers.

use std::future::{Future, pending, ready};
use std::time::Duration;

use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::messages::note;
use conclib_tests::scripted::{ScriptedActor, fail, lives, run_async};
use conclib_tests::{Log, TestResult, yield_until};
use tokio::runtime::Builder;

/// Runs a test on a runtime without timers.
fn without_timers<T>(test: impl Future<Output = T>) -> Result<T, std::io::Error> {
    let runtime = Builder::new_current_thread().build()?;
    Ok(runtime.block_on(test))
}

#[test]
fn actors_live_without_timers() -> TestResult {
    without_timers(async {
        let (system, log) = (ActorSystem::new(), Log::default());
        let plain = system
            .spawn(ScriptedActor::new("plain", &log))
            .urn("plain")
            .await?;
        plain.tell(note("1")).await?;
        plain.ask(note("2")).await?;
        system.ask("plain", note("3")).await?;
        plain.stop();
        assert!(matches!(plain.stopped().await, StopReason::Requested));

        let again = system
            .supervise(lives("again", &log))
            .backoff(Backoff::none());
        let again = again.await?;
        again.ask(fail()).await.unwrap_err();
        again.ask(note("lives")).await?;

        let member = |name| ChildSpec::new(lives(name, &log)).urn(name);
        let group = Supervisor::new(Strategy::RestForOne).backoff(Backoff::none());
        let group = group.member(member("a")).member(member("b"));
        system.spawn(group).urn("group").await?;
        system.ask("a", fail()).await.unwrap_err();
        system.ask("a", note("lives")).await?;
        let restarts = |urn: &str| {
            let snapshot = system.snapshot();
            snapshot.actor(urn).map(|actor| actor.restarts)
        };
        yield_until(|| restarts("b") == Some(1)).await;

        assert!(system.shutdown().await.is_clean());
        assert!(system.is_empty());
        Ok(())
    })?
}

#[test]
fn shutdown_keeps_its_bound_without_timers() -> TestResult {
    without_timers(async {
        let (system, log) = (ActorSystem::new(), Log::default());
        let hangs = system
            .spawn(ScriptedActor::new("hangs", &log))
            .urn("hangs")
            .await?;
        hangs.tell(run_async(|_| Box::pin(pending()))).await?;
        let shutdown = system.shutdown().timeout(Duration::from_millis(20));
        let report = shutdown.await;
        assert_eq!(report.killed, ["hangs"]);
        assert!(hangs.is_stopped());
        Ok(())
    })?
}

#[test]
fn restart_with_a_backoff_without_timers_is_a_failure() -> TestResult {
    without_timers(async {
        let system = ActorSystem::new();
        let actor = system.supervise(|| ready(ScriptedActor::new("a", &Log::default())));
        let actor = actor.await?;
        actor.ask(fail()).await.unwrap_err();
        let StopReason::Failed(failure) = actor.stopped().await else {
            return Err("it has not failed".into());
        };
        assert!(
            failure.to_string().contains("timers are disabled"),
            "{failure}"
        );
        Ok(())
    })?
}
