//! Durable messages: a stream, read by a group of consumers.
//!
//! An entry of the stream holds the idempotency key (`k`) and the request frame (`f`); one of the
//! dead also how often it was delivered (`d`) and why it is dead (`r`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::Pipeline;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};
use futures_util::future::try_join_all;
use tracing::debug;

use crate::bus::redis::connection::{Connection, Link, command};
use crate::bus::redis::{
    COMMAND, accepted, failure, into_array, into_bytes, into_u64, reason, unexpected,
};
use crate::bus::transport::stream::{
    Attempts, DeadLetterEntry, EntryAck, EntryId, ForeignPage, MAX_DEAD_LETTERS, PendingEntry,
    StreamConsumer, StreamEntry,
};
use crate::bus::transport::{LEASE, Names, TransportError};
use crate::random::Uuid;

pub(crate) use crate::bus::redis::dead_letters::DeadLetters;
use entries::Given;

pub(crate) mod entries;
mod producer;

/// The group of consumers.
const GROUP: &str = "conclib";

/// A consumer that has not been heard of for so long, and holds nothing, is forgotten: each proxy
/// that ever served was one.
const LONG_GONE: u64 = 24 * 60 * 60 * 1000;

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
            name: Uuid::random().as_str().to_owned(),
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
    async fn xclaim(
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

    /// A command about the stream and each of these messages, given together; their replies.
    async fn ask_of_each(
        &self,
        name: &'static str,
        ids: &[EntryId],
        arguments: impl Fn(Value) -> Vec<Value>,
    ) -> Result<Vec<Resp3Frame>, TransportError> {
        let link = self.commands.link()?;
        let asked = ids.iter().map(|id| {
            let mut all = vec![self.stream.as_str().into()];
            all.extend(arguments(id.to_string().into()));
            link.request(name, all, COMMAND)
        });
        try_join_all(asked.collect::<Vec<_>>()).await
    }

    /// Whether that is another consumer's, with a sign of life within `alive`.
    fn is_others(&self, given: &Given, alive: Duration) -> bool {
        given.consumer != self.name && given.idle < alive
    }

    /// Reads the list of `XPENDING`, as this consumer sees it.
    fn pending_of(&self, listed: Resp3Frame) -> Result<Vec<PendingEntry>, TransportError> {
        let listed = entries::given(listed).ok_or_else(unexpected)?;
        Ok(listed
            .iter()
            .map(|given| given.seen_by(&self.name))
            .collect())
    }

    /// True if the group is there.
    async fn has_group(&self) -> bool {
        self.request("XPENDING", Vec::new()).await.is_ok()
    }

    /// Removes consumers that are long gone from the group. Only who serves reads from it, so that
    /// none of them comes back meanwhile.
    async fn forget_the_gone(&self) -> Result<(), TransportError> {
        let consumers = self.request("XINFO CONSUMERS", Vec::new()).await?;
        for consumer in into_array(consumers).ok_or_else(unexpected)? {
            let mut facts = entries::pairs(consumer).unwrap_or_default();
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
impl StreamConsumer for Consumer {
    async fn create_group(&self) -> Result<(), TransportError> {
        let arguments = vec!["0".into(), "MKSTREAM".into()];
        match self.request("XGROUP CREATE", arguments).await {
            Err(TransportError::NotDone(why)) if why.starts_with("BUSYGROUP") => {}
            // One without memory does not look whether it is there.
            Err(TransportError::NotDone(_)) if self.has_group().await => {}
            made => drop(made?),
        }
        if let Err(error) = self.forget_the_gone().await {
            debug!(%error, "consumers that are gone stay in the group");
        }
        Ok(())
    }

    async fn read(&self, count: u32, block: Duration) -> Result<Vec<StreamEntry>, TransportError> {
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
                entries
                    .and_then(entries::stream_entries)
                    .ok_or_else(unexpected)
            }
        }
    }

    async fn due(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        let arguments = vec![
            "IDLE".into(),
            millis(idle),
            format!("({after}").into(),
            "+".into(),
            i64::from(count).into(),
        ];
        let pending = self.request("XPENDING", arguments).await?;
        self.pending_of(pending)
    }

    async fn own_claims(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        let arguments = vec![
            format!("({after}").into(),
            "+".into(),
            i64::from(count).into(),
            self.name.as_str().into(),
        ];
        let pending = self.request("XPENDING", arguments).await?;
        self.pending_of(pending)
    }

    async fn foreign_claims(
        &self,
        after: EntryId,
        alive: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        let count = i64::from(count);
        let arguments = vec![format!("({after}").into(), "+".into(), count.into()];
        let listed = self.request("XPENDING", arguments).await?;
        let listed = entries::given(listed).ok_or_else(unexpected)?;
        let last = listed.last().map(|given| given.id);
        let is_page = i64::try_from(listed.len()).is_ok_and(|length| length >= count);
        let others = listed.iter().filter(|given| self.is_others(given, alive));
        Ok(ForeignPage {
            pending: others.map(|given| given.seen_by(&self.name)).collect(),
            next: last.filter(|_| is_page),
        })
    }

    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: Duration,
    ) -> Result<Vec<EntryId>, TransportError> {
        let mut still = Vec::new();
        let one = |id: Value| vec![GROUP.into(), id.clone(), id, 1.into()];
        for listed in self.ask_of_each("XPENDING", ids, one).await? {
            let listed = entries::given(listed).ok_or_else(unexpected)?;
            let others = listed.iter().filter(|given| self.is_others(given, alive));
            still.extend(others.map(|given| given.id));
        }
        Ok(still)
    }

    async fn read_entries(&self, ids: &[EntryId]) -> Result<Vec<StreamEntry>, TransportError> {
        let mut found = Vec::new();
        for range in self
            .ask_of_each("XRANGE", ids, |id| vec![id.clone(), id])
            .await?
        {
            found.extend(entries::stream_entries(range).ok_or_else(unexpected)?);
        }
        Ok(found)
    }

    async fn claim(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        let options = vec!["RETRYCOUNT".into(), entries::count_of(attempts).into()];
        match self.xclaim(ids, idle, options).await? {
            Resp3Frame::Null => Ok(Vec::new()),
            taken => entries::stream_entries(taken).ok_or_else(unexpected),
        }
    }

    async fn extend_claims(&self, ids: &[EntryId]) -> Result<(), TransportError> {
        let options = vec!["JUSTID".into()];
        self.xclaim(ids, Duration::ZERO, options).await.map(drop)
    }

    async fn release(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<(), TransportError> {
        let options = vec![
            "IDLE".into(),
            millis(idle),
            "RETRYCOUNT".into(),
            entries::count_of(attempts).into(),
            "JUSTID".into(),
        ];
        self.xclaim(ids, Duration::ZERO, options).await.map(drop)
    }

    async fn cached_results(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let keys = names.iter().map(|name| self.names.done(name).into());
        let link = self.commands.link()?;
        let records = link.request("MGET", keys.collect(), COMMAND).await?;
        let records = into_array(records).ok_or_else(unexpected)?;
        Ok(records.into_iter().map(into_bytes).collect())
    }

    async fn acknowledge(
        &self,
        finished: Vec<EntryAck>,
        keep: Duration,
    ) -> Result<usize, TransportError> {
        let (ids, records): (Vec<_>, Vec<_>) = finished
            .into_iter()
            .map(|EntryAck { id, record }| (id, record))
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

    async fn dead_letter(&self, dead: DeadLetterEntry) -> Result<u64, TransportError> {
        let DeadLetterEntry {
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
        let most = MAX_DEAD_LETTERS.to_string().into();
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

/// What `XADD` takes for an entry.
pub(crate) fn entry(stream: &str, key: String, frame: Bytes) -> Vec<Value> {
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

fn millis(duration: Duration) -> Value {
    duration.as_millis().to_string().into()
}
