//! Reasons for which actors stop, and the message that says so.

use std::fmt;

use crate::error::Failure;
use crate::message::{ActorMessage, WireCodec};
use crate::urn::Urn;

/// An actor has ended: what [watching](crate::Context::watch) it brings.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Terminated {
    /// The actor that was watched. Its URN may be another's by now.
    pub urn: Urn,
    /// Why it ended.
    pub reason: StopReason,
}

impl ActorMessage for Terminated {
    type Response = ();
    const NAME: &'static str = "Terminated";
    const WIRE: Option<WireCodec<Self>> = None;
}

/// Why an actor has stopped, or why one of its lives has ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StopReason {
    /// Somebody asked it to stop, or it did so itself.
    Requested,
    /// The last reference was dropped, and it was spawned with
    /// [`while_referenced`](crate::Spawn::while_referenced).
    Unreferenced,
    /// Its system was shut down or dropped.
    Shutdown,
    /// The actor that spawned it stops, or starts again.
    ParentStopped,
    /// It was killed: the hooks did not run.
    Killed,
    /// A handler or `on_start` panicked or returned a failure, or a child escalated one.
    Failed(Failure),
    /// It failed once more than its budget of restarts allows; the last failure.
    Exhausted(Failure),
    /// The life ends because a sibling has failed, and another follows; see
    /// [`Supervisor`](crate::Supervisor). No actor stops for this.
    Restarted,
}

impl StopReason {
    /// True if it stopped because something went wrong in it.
    pub fn is_failure(&self) -> bool {
        self.failure().is_some()
    }

    /// What went wrong in it, if that is why it stopped.
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
            Self::Unreferenced => f.write_str("nobody referred to it any more"),
            Self::Shutdown => f.write_str("its system was shut down"),
            Self::ParentStopped => f.write_str("its parent stopped"),
            Self::Killed => f.write_str("it was killed"),
            Self::Exhausted(failure) => write!(f, "it failed too often; the last time: {failure}"),
            Self::Restarted => f.write_str("its group starts again"),
            Self::Failed(failure) => write!(f, "it failed: {failure}"),
        }
    }
}
