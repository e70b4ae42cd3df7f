//! The bus: how actors are asked from other processes.

mod backoff;
mod client;
mod clock;
pub(crate) mod config;
mod durable;
#[cfg(feature = "test")]
mod faults;
pub(crate) mod frame;
mod health;
mod in_flight;
mod in_order;
mod mean_size;
mod noise;
mod outage;
mod server;
pub(crate) mod transport;
mod windows;

pub use client::{ConnectError, ProxyClient, RemoteAsk, RemoteTell};
pub use config::{Config, ConfigError, Role};
pub use durable::dead_letters::{DeadLetter, DeadLetterError, DeadLetters, ListDeadLetters};
#[cfg(feature = "test")]
pub use faults::Faults;
pub use health::ConnectionState;
pub use server::{Proxy, ProxyEnd, StartProxyError, start_proxy};
pub use transport::OpenError;
