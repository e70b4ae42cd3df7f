//! Waits during a shutdown.

use std::future::pending;
use std::time::Duration;

use conclib::prelude::*;
use conclib_tests::scripted::{Run, run_async};
use conclib_tests::{Log, SECOND, TestResult, gate, poll_once, settle, within};
use tokio::time::Instant;

use super::{probe, stop_and_wait};

/// Shuts the system down within a handler, and logs if the report is clean.
fn shut_down(log: &Log) -> Run {
    let log = log.clone();
    run_async(move |ctx| {
        let system = ctx.system();
        Box::pin(async move {
            let report = system.ok_or(Failure::msg("no system"))?.shutdown().await;
            log.add(format!("clean: {}", report.is_clean()));
            Ok(())
        })
    })
}

#[tokio::test(start_paused = true)]
async fn ask_of_the_actor_that_shuts_down_is_a_cycle() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = probe(&system, "a", &log).await?;
    let b = probe(&system, "b", &log).await?;
    let (asked, written) = (a.clone(), log.clone());
    let order = shut_down(&log);
    let asking = run_async(move |_| {
        Box::pin(async move {
            let result = asked.ask(order).await;
            written.add(format!("{result:?}").split(' ').next().unwrap_or_default());
            Ok(())
        })
    });
    let began = Instant::now();
    assert_eq!(within(b.ask(asking)).await, Ok(()));
    within(a.stopped()).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(
        log.entries()[2..],
        [
            "Err(AskCycle",
            "b stops: its system was shut down",
            "clean: true",
            "a stops: its system was shut down",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn wait_for_the_actor_that_shuts_down_continues() -> TestResult {
    for waits_first in [true, false] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let a = probe(&system, "a", &log).await?;
        let b = probe(&system, "b", &log).await?;
        let began = Instant::now();
        let (hold, mut keeper) = gate();
        let (end, written) = (a.clone(), log.clone());
        let waiting = run_async(move |_| {
            Box::pin(async move {
                hold.pass().await;
                let reason = end.stopped().await;
                written.add(format!("waited: {reason}"));
                Ok(())
            })
        });
        let waits = tokio::spawn(b.ask(waiting));
        keeper.reached().await;
        if waits_first {
            keeper.open();
            settle().await;
            a.tell(shut_down(&log)).await?;
        } else {
            a.tell(shut_down(&log)).await?;
            settle().await;
            keeper.open();
        }
        assert_eq!(within(waits).await?, Ok(()));
        within(a.stopped()).await;
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        assert_eq!(
            log.entries()[2..],
            [
                "waited: its system was shut down",
                "b stops: its system was shut down",
                "clean: true",
                "a stops: its system was shut down",
            ]
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn wait_that_holds_up_no_actor_lasts_until_the_end() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    let (hold, mut keeper) = gate();
    let busy = b.ask(run_async(move |_| {
        Box::pin(async move {
            hold.pass().await;
            Ok(())
        })
    }));
    let busy = tokio::spawn(busy);
    keeper.reached().await;
    let mut waits = a.ask(stop_and_wait(&b, &log));
    assert!(poll_once(&mut waits).await.is_pending());
    settle().await;
    assert!(poll_once(&mut waits).await.is_pending(), "it runs still");
    keeper.open();
    assert_eq!(within(busy).await?, Ok(()));
    assert_eq!(within(waits).await, Ok(()));
    assert!(b.is_stopped());
    a.tell(run_async(|_| Box::pin(pending()))).await?;
    a.kill();
    Ok(())
}
