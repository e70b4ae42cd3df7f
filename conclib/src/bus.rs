//! The bus: actors asked from other processes.
//!
//! Modules from bottom to top; each uses only those above it in this list:
//!
//! - `transport`: traits and words of a bus, and `keys`, the names of its keys
//! - `protocol`: frames
//! - `link`: server clock, concurrency, health and logs of one end
//! - `config`: addresses, credentials, limits
//! - `memory`, `redis`, `faults`: the buses
//! - `open`: opens the configured bus
//! - `fleet`: membership among many actor processes
//! - `client`, `server`, `durable`: the two ends, and durable messages
//! - `inspect`: answers to those who inspect and operate a process, and their end
//! - `proxy`: server and durable messages of one actor system
//! - `monitor`: the state of a bus as the bus itself has it
//! - `lease`: a lease that is held before it is served

pub(crate) mod client;
pub(crate) mod config;
#[cfg(test)]
pub(crate) mod conformance;
pub(crate) mod durable;
#[cfg(feature = "test-util")]
pub(crate) mod faults;
pub(crate) mod fleet;
pub(crate) mod inspect;
pub(crate) mod keys;
mod lease;
pub(crate) mod link;
mod memory;
pub(crate) mod monitor;
pub(crate) mod open;
pub(crate) mod protocol;
mod proxy;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod server;
pub(crate) mod transport;

#[cfg(feature = "tower")]
pub use client::AskService;
pub use client::{ProxyClient, RemoteAsk, RemoteTell};
pub use config::{Config, ConfigError, Role};
pub use lease::{Lease, acquire_lease};
pub use link::health::ConnectionState;
pub use open::ConnectError;
pub use proxy::{Proxy, start_proxy};
pub use server::ProxyEnd;
