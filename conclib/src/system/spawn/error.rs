//! The error of a spawn.

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
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another actor of the system has this URN.
    #[error("the URN `{urn}` is taken")]
    #[non_exhaustive]
    UrnTaken {
        /// The URN.
        urn: Urn,
    },
    /// The given URN is invalid.
    #[error(transparent)]
    InvalidUrn(#[from] UrnError),
    /// The factory or `on_start` panicked or returned a failure: in a supervised actor, more often
    /// than its budget of restarts allows.
    #[error("the actor `{urn}` did not start: {failure}")]
    #[non_exhaustive]
    StartFailed {
        /// The URN of the actor, which is free again.
        urn: Urn,
        /// The panic or the returned failure.
        failure: Failure,
    },
    /// The actor was killed before `on_start` had run.
    #[error("the actor `{urn}` was killed before it had started")]
    #[non_exhaustive]
    Killed {
        /// The URN of the actor, which is free again.
        urn: Urn,
    },
    /// The actor was asked to stop before it had a state.
    #[error("the actor `{urn}` was stopped before it had started: {reason}")]
    #[non_exhaustive]
    Stopped {
        /// The URN of the actor, which is free again.
        urn: Urn,
        /// The reason of the stop.
        reason: StopReason,
    },
    /// The parent of the new actor is stopping.
    #[error("the actor did not start: its parent `{parent}` is stopping")]
    #[non_exhaustive]
    ParentStopped {
        /// The parent's URN.
        parent: Urn,
    },
    /// The system is shutting down or is gone.
    #[error("the actor system is shutting down")]
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
