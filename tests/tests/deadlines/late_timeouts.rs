//! Timeouts that are set on a sent ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::{MS, TestResult, poll_once, within};
use tokio::time::{Instant, sleep};

use super::{Errand, TimedWorker, Work, late, worker};

/// The handler of a sent message may run although its asker has timed out.
#[tokio::test(start_paused = true)]
async fn late_timeout_of_a_sent_ask_reports_that_its_handler_may_run() -> TestResult {
    let system = ActorSystem::new();
    let (worker, begun) = worker(&system).await;
    let mut ask = worker.ask(Work(1000 * MS));
    tokio::select! {
        answer = &mut ask => panic!("{answer:?}"),
        () = sleep(100 * MS) => {}
    }
    assert_eq!(begun.load(SeqCst), 1);
    assert_eq!(ask.timeout(100 * MS).await, Err(late(Delivered::Accepted)));

    // The same for a message that waits in the mailbox: it is handled.
    let mut waits = worker.ask(Work(Duration::ZERO));
    assert!(poll_once(&mut waits).await.is_pending());
    assert_eq!(
        waits.timeout(100 * MS).await,
        Err(late(Delivered::Accepted))
    );
    within(worker.ask(Work(Duration::ZERO))).await?;
    assert_eq!(begun.load(SeqCst), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn late_timeout_only_shortens_the_wait() -> TestResult {
    let system = ActorSystem::new();
    let config = Config::memory();
    start_proxy(&system, &config).await?;
    let begun = Arc::new(AtomicUsize::new(0));
    let worker = system
        .spawn(TimedWorker(begun.clone()))
        .urn("worker")
        .mailbox(8)
        .await?;
    let client = ProxyClient::connect(&config).await?;
    let _busy = tokio::spawn(worker.ask(Work(3600 * 1000 * MS)).into_future());
    sleep(100 * MS).await;

    // Set to a second, then to less, or to more: a message whose handler did not start is taken back.
    for (later, expected) in [(200 * MS, 300 * MS), (5000 * MS, 1000 * MS)] {
        let start = Instant::now();
        let mut local = worker.ask(Work(Duration::ZERO)).timeout(1000 * MS);
        let mut remote = client.ask("worker", Errand).timeout(1000 * MS);
        assert!(poll_once(&mut local).await.is_pending());
        assert!(poll_once(&mut remote).await.is_pending());
        sleep(100 * MS).await;
        let (local, remote) = (local.timeout(later), remote.timeout(later));
        assert_eq!(local.await, Err(late(Delivered::No)));
        assert_eq!(start.elapsed(), expected);
        let result = remote.await;
        assert!(
            matches!(result, Err(AskError::Timeout { .. })),
            "{result:?}"
        );
        assert_eq!(start.elapsed(), expected);
    }
    assert_eq!(begun.load(SeqCst), 1);
    Ok(())
}
