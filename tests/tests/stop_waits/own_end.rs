//! Actors that await their own end, or each other.

use std::time::Duration;

use conclib::prelude::*;
use conclib_tests::messages::note;
use conclib_tests::scripted::run_async;
use conclib_tests::{Log, SECOND, TestResult, poll_once, settle, within};
use tokio::time::{Instant, timeout};

use super::{probe, stop_and_wait, wait};

#[tokio::test(start_paused = true)]
async fn handler_that_awaits_its_own_actors_stop_continues() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = probe(&system, "a", &log).await?;
    let asked = a.ask(stop_and_wait(&a, &log));
    assert_eq!(within(asked).await, Ok(()));
    let reason = within(a.stopped()).await;
    assert!(matches!(reason, StopReason::Requested), "{reason}");
    assert_eq!(
        log.entries(),
        [
            "a starts",
            "waited for a: stop was requested",
            "a stops: stop was requested"
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn bounded_wait_for_an_impossible_end_times_out() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    // Its own end, and that of an actor that waits for it.
    let held = tokio::spawn(b.ask(wait(&a, &log, false)));
    settle().await;
    for other in [&a, &b] {
        let (began, other, written) = (Instant::now(), other.clone(), log.clone());
        let bounded = run_async(move |_| {
            Box::pin(async move {
                let waited = timeout(SECOND, other.stopped()).await;
                written.add(format!("in time: {}", waited.is_ok()));
                Ok(())
            })
        });
        assert_eq!(within(a.ask(bounded)).await, Ok(()));
        assert_eq!(began.elapsed(), SECOND);
    }
    assert_eq!(within(a.ask(note("goes on"))).await, Ok(()));
    a.stop();
    assert_eq!(within(held).await?, Ok(()));
    assert_eq!(
        log.entries()[2..],
        [
            "in time: false",
            "in time: false",
            "a goes on",
            "a stops: stop was requested",
            "waited for a: stop was requested",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_actors_that_stop_and_await_each_other_both_end() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    let began = Instant::now();
    let both = async {
        tokio::join!(
            a.ask(stop_and_wait(&b, &log)),
            b.ask(stop_and_wait(&a, &log))
        )
    };
    assert_eq!(within(both).await, (Ok(()), Ok(())));
    for actor in [&a, &b] {
        let reason = within(actor.stopped()).await;
        assert!(matches!(reason, StopReason::Requested), "{reason}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(log.count(), 6, "{log:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_from_outside_ends_mutual_waits() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    let mut waits = [a.ask(wait(&b, &log, false)), b.ask(wait(&a, &log, false))];
    for ask in &mut waits {
        assert!(poll_once(ask).await.is_pending());
    }
    settle().await;
    let [mut first, second] = waits;
    assert!(poll_once(&mut first).await.is_pending(), "not asked for");
    a.stop();
    assert_eq!(within(second).await, Ok(()));
    assert!(poll_once(&mut first).await.is_pending(), "`b` goes on");
    b.stop();
    assert_eq!(within(first).await, Ok(()));
    within(async { (a.stopped().await, b.stopped().await) }).await;
    assert_eq!(
        log.entries()[2..],
        [
            "waited for a: stop was requested",
            "b stops: stop was requested",
            "waited for b: stop was requested",
            "a stops: stop was requested",
        ]
    );
    Ok(())
}
