//! The state of one actor, as snapshots show it.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Phase;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// An actor that failed and will not start again.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FailedActor {
    /// Its address, at which no actor lives now.
    pub urn: Urn,
    /// Its Rust type.
    pub actor_type: &'static str,
    /// The actor that spawned it, if one did and still lived.
    pub parent: Option<Urn>,
    /// The reason for its end, with the text of its last failure; of a long one the first 512 bytes.
    pub reason: String,
    /// The moment of its end.
    pub at: SystemTime,
    /// The number of its failures, in all its lives.
    pub failures: u64,
}

impl FailedActor {
    /// The longest text that is kept, in bytes.
    const MAX_REASON: usize = 512;

    pub(crate) fn new(last: ActorSnapshot, reason: &StopReason) -> Self {
        let mut reason = reason.to_string();
        let ends = (0..=Self::MAX_REASON.min(reason.len())).rev();
        let end = ends.into_iter().find(|end| reason.is_char_boundary(*end));
        reason.truncate(end.unwrap_or(0));
        reason.shrink_to_fit();
        Self {
            urn: last.urn,
            actor_type: last.actor_type,
            parent: last.parent,
            reason,
            at: SystemTime::now(),
            failures: last.failed,
        }
    }
}

/// What one actor is doing.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ActorSnapshot {
    /// Its address.
    pub urn: Urn,
    /// Its Rust type.
    pub actor_type: &'static str,
    /// The actor that spawned it, if one did.
    pub parent: Option<Urn>,
    /// What it does with its life.
    pub phase: Phase,
    /// The handler that runs.
    pub running: Option<RunningHandler>,
    /// How many messages wait in its mailbox.
    pub depth: usize,
    /// How many may wait.
    pub capacity: usize,
    /// How many senders wait for room.
    pub senders: usize,
    /// How long the oldest message has waited: exact to a few milliseconds, and it may be that of
    /// a message that came shortly before and has been handled since.
    pub oldest: Option<Duration>,
    /// How many messages and ticks it has handled without failing.
    pub handled: u64,
    /// How often it has failed.
    pub failed: u64,
    /// How often it has started again.
    pub restarts: u32,
}

/// A handler that runs at this moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunningHandler {
    /// The method's name.
    pub name: &'static str,
    /// For how long: exact to a few milliseconds, or counted from a little before it began.
    pub elapsed: Duration,
}
