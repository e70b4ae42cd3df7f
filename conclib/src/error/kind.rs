//! The kinds of ask errors, for counters and labels.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::AskError;

/// The kind of an [`AskError`]: its variant, without the details. For counters, labels of metrics, and alerts.
///
/// ```
/// use conclib::AskError;
/// use conclib::error::AskErrorKind;
///
/// assert_eq!(AskError::NoResponder.kind(), AskErrorKind::NoResponder);
/// assert_eq!(AskErrorKind::NoResponder.to_string(), "no_responder");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AskErrorKind {
    /// [`AskError::NoResponder`].
    NoResponder,
    /// [`AskError::ActorNotFound`].
    ActorNotFound,
    /// [`AskError::ActorFailed`].
    ActorFailed,
    /// [`AskError::ActorUnavailable`].
    ActorUnavailable,
    /// [`AskError::Unhandled`].
    Unhandled,
    /// [`AskError::Overloaded`].
    Overloaded,
    /// [`AskError::Timeout`].
    Timeout,
    /// [`AskError::Failed`].
    Failed,
    /// [`AskError::ActorStopped`].
    ActorStopped,
    /// [`AskError::NoReply`].
    NoReply,
    /// [`AskError::AskCycle`].
    AskCycle,
    /// [`AskError::InvalidUrn`].
    InvalidUrn,
    /// [`AskError::InvalidKey`].
    InvalidKey,
    /// [`AskError::KeyReused`].
    KeyReused,
    /// [`AskError::BadRequest`].
    BadRequest,
    /// [`AskError::BadResponse`].
    BadResponse,
    /// [`AskError::TooLarge`].
    TooLarge,
    /// [`AskError::Unavailable`].
    Unavailable,
    /// [`AskError::Disconnected`].
    Disconnected,
    /// [`AskError::Incompatible`].
    Incompatible,
    /// [`AskError::Closed`].
    Closed,
}

impl AskErrorKind {
    /// All kinds, in their order.
    pub(crate) const ALL: [Self; 21] = [
        Self::NoResponder,
        Self::ActorNotFound,
        Self::ActorFailed,
        Self::ActorUnavailable,
        Self::Unhandled,
        Self::Overloaded,
        Self::Timeout,
        Self::Failed,
        Self::ActorStopped,
        Self::NoReply,
        Self::AskCycle,
        Self::InvalidUrn,
        Self::InvalidKey,
        Self::KeyReused,
        Self::BadRequest,
        Self::BadResponse,
        Self::TooLarge,
        Self::Unavailable,
        Self::Disconnected,
        Self::Incompatible,
        Self::Closed,
    ];

    /// The name of the kind, as in a label: `no_responder`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoResponder => "no_responder",
            Self::ActorNotFound => "actor_not_found",
            Self::ActorFailed => "actor_failed",
            Self::ActorUnavailable => "actor_unavailable",
            Self::Unhandled => "unhandled",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::ActorStopped => "actor_stopped",
            Self::NoReply => "no_reply",
            Self::AskCycle => "ask_cycle",
            Self::InvalidUrn => "invalid_urn",
            Self::InvalidKey => "invalid_key",
            Self::KeyReused => "key_reused",
            Self::BadRequest => "bad_request",
            Self::BadResponse => "bad_response",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
            Self::Disconnected => "disconnected",
            Self::Incompatible => "incompatible",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for AskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AskError {
    /// The kind of the error.
    pub const fn kind(&self) -> AskErrorKind {
        match self {
            Self::NoResponder => AskErrorKind::NoResponder,
            Self::ActorNotFound { .. } => AskErrorKind::ActorNotFound,
            Self::ActorFailed { .. } => AskErrorKind::ActorFailed,
            Self::ActorUnavailable { .. } => AskErrorKind::ActorUnavailable,
            Self::Unhandled { .. } => AskErrorKind::Unhandled,
            Self::Overloaded { .. } => AskErrorKind::Overloaded,
            Self::Timeout { .. } => AskErrorKind::Timeout,
            Self::Failed { .. } => AskErrorKind::Failed,
            Self::ActorStopped => AskErrorKind::ActorStopped,
            Self::NoReply => AskErrorKind::NoReply,
            Self::AskCycle { .. } => AskErrorKind::AskCycle,
            Self::InvalidUrn { .. } => AskErrorKind::InvalidUrn,
            Self::InvalidKey { .. } => AskErrorKind::InvalidKey,
            Self::KeyReused { .. } => AskErrorKind::KeyReused,
            Self::BadRequest { .. } => AskErrorKind::BadRequest,
            Self::BadResponse { .. } => AskErrorKind::BadResponse,
            Self::TooLarge { .. } => AskErrorKind::TooLarge,
            Self::Unavailable { .. } => AskErrorKind::Unavailable,
            Self::Disconnected { .. } => AskErrorKind::Disconnected,
            Self::Incompatible { .. } => AskErrorKind::Incompatible,
            Self::Closed => AskErrorKind::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_in_their_order_and_named_as_with_serde() {
        for (place, kind) in AskErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            let written = rmp_serde::to_vec(&kind).unwrap();
            assert_eq!(
                rmp_serde::from_slice::<String>(&written).unwrap(),
                kind.to_string()
            );
        }
        assert_eq!(AskErrorKind::Closed as usize + 1, AskErrorKind::ALL.len());
    }
}
