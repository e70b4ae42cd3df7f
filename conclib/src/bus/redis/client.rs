//! A client's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{Resp3Frame, Value};

use crate::bus::config::{Config, RedisAddress};
use crate::bus::link::health::Health;
use crate::bus::redis::connection::{Connection, command};
use crate::bus::redis::lease;
use crate::bus::redis::settings::{Duty, Settings};
use crate::bus::redis::stream::pipeline;
use crate::bus::redis::{
    COMMAND, accepted, failure, into_array, into_bytes, into_u64, reason, unexpected,
};
use crate::bus::transport::{
    BusTime, ClientTransport, Enqueued, Epoch, Lease, Names, OpenError, ReplySink, TransportError,
};
use crate::reply::remote::ClientId;
use crate::time::coarse::CoarseInstant;

/// How often the bus' time is asked for along with a batch. Clocks drift apart by less than a
/// millisecond meanwhile. A clock that was set while nothing was sent is noticed with the first batch.
const TIME_EVERY: Duration = Duration::from_millis(250);

/// A client's end of Redis.
pub(crate) struct Client {
    pub(super) names: Names,
    pub(super) requests: Connection,
    /// Its payloads go straight to whoever opened the client.
    replies: Connection,
    /// When the bus' time was last asked for, as the bits of a [`CoarseInstant`]; zero for never.
    time_asked: AtomicU64,
}

impl Client {
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
        health: &Arc<Health>,
    ) -> Result<Arc<dyn ClientTransport>, OpenError> {
        let names = Names::new(config);
        let subscription = Duty::Replies {
            channel: names.reply(client),
            replies,
        };
        let open = |duty| Connection::open(Settings::new(address, config, duty), health.clone());
        let (requests, replies) = tokio::try_join!(open(Duty::Commands), open(subscription))?;
        let client = Self {
            names,
            requests,
            replies,
            time_asked: AtomicU64::new(0),
        };
        Ok(Arc::new(client))
    }
}

#[async_trait]
impl ClientTransport for Client {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        let link = self.requests.link()?;
        let given = link.within(COMMAND);
        let both = async {
            tokio::join!(
                biased;
                given.get::<Option<Bytes>, _>(self.names.lease()),
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
        // An answer could not come in.
        self.replies.link()?;
        let link = self.requests.link()?;
        let given = link.within(COMMAND);
        let mut arguments = Vec::with_capacity(1 + frames.len());
        arguments.push(Value::from(self.names.inbox(epoch)));
        arguments.extend(frames.into_iter().map(Value::Bytes));
        let asks_time = self.asks_time();
        // Single commands rather than a pipeline, which would be written in parts: of these, the
        // last one alone makes the library write. Each is given to it in its turn.
        let batch = async {
            tokio::join!(
                biased;
                given.get::<Option<Bytes>, _>(self.names.lease()),
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
        let inbox = || Value::from(self.names.inbox(epoch));
        // All there are: it may have been sent twice.
        let commands = frames
            .into_iter()
            .map(|frame| ("LREM", vec![inbox(), 0.into(), Value::Bytes(frame)]));
        let removed = async { pipeline(&self.requests.link()?, commands.collect()).await };
        if let Err(error) = removed.await {
            tracing::debug!(%error, "what was sent in vain was not taken back");
        }
    }

    async fn close(&self) {
        self.requests.close();
        self.replies.close();
    }
}

impl Client {
    /// Whether it is time to ask for the bus' time again.
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

/// What it means that there was no reply to a push, not even an error.
fn unanswered(error: &Error) -> TransportError {
    match error.kind() {
        // The library ends the connection when it reads that the cluster is down; everything
        // behind that reply met the same.
        ErrorKind::Cluster => TransportError::NotDone(reason(error)),
        _ => failure(error),
    }
}

/// By now the batch may have been done, so that nothing here is certain to be not done.
fn read_time(reply: Result<Resp3Frame, Error>) -> Result<BusTime, TransportError> {
    let reply = reply.map_err(|error| TransportError::Unknown(reason(&error)))?;
    let reply = accepted(reply).map_err(|error| TransportError::Unknown(error.to_string()))?;
    parse_time(reply).ok_or_else(unexpected)
}

/// Seconds and microseconds, as two texts.
fn parse_time(reply: Resp3Frame) -> Option<BusTime> {
    let mut parts = into_array(reply)?.into_iter().map(|part| {
        let digits = into_bytes(part)?;
        std::str::from_utf8(&digits).ok()?.parse::<u64>().ok()
    });
    let (seconds, micros) = (parts.next()??, parts.next()??);
    seconds
        .checked_mul(1000)?
        .checked_add(micros / 1000)
        .map(BusTime)
}
