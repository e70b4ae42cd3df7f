//! The error of a lookup by URN, and of what a request from the bus gets for it.

use std::time::Duration;

use crate::error::AskError;
use crate::urn::Urn;

/// The error of a lookup by URN, such as [`ActorSystem::actor`](crate::ActorSystem::actor).
///
/// ```
/// use conclib::prelude::*;
/// use conclib::system::LookupError;
///
/// #[derive(Actor)]
/// struct Worker;
///
/// #[handlers]
/// impl Worker {}
///
/// let system = ActorSystem::new();
/// let found = system.actor::<Worker>("worker/8");
/// assert!(matches!(found, Err(LookupError::NotFound { urn, .. }) if urn == "worker/8"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// No actor has this URN.
    #[error("no actor has the URN `{urn}`")]
    #[non_exhaustive]
    NotFound {
        /// The URN that was looked up.
        urn: Urn,
    },
    /// The actor failed and will not start again; see
    /// [`Snapshot::failed`](crate::snapshot::Snapshot::failed). Another actor may be spawned at its URN.
    #[error("the actor `{urn}` failed and will not start again")]
    #[non_exhaustive]
    Failed {
        /// The URN that was looked up.
        urn: Urn,
    },
    /// The actor is of another type.
    #[error("the actor `{urn}` is a `{found}`, not a `{expected}`")]
    #[non_exhaustive]
    WrongType {
        /// The URN that was looked up.
        urn: Urn,
        /// The requested type.
        expected: &'static str,
        /// The type of the actor.
        found: &'static str,
    },
    /// The actor has no handler for the message.
    #[error("the actor `{urn}` has no handler for `{message}`")]
    #[non_exhaustive]
    Unhandled {
        /// The URN that was looked up.
        urn: Urn,
        /// The Rust type of the message.
        message: &'static str,
    },
    /// The actor would start [on demand](crate::ActorSystem::on_demand), but as many of its pattern as
    /// may live do so.
    #[error("too many actors like `{urn}` are live; try again in {} ms", retry_after.as_millis())]
    #[non_exhaustive]
    Overloaded {
        /// The URN that was looked up.
        urn: Urn,
        /// The time after which the lookup is worth another try.
        retry_after: Duration,
    },
    /// The actor would start [on demand](crate::ActorSystem::on_demand), but the system is gone, or is
    /// shutting down and has come to the actors of its pattern.
    #[error("the actor system is shutting down")]
    SystemClosed,
}

impl LookupError {
    /// The error of a request from the bus.
    pub(crate) fn on_bus(self) -> AskError {
        self.into()
    }

    /// The error of a lookup that is worth another try soon.
    pub(crate) fn overloaded(urn: Urn) -> Self {
        let retry_after = crate::error::RETRY_AFTER;
        Self::Overloaded { urn, retry_after }
    }
}

impl From<LookupError> for AskError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Overloaded { retry_after, .. } => Self::Overloaded { retry_after },
            // Certain, and the system that takes over may respond.
            LookupError::SystemClosed => Self::NoResponder,
            LookupError::NotFound { urn } => Self::ActorNotFound { urn },
            LookupError::Failed { urn } => Self::ActorFailed { urn },
            LookupError::WrongType { urn, expected, .. } => Self::Unhandled {
                urn,
                message: expected.to_owned(),
            },
            LookupError::Unhandled { urn, message } => Self::Unhandled {
                urn,
                message: message.to_owned(),
            },
        }
    }
}
