//! The Redis that the connections of one end go to, and the purpose of each connection.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::bus::config::{Access, Config, RedisAddress, ServerLocation};
use crate::bus::link::health::Health;
use crate::bus::redis::{Unreachable, sentinel};
use crate::bus::transport::fleet::ServerIdentity;
use crate::bus::transport::{ReplySink, ServerNumber};

/// The purpose of a connection.
#[derive(Clone)]
pub(super) enum ConnectionRole {
    /// Commands that Redis answers at once.
    Commands,
    /// Pops, which block: no heartbeat, since it would wait behind them.
    Pops,
    /// Published replies.
    Publish,
    /// The subscription to a client's replies.
    Replies {
        channel: String,
        /// The channel of changes of the map, in a fleet.
        map_changes: Option<String>,
        /// Receives the payloads of the first channel, and notices of the second one.
        sink: Arc<dyn ReplySink>,
    },
    /// Durable messages that a client stores.
    Durable,
    /// Reads of durable messages, which block as pops do.
    DurableReads,
}

impl ConnectionRole {
    /// The role's name in logs, `CLIENT LIST`, and connection states.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Pops => "pops",
            Self::Publish => "publish",
            Self::Replies { .. } => "replies",
            Self::Durable | Self::DurableReads => "durable",
        }
    }

    /// True if a server that was demoted sends it no error: such a connection would stay there.
    pub(super) fn hears_no_error(&self) -> bool {
        matches!(self, Self::Publish | Self::Replies { .. })
    }

    /// True if an idle connection is tested by heartbeats.
    pub(super) fn has_heartbeat(&self) -> bool {
        !matches!(self, Self::Pops | Self::DurableReads)
    }
}

/// The last time that the server was left.
#[derive(Default, Clone)]
pub(super) struct Departure {
    at: Option<Instant>,
    pub(super) cause: DepartureCause,
    pub(super) why: String,
}

/// The cause for leaving a server whose connections work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum DepartureCause {
    /// It has said that it is the wrong one.
    #[default]
    WrongServer,
    /// No actor system serves there: one may serve on another that has taken its place.
    NoActorSystem,
}

/// The size of a reply, such as the frames of a pop, unless a single message may be as large.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// Time within which errors of the wrong server count as one.
const ONE_DEPARTURE: Duration = Duration::from_millis(20);

/// The Redis that all connections of one end go to.
pub(super) struct Endpoint {
    pub(super) address: RedisAddress,
    /// Files with credentials and certificates.
    pub(super) access: Access,
    /// The size of a reply, in bytes: what is beyond is cut.
    pub(super) max_reply: usize,
    /// Time that a lease lasts after its last renewal.
    lease: Duration,
    /// The beginning of the connections' names in `CLIENT LIST`.
    name: String,
    /// Receives reports of connections that are lost and made again.
    pub(super) health: Arc<Health>,
    departures: watch::Sender<Departure>,
    /// The moment at which a connection was lost that has been made again since.
    replaced: watch::Sender<Option<Instant>>,
    /// Notified when a connection was made again.
    pub(super) reached: Notify,
    /// The server that was popped from last, for a member of a fleet.
    popped_from: Option<Mutex<(ServerIdentity, ServerNumber)>>,
}

impl Endpoint {
    pub(super) fn new(address: &RedisAddress, config: &Config, health: Arc<Health>) -> Self {
        Self {
            address: address.clone(),
            access: config.access.clone(),
            max_reply: config.max_message_size.saturating_mul(2).max(MAX_REPLY),
            lease: config.lease_duration,
            name: format!("conclib:{}:{}", config.namespace, config.node),
            health,
            departures: watch::Sender::default(),
            replaced: watch::Sender::default(),
            reached: Notify::new(),
            popped_from: config.is_in_fleet().then(Mutex::default),
        }
    }

    /// True if a connection of this role is to tell which server it leads to.
    pub(super) fn identifies_server(&self, role: &ConnectionRole) -> bool {
        matches!(role, ConnectionRole::Pops) && self.popped_from.is_some()
    }

    /// The number of the server that a connection for pops leads to. One that hides its identity is another one each
    /// time.
    pub(super) fn number_of(&self, identity: ServerIdentity) -> ServerNumber {
        let Some(popped_from) = &self.popped_from else {
            return ServerNumber::default();
        };
        let (known, number) = &mut *popped_from.lock();
        if identity == ServerIdentity::default() || *known != identity {
            *known = identity;
            number.0 += 1;
        }
        *number
    }

    /// The name of a connection in `CLIENT LIST`.
    pub(super) fn connection_name(&self, role: &ConnectionRole) -> String {
        format!("{}:{}", self.name, role.name())
    }

    pub(super) fn unreachable(&self, reason: String) -> Unreachable {
        Unreachable {
            address: self.address.location.to_string(),
            reason,
        }
    }

    /// The server to connect to now, with user and password; returns the problem in words on failure.
    /// For each connection files are read, and Sentinels asked, so that a change counts for the next
    /// one.
    pub(super) async fn server(&self) -> Result<RedisAddress, String> {
        let (mut server, access) = (self.address.clone(), self.access.clone());
        if !access.is_empty() {
            let read = tokio::task::spawn_blocking(move || access.with_secrets(&server));
            server = read.await.unwrap_or_else(|error| Err(error.to_string()))?;
        }
        if let ServerLocation::Sentinels(sentinels) = &server.location {
            let primary = sentinel::primary(sentinels, server.tls, &self.access).await?;
            if let Some(warning) = primary.warning(self.lease)
                && self.health.warns_first()
            {
                tracing::warn!(service = sentinels.service, "{warning}");
            }
            server.location = ServerLocation::Tcp(primary.node);
        }
        Ok(server)
    }

    /// Looks at an error of Redis: if it says that this server is the wrong one, all connections of
    /// this end are made anew. (The subscription would hear no error.)
    pub(super) fn note_error(&self, line: &[u8]) {
        if !says_wrong_server(line) {
            return;
        }
        let why = String::from_utf8_lossy(line);
        if self.leave(DepartureCause::WrongServer, &why) {
            let address = &self.address.location;
            tracing::warn!(%address, %why, "this Redis is the wrong one: connecting anew");
        }
    }

    /// Ends all connections of this end: each is made anew, with the address resolved again. False if
    /// that has just been done.
    pub(super) fn leave(&self, cause: DepartureCause, why: &str) -> bool {
        // One error comes on several connections, or in many replies.
        self.departures.send_if_modified(|departure| {
            let is_news = departure.at.is_none_or(|at| at.elapsed() >= ONE_DEPARTURE);
            if is_news {
                *departure = Departure {
                    at: Some(Instant::now()),
                    cause,
                    why: why.to_owned(),
                };
            }
            is_news
        })
    }

    /// Notes that a connection was made again, which may lead to another server now.
    pub(super) fn note_replaced(&self, lost: Instant) {
        self.replaced.send_replace(Some(lost));
    }

    pub(super) fn replaced(&self) -> watch::Receiver<Option<Instant>> {
        self.replaced.subscribe()
    }

    pub(super) fn departures(&self) -> watch::Receiver<Departure> {
        self.departures.subscribe()
    }
}

/// Waits until the server is left.
pub(super) async fn departed(departures: &mut watch::Receiver<Departure>) -> Departure {
    match departures.changed().await {
        Ok(()) => departures.borrow().clone(),
        // The end is dropped, and its connections with it.
        Err(_) => std::future::pending().await,
    }
}

/// True for an error by which a server says that it does not own the data, or not yet or no longer.
fn says_wrong_server(line: &[u8]) -> bool {
    const SIGNS: [&[u8]; 5] = [
        b"READONLY ",
        b"MOVED ",
        b"UNBLOCKED force ", // demoted; another follows an administrator's CLIENT UNBLOCK
        b"LOADING ",
        b"MASTERDOWN ",
    ];
    // Redis 6 puts the errors of a script's commands behind words of its own.
    const IN_SCRIPT: &[u8] = b"-READONLY ";
    SIGNS.iter().any(|sign| line.starts_with(sign))
        || (line.starts_with(b"ERR Error running script")
            && line.windows(IN_SCRIPT.len()).any(|part| part == IN_SCRIPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_wrong_server_are_recognised() {
        for line in [
            "READONLY You can't write against a read only replica.",
            "READONLY You can't write against a read only replica. script: abc, on @user_script:1.",
            "MOVED 866 127.0.0.1:7001",
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            "LOADING Redis is loading the dataset in memory",
            "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't",
        ] {
            assert!(says_wrong_server(line.as_bytes()), "{line}");
        }
        for line in [
            "UNBLOCKED client unblocked via CLIENT UNBLOCK",
            "NOPERM this user has no permissions",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "ERR unknown command 'XADD', with args beginning with: 'READONLY '",
            "NOREPLICAS Not enough good replicas to write.",
        ] {
            assert!(!says_wrong_server(line.as_bytes()), "{line}");
        }
    }
}
