//! Tells with a timeout.

use std::time::Duration;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::messages::{Double, note};
use conclib_tests::{Log, SECOND, TestResult, poll_once, within};

use super::busy_worker;

#[tokio::test(start_paused = true)]
async fn tell_with_a_timeout_returns_its_message() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, keeper) = busy_worker(&system, &log).await?;
    worker.tell(note("in")).timeout(SECOND).await?;

    let begin = tokio::time::Instant::now();
    let mut patient = worker.tell(note("patient")).timeout(3 * SECOND);
    tokio::time::advance(SECOND).await; // not awaited yet: the timeout has not begun
    assert!(poll_once(&mut patient).await.is_pending());
    let back = worker.tell(note("late")).timeout(SECOND).await.unwrap_err();
    let delivered = Delivered::No;
    assert_eq!(
        back.into_parts(),
        (note("late"), AskError::Timeout { delivered })
    );
    assert!(begin.elapsed() >= 2 * SECOND);
    let mut endless = worker.tell(note("endless")).timeout(Duration::MAX);
    assert!(poll_once(&mut endless).await.is_pending());

    tokio::time::advance(SECOND).await;
    assert!(poll_once(&mut patient).await.is_pending());
    keeper.open();
    within(patient).await?;
    within(endless).await?;
    within(worker.ask(Double { n: 0 })).await?;
    assert_eq!(log.entries(), ["in", "patient", "endless"]);

    worker.stop();
    let back = worker.tell(note("stopped")).timeout(SECOND).await;
    assert!(back.is_err_and(|back| back.reason() == &AskError::ActorStopped));
    let back = system.tell("absent", note("lost")).timeout(SECOND).await;
    assert!(back.is_err_and(|back| matches!(back.reason(), AskError::ActorNotFound { .. })));
    Ok(())
}
