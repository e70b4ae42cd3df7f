//! Opens the bus that a [`Config`] names; the only file that chooses an implementation.

use std::sync::Arc;

use crate::bus::config::{Bus, Config, ConfigError};
use crate::bus::link::health::Health;
#[cfg(feature = "redis")]
use crate::bus::redis;
use crate::bus::transport::stream::DeadLetterStore;
use crate::bus::transport::{ClientTransport, ReplySink, ServerTransport};
use crate::reply::remote::ClientId;

/// Opens the actor system's end of the configured bus. Reports connections that are lost and made
/// again to `health`.
pub(crate) async fn open_server(
    config: &Config,
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused, reason = "a bus in memory is never lost")
    )]
    health: &Arc<Health>,
) -> Result<Arc<dyn ServerTransport>, OpenError> {
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
) -> Result<Arc<dyn ClientTransport>, OpenError> {
    config.check()?;
    match &config.bus {
        Bus::Local(bus) => {
            let open = |replies| bus.clone().client(config.keys(), client, replies);
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

/// Opens the dead letters of the configured bus.
pub(crate) async fn open_dead_letters(
    config: &Config,
) -> Result<Arc<dyn DeadLetterStore>, OpenError> {
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

#[cfg(not(feature = "redis"))]
fn without_redis() -> ConfigError {
    ConfigError::unsupported("conclib was built without its feature `redis`")
}

/// An error of opening a bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No connection, or no permission.
    #[error("cannot reach Redis at {address}: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The cause, in words.
        reason: String,
    },
}

#[cfg(feature = "redis")]
impl From<redis::Unreachable> for OpenError {
    fn from(error: redis::Unreachable) -> Self {
        let redis::Unreachable { address, reason } = error;
        Self::Unreachable { address, reason }
    }
}
