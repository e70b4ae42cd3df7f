//! The bus: how actors are asked from other processes.

mod client;
mod clock;
pub(crate) mod config;
mod frame;
mod in_flight;
mod noise;
mod server;
pub(crate) mod transport;

pub use client::{ConnectError, ProxyClient, RemoteAsk, RemoteTell};
pub use config::{Config, ConfigError};
pub use server::{Proxy, ProxyEnd, StartProxyError, start_proxy};
pub use transport::OpenError;
