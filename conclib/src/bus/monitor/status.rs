//! The facts of a bus, as plain data.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::bus::inspect::MemberStage;
use crate::bus::monitor::time;
use crate::bus::transport::ServerTime;
use crate::bus::transport::fleet::Member;
use crate::bus::transport::monitor::LeaseFacts;
use crate::urn::Urn;

/// The way to the bus and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoundTrip {
    /// Time that it took.
    pub elapsed: Duration,
    /// The difference between the clock of the bus and that of this process, to half of `elapsed`.
    pub clock_offset: Duration,
    /// The clock of the bus is ahead of that of this process.
    pub clock_is_ahead: bool,
}

/// The lease of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeaseStatus {
    /// Its number: about the time at which it was taken, in milliseconds since 1970.
    pub epoch: u64,
    /// The [instance](crate::Config::instance) of the process that has it; empty if that has none.
    pub instance: String,
    /// The process takes requests. Otherwise it is making its actors, or is stopping.
    pub is_serving: bool,
    /// Time that it lasts after its last renewal.
    pub duration: Duration,
    /// Time until it expires, unless it is renewed; `None` if the user may not read that.
    pub remaining: Option<Duration>,
    /// The lowest and the highest version of the protocol that the process speaks.
    pub protocol: (u8, u8),
    /// The largest request that it accepts, in bytes.
    pub max_message_size: u64,
}

impl From<LeaseFacts> for LeaseStatus {
    fn from(facts: LeaseFacts) -> Self {
        let LeaseFacts {
            lease,
            instance,
            remaining,
        } = facts;
        Self {
            epoch: lease.epoch.0,
            instance,
            is_serving: lease.serves,
            duration: lease.length,
            remaining,
            protocol: lease.versions,
            max_message_size: lease.max_frame,
        }
    }
}

/// The counts of a node's durable messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DurableStatus {
    /// Messages that are not handled yet, without delayed ones.
    pub stored: u64,
    /// Messages that wait for their due times.
    pub delayed: u64,
    /// The user may read entries of the stream. Otherwise the other fields are empty.
    pub is_readable: bool,
    /// The time at which the oldest stored message was stored, on the clock of the bus.
    pub oldest: Option<SystemTime>,
    /// Stored messages that a process has taken: their handlers run, or they wait for an actor or for a retry.
    pub in_progress: u64,
}

/// The number and the age of a node's dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterStatus {
    /// Their number.
    pub stored: u64,
    /// The user may read dead letters. Otherwise the other field is empty.
    pub is_readable: bool,
    /// The time at which the oldest became a dead letter, on the clock of the bus.
    pub oldest: Option<SystemTime>,
}

/// A member of a fleet, as it is in the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberEntry {
    /// Its node.
    pub node: String,
    /// The stage of its life.
    pub stage: MemberStage,
    /// The time at which it joined, on the clock of the bus.
    pub joined: SystemTime,
    /// The names that it shares with other members.
    pub shared: Vec<Urn>,
}

impl From<Member> for MemberEntry {
    fn from(member: Member) -> Self {
        Self {
            node: member.profile.node,
            stage: member.profile.state.into(),
            joined: time(ServerTime(member.id.0)),
            shared: member.profile.shared,
        }
    }
}
