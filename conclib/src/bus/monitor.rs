//! The state of a bus, for tools and health checks.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::bus::config::{Config, ConfigError, check_name};
use crate::bus::keys::Keys;
use crate::bus::open::{ConnectError, open_view};
use crate::bus::transport::monitor::BusView;
use crate::bus::transport::stream::EntryId;
use crate::bus::transport::{Epoch, ServerTime, TransportError};

pub use server_status::ServerStatus;
pub use status::{DeadLetterStatus, DurableStatus, LeaseStatus, MemberEntry, RoundTrip};
pub use stored::{ListDurable, StoredMessage};

mod server_status;
mod status;
mod stored;

/// The state of a bus as the bus itself has it: leases, members of a fleet, queues, and the server. It answers
/// also if no actor system serves. Nothing here changes the bus, and nothing is sent to an actor system.
///
/// Its methods are about the node of the config; [`of_node`](Self::of_node) is for another one. Each needs
/// rights of its own on Redis, and a [`MonitorError::NotPermitted`] of one says nothing about the others.
///
/// ```
/// use conclib::monitor::BusMonitor;
/// use conclib::prelude::*;
///
/// # #[derive(ActorMessage, Serialize, Deserialize)]
/// # #[message(durable)]
/// # struct Order { number: u32 }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::memory();
/// let monitor = BusMonitor::connect(&config).await?;
/// assert!(monitor.lease().await?.is_none());
///
/// let client = ProxyClient::connect(&config).await?;
/// client.tell("shop", Order { number: 17 }).await?;
/// assert_eq!(monitor.durable().await?.stored, 1);
///
/// let system = ActorSystem::new();
/// let proxy = start_proxy(&system, &config).await?;
/// assert_eq!(monitor.lease().await?.map(|lease| lease.epoch), proxy.epoch());
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// All calls may be dropped and repeated.
#[derive(Clone)]
pub struct BusMonitor {
    view: Arc<dyn BusView>,
    keys: Keys,
}

impl BusMonitor {
    /// Connects to the bus of a config.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: a setting is wrong, or there is no connection.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        Ok(Self {
            view: open_view(config).await?,
            keys: config.keys(),
        })
    }

    /// This monitor for another node of the namespace, over the same connection. In a
    /// [fleet](Config::fleet) a node is a member.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: no node can have the name.
    pub fn of_node(&self, node: impl AsRef<str>) -> Result<Self, ConfigError> {
        check_name("the node", node.as_ref())?;
        Ok(Self {
            view: self.view.clone(),
            keys: self.keys.of(node.as_ref()),
        })
    }

    /// The node that the methods are about.
    pub fn node(&self) -> &str {
        self.keys.node()
    }

    /// Measures the way to the bus and back, and compares its clock with that of this process.
    ///
    /// # Errors
    ///
    /// [`MonitorError`], as for all methods.
    pub async fn round_trip(&self) -> Result<RoundTrip, MonitorError> {
        let (sent, started) = (SystemTime::now(), Instant::now());
        let now = self.view.time().await?;
        let elapsed = started.elapsed();
        let here = sent + elapsed / 2;
        let (clock_offset, clock_is_ahead) = match time(now).duration_since(here) {
            Ok(ahead) => (ahead, true),
            Err(error) => (error.duration(), false),
        };
        Ok(RoundTrip {
            elapsed,
            clock_offset,
            clock_is_ahead,
        })
    }

    /// Reads the version, the role and the settings of the server; `None` if the bus has none.
    ///
    /// # Errors
    ///
    /// [`MonitorError`]: the user needs `+info`. Where it may not call `ACL WHOAMI` and `CONFIG GET`, fields are
    /// empty.
    pub async fn server(&self) -> Result<Option<ServerStatus>, MonitorError> {
        Ok(self.view.server().await?.map(ServerStatus::from))
    }

    /// Reads the lease of the node, also of a process that does not serve yet; `None` if no process has it.
    ///
    /// # Errors
    ///
    /// [`MonitorError`]: the user needs `+get` for the lease, and `+pttl` for the time that remains.
    pub async fn lease(&self) -> Result<Option<LeaseStatus>, MonitorError> {
        Ok(self.view.lease(&self.keys).await?.map(LeaseStatus::from))
    }

    /// The number of requests that wait in the inbox of the process with this epoch.
    ///
    /// # Errors
    ///
    /// [`MonitorError`]: the user needs `+llen` for inboxes.
    pub async fn inbox_len(&self, epoch: u64) -> Result<u64, MonitorError> {
        Ok(self.view.inbox_len(&self.keys, Epoch(epoch)).await?)
    }

    /// Counts the durable messages of the node.
    ///
    /// # Errors
    ///
    /// [`MonitorError`]: the user needs `+xlen` for the stream and `+zcard` for delayed messages; for the
    /// rest `+xrange +xpending`, without which it is [not readable](DurableStatus::is_readable).
    pub async fn durable(&self) -> Result<DurableStatus, MonitorError> {
        let facts = self.view.stream(&self.keys).await?;
        let entries = facts.entries.unwrap_or_default();
        Ok(DurableStatus {
            stored: facts.stored,
            delayed: facts.delayed,
            is_readable: facts.entries.is_some(),
            oldest: entries.oldest.map(stored_at),
            in_progress: entries.claimed,
        })
    }

    /// Lists stored durable messages, the oldest first: 100 unless [`limit`](ListDurable::limit) sets another
    /// number. Messages that wait for their due times are not among them.
    ///
    /// # Errors
    ///
    /// [`MonitorError`]: the user needs `+xrange` for the stream.
    pub fn list_durable(&self) -> ListDurable {
        ListDurable::new(self.clone())
    }

    /// Counts the dead letters of the node; [`DeadLetters`](crate::durable::DeadLetters) has them.
    ///
    /// # Errors
    ///
    /// [`MonitorError`]: the user needs `+xlen` for dead letters; for the oldest one `+xrange`, without which it
    /// is [not readable](DeadLetterStatus::is_readable).
    pub async fn dead_letters(&self) -> Result<DeadLetterStatus, MonitorError> {
        let facts = self.view.dead_letters(&self.keys).await?;
        Ok(DeadLetterStatus {
            stored: facts.stored,
            is_readable: facts.is_readable,
            oldest: facts.oldest.map(stored_at),
        })
    }

    /// Lists the members of the fleet, in the order in which they joined. One that was killed is listed
    /// until other members have removed it; its node has no [lease](Self::lease) then.
    ///
    /// # Errors
    ///
    /// [`MonitorError`]: the user needs `+hgetall` for the map of the fleet.
    pub async fn members(&self) -> Result<Vec<MemberEntry>, MonitorError> {
        let members = self.view.members().await?;
        Ok(members.into_iter().map(MemberEntry::from).collect())
    }
}

impl fmt::Debug for BusMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusMonitor")
            .field("node", &self.node())
            .finish_non_exhaustive()
    }
}

/// The error of reading the state of a bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The user of Redis lacks the right, which the text names.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// The bus is unavailable, or does not answer.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
}

impl From<TransportError> for MonitorError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NotPermitted(reason) => Self::NotPermitted(reason),
            TransportError::NotDone(reason) | TransportError::Unknown(reason) => {
                Self::Unavailable(reason)
            }
        }
    }
}

/// The time at which an entry was appended.
fn stored_at(id: EntryId) -> SystemTime {
    time(ServerTime(id.0))
}

fn time(time: ServerTime) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(time.0))
        .unwrap_or(UNIX_EPOCH)
}
