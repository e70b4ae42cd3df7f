//! The error of a query or an action.

use crate::bus::config::ConfigError;
use crate::bus::inspect::message::Refusal;
use crate::bus::transport::TransportError;
use crate::error::{AskError, Delivered};
use crate::message::CodecError;

/// The reason that a member has not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The node cannot have this name.
    #[error(transparent)]
    Node(#[from] ConfigError),
    /// No process serves the node.
    #[error("no actor system serves this node")]
    NoResponder,
    /// The member does not answer, or does not act, and says why. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The member has not answered by the deadline. Its version of conclib may be one without inspection, or its user of
    /// Redis may lack the right to be asked.
    #[error("the member has not answered in time")]
    #[non_exhaustive]
    Timeout {
        /// The progress of the request: only [`Delivered::No`] says that an action was not executed.
        delivered: Delivered,
    },
    /// The bus cannot be used, or refuses this user the request.
    #[error("the bus refuses the request: {reason}")]
    #[non_exhaustive]
    Unavailable {
        /// The cause, in words.
        reason: String,
        /// The progress of the request: only [`Delivered::No`] says that an action was not executed.
        delivered: Delivered,
    },
    /// The member has refused the request for another reason.
    #[error(transparent)]
    Failed(AskError),
    /// The answer cannot be read: the member's version is another one.
    #[error("the answer cannot be read, since the member's version is another one: {reason}")]
    #[non_exhaustive]
    Unreadable {
        /// The cause, in words.
        reason: String,
    },
}

impl InspectError {
    /// True if an action that ended with this error was certainly not executed.
    pub fn is_not_executed(&self) -> bool {
        match self {
            Self::Node(_) | Self::NoResponder | Self::Refused(_) => true,
            Self::Timeout { delivered } | Self::Unavailable { delivered, .. } => {
                *delivered == Delivered::No
            }
            Self::Failed(error) => error.is_retryable(),
            Self::Unreadable { .. } => false,
        }
    }
}

pub(super) fn unavailable(error: &TransportError, delivered: Delivered) -> InspectError {
    let reason = error.to_string();
    InspectError::Unavailable { reason, delivered }
}

pub(super) fn unreadable(error: &CodecError) -> InspectError {
    let reason = error.to_string();
    InspectError::Unreadable { reason }
}
