//! Settings of a connection to Redis.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::socket2::TcpKeepalive;
use fred::types::Builder;
use fred::types::config::{
    Config as FredConfig, ConnectionConfig, Options, ServerConfig, TcpConfig,
};

use crate::bus::config::{Access, Config, RedisAddress};
use crate::bus::protocol::MAX_REQUESTS;
#[cfg(feature = "tls")]
use crate::bus::redis::tls;
use crate::bus::redis::{Unreachable, reason};
use crate::bus::transport::ReplySink;

/// Timeout of connecting, and then of logging in.
const CONNECT: Duration = Duration::from_secs(3);

/// Number of commands that may wait to be written. The limits of the modules above keep far below it;
/// it bounds the queue of a stalled connection.
const MAX_QUEUED: usize = 4096;

/// The purpose of a connection.
#[derive(Clone)]
pub(super) enum ConnectionRole {
    /// Commands that Redis answers at once.
    Commands,
    /// Pops, which block: no heartbeat, since it would wait behind them.
    Pops,
    /// Reads of durable messages, which block as pops do.
    Reads,
    /// The subscription to a client's replies.
    Replies {
        channel: String,
        /// Receives the payloads.
        replies: Arc<dyn ReplySink>,
    },
}

impl ConnectionRole {
    /// The role's name in logs, `CLIENT LIST`, and connection states.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Pops => "pops",
            Self::Reads => "durable",
            Self::Replies { .. } => "replies",
        }
    }
}

/// Settings from which one connection is opened, again and again.
#[derive(Clone)]
pub(super) struct Settings {
    address: RedisAddress,
    /// Files with credentials and certificates.
    access: Access,
    /// The connection's name in `CLIENT LIST`.
    pub(super) name: String,
    pub(super) role: ConnectionRole,
}

impl Settings {
    pub(super) fn new(address: &RedisAddress, config: &Config, role: ConnectionRole) -> Self {
        let role_name = role.name();
        Self {
            address: address.clone(),
            access: config.access.clone(),
            name: format!("conclib:{}:{}:{role_name}", config.namespace, config.node),
            role,
        }
    }

    /// A connection that is not yet open, and that does not reconnect by itself: commands that were
    /// given to it must never be replayed on its successor.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let config = if self.access.is_empty() && !self.address.tls {
            library_config(&self.address, &self.access)
        } else {
            // Reads files, which may block.
            let (address, access) = (self.address.clone(), self.access.clone());
            let read = tokio::task::spawn_blocking(move || library_config(&address, &access));
            read.await.unwrap_or_else(|error| Err(error.to_string()))
        }?;
        Builder::from_config(config)
            .with_connection_config(tune)
            .with_performance_config(|performance| {
                if let ConnectionRole::Replies { .. } = &self.role {
                    // The library loses messages beyond its capacity, which is 32 by default.
                    performance.broadcast_channel_capacity = MAX_REQUESTS;
                }
            })
            .build()
            .map_err(|error| reason(&error))
    }

    pub(super) fn unreachable(&self, reason: String) -> Unreachable {
        Unreachable {
            address: self.address.authority(),
            reason,
        }
    }
}

/// The library's configuration, with the contents of the files.
fn library_config(address: &RedisAddress, access: &Access) -> Result<FredConfig, String> {
    let RedisAddress {
        host,
        port,
        username,
        password,
        database,
        tls: _,
    } = access.with_secrets(address)?;
    Ok(FredConfig {
        username,
        password,
        server: ServerConfig::new_centralized(host, port),
        database: Some(database).filter(|database| *database != 0),
        #[cfg(feature = "tls")]
        tls: if address.tls {
            Some(tls::connector(access)?.into())
        } else {
            None
        },
        ..FredConfig::default()
    })
}

/// Options for a single attempt within `timeout`. The timeout is the library's own: a timeout around
/// the call would leave the command in the library's queue.
pub(super) fn once(timeout: Duration) -> Options {
    Options {
        max_attempts: Some(1),
        timeout: Some(timeout),
        fail_fast: true,
        ..Options::default()
    }
}

fn tune(connection: &mut ConnectionConfig) {
    connection.connection_timeout = CONNECT;
    connection.internal_command_timeout = CONNECT;
    connection.max_command_attempts = 1;
    connection.max_command_buffer_len = MAX_QUEUED;
    // A peer that vanished without a word is noticed while a blocked pop waits for it.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2));
    connection.tcp = TcpConfig {
        nodelay: Some(true),
        keepalive: Some(keepalive),
        ..TcpConfig::default()
    };
}
