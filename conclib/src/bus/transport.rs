//! The bus as both of its ends see it: traits and words, without configuration or implementation.
//!
//! The traits are narrow on purpose: batching, deadlines and bookkeeping live above them, in
//! [`server`](crate::bus::server) and [`client`](crate::bus::client), and are the same for every bus.

use std::time::Duration;

pub(crate) use crate::bus::keys::Epoch;
pub(crate) use client::{ClientTransport, Copies, Enqueued, ReplySink};
pub(crate) use frame::{Frame, Parts};
pub(crate) use operator::{Lists, OperatorFrames, OperatorTransport};
pub(crate) use server::{
    Acquired, Backlog, CutFrame, FormerTerm, LeaseClaim, LeaseGrant, LeaseHolder, Popped,
    ServerNumber, ServerTransport,
};

mod client;
pub(crate) mod fleet;
mod frame;
pub(crate) mod monitor;
mod operator;
mod server;
pub(crate) mod stream;

/// Time that a lease lasts after its last renewal, unless the configuration says otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(6);

/// The part of a lease that clients read: written by the actor system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRecord {
    pub(crate) epoch: Epoch,
    /// The lowest and the highest version of the protocol that the owner speaks.
    pub(crate) versions: (u8, u8),
    /// The largest request frame that the owner accepts, in bytes.
    pub(crate) max_frame: u64,
    /// Time that it lasts after its last renewal.
    pub(crate) length: Duration,
    /// The owner takes requests. False while it makes its actors: for clients that is as if no system
    /// had the lease.
    pub(crate) serves: bool,
}

/// Milliseconds since the Unix epoch on the bus' own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct ServerTime(pub(crate) u64);

/// A failed operation of the bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransportError {
    /// The operation was certainly not executed: never sent, or refused by the bus with a reason.
    #[error("{0}")]
    NotDone(String),
    /// The bus refuses the operation: this user lacks the permission, or the bus has no such command.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory grants everything")
    )]
    #[error("{0}")]
    NotPermitted(String),
    /// The operation was given to the connection, and no reply came back.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    #[error("{0}")]
    Unknown(String),
}

impl TransportError {
    /// The same error behind words that say what failed.
    #[cfg(feature = "redis")]
    pub(crate) fn in_context(self, context: &str) -> Self {
        let text = |reason| format!("{context}: {reason}");
        match self {
            Self::NotDone(reason) => Self::NotDone(text(reason)),
            Self::NotPermitted(reason) => Self::NotPermitted(text(reason)),
            Self::Unknown(reason) => Self::Unknown(text(reason)),
        }
    }

    /// The error of an error reply of Redis.
    #[cfg(feature = "redis")]
    pub(crate) fn refused(reply: String) -> Self {
        if reply.starts_with("NOPERM") || reply.starts_with("ERR unknown command") {
            Self::NotPermitted(reply)
        } else {
            Self::NotDone(reply)
        }
    }
}
