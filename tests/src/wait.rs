//! Waiting: for a future, for a condition, for other tasks.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// A second.
pub const SECOND: Duration = Duration::from_secs(1);

/// A millisecond.
pub const MS: Duration = Duration::from_millis(1);

/// The timeout of asks that are answered: longer than any of them takes.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of every wait of a test: more than any of them takes, even on a busy machine.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Awaits a future, so that the test fails instead of hanging.
///
/// # Panics
///
/// After [`TEST_TIMEOUT`].
pub async fn within<F: IntoFuture>(future: F) -> F::Output {
    let ended = timeout(TEST_TIMEOUT, future).await;
    ended.expect("the future is ready in time")
}

/// Waits until a condition holds, and names it if it never does.
///
/// # Panics
///
/// After [`TEST_TIMEOUT`].
pub async fn eventually(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            sleep(2 * MS).await;
        }
    };
    let waited = timeout(TEST_TIMEOUT, wait).await;
    assert!(waited.is_ok(), "never: {condition}");
}

/// Yields to other tasks until a condition holds.
///
/// # Panics
///
/// After [`TEST_TIMEOUT`].
pub async fn until(holds: impl FnMut() -> bool) {
    within(yield_until(holds)).await;
}

/// As [`until`], but without a bound: for runtimes without timers.
pub async fn yield_until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// Lets all other tasks run until they are idle. For paused time, which moves on by a millisecond
/// when all tasks sleep.
pub async fn settle() {
    sleep(MS).await;
}

/// Polls a future once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}
