//! The outcome of a message that an actor could pass to no other one.

use crate::error::AskErrorKind;

/// The failure with which a pool tells its runner that it has dropped a message: the actor goes on, and the message does
/// not count as handled.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the message was not handled")]
pub(crate) struct NotHandled {
    /// The error of its sender; `None` for a durable message, which is delivered again.
    pub(crate) lost_as: Option<AskErrorKind>,
}
