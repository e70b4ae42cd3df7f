//! Snapshots of single actors.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::listing::Listing;
use super::stats::Phase;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// An actor that failed and will not restart, in a [`Snapshot`](crate::snapshot::Snapshot).
///
/// ```
/// # use conclib::ActorSystem;
/// # let system = ActorSystem::new();
/// for actor in &system.snapshot().failed {
///     println!("{} ({}): {}", actor.urn, actor.actor_type, actor.reason);
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedActor {
    /// The actor's URN. No actor has it now.
    pub urn: Urn,
    /// The name of the actor's Rust type.
    pub actor_type: Cow<'static, str>,
    /// The URN of its parent; `None` for a root actor, or if the parent was gone.
    pub parent: Option<Urn>,
    /// The reason of the actor's end, with the text of its last failure; at most 512 bytes.
    pub reason: String,
    /// The time of the actor's end.
    pub at: SystemTime,
    /// The number of the actor's failures, in all its incarnations.
    pub failures: u64,
}

impl FailedActor {
    pub(crate) fn new(last: ActorSnapshot, reason: &StopReason) -> Self {
        Self {
            urn: last.urn,
            actor_type: last.actor_type,
            parent: last.parent,
            reason: shortened(reason.to_string()),
            at: SystemTime::now(),
            failures: last.failures,
        }
    }
}

/// The maximum length of the text of a failure, in bytes.
const MAX_TEXT: usize = 512;

/// The beginning of a text that is to be kept.
pub(crate) fn shortened(mut text: String) -> String {
    let mut ends = (0..=MAX_TEXT.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text.shrink_to_fit();
    text
}

/// The state of one actor at one moment, in a [`Snapshot`](crate::snapshot::Snapshot).
///
/// ```
/// use conclib::prelude::*;
/// use conclib::snapshot::Phase;
///
/// # #[derive(Actor)]
/// # #[actor(urn = "worker", mailbox = 64)]
/// # struct Worker;
/// # #[handlers]
/// # impl Worker {
/// #     async fn on_start(&mut self) -> Result<(), Failure> { Ok(()) }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// # system.spawn(Worker).await?;
/// let snapshot = system.snapshot();
/// let worker = snapshot.actor("worker").unwrap();
/// assert_eq!(worker.phase, Phase::Running);
/// assert_eq!((worker.queued, worker.capacity), (0, 64));
/// if let Some(handler) = &worker.running {
///     println!("{} has run for {:?}", handler.name, handler.elapsed);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActorSnapshot {
    /// The actor's URN.
    pub urn: Urn,
    /// The name of the actor's Rust type.
    pub actor_type: Cow<'static, str>,
    /// The URN of its parent; `None` for a root actor.
    pub parent: Option<Urn>,
    /// The phase of its lifecycle.
    pub phase: Phase,
    /// The running handler, if one runs.
    pub running: Option<RunningHandler>,
    /// The number of messages in the mailbox.
    pub queued: usize,
    /// The capacity of the mailbox, in messages.
    pub capacity: usize,
    /// The number of senders that wait for room in the mailbox.
    pub waiting_senders: usize,
    /// The age of the oldest message in the mailbox, exact to a few milliseconds. It may be the age of
    /// a slightly older message that was handled since.
    pub oldest: Option<Duration>,
    /// The number of messages and ticks handled without a failure.
    pub handled: u64,
    /// The number of failures.
    pub failures: u64,
    /// The number of restarts.
    pub restarts: u32,
    /// The place of its name in a fleet.
    #[serde(default)]
    pub listing: Listing,
}

/// A handler that is running, in an [`ActorSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningHandler {
    /// The name of the method.
    pub name: Cow<'static, str>,
    /// The name of its message; `None` for a handler of many names.
    #[serde(default)]
    pub message: Option<Cow<'static, str>>,
    /// The time since the handler began, exact to a few milliseconds, or slightly more.
    pub elapsed: Duration,
}
