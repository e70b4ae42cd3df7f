//! Panics of an actor's code, as failures.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Failure;

/// Runs an actor's code where a panic must not go further.
///
/// # Errors
///
/// The panic.
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(code)).map_err(into_failure)
}

/// A panic that was caught.
pub(crate) fn into_failure(panic: Box<dyn Any + Send>) -> Failure {
    let failure = Failure::from_panic(&*panic);
    drop_quietly(panic);
    failure
}

/// Drops a value; a panic of its drop is logged and goes no further.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        let failure = Failure::from_panic(&*panic);
        tracing::error!(%failure, "dropping a {} panicked", std::any::type_name::<T>());
        // The payload's own drop may panic as well: it is not worth a third attempt.
        std::mem::forget(panic);
    }
}
