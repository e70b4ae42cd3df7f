//! A client's end of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::bus::config::{Config, RedisAddress, Role};
use crate::bus::keys::Keys;
use crate::bus::link::health::Health;
use crate::bus::redis::connection::Connection;
use crate::bus::redis::endpoint::{ConnectionRole, DepartureCause, Endpoint};
use crate::bus::redis::fleet::MapReader;
use crate::bus::redis::library::{LibraryLink, LibrarySession};
use crate::bus::redis::replicas::ReplicaWatch;
use crate::bus::redis::resp::{Commands, Driver, Link, RedisReply, ReplyTimeout};
use crate::bus::redis::{COMMAND, Unreachable, lease, start_check};
use crate::bus::transport::fleet::{FleetView, MapVersion, Members, NameOwners};
use crate::bus::transport::{
    ClientTransport, Copies, Enqueued, Epoch, Frame, LeaseRecord, ReplySink, ServerTime,
    TransportError,
};
use crate::reply::remote::ClientId;
use crate::time::coarse::CoarseInstant;
use crate::urn::Urn;

/// Interval at which a batch asks for Redis' time. Clocks drift apart by less than a millisecond
/// meanwhile. A clock that was set while no batch was sent is noticed with the next one.
const TIME_EVERY: Duration = Duration::from_millis(250);

const TIMEOUT: ReplyTimeout = ReplyTimeout::at_once(COMMAND);

/// A client's end of Redis.
pub(crate) struct RedisClient {
    pub(super) keys: Keys,
    map: MapReader,
    /// The replicas of the server, for a client of a fleet.
    replicas: ReplicaWatch,
    requests: Connection<Driver>,
    /// The subscription; its payloads go straight to the client's sink.
    replies: Connection<Driver>,
    /// The connection for durable messages, from the first one on. It is no part of the client's
    /// state: without it other requests are sent all the same.
    durable: OnceCell<Connection<LibrarySession>>,
    durable_endpoint: Arc<Endpoint>,
    endpoint: Arc<Endpoint>,
    /// The moment of the last batch that asked for the time, as the bits of a [`CoarseInstant`]; zero for none.
    time_asked: AtomicU64,
}

impl RedisClient {
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
        health: &Arc<Health>,
    ) -> Result<Self, Unreachable> {
        let keys = config.keys();
        let sink = Arc::downgrade(&replies);
        let subscription = ConnectionRole::Replies {
            channel: keys.reply(client),
            map_changes: config.map_changes(),
            sink: replies,
        };
        let endpoint = Arc::new(Endpoint::new(address, config, health.clone()));
        let (requests, replies) = tokio::try_join!(
            Connection::open(&endpoint, ConnectionRole::Commands),
            Connection::open(&endpoint, subscription),
        )?;
        let replicas = ReplicaWatch::default();
        let proven = async {
            let link = requests.link()?;
            start_check::prove_asking(&link, &keys).await?;
            if config.is_in_fleet() {
                start_check::prove_looking_up(&link, &keys).await?;
                replicas.prove(&link).await?;
            }
            Ok(())
        };
        proven.await.map_err(|error| {
            let reason = start_check::explained(&error, &endpoint, config, Role::Client);
            endpoint.unreachable(reason)
        })?;
        Ok(Self {
            map: MapReader::new(
                keys.clone(),
                Box::new(move |problem| {
                    if let Some(sink) = sink.upgrade() {
                        sink.unreadable_member(problem);
                    }
                }),
            ),
            replicas,
            keys,
            requests,
            replies,
            durable: OnceCell::new(),
            durable_endpoint: Arc::new(Endpoint::new(address, config, Arc::default())),
            endpoint,
            time_asked: AtomicU64::new(0),
        })
    }

    /// The link for durable messages.
    pub(super) async fn durable(&self) -> Result<LibraryLink, TransportError> {
        let open = || Connection::open(&self.durable_endpoint, ConnectionRole::Durable);
        let opened = self.durable.get_or_try_init(open).await;
        opened
            .map_err(|error| TransportError::NotDone(error.to_string()))?
            .link()
    }
}

#[async_trait]
impl ClientTransport for RedisClient {
    async fn lease(
        &self,
        node: &Keys,
    ) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        let link = self.requests.link()?;
        let replies = link.exchange(TIMEOUT, |commands| {
            commands.begin("GET", 1).text(&node.lease());
            commands.begin("TIME", 0);
        });
        let Ok([lease, time]) = <[RedisReply; 2]>::try_from(replies.await?) else {
            return Err(link.unexpected());
        };
        let lease = lease::read(lease)?.and_then(LeaseRecord::serving);
        Ok((lease, read_time(&link, time)?))
    }

    async fn enqueue(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> Result<Enqueued, TransportError> {
        if frames.is_empty() {
            return Err(TransportError::NotDone("the batch is empty".to_owned()));
        }
        // Without a subscription no reply could come in.
        self.replies.link()?;
        let link = self.requests.link()?;
        let asks_time = self.asks_time();
        let replies = link.exchange(TIMEOUT, |commands| {
            commands.begin("GET", 1).text(&node.lease());
            commands.begin("RPUSH", 1 + frames.len());
            commands.text(&node.inbox(epoch));
            for frame in &frames {
                commands.frame(frame);
            }
            if asks_time {
                commands.begin("TIME", 0);
            }
        });
        let mut replies = replies.await?.into_iter();
        let (Some(lease), Some(length)) = (replies.next(), replies.next()) else {
            return Err(link.unexpected());
        };
        let length = length.accepted()?;
        let length = length.as_u64().ok_or_else(|| link.unexpected())?;
        Ok(Enqueued {
            lease: lease::read(lease)?.and_then(LeaseRecord::serving),
            length,
            now: replies
                .next()
                .map(|time| read_time(&link, time))
                .transpose()?,
        })
    }

    async fn take_back(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
        copies: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        let inbox = node.inbox(epoch);
        let count = match copies {
            Copies::One => 1,
            Copies::Any => 0, // all of them
        };
        let remove = |commands: &mut Commands<'_>| {
            for frame in &frames {
                commands
                    .begin("LREM", 3)
                    .text(&inbox)
                    .number(count)
                    .frame(frame);
            }
        };
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.requests.link()?.exchange(TIMEOUT, remove).await?;
        let was_there = |reply: RedisReply| reply.as_u64().is_some_and(|count| count > 0);
        Ok(replies.into_iter().map(was_there).collect())
    }

    async fn prove_writable(&self) -> Result<(), TransportError> {
        start_check::prove_writable(&self.requests.link()?, &self.keys).await
    }

    async fn are_writes_replicated(&self) -> Result<bool, TransportError> {
        self.replicas.confirm(&self.requests.link()?).await
    }

    fn reconnect(&self, why: &str) {
        for endpoint in [&self.endpoint, &self.durable_endpoint] {
            endpoint.leave(DepartureCause::NoActorSystem, why);
        }
        tracing::debug!(why, "connecting anew");
    }

    async fn close(&self) {
        self.requests.close();
        self.replies.close();
        if let Some(durable) = self.durable.get() {
            durable.close();
        }
    }
}

#[async_trait]
impl FleetView for RedisClient {
    async fn version(&self) -> Result<MapVersion, TransportError> {
        let link = self.requests.link()?;
        let (version, ()) = tokio::join!(self.map.version(&link), self.replicas.refresh(&link));
        version
    }

    async fn members(&self) -> Result<Members, TransportError> {
        let link = self.requests.link()?;
        let (members, ()) = tokio::join!(self.map.members(&link), self.replicas.refresh(&link));
        members
    }

    async fn look_up(&self, names: &[Urn]) -> Result<NameOwners, TransportError> {
        self.map.look_up(&self.requests.link()?, names).await
    }
}

impl RedisClient {
    /// True if the next batch is to ask for the time; notes that it does.
    fn asks_time(&self) -> bool {
        let last = CoarseInstant::from_bits(self.time_asked.load(Ordering::Relaxed));
        let asks = last == CoarseInstant::default() || last.elapsed() >= TIME_EVERY;
        if asks {
            self.time_asked
                .store(CoarseInstant::now().to_bits(), Ordering::Relaxed);
        }
        asks
    }
}

/// The time in a reply. The batch before it may have been executed, so that no error here is
/// [`TransportError::NotDone`].
pub(super) fn read_time(link: &Link, reply: RedisReply) -> Result<ServerTime, TransportError> {
    if let RedisReply::Error(line) = reply {
        let text = String::from_utf8_lossy(&line);
        return Err(TransportError::Unknown(text.into_owned()));
    }
    parse_time(reply).ok_or_else(|| link.unexpected())
}

/// Reads seconds and microseconds, which are two texts.
fn parse_time(reply: RedisReply) -> Option<ServerTime> {
    let mut parts = reply.into_array()?.into_iter().map(|part| {
        let digits = part.into_bytes()?;
        std::str::from_utf8(&digits).ok()?.parse::<u64>().ok()
    });
    let (seconds, micros) = (parts.next()??, parts.next()??);
    seconds
        .checked_mul(1000)?
        .checked_add(micros / 1000)
        .map(ServerTime)
}
