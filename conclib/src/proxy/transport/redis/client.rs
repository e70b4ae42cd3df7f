//! A client's end.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, KeysInterface, ListInterface};
use fred::types::{Resp3Frame, Value};
use tokio::sync::mpsc;

use super::connection::{Connection, command};
use super::settings::{Duty, Settings};
use super::{COMMAND, accepted, failure, into_array, into_bytes, reason, unexpected};
use crate::proxy::config::{Config, RedisAddress};
use crate::proxy::transport::{
    BusTime, ClientEnd, ClientTransport, Enqueued, Epoch, Lease, Names, OpenError, TransportError,
};
use crate::responder::ClientId;

/// More replies than this never wait, however many asks are in flight: the library allocates its
/// room in advance, about 600 bytes each.
const MAX_WAITING: usize = 16_384;

/// A client's end of Redis.
pub(crate) struct Client {
    names: Names,
    requests: Connection,
    /// Its payloads go straight to the receiver that came with the client.
    replies: Connection,
}

impl Client {
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
        client: ClientId,
        in_flight: usize,
    ) -> Result<ClientEnd, OpenError> {
        let names = Names::new(config);
        let (sender, receiver) = mpsc::channel(in_flight.clamp(1, MAX_WAITING));
        let subscription = Duty::Replies {
            channel: names.reply(client),
            replies: sender,
        };
        let open = |duty| Connection::open(Settings::new(address, config, duty));
        let (requests, replies) = tokio::try_join!(open(Duty::Commands), open(subscription))?;
        let client = Self {
            names,
            requests,
            replies,
        };
        Ok((Arc::new(client), receiver))
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
        Ok((read_lease(lease)?, read_time(time)?))
    }

    async fn enqueue(&self, epoch: Epoch, frames: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        if frames.is_empty() {
            return Err(TransportError::NotDone("the batch is empty".to_owned()));
        }
        // An answer could not come in.
        self.replies.link()?;
        let link = self.requests.link()?;
        let given = link.within(COMMAND);
        // Three commands rather than a pipeline, which would be written in three parts: of these,
        // the last one alone makes the library write. Each is given to it in its turn.
        let batch = async {
            tokio::join!(
                biased;
                given.get::<Option<Bytes>, _>(self.names.lease()),
                given.rpush::<u64, _, _>(self.names.inbox(epoch), frames),
                given.custom_raw(command("TIME"), Vec::<Value>::new()),
            )
        };
        let (lease, length, time) = link.run(Box::pin(batch)).await?;
        let length = length.map_err(|error| refused(&error, time.is_ok()))?;
        Ok(Enqueued {
            lease: read_lease(lease)?,
            length,
            now: read_time(time)?,
        })
    }

    async fn close(&self) {
        self.requests.close();
        self.replies.close();
    }
}

/// What a failed push means. Replies come in order: if there was one to the command after it,
/// this was one too (or the push was never written). Only a timeout says nothing.
fn refused(error: &Error, next_was_answered: bool) -> TransportError {
    match error.kind() {
        ErrorKind::Timeout => failure(error),
        // The library ends the connection when it reads that the cluster is down; everything
        // behind that reply met the same.
        ErrorKind::Cluster => TransportError::NotDone(reason(error)),
        _ if next_was_answered => TransportError::NotDone(reason(error)),
        _ => failure(error),
    }
}

/// By now the batch may have been done, so that nothing here is certain to be not done.
fn read_lease(reply: Result<Option<Bytes>, Error>) -> Result<Option<Lease>, TransportError> {
    let Some(bytes) = reply.map_err(|error| TransportError::Unknown(reason(&error)))? else {
        return Ok(None);
    };
    match Lease::decode(&bytes) {
        Ok(lease) => Ok(Some(lease)),
        Err(error) => {
            tracing::warn!(%error, "the lease cannot be read: treated as none");
            Ok(None)
        }
    }
}

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
