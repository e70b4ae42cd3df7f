//! Conversion of panics in actors' code into failures.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::error::Failure;

/// Runs an actor's code and catches its panic.
///
/// # Errors
///
/// The panic, as a [`Failure`].
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(code)).map_err(into_failure)
}

/// Runs an actor's future where a panic must not go further.
///
/// # Errors
///
/// The panic, after which the future is dropped.
pub(crate) async fn catch_future<F: Future>(future: F) -> Result<F::Output, Failure> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch(|| future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(failure) => Poll::Ready(Err(failure)),
    })
    .await
}

/// Converts the payload of a caught panic into a failure.
pub(crate) fn into_failure(panic: Box<dyn Any + Send>) -> Failure {
    let failure = Failure::from_panic(&*panic);
    drop_quietly(panic);
    failure
}

/// Drops a value, and catches and logs a panic of its `Drop`.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        let failure = Failure::from_panic(&*panic);
        tracing::error!(%failure, "dropping a {} panicked", std::any::type_name::<T>());
        // The drop of the payload may panic as well, so it is leaked.
        std::mem::forget(panic);
    }
}
