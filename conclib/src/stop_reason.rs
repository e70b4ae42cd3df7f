//! Reasons for which actors stop, and the message to the watchers of an actor's end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Failure, failure_text};
use crate::labels::label_enum;
use crate::message::{ActorMessage, WireCodec};
use crate::urn::Urn;

/// The message that a [watcher](crate::Context::watch) is sent when the watched actor has ended.
///
/// ```
/// use conclib::Terminated;
/// use conclib::prelude::*;
///
/// #[derive(Actor)]
/// struct Observer;
///
/// #[handlers]
/// impl Observer {
///     #[handler]
///     fn terminated(&mut self, message: Terminated) {
///         if message.reason.is_failure() {
///             eprintln!("{} failed: {}", message.urn, message.reason);
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Terminated {
    /// The URN of the watched actor. Another actor may have taken it by now.
    pub urn: Urn,
    /// The reason of the actor's end.
    pub reason: StopReason,
}

impl ActorMessage for Terminated {
    type Response = ();
    const NAME: &'static str = "Terminated";
    const WIRE: Option<WireCodec<Self>> = None;
}

/// The reason for which an actor has stopped, or for which one of its incarnations has ended.
///
/// An *incarnation* of a supervised actor lasts from one start to the next restart.
///
/// ```
/// use conclib::prelude::*;
///
/// # #[derive(Actor)]
/// # struct Worker;
/// # #[handlers]
/// # impl Worker {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// let worker = system.spawn(Worker).await?;
/// worker.stop();
/// let reason = worker.stopped().await;
/// assert!(matches!(reason, StopReason::Requested));
/// assert!(!reason.is_failure());
/// assert_eq!(reason.to_string(), "stop was requested");
/// # Ok(()) }
/// ```
///
/// With serde, a failure is its text: one that was read back is made by [`Failure::msg`], or is a panic
/// with that text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StopReason {
    /// A stop was requested by a reference, or by the actor itself.
    Requested,
    /// The last reference to an actor was dropped that was spawned with
    /// [`while_referenced`](crate::system::Spawn::while_referenced).
    Unreferenced,
    /// The system was shut down or dropped.
    Shutdown,
    /// The parent stopped or restarted.
    ParentStopped,
    /// The actor was killed: its hooks did not run.
    Killed,
    /// A handler, `on_start` or a task failed (it panicked or returned a failure), or a child escalated
    /// its failure.
    Failed(#[serde(with = "failure_text")] Failure),
    /// The actor failed more often than its restart budget allows; holds the last failure.
    Exhausted(#[serde(with = "failure_text")] Failure),
    /// The incarnation ended because a sibling failed, and another incarnation follows; see
    /// [`Supervisor`](crate::supervisor::Supervisor). It is not the reason of an actor's end.
    Restarted,
    /// An actor [on demand](crate::ActorSystem::on_demand) was sent no message for its idle time. The
    /// next message to its URN starts it again.
    Idle,
    /// The factory of an actor [on demand](crate::ActorSystem::on_demand) found that there is no actor of
    /// this name.
    Absent,
}

impl StopReason {
    /// True if the actor stopped because of a failure.
    pub fn is_failure(&self) -> bool {
        self.failure().is_some()
    }

    /// The failure, if the actor stopped because of one. It leads to the error behind it: see
    /// [`Failure::downcast_ref`].
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::Exhausted(failure) => Some(failure),
            _ => None,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("stop was requested"),
            Self::Unreferenced => f.write_str("its last reference was dropped"),
            Self::Shutdown => f.write_str("its system was shut down"),
            Self::ParentStopped => f.write_str("its parent stopped"),
            Self::Killed => f.write_str("it was killed"),
            Self::Exhausted(failure) => write!(f, "it failed too often; the last time: {failure}"),
            Self::Restarted => f.write_str("its group restarts"),
            Self::Idle => f.write_str("it was idle"),
            Self::Absent => f.write_str("there is no actor of this name"),
            Self::Failed(failure) => write!(f, "it failed: {failure}"),
        }
    }
}

label_enum! {
    /// The kind of a [`StopReason`]: its variant, without the failure. For counters and labels of metrics.
    ///
    /// ```
    /// use conclib::StopReason;
    /// use conclib::metrics::StopKind;
    ///
    /// assert_eq!(StopReason::Requested.kind(), StopKind::Requested);
    /// assert_eq!(StopKind::ParentStopped.to_string(), "parent_stopped");
    /// ```
    pub enum StopKind {
        /// [`StopReason::Requested`].
        Requested = "requested",
        /// [`StopReason::Unreferenced`].
        Unreferenced = "unreferenced",
        /// [`StopReason::Shutdown`].
        Shutdown = "shutdown",
        /// [`StopReason::ParentStopped`].
        ParentStopped = "parent_stopped",
        /// [`StopReason::Killed`].
        Killed = "killed",
        /// [`StopReason::Failed`].
        Failed = "failed",
        /// [`StopReason::Exhausted`].
        Exhausted = "exhausted",
        /// [`StopReason::Restarted`].
        Restarted = "restarted",
        /// [`StopReason::Idle`].
        Idle = "idle",
        /// [`StopReason::Absent`].
        Absent = "absent",
    }
}

impl StopReason {
    /// The kind of the reason.
    pub const fn kind(&self) -> StopKind {
        match self {
            Self::Requested => StopKind::Requested,
            Self::Unreferenced => StopKind::Unreferenced,
            Self::Shutdown => StopKind::Shutdown,
            Self::ParentStopped => StopKind::ParentStopped,
            Self::Killed => StopKind::Killed,
            Self::Failed(_) => StopKind::Failed,
            Self::Exhausted(_) => StopKind::Exhausted,
            Self::Restarted => StopKind::Restarted,
            Self::Idle => StopKind::Idle,
            Self::Absent => StopKind::Absent,
        }
    }
}
