//! The error of a tell, which returns the message.

use std::fmt;

use parking_lot::Mutex;

use super::AskError;

/// An undelivered tell: the message, and the reason that it was not delivered.
///
/// The reason is an [`AskError`], so that tells and asks share their errors.
///
/// ```
/// use conclib::{AskError, TellError};
///
/// fn again(error: TellError<String>) -> Result<String, AskError> {
///     if error.reason().is_retryable() {
///         return Ok(error.into_message());
///     }
///     Err(error.into())
/// }
/// ```
#[derive(thiserror::Error)]
#[error("the message was not delivered")]
pub struct TellError<M> {
    /// The message, unhandled. Never locked: the lock makes the error `Sync` even if the message is
    /// not, so that `?` converts the error into a [`Failure`](super::Failure).
    message: Mutex<M>,
    #[source]
    reason: AskError,
}

impl<M> TellError<M> {
    pub(crate) fn new(message: M, reason: AskError) -> Self {
        Self {
            message: Mutex::new(message),
            reason,
        }
    }

    /// The reason that the message was not delivered.
    pub fn reason(&self) -> &AskError {
        &self.reason
    }

    /// The message, unhandled.
    pub fn into_message(self) -> M {
        self.message.into_inner()
    }

    /// The message, unhandled, and the reason that it was not delivered.
    pub fn into_parts(self) -> (M, AskError) {
        (self.message.into_inner(), self.reason)
    }
}

impl<M> From<TellError<M>> for AskError {
    /// The reason; the message is dropped.
    fn from(error: TellError<M>) -> Self {
        error.reason
    }
}

// By hand, so that a message need not be `Debug`.
impl<M> fmt::Debug for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TellError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
