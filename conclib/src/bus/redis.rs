//! The bus over Redis. No other module names the Redis library.
//!
//! - [`endpoint`]: the Redis that one end goes to, [`sentinel`]: those who know its address;
//!   [`connection`]: one connection that is made again after it was lost
//! - [`resp`]: connections for requests, pops and replies; [`library`]: those for scripts and streams;
//!   `tls`: the certificates of both
//! - [`start_check`]: proves at the start what each end may do
//! - [`lease`]: the value of a lease's key, and the scripts around it
//! - [`server`] with [`pops`] and [`known_epochs`], [`client`]: the two ends; [`operator`]: those who inspect
//! - [`stream`], [`dead_letters`]: durable messages
//! - [`monitor`]: all of it as a tool sees it
//! - [`fleet`]: the map of a fleet; [`identity`]: the server as it names itself

mod backlog;
mod client;
mod connection;
mod dead_letters;
mod endpoint;
mod fleet;
mod identity;
mod known_epochs;
mod lease;
mod library;
mod monitor;
mod operator;
mod pops;
mod resp;
mod sentinel;
mod server;
mod start_check;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use client::RedisClient;
pub(crate) use dead_letters::RedisDeadLetters;
pub(crate) use monitor::RedisView;
pub(crate) use operator::RedisOperator;
pub(crate) use server::RedisServer;

use std::time::Duration;

/// Timeout of a command.
const COMMAND: Duration = Duration::from_secs(5);

/// Timeout of a command about the lease: short enough for a second attempt before the lease expires.
const LEASE_COMMAND: Duration = Duration::from_secs(2);

/// A Redis that cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot reach Redis at {address}: {reason}")]
pub(crate) struct Unreachable {
    /// Host and port.
    pub(crate) address: String,
    /// The cause, in words.
    pub(crate) reason: String,
}
