//! The error of a spawn.

use std::error::Error;
use std::fmt;

use crate::error::Failure;
use crate::stop_reason::StopReason;
use crate::urn::{Urn, UrnError};

/// The error of a spawn: the reason that the actor did not start.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::SpawnError;
///
/// #[derive(Actor)]
/// #[actor(urn = "worker")]
/// struct Worker;
///
/// #[handlers]
/// impl Worker {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SpawnError> {
/// let system = ActorSystem::new();
/// system.spawn(Worker).await?;
/// let second = system.spawn(Worker).await;
/// assert!(matches!(second, Err(SpawnError::UrnTaken { urn, .. }) if urn == "worker"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another actor of the system has this URN; or, of a spawn that is
    /// [listed](crate::system::Spawn::listed), one of another member of the fleet.
    #[non_exhaustive]
    UrnTaken {
        /// The URN.
        urn: Urn,
        /// The node of the other member; `None` for an actor of this system.
        member: Option<String>,
    },
    /// The given URN is invalid.
    InvalidUrn(UrnError),
    /// The factory or `on_start` panicked or returned a failure (in a supervised actor, more often than
    /// its budget of restarts allows), or the [thread](crate::Actor::THREAD) of the actor could not be
    /// started. The failure is the [`source`](Error::source) of this error.
    #[non_exhaustive]
    StartFailed {
        /// The URN of the actor, which is free again.
        urn: Urn,
        /// The panic, the returned failure, or the error of the thread.
        failure: Failure,
    },
    /// The actor was killed before `on_start` had run.
    #[non_exhaustive]
    Killed {
        /// The URN of the actor, which is free again.
        urn: Urn,
    },
    /// The actor was asked to stop before it had a state.
    #[non_exhaustive]
    Stopped {
        /// The URN of the actor, which is free again.
        urn: Urn,
        /// The reason of the stop.
        reason: StopReason,
    },
    /// The parent of the new actor is stopping.
    #[non_exhaustive]
    ParentStopped {
        /// The parent's URN.
        parent: Urn,
    },
    /// The system is shutting down or is gone.
    SystemClosed,
}

impl SpawnError {
    /// The error for an actor that ended before it had started.
    pub(super) fn of_end(urn: Urn, end: StopReason) -> Self {
        match end {
            StopReason::Failed(failure) | StopReason::Exhausted(failure) => {
                Self::StartFailed { urn, failure }
            }
            StopReason::Killed => Self::Killed { urn },
            reason => Self::Stopped { urn, reason },
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UrnTaken { urn, member: None } => write!(f, "the URN `{urn}` is taken"),
            Self::UrnTaken {
                urn,
                member: Some(member),
            } => write!(
                f,
                "the URN `{urn}` is taken by the member `{member}` of the fleet"
            ),
            Self::InvalidUrn(error) => error.fmt(f),
            Self::StartFailed { urn, .. } => write!(f, "the actor `{urn}` did not start"),
            Self::Killed { urn } => {
                write!(f, "the actor `{urn}` was killed before it had started")
            }
            Self::Stopped { urn, reason } => {
                write!(
                    f,
                    "the actor `{urn}` was stopped before it had started: {reason}"
                )
            }
            Self::ParentStopped { parent } => {
                write!(
                    f,
                    "the actor did not start: its parent `{parent}` is stopping"
                )
            }
            Self::SystemClosed => f.write_str("the actor system is shutting down"),
        }
    }
}

// By hand, since a `Failure` is no error by itself.
impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::StartFailed { failure, .. } => Some(failure.as_error()),
            Self::InvalidUrn(error) => error.source(), // its text is that of this error
            _ => None,
        }
    }
}

impl From<UrnError> for SpawnError {
    fn from(error: UrnError) -> Self {
        Self::InvalidUrn(error)
    }
}
