//! The stream of durable messages in Redis, read by a group of consumers.
//!
//! An entry of the stream has the fields `k`, the idempotency key, `f`, the request frame, and those of its
//! [`options`]. A dead letter also has `d`, the number of deliveries, and `r`, the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::{Resp3Frame, Value};
use futures_util::future::try_join_all;

use crate::bus::keys::Keys;
use crate::bus::redis::COMMAND;
use crate::bus::redis::connection::Connection;
use crate::bus::redis::library::{LibrarySession, into_array, into_bytes, unexpected};
use crate::bus::redis::start_check::ServerFacts;
use crate::bus::transport::stream::{
    AliveWithin, Attempts, DeadLetterEntry, EntryAck, EntryId, ForeignPage, MAX_DEAD_LETTERS,
    NewEntry, PendingEntry, StreamConsumer, StreamEntry,
};
use crate::bus::transport::{LEASE, ServerTime, TransportError};
use crate::random::Uuid;

use entries::EntryClaim;

mod claims;
mod delayed;
pub(crate) mod entries;
mod group;
mod options;
mod producer;

/// The consumer group of all proxies.
pub(super) const GROUP: &str = "conclib";

/// A consumer's end of the stream.
pub(super) struct RedisConsumer {
    keys: Keys,
    stream: String,
    /// The name of the consumer, which is unique.
    name: String,
    /// The beginning of the names of all consumers of its instance; `None` if it has none.
    instance: Option<String>,
    /// A connection for reads only, because Redis answers no other command while one blocks.
    reads: Connection<LibrarySession>,
    /// The proxy's connection, for all other commands.
    commands: Arc<Connection<LibrarySession>>,
    /// The first message brings a warning: Redis may lose messages when it ends.
    warns_of_loss: AtomicBool,
}

impl RedisConsumer {
    pub(super) fn new(
        keys: Keys,
        instance: &str,
        (reads, commands): (Connection<LibrarySession>, Arc<Connection<LibrarySession>>),
        facts: ServerFacts,
    ) -> Self {
        let instance = (!instance.is_empty()).then(|| format!("{instance}/"));
        let unique = Uuid::random().text();
        Self {
            stream: keys.durable(),
            keys,
            name: format!("{}{}", instance.as_deref().unwrap_or(""), unique.as_str()),
            instance,
            reads,
            commands,
            warns_of_loss: AtomicBool::new(facts.is_volatile),
        }
    }

    /// Sends a command about the stream and its group.
    async fn request(
        &self,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        let mut all = vec![self.stream.as_str().into(), GROUP.into()];
        all.extend(arguments);
        self.commands.link()?.request(name, all, COMMAND).await
    }

    /// Claims entries for this consumer.
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

    /// Sends a command about the stream and each of these entries together, and returns the replies.
    async fn request_for_each(
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
}

#[async_trait]
impl StreamConsumer for RedisConsumer {
    async fn create_group(&self) -> Result<(), TransportError> {
        self.create().await
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
            // 0 means for ever.
            arguments.extend(["BLOCK".into(), millis(block.max(Duration::from_millis(1)))]);
        }
        arguments.extend(["STREAMS".into(), self.stream.as_str().into(), ">".into()]);
        let read = link.blocking("XREADGROUP", arguments, block, LEASE);
        match read.await? {
            Resp3Frame::Null => Ok(Vec::new()),
            streams => {
                let stream = into_array(streams).and_then(|mut streams| streams.pop());
                let entries = stream
                    .and_then(into_array)
                    .and_then(|mut parts| parts.pop());
                let entries = entries.and_then(entries::stream_entries);
                if self.warns_of_loss.swap(false, Ordering::Relaxed) {
                    tracing::warn!(
                        "durable messages are in use, and this Redis may lose them when it ends: set \
                         `appendonly yes`"
                    );
                }
                entries.ok_or_else(unexpected)
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
        alive: AliveWithin,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        let is_foreign = |claim: &EntryClaim| self.is_foreign(claim, alive);
        self.claims_page(after, Duration::ZERO, count, is_foreign)
            .await
    }

    async fn predecessor_claims(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError> {
        self.claims_page(after, idle, count, |claim| self.is_predecessors(claim))
            .await
    }

    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: AliveWithin,
    ) -> Result<Vec<EntryId>, TransportError> {
        let mut still = Vec::new();
        let range = |id: Value| vec![GROUP.into(), id.clone(), id, 1.into()];
        for listed in self.request_for_each("XPENDING", ids, range).await? {
            let listed = entries::claims(listed).ok_or_else(unexpected)?;
            let foreign = listed.iter().filter(|claim| self.is_foreign(claim, alive));
            still.extend(foreign.map(|claim| claim.id));
        }
        Ok(still)
    }

    async fn read_entries(&self, ids: &[EntryId]) -> Result<Vec<StreamEntry>, TransportError> {
        let mut found = Vec::new();
        for range in self
            .request_for_each("XRANGE", ids, |id| vec![id.clone(), id])
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
        dedup_keys: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError> {
        if dedup_keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = dedup_keys.iter();
        let keys = keys.map(|key| self.keys.result_cache(key).into());
        let link = self.commands.link()?;
        let results = link.request("MGET", keys.collect(), COMMAND).await?;
        let results = into_array(results).ok_or_else(unexpected)?;
        Ok(results.into_iter().map(into_bytes).collect())
    }

    async fn acknowledge(
        &self,
        acks: Vec<EntryAck>,
        result_ttl: Duration,
    ) -> Result<usize, TransportError> {
        let (ids, results): (Vec<_>, Vec<_>) = acks
            .into_iter()
            .map(|EntryAck { id, result }| (id, result))
            .unzip();
        let mut commands: Vec<_> = results
            .into_iter()
            .flatten()
            .map(|(dedup_key, result)| {
                let key = self.keys.result_cache(&dedup_key).into();
                let set = vec![key, Value::Bytes(result), "PX".into(), millis(result_ttl)];
                ("SET", set)
            })
            .collect();
        let results = commands.len();
        commands.extend(self.removal(&ids));
        let link = self.commands.link()?;
        let replies = link.pipeline(commands, COMMAND).await?;
        let (results, removal) = replies.split_at(results);
        if let Some(Err(error)) = removal.iter().find(|reply| reply.is_err()) {
            return Err(error.clone());
        }
        Ok(results.iter().filter(|reply| reply.is_err()).count())
    }

    async fn dead_letter(&self, letters: Vec<DeadLetterEntry>) -> Result<u64, TransportError> {
        let key = self.keys.dead_letters();
        let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
        let additions = letters.into_iter().map(|letter| {
            let deliveries = letter.deliveries.to_string();
            let reason = letter.reason.clone();
            let mut arguments = entry(&key, letter.into());
            arguments.extend(["d".into(), deliveries.into()]);
            arguments.extend(["r".into(), reason.into()]);
            ("XADD", arguments)
        });
        // Entries are removed only after the dead letters are certainly written.
        let link = self.commands.link()?;
        let added = link.pipeline(additions.collect(), COMMAND).await?;
        if let Some(error) = added.into_iter().find_map(Result::err) {
            return Err(error);
        }
        let most = MAX_DEAD_LETTERS.to_string().into();
        let trim = vec![key.into(), "MAXLEN".into(), "~".into(), most];
        let mut commands = vec![("XTRIM", trim)];
        commands.extend(self.removal(&ids));
        let mut replies = link.pipeline(commands, COMMAND).await?.into_iter();
        let dropped = replies.next().and_then(Result::ok);
        if let Some(error) = replies.find_map(Result::err) {
            return Err(error);
        }
        Ok(dropped.and_then(|dropped| dropped.as_u64()).unwrap_or(0))
    }

    async fn delay(&self, entries: Vec<StreamEntry>, max: u64) -> Result<bool, TransportError> {
        self.add_delayed(entries, max).await
    }

    async fn next_delayed(&self) -> Result<Option<ServerTime>, TransportError> {
        self.next_due().await
    }

    async fn due_delayed(
        &self,
        now: ServerTime,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        self.members_due(now, count).await
    }

    async fn resume_delayed(&self, entries: Vec<StreamEntry>) -> Result<(), TransportError> {
        self.append_delayed(entries).await
    }

    async fn stop_reading(&self) {
        self.reads.close();
    }
}

impl RedisConsumer {
    /// The commands that remove entries from the stream and the group, in this order: if a replica takes
    /// over that knows the first one only, there is a claim without an entry, and the next look at
    /// claims removes it. An entry without a claim would stay in the stream for ever.
    fn removal(&self, ids: &[EntryId]) -> [(&'static str, Vec<Value>); 2] {
        let ids = || ids.iter().map(|id| Value::from(id.to_string()));
        let stream = || Value::from(self.stream.as_str());
        let acks = [stream(), GROUP.into()].into_iter().chain(ids()).collect();
        let deletions = [stream()].into_iter().chain(ids()).collect();
        [("XDEL", deletions), ("XACK", acks)]
    }
}

/// The arguments of `XADD` for an entry.
pub(crate) fn entry(stream: &str, message: NewEntry) -> Vec<Value> {
    let key = message.key.into();
    let mut arguments = vec![stream.into(), "*".into(), "k".into(), key];
    arguments.extend(["f".into(), Value::Bytes(message.frame)]);
    arguments.extend(options::fields(message.options));
    arguments
}

fn millis(duration: Duration) -> Value {
    duration.as_millis().to_string().into()
}
