//! Opens the bus that a [`Config`] names; the only file that chooses an implementation.

use std::sync::Arc;

use crate::bus::config::{Bus, Config, ConfigError};
use crate::bus::link::health::Health;
#[cfg(feature = "redis")]
use crate::bus::redis;
use crate::bus::transport::monitor::BusView;
use crate::bus::transport::stream::DeadLetterStore;
use crate::bus::transport::{ClientTransport, OperatorTransport, ReplySink, ServerTransport};
use crate::reply::remote::ClientId;

/// Checks that a config can lead to a bus.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    config.check()?;
    #[cfg(not(feature = "redis"))]
    if matches!(config.bus, Bus::Redis(_)) {
        return Err(without_redis());
    }
    Ok(())
}

/// Opens the actor system's end of the configured bus. Reports connections that are lost and made
/// again to `health`.
pub(crate) async fn open_server(
    config: &Config,
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused, reason = "a bus in memory is never lost")
    )]
    health: &Arc<Health>,
) -> Result<Arc<dyn ServerTransport>, ConnectError> {
    config.check()?;
    match &config.bus {
        Bus::Local(bus) => {
            let server = bus.clone().server(config.keys());
            #[cfg(feature = "test-util")]
            if let Some(faults) = &config.faults {
                return Ok(faults.server(server));
            }
            Ok(server)
        }
        #[cfg(feature = "redis")]
        Bus::Redis(address) => {
            let server = redis::RedisServer::connect(address, config, health).await?;
            Ok(Arc::new(server))
        }
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(without_redis().into()),
    }
}

/// Opens a client's end of the configured bus. Its replies go to `replies` until it is closed: when
/// this returns, the subscription is confirmed. Reports connections that are lost and made again to
/// `health`.
pub(crate) async fn open_client(
    config: &Config,
    client: ClientId,
    replies: Arc<dyn ReplySink>,
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused, reason = "a bus in memory is never lost")
    )]
    health: &Arc<Health>,
) -> Result<Arc<dyn ClientTransport>, ConnectError> {
    config.check()?;
    match &config.bus {
        Bus::Local(bus) => {
            let open = |replies| {
                let bus = bus.clone();
                bus.client(config.keys(), client, config.map_changes(), replies)
            };
            #[cfg(feature = "test-util")]
            if let Some(faults) = &config.faults {
                return Ok(faults.client(client, replies, &open));
            }
            Ok(open(replies))
        }
        #[cfg(feature = "redis")]
        Bus::Redis(address) => {
            let client =
                redis::RedisClient::connect(address, config, client, replies, health).await?;
            Ok(Arc::new(client))
        }
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(without_redis().into()),
    }
}

/// Opens an operator's end of the configured bus. The answers go to `answers` until it is closed: when this
/// returns, the subscription is confirmed.
#[cfg_attr(
    not(feature = "redis"),
    allow(clippy::unused_async, reason = "a bus in memory is there at once")
)]
pub(crate) async fn open_operator(
    config: &Config,
    client: ClientId,
    answers: Arc<dyn ReplySink>,
) -> Result<Arc<dyn OperatorTransport>, ConnectError> {
    config.check()?;
    match &config.bus {
        Bus::Local(bus) => {
            let operator = bus.clone().operator(config.keys(), client, answers);
            #[cfg(feature = "test-util")]
            if let Some(faults) = &config.faults {
                return Ok(faults.operator(operator));
            }
            Ok(operator)
        }
        #[cfg(feature = "redis")]
        Bus::Redis(address) => {
            let operator = redis::RedisOperator::connect(address, config, client, answers).await?;
            Ok(Arc::new(operator))
        }
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(without_redis().into()),
    }
}

/// Opens the dead letters of the configured bus.
pub(crate) async fn open_dead_letters(
    config: &Config,
) -> Result<Arc<dyn DeadLetterStore>, ConnectError> {
    config.check()?;
    match &config.bus {
        Bus::Local(bus) => Ok(bus.clone().dead_letters(config.keys())),
        #[cfg(feature = "redis")]
        Bus::Redis(address) => {
            let dead_letters = redis::RedisDeadLetters::connect(address, config).await?;
            Ok(Arc::new(dead_letters))
        }
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(without_redis().into()),
    }
}

/// Opens the configured bus for a tool that looks at it.
pub(crate) async fn open_view(config: &Config) -> Result<Arc<dyn BusView>, ConnectError> {
    config.check()?;
    match &config.bus {
        Bus::Local(bus) => Ok(bus.clone().view(config.keys())),
        #[cfg(feature = "redis")]
        Bus::Redis(address) => Ok(Arc::new(redis::RedisView::connect(address, config).await?)),
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(without_redis().into()),
    }
}

#[cfg(not(feature = "redis"))]
fn without_redis() -> ConfigError {
    ConfigError::unsupported("conclib was built without its feature `redis`")
}

/// An error of connecting to the bus: of a client, of a proxy, or of a tool for dead letters.
///
/// Only [`start_proxy`](crate::start_proxy) returns [`NodeTaken`](Self::NodeTaken); and only that,
/// [`acquire_lease`](crate::bus::acquire_lease) and [`Lease::serve`](crate::bus::Lease::serve) return
/// [`LeaseLost`](Self::LeaseLost), [`Replaced`](Self::Replaced) and [`SystemClosed`](Self::SystemClosed).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No connection, or no permission.
    #[error("cannot reach Redis at {address}: {reason}")]
    #[non_exhaustive]
    Unreachable {
        /// Host and port.
        address: String,
        /// The cause, in words.
        reason: String,
    },
    /// The bus was reached, and does not serve.
    #[error("the bus is unavailable: {reason}")]
    #[non_exhaustive]
    Unavailable {
        /// The cause, in words.
        reason: String,
    },
    /// Another actor system serves this node of the namespace, and continues doing so.
    #[error(
        "another actor system serves this node (epoch {holder}): stop it, choose another namespace \
         or node, or let both be members of a fleet (`Config::fleet`, `CONCLIB_FLEET=1`)"
    )]
    #[non_exhaustive]
    NodeTaken {
        /// The epoch of the other system: about the time of its start, in milliseconds since 1970.
        holder: u64,
    },
    /// The lease was lost before it was served, and another system has had it since.
    #[error("the lease was lost, and another actor system has served the node since")]
    LeaseLost,
    /// A younger process with the same [`Config::instance`] serves the node: this one was replaced.
    #[error(
        "a younger process of the same instance serves this node: end this one, or give each process \
         an instance of its own"
    )]
    Replaced,
    /// The actor system is shutting down.
    #[error("the actor system is shutting down")]
    SystemClosed,
    /// The operating system has no random numbers for the client's id.
    #[error("no random numbers: {reason}")]
    #[non_exhaustive]
    NoRandomness {
        /// The cause, in words.
        reason: String,
    },
}

#[cfg(feature = "redis")]
impl From<redis::Unreachable> for ConnectError {
    fn from(error: redis::Unreachable) -> Self {
        let redis::Unreachable { address, reason } = error;
        Self::Unreachable { address, reason }
    }
}
