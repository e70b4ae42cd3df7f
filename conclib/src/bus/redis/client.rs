//! A client's end of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{Resp3Frame, Value};

use crate::bus::config::{Config, RedisAddress};
use crate::bus::keys::Keys;
use crate::bus::link::health::Health;
use crate::bus::redis::connection::{Connection, command};
use crate::bus::redis::lease;
use crate::bus::redis::settings::{ConnectionRole, Settings};
use crate::bus::redis::stream::pipeline;
use crate::bus::redis::{
    COMMAND, Unreachable, accepted, failure, into_array, into_bytes, into_u64, reason, unexpected,
};
use crate::bus::transport::{
    ClientTransport, Enqueued, Epoch, Lease, ReplySink, ServerTime, TransportError,
};
use crate::reply::remote::ClientId;
use crate::time::coarse::CoarseInstant;

/// Interval at which a batch asks for Redis' time. Clocks drift apart by less than a millisecond
/// meanwhile. A clock that was set while no batch was sent is noticed with the next one.
const TIME_EVERY: Duration = Duration::from_millis(250);

/// A client's end of Redis.
pub(crate) struct RedisClient {
    pub(super) keys: Keys,
    pub(super) requests: Connection,
    /// The subscription; its payloads go straight to the client's sink.
    replies: Connection,
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
        let subscription = ConnectionRole::Replies {
            channel: keys.reply(client),
            replies,
        };
        let open = |role| Connection::open(Settings::new(address, config, role), health.clone());
        let (requests, replies) =
            tokio::try_join!(open(ConnectionRole::Commands), open(subscription))?;
        Ok(Self {
            keys,
            requests,
            replies,
            time_asked: AtomicU64::new(0),
        })
    }
}

#[async_trait]
impl ClientTransport for RedisClient {
    async fn lease(&self) -> Result<(Option<Lease>, ServerTime), TransportError> {
        let link = self.requests.link()?;
        let given = link.within(COMMAND);
        let both = async {
            tokio::join!(
                biased;
                given.get::<Option<Bytes>, _>(self.keys.lease()),
                given.custom_raw(command("TIME"), Vec::<Value>::new()),
            )
        };
        let (lease, time) = link.run(Box::pin(both)).await?;
        Ok((lease::read(lease)?, read_time(time)?))
    }

    async fn enqueue(&self, epoch: Epoch, frames: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        if frames.is_empty() {
            return Err(TransportError::NotDone("the batch is empty".to_owned()));
        }
        // Without a subscription no reply could come in.
        self.replies.link()?;
        let link = self.requests.link()?;
        let given = link.within(COMMAND);
        let mut arguments = Vec::with_capacity(1 + frames.len());
        arguments.push(Value::from(self.keys.inbox(epoch)));
        arguments.extend(frames.into_iter().map(Value::Bytes));
        let asks_time = self.asks_time();
        // Single commands rather than a pipeline, which would be written in parts: of these, only the
        // last one makes the library write. They are given to the library in this order.
        let batch = async {
            tokio::join!(
                biased;
                given.get::<Option<Bytes>, _>(self.keys.lease()),
                given.custom_raw(command("RPUSH"), arguments),
                async {
                    if asks_time {
                        let time = given.custom_raw(command("TIME"), Vec::<Value>::new());
                        Some(time.await)
                    } else {
                        None
                    }
                },
            )
        };
        let (lease, length, time) = link.run(Box::pin(batch)).await?;
        let length = length.map_err(|error| unanswered(&error))?;
        let length = into_u64(&accepted(length)?).ok_or_else(unexpected)?;
        Ok(Enqueued {
            lease: lease::read(lease)?,
            length,
            now: time.map(read_time).transpose()?,
        })
    }

    async fn take_back(&self, epoch: Epoch, frames: Vec<Bytes>) {
        let inbox = || Value::from(self.keys.inbox(epoch));
        // Every copy: a frame may have been sent twice.
        let commands = frames
            .into_iter()
            .map(|frame| ("LREM", vec![inbox(), 0.into(), Value::Bytes(frame)]));
        let removed = async { pipeline(&self.requests.link()?, commands.collect()).await };
        if let Err(error) = removed.await {
            tracing::debug!(%error, "could not take requests back from the inbox of a former epoch; it expires");
        }
    }

    async fn close(&self) {
        self.requests.close();
        self.replies.close();
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

/// The error of a push that got no reply, not even an error.
fn unanswered(error: &Error) -> TransportError {
    match error.kind() {
        // The library ends the connection when it reads that the cluster is down; every command
        // behind that reply met the same error.
        ErrorKind::Cluster => TransportError::NotDone(reason(error)),
        _ => failure(error),
    }
}

/// The time in a reply. The batch before it may have been executed, so that no error here is
/// [`TransportError::NotDone`].
fn read_time(reply: Result<Resp3Frame, Error>) -> Result<ServerTime, TransportError> {
    let reply = reply.map_err(|error| TransportError::Unknown(reason(&error)))?;
    let reply = accepted(reply).map_err(|error| TransportError::Unknown(error.to_string()))?;
    parse_time(reply).ok_or_else(unexpected)
}

/// Reads seconds and microseconds, which are two texts.
fn parse_time(reply: Resp3Frame) -> Option<ServerTime> {
    let mut parts = into_array(reply)?.into_iter().map(|part| {
        let digits = into_bytes(part)?;
        std::str::from_utf8(&digits).ok()?.parse::<u64>().ok()
    });
    let (seconds, micros) = (parts.next()??, parts.next()??);
    seconds
        .checked_mul(1000)?
        .checked_add(micros / 1000)
        .map(ServerTime)
}
