//! Durable messages: a stream, read by a group of consumers.
//!
//! An entry of the stream holds the idempotency key (`k`) and the request frame (`f`); one of the
//! dead also how often it was delivered (`d`) and why it is dead (`r`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::Pipeline;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};
use tracing::debug;

use super::client::Client;
use super::connection::{Connection, Link, command};
use super::settings::{Duty, Settings};
use super::{COMMAND, accepted, failure, into_array, into_bytes, into_u64, reason, unexpected};
use crate::proxy::config::{Config, RedisAddress};
use crate::proxy::transport::durable::{
    ConsumeTransport, Dead, DeadTransport, Due, EntryId, Finished, KeepTransport, Kept, MAX_DEAD,
    ToKeep,
};
use crate::proxy::transport::{LEASE, Names, OpenError, TransportError};

/// The group of consumers.
const GROUP: &str = "conclib";

/// A consumer that has not been heard of for so long, and holds nothing, is forgotten: each proxy
/// that ever served was one.
const LONG_GONE: u64 = 24 * 60 * 60 * 1000;

#[async_trait]
impl KeepTransport for Client {
    async fn keep(&self, messages: Vec<ToKeep>) -> Result<u64, TransportError> {
        let stream = self.names.durable();
        let mut commands: Vec<_> = messages
            .into_iter()
            .map(|ToKeep { key, frame }| ("XADD", entry(&stream, key, frame)))
            .collect();
        commands.push(("XLEN", vec![stream.into()]));
        let mut replies = pipeline(&self.requests.link()?, commands).await?;
        let length = replies.pop().ok_or_else(unexpected)?;
        let refused = replies.iter().filter_map(|reply| reply.as_ref().err());
        if let Some(first) = refused.clone().next() {
            return Err(if refused.count() == replies.len() {
                TransportError::NotDone(reason(first))
            } else {
                TransportError::Unknown(reason(first))
            });
        }
        // Kept is kept, also for one who may not ask how much there is.
        Ok(length.ok().and_then(|length| length.as_u64()).unwrap_or(0))
    }

    async fn kept(&self) -> Result<u64, TransportError> {
        let stream = vec![self.names.durable().into()];
        let link = self.requests.link()?;
        let length = link.request("XLEN", stream, COMMAND).await?;
        into_u64(&length).ok_or_else(unexpected)
    }
}

/// A consumer's end.
pub(super) struct Consumer {
    names: Names,
    stream: String,
    /// Nobody else's.
    name: String,
    /// For reads alone, because nothing else is answered while one blocks.
    reads: Connection,
    /// The proxy's, for everything else.
    commands: Arc<Connection>,
}

impl Consumer {
    pub(super) fn new(names: Names, reads: Connection, commands: Arc<Connection>) -> Self {
        Self {
            stream: names.durable(),
            names,
            name: uuid::Uuid::new_v4().to_string(),
            reads,
            commands,
        }
    }

    /// One command about the stream and its group.
    async fn request(
        &self,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        let mut all = vec![self.stream.as_str().into(), GROUP.into()];
        all.extend(arguments);
        self.commands.link()?.request(name, all, COMMAND).await
    }

    /// Claims messages for this consumer.
    async fn claim(
        &self,
        ids: &[EntryId],
        idle: Duration,
        options: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        if ids.is_empty() {
            return Ok(Resp3Frame::Null);
        }
        let mut arguments = vec![self.name.as_str().into(), millis(idle)];
        arguments.extend(ids.iter().map(|id| id.to_string().into()));
        arguments.extend(options);
        self.request("XCLAIM", arguments).await
    }

    /// Removes consumers that are long gone from the group. Only who serves reads from it, so that
    /// none of them comes back meanwhile.
    async fn forget_the_gone(&self) -> Result<(), TransportError> {
        let consumers = self.request("XINFO CONSUMERS", Vec::new()).await?;
        for consumer in into_array(consumers).ok_or_else(unexpected)? {
            let mut facts = pairs(consumer).unwrap_or_default();
            let number = |fact: Option<&Resp3Frame>| fact.and_then(into_u64);
            let holds = number(facts.get("pending")).unwrap_or(u64::MAX);
            let idle = number(facts.get("idle")).unwrap_or(0);
            if let Some(name) = facts.remove("name").and_then(into_bytes)
                && holds == 0
                && idle >= LONG_GONE
            {
                let name = Value::Bytes(name);
                self.request("XGROUP DELCONSUMER", vec![name]).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl ConsumeTransport for Consumer {
    async fn prepare(&self) -> Result<(), TransportError> {
        let arguments = vec!["0".into(), "MKSTREAM".into()];
        match self.request("XGROUP CREATE", arguments).await {
            Err(TransportError::NotDone(why)) if why.starts_with("BUSYGROUP") => {}
            made => drop(made?),
        }
        if let Err(error) = self.forget_the_gone().await {
            debug!(%error, "consumers that are gone stay in the group");
        }
        Ok(())
    }

    async fn read(&self, count: u32, block: Duration) -> Result<Vec<Kept>, TransportError> {
        let link = self.reads.link()?;
        let mut arguments: Vec<Value> = vec![
            "GROUP".into(),
            GROUP.into(),
            self.name.as_str().into(),
            "COUNT".into(),
            i64::from(count.max(1)).into(),
        ];
        if !block.is_zero() {
            // 0 would be for ever.
            arguments.extend(["BLOCK".into(), millis(block.max(Duration::from_millis(1)))]);
        }
        arguments.extend(["STREAMS".into(), self.stream.as_str().into(), ">".into()]);
        let read = CustomCommand::new_static("XREADGROUP", ClusterHash::FirstKey, !block.is_zero());
        let client = link.within(block + LEASE);
        let reply = link
            .run(Box::pin(client.custom_raw(read, arguments)))
            .await?;
        let reply = reply.map_err(|error| {
            if *error.kind() == ErrorKind::Timeout {
                link.give_up();
            }
            failure(&error)
        })?;
        match accepted(reply)? {
            Resp3Frame::Null => Ok(Vec::new()),
            streams => {
                let stream = into_array(streams).and_then(|mut streams| streams.pop());
                let entries = stream
                    .and_then(into_array)
                    .and_then(|mut parts| parts.pop());
                entries.and_then(kept).ok_or_else(unexpected)
            }
        }
    }

    async fn due(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<Vec<Due>, TransportError> {
        let arguments = vec![
            "IDLE".into(),
            millis(idle),
            format!("({after}").into(),
            "+".into(),
            i64::from(count).into(),
        ];
        let pending = self.request("XPENDING", arguments).await?;
        due(pending).ok_or_else(unexpected)
    }

    async fn own(&self, after: EntryId, count: u32) -> Result<Vec<Due>, TransportError> {
        let arguments = vec![
            format!("({after}").into(),
            "+".into(),
            i64::from(count).into(),
            self.name.as_str().into(),
        ];
        let pending = self.request("XPENDING", arguments).await?;
        due(pending).ok_or_else(unexpected)
    }

    async fn take(&self, ids: &[EntryId], idle: Duration) -> Result<Vec<Kept>, TransportError> {
        match self.claim(ids, idle, Vec::new()).await? {
            Resp3Frame::Null => Ok(Vec::new()),
            taken => kept(taken).ok_or_else(unexpected),
        }
    }

    async fn touch(&self, ids: &[EntryId]) -> Result<(), TransportError> {
        let options = vec!["JUSTID".into()];
        self.claim(ids, Duration::ZERO, options).await.map(drop)
    }

    async fn lay_aside(
        &self,
        ids: &[EntryId],
        deliveries: u32,
        idle: Duration,
    ) -> Result<(), TransportError> {
        let options = vec![
            "IDLE".into(),
            millis(idle),
            "RETRYCOUNT".into(),
            i64::from(deliveries).into(),
            "JUSTID".into(),
        ];
        self.claim(ids, Duration::ZERO, options).await.map(drop)
    }

    async fn records(&self, names: Vec<String>) -> Result<Vec<Option<Bytes>>, TransportError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let keys = names.iter().map(|name| self.names.done(name).into());
        let link = self.commands.link()?;
        let records = link.request("MGET", keys.collect(), COMMAND).await?;
        let records = into_array(records).ok_or_else(unexpected)?;
        Ok(records.into_iter().map(into_bytes).collect())
    }

    async fn finish(
        &self,
        finished: Vec<Finished>,
        keep: Duration,
    ) -> Result<usize, TransportError> {
        let (ids, records): (Vec<_>, Vec<_>) = finished
            .into_iter()
            .map(|Finished { id, record }| (id, record))
            .unzip();
        let mut commands: Vec<_> = records
            .into_iter()
            .flatten()
            .map(|(name, record)| {
                let key = self.names.done(&name).into();
                let set = vec![key, Value::Bytes(record), "PX".into(), millis(keep)];
                ("SET", set)
            })
            .collect();
        let records = commands.len();
        commands.extend(self.removal(&ids));
        let replies = pipeline(&self.commands.link()?, commands).await?;
        let (records, removal) = replies.split_at(records);
        if let Some(Err(error)) = removal.iter().find(|reply| reply.is_err()) {
            return Err(TransportError::NotDone(reason(error)));
        }
        Ok(records.iter().filter(|reply| reply.is_err()).count())
    }

    async fn bury(&self, dead: Dead) -> Result<u64, TransportError> {
        let Dead {
            id,
            key,
            frame,
            deliveries,
            reason: why,
        } = dead;
        let grave = self.names.dead();
        let mut arguments = entry(&grave, key, frame);
        arguments.extend(["d".into(), deliveries.to_string().into()]);
        arguments.extend(["r".into(), why.into()]);
        // Nothing is removed before it certainly lies there.
        let link = self.commands.link()?;
        link.request("XADD", arguments, COMMAND).await?;
        let most = MAX_DEAD.to_string().into();
        let trim = vec![grave.into(), "MAXLEN".into(), "~".into(), most];
        let mut commands = vec![("XTRIM", trim)];
        commands.extend(self.removal(&[id]));
        let mut replies = pipeline(&link, commands).await?.into_iter();
        let dropped = replies.next().and_then(Result::ok);
        if let Some(error) = replies.find_map(Result::err) {
            return Err(TransportError::NotDone(reason(&error)));
        }
        Ok(dropped.and_then(|dropped| dropped.as_u64()).unwrap_or(0))
    }

    async fn stop_reading(&self) {
        self.reads.close();
    }
}

impl Consumer {
    /// Removes messages from the group and the stream.
    fn removal(&self, ids: &[EntryId]) -> [(&'static str, Vec<Value>); 2] {
        let ids = || ids.iter().map(|id| Value::from(id.to_string()));
        let stream = || Value::from(self.stream.as_str());
        let done = [stream(), GROUP.into()].into_iter().chain(ids()).collect();
        let gone = [stream()].into_iter().chain(ids()).collect();
        [("XACK", done), ("XDEL", gone)]
    }
}

/// The dead letters.
pub(crate) struct DeadLetters {
    names: Names,
    commands: Arc<Connection>,
}

impl DeadLetters {
    /// Over a connection of its own.
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
    ) -> Result<Self, OpenError> {
        let settings = Settings::new(address, config, Duty::Commands);
        let commands = Connection::open(settings, Arc::default()).await?;
        Ok(Self::over(Names::new(config), Arc::new(commands)))
    }

    pub(super) fn over(names: Names, commands: Arc<Connection>) -> Self {
        Self { names, commands }
    }

    async fn range(
        &self,
        from: String,
        to: String,
        count: u32,
    ) -> Result<Vec<Dead>, TransportError> {
        let count = i64::from(count).into();
        let key = self.names.dead().into();
        let arguments = vec![key, from.into(), to.into(), "COUNT".into(), count];
        let link = self.commands.link()?;
        let reply = link.request("XRANGE", arguments, COMMAND).await?;
        let entries = into_array(reply).ok_or_else(unexpected)?;
        let dead: Option<_> = entries.into_iter().map(dead).collect();
        dead.ok_or_else(unexpected)
    }
}

#[async_trait]
impl DeadTransport for DeadLetters {
    async fn list(&self, after: EntryId, count: u32) -> Result<Vec<Dead>, TransportError> {
        self.range(format!("({after}"), "+".to_owned(), count).await
    }

    async fn replay(&self, id: EntryId) -> Result<bool, TransportError> {
        let found = self.range(id.to_string(), id.to_string(), 1).await?.pop();
        let Some(Dead { key, frame, .. }) = found else {
            return Ok(false);
        };
        // Twice in the stream does no harm, since the key is the same; nowhere would.
        let arguments = entry(&self.names.durable(), key, frame);
        let link = self.commands.link()?;
        link.request("XADD", arguments, COMMAND).await?;
        self.delete(id).await
    }

    async fn delete(&self, id: EntryId) -> Result<bool, TransportError> {
        let arguments = vec![self.names.dead().into(), id.to_string().into()];
        let link = self.commands.link()?;
        let deleted = link.request("XDEL", arguments, COMMAND).await?;
        Ok(into_u64(&deleted).ok_or_else(unexpected)? > 0)
    }
}

/// What `XADD` takes for an entry.
fn entry(stream: &str, key: String, frame: Bytes) -> Vec<Value> {
    let head = [stream.into(), "*".into(), "k".into(), key.into()];
    let frame = ["f".into(), Value::Bytes(frame)];
    head.into_iter().chain(frame).collect()
}

/// Gives commands to a connection together; their replies, in order, each for itself.
pub(super) async fn pipeline(
    link: &Link,
    commands: Vec<(&'static str, Vec<Value>)>,
) -> Result<Vec<Result<Value, Error>>, TransportError> {
    let count = commands.len();
    let pipeline = Pipeline::from(link.within(COMMAND));
    for (name, arguments) in commands {
        // Nothing is sent yet.
        let queued = pipeline.custom_raw(command(name), arguments).await;
        queued.map_err(|error| TransportError::NotDone(reason(&error)))?;
    }
    let replies = link.run(Box::pin(pipeline.try_all::<Value>())).await?;
    if replies.len() == count {
        return Ok(replies);
    }
    // One error for them all.
    let error = replies.into_iter().find_map(Result::err);
    Err(error.map_or_else(unexpected, |error| failure(&error)))
}

/// Entries of a stream; those that were deleted meanwhile come as nulls from an older Redis.
fn kept(entries: Resp3Frame) -> Option<Vec<Kept>> {
    let entries = into_array(entries)?.into_iter();
    let entries = entries.filter(|entry| !matches!(entry, Resp3Frame::Null));
    let read = |entry| {
        let (id, mut fields) = fields(entry)?;
        Some(Kept {
            id,
            key: text(fields.remove("k")),
            frame: fields.remove("f").and_then(into_bytes).unwrap_or_default(),
        })
    };
    entries.map(read).collect()
}

/// What `XPENDING` lists: id, consumer, how long it is idle, how often it was delivered.
fn due(pending: Resp3Frame) -> Option<Vec<Due>> {
    let read = |message| {
        let mut parts = into_array(message)?.into_iter();
        let id = parts.next().and_then(id)?;
        let deliveries = parts.nth(2).as_ref().and_then(into_u64)?;
        let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
        Some(Due { id, deliveries })
    };
    into_array(pending)?.into_iter().map(read).collect()
}

fn dead(entry: Resp3Frame) -> Option<Dead> {
    let (id, mut fields) = fields(entry)?;
    Some(Dead {
        id,
        key: text(fields.remove("k")),
        frame: fields.remove("f").and_then(into_bytes).unwrap_or_default(),
        deliveries: text(fields.remove("d")).parse().unwrap_or(0),
        reason: text(fields.remove("r")),
    })
}

/// An entry's id and its fields; none if it was deleted meanwhile.
fn fields(entry: Resp3Frame) -> Option<(EntryId, HashMap<String, Resp3Frame>)> {
    let mut parts = into_array(entry)?.into_iter();
    let id = parts.next().and_then(id)?;
    let fields = parts.next().and_then(pairs).unwrap_or_default();
    Some((id, fields))
}

/// Names and values that follow each other.
fn pairs(list: Resp3Frame) -> Option<HashMap<String, Resp3Frame>> {
    let mut list = into_array(list)?.into_iter();
    let mut pairs = HashMap::new();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        pairs.insert(text(Some(name)), value);
    }
    Some(pairs)
}

fn id(frame: Resp3Frame) -> Option<EntryId> {
    std::str::from_utf8(&into_bytes(frame)?).ok()?.parse().ok()
}

fn text(frame: Option<Resp3Frame>) -> String {
    let bytes = frame.and_then(into_bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn millis(duration: Duration) -> Value {
    duration.as_millis().to_string().into()
}
