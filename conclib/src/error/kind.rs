//! The kinds of ask errors, for counters and labels.

use super::AskError;
use crate::labels::label_enum;

label_enum! {
    /// The kind of an [`AskError`]: its variant, without the details. For counters, labels of metrics, and alerts.
    ///
    /// ```
    /// use conclib::AskError;
    /// use conclib::error::AskErrorKind;
    ///
    /// assert_eq!(AskError::NoResponder.kind(), AskErrorKind::NoResponder);
    /// assert_eq!(AskErrorKind::NoResponder.to_string(), "no_responder");
    /// ```
    pub enum AskErrorKind {
        /// [`AskError::NoResponder`].
        NoResponder = "no_responder",
        /// [`AskError::ActorNotFound`].
        ActorNotFound = "actor_not_found",
        /// [`AskError::ActorFailed`].
        ActorFailed = "actor_failed",
        /// [`AskError::ActorUnavailable`].
        ActorUnavailable = "actor_unavailable",
        /// [`AskError::Unhandled`].
        Unhandled = "unhandled",
        /// [`AskError::Overloaded`].
        Overloaded = "overloaded",
        /// [`AskError::Timeout`].
        Timeout = "timeout",
        /// [`AskError::Failed`].
        Failed = "failed",
        /// [`AskError::ActorStopped`].
        ActorStopped = "actor_stopped",
        /// [`AskError::NoReply`].
        NoReply = "no_reply",
        /// [`AskError::AskCycle`].
        AskCycle = "ask_cycle",
        /// [`AskError::InvalidUrn`].
        InvalidUrn = "invalid_urn",
        /// [`AskError::InvalidKey`].
        InvalidKey = "invalid_key",
        /// [`AskError::KeyReused`].
        KeyReused = "key_reused",
        /// [`AskError::BadRequest`].
        BadRequest = "bad_request",
        /// [`AskError::BadResponse`].
        BadResponse = "bad_response",
        /// [`AskError::TooLarge`].
        TooLarge = "too_large",
        /// [`AskError::Unavailable`].
        Unavailable = "unavailable",
        /// [`AskError::Disconnected`].
        Disconnected = "disconnected",
        /// [`AskError::Incompatible`].
        Incompatible = "incompatible",
        /// [`AskError::Closed`].
        Closed = "closed",
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
