//! How a connection to Redis is set up.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::socket2::TcpKeepalive;
use fred::types::Builder;
use fred::types::config::{
    Config as FredConfig, ConnectionConfig, Options, ServerConfig, TcpConfig,
};

use crate::bus::client::pending::MAX_REQUESTS;
use crate::bus::config::{Access, Config, RedisAddress};
use crate::bus::redis::reason;
#[cfg(feature = "tls")]
use crate::bus::redis::tls;
use crate::bus::transport::{OpenError, ReplySink};

/// How long connecting may take, and then how long logging in may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How many commands may wait to be written. The windows above keep far below it; it is there so
/// that a stalled connection cannot collect without end.
const QUEUE: usize = 4096;

/// What a connection is for.
#[derive(Clone)]
pub(super) enum Duty {
    /// Commands that are answered at once.
    Commands,
    /// Pops, which block: no heartbeat, for it would wait behind them.
    Pops,
    /// Reads of durable messages, which block as pops do.
    Reads,
    /// One subscription.
    Replies {
        channel: String,
        /// Where the payloads go.
        replies: Arc<dyn ReplySink>,
    },
}

impl Duty {
    /// What it is called where people look.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Pops => "pops",
            Self::Reads => "durable",
            Self::Replies { .. } => "replies",
        }
    }
}

/// How to open one connection, again and again.
#[derive(Clone)]
pub(super) struct Settings {
    address: RedisAddress,
    /// The files with what the address does not say.
    access: Access,
    /// What `CLIENT LIST` shows.
    pub(super) name: String,
    pub(super) duty: Duty,
}

impl Settings {
    pub(super) fn new(address: &RedisAddress, config: &Config, duty: Duty) -> Self {
        let what = duty.name();
        Self {
            address: address.clone(),
            access: config.access.clone(),
            name: format!("conclib:{}:{}:{what}", config.namespace, config.node),
            duty,
        }
    }

    /// A connection that is not yet open, without a way to come back: what was given to it must
    /// never be replayed on its successor.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let config = if self.access.is_empty() && !self.address.tls {
            library_config(&self.address, &self.access)
        } else {
            // Disks are slow on some days.
            let (address, access) = (self.address.clone(), self.access.clone());
            let read = tokio::task::spawn_blocking(move || library_config(&address, &access));
            read.await.unwrap_or_else(|error| Err(error.to_string()))
        }?;
        Builder::from_config(config)
            .with_connection_config(tune)
            .with_performance_config(|performance| {
                if let Duty::Replies { .. } = &self.duty {
                    // The library loses messages beyond its capacity, which is 32 by default.
                    performance.broadcast_channel_capacity = MAX_REQUESTS;
                }
            })
            .build()
            .map_err(|error| reason(&error))
    }

    pub(super) fn unreachable(&self, reason: String) -> OpenError {
        OpenError::Unreachable {
            address: format!("{}:{}", self.address.host, self.address.port),
            reason,
        }
    }
}

/// Where to connect and how to get in, with all that lies in files.
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

/// One attempt within `timeout`. The timeout is the library's own: around it, an outer one would
/// leave the command in its queue.
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
    connection.max_command_buffer_len = QUEUE;
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
