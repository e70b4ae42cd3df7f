//! The bus: how actors are asked from other processes.

mod client;
pub(crate) mod config;
#[cfg(test)]
pub(crate) mod conformance;
mod durable;
#[cfg(feature = "test-util")]
mod faults;
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod protocol;
mod proxy;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod server;
pub(crate) mod transport;

pub use crate::bus::link::health::ConnectionState;
pub use client::{ConnectError, ProxyClient, RemoteAsk, RemoteTell};
pub use config::{Config, ConfigError, Role};
pub use durable::dead_letters::{DeadLetter, DeadLetterError, DeadLetters, ListDeadLetters};
#[cfg(feature = "test-util")]
pub use faults::Faults;
pub use proxy::{Proxy, start_proxy};
pub use server::{ProxyEnd, StartProxyError};
pub use transport::OpenError;
