//! The actor system's end.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::error::ErrorKind;
use fred::interfaces::{ClientLike, KeysInterface, PubsubInterface};
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};
use tokio::sync::Mutex;

use crate::bus::config::{Config, RedisAddress};
use crate::bus::link::health::Health;
use crate::bus::redis::connection::{Connection, Link};
use crate::bus::redis::lease;
use crate::bus::redis::lease::{ACQUIRE, Attempt, HEAD, RELEASE, RENEW};
use crate::bus::redis::settings::{Duty, Settings};
use crate::bus::redis::stream::{RedisConsumer, RedisDeadLetters};
use crate::bus::redis::{
    COMMAND, LEASE_COMMAND, accepted, failure, into_array, into_bytes, into_u64, unexpected,
};
use crate::bus::transport::stream::{DeadLetterStore, StreamConsumer};
use crate::bus::transport::{
    Acquired, BusTime, Epoch, LEASE, Lease, Names, OpenError, Popped, ServerTransport,
    TransportError,
};
use crate::reply::remote::ClientId;

/// How much longer than it may block a pop may take before its connection is given up. What a
/// connection that is given up too early had popped is lost; one that is given up too late takes
/// no requests meanwhile.
const PATIENCE: Duration = Duration::from_secs(4);

/// Time that the inbox of an epoch that is over remains if no owner of the lease deletes it.
const LEFTOVERS: Duration = Duration::from_secs(60);

/// The actor system's end of Redis.
pub(crate) struct Server {
    names: Names,
    /// For pops alone, because nothing else is answered while one blocks.
    pops: Connection,
    /// For everything else.
    commands: Arc<Connection>,
    /// How to open a connection for reads of durable messages.
    reads: Settings,
    /// Hears of connections that are lost.
    health: Arc<Health>,
    /// How long the pops under way may block in all, in ms: they wait for each other.
    blocking: AtomicU64,
    /// Redis is older than 7 and does not know `BLMPOP`.
    lacks_blmpop: AtomicBool,
    /// Held by a pop that takes two commands, so that no other pop comes between them.
    turn: Mutex<()>,
    /// Who we are where leases are taken, and how often we have tried.
    process: u64,
    attempts: AtomicU32,
    /// Clients that are late may still send to those before ours.
    known: KnownEpochs,
}

impl Server {
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
        health: &Arc<Health>,
    ) -> Result<Self, OpenError> {
        let open = |duty| Connection::open(Settings::new(address, config, duty), health.clone());
        let (pops, commands) = tokio::try_join!(open(Duty::Pops), open(Duty::Commands))?;
        Ok(Self {
            names: Names::new(config),
            pops,
            commands: Arc::new(commands),
            reads: Settings::new(address, config, Duty::Reads),
            health: health.clone(),
            blocking: AtomicU64::new(0),
            lacks_blmpop: AtomicBool::new(false),
            turn: Mutex::new(()),
            process: fastrand::u64(..),
            attempts: AtomicU32::new(0),
            known: KnownEpochs::default(),
        })
    }

    async fn script(
        &self,
        script: &'static str,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let mut all = vec![Value::from_static_str(script), count.into()];
        all.extend(keys.into_iter().map(Value::from));
        all.extend(arguments);
        let link = self.commands.link()?;
        let reply = link.request("EVAL", all, LEASE_COMMAND).await;
        if let Err(TransportError::Unknown(_)) = reply {
            // The next attempt has to come through before the lease runs out.
            link.give_up();
        }
        reply
    }

    /// Deletes what clients sent to the epochs before ours; nobody will ever take it. With renewals and
    /// the release, and not when the lease is taken: an owner may have released it just now, and be
    /// answering what is left.
    async fn clear_former(&self, ours: Epoch) {
        let epochs = self.known.all_but(ours);
        if epochs.is_empty() {
            return;
        }
        let keys = epochs
            .into_iter()
            .map(|epoch| self.names.inbox(epoch).into());
        let cleared = async {
            let link = self.commands.link()?;
            link.request("UNLINK", keys.collect(), LEASE_COMMAND).await
        };
        if let Err(error) = cleared.await {
            tracing::debug!(%error, "the inboxes of the epochs before were not deleted");
        }
    }

    /// Sees to it that what is left of the epochs before ends, should we end before our first
    /// renewal.
    async fn limit_leftovers(&self, ours: Epoch) {
        for epoch in self.known.all_but(ours) {
            let arguments = vec![self.names.inbox(epoch).into(), duration(LEFTOVERS)];
            let limited = async {
                let link = self.commands.link()?;
                link.request("PEXPIRE", arguments, LEASE_COMMAND).await
            };
            if let Err(error) = limited.await {
                return tracing::debug!(%error, "the inbox of an epoch before got no end");
            }
        }
    }

    /// Fails if the connection for pops is dead, and nobody has noticed because nothing was popped: a
    /// lease would be held in vain.
    async fn can_pop(&self) -> Result<(), TransportError> {
        let link = self.pops.link()?;
        if self.blocking.load(Ordering::Relaxed) > 0 {
            return Ok(()); // those pops will notice
        }
        let pong = link.request("PING", Vec::new(), LEASE_COMMAND).await;
        pong.map(drop).map_err(|error| {
            if let TransportError::Unknown(_) = error {
                link.give_up();
            }
            TransportError::NotDone(format!("requests cannot be popped: {error}"))
        })
    }

    /// Whose lease it is, asked on the connection for pops: so it is the answer of the Redis that
    /// the frames before it came from, at a moment after they were popped.
    async fn owner(&self, link: &Link) -> Result<Option<Epoch>, TransportError> {
        let share = Share::take(&self.blocking, 0);
        let client = link.within(share.total + PATIENCE);
        let lease = link.run(Box::pin(client.get(self.names.lease()))).await?;
        Ok(lease::read(lease)?.map(|lease| lease.epoch))
    }

    /// A command on the connection for pops, where it waits until those before it have ended. If
    /// it times out its connection goes, for it must not pop anything later.
    async fn ask_for_frames(
        &self,
        link: &Link,
        name: &'static str,
        arguments: Vec<Value>,
        block: Duration,
    ) -> Result<Resp3Frame, TransportError> {
        let share = Share::take(&self.blocking, millis(block));
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, !block.is_zero());
        let client = link.within(share.total + PATIENCE);
        let reply = link
            .run(Box::pin(client.custom_raw(command, arguments)))
            .await?;
        let reply = reply.map_err(|error| {
            if *error.kind() == ErrorKind::Timeout {
                link.give_up();
            }
            failure(&error)
        })?;
        accepted(reply)
    }

    /// `LPOP`, which does not wait.
    async fn pop_now(
        &self,
        link: &Link,
        key: &str,
        count: u32,
    ) -> Result<Vec<Bytes>, TransportError> {
        let arguments = vec![key.into(), i64::from(count).into()];
        match self
            .ask_for_frames(link, "LPOP", arguments, Duration::ZERO)
            .await?
        {
            Resp3Frame::Null => Ok(Vec::new()),
            reply => frames(reply),
        }
    }

    /// `BLMPOP`, from Redis 7 on.
    async fn pop_many(
        &self,
        link: &Link,
        key: &str,
        count: u32,
        block: Duration,
    ) -> Result<Vec<Bytes>, TransportError> {
        let arguments = vec![
            seconds(block),
            1.into(),
            key.into(),
            "LEFT".into(),
            "COUNT".into(),
            i64::from(count).into(),
        ];
        match self
            .ask_for_frames(link, "BLMPOP", arguments, block)
            .await?
        {
            Resp3Frame::Null => Ok(Vec::new()),
            reply => second(reply).and_then(frames),
        }
    }

    /// `BLPOP` for the first, and then `LPOP` for the rest.
    async fn pop_one_and_more(
        &self,
        link: &Link,
        key: &str,
        count: u32,
        block: Duration,
    ) -> Result<Vec<Bytes>, TransportError> {
        let _turn = self.turn.lock().await;
        let first = self
            .ask_for_frames(link, "BLPOP", vec![key.into(), seconds(block)], block)
            .await?;
        if let Resp3Frame::Null = first {
            return Ok(Vec::new());
        }
        let first = second(first).and_then(|frame| into_bytes(frame).ok_or_else(unexpected))?;
        let mut popped = vec![first];
        if count > 1 {
            match self.pop_now(link, key, count - 1).await {
                Ok(rest) => popped.extend(rest),
                // The first is off the list and must not be lost; the next pop meets the problem.
                Err(error) => tracing::debug!(%error, "popped one only"),
            }
        }
        Ok(popped)
    }
}

#[async_trait]
impl ServerTransport for Server {
    async fn acquire(&self, lease: &Lease) -> Result<Acquired, TransportError> {
        self.can_pop().await?;
        let by = Attempt {
            process: self.process,
            number: self.attempts.fetch_add(1, Ordering::Relaxed),
        };
        let tail = lease::tail(lease, by).map_err(|e| TransportError::NotDone(e.to_string()))?;
        let keys = vec![self.names.lease(), self.names.last_epoch()];
        let arguments = vec![bytes(HEAD), bytes(&tail), duration(LEASE)];
        let reply = self.script(ACQUIRE, keys, arguments).await?;
        let reply = into_array(reply).ok_or_else(unexpected)?;
        if let [
            Resp3Frame::Number { data: 0, .. },
            Resp3Frame::BlobString { data, .. },
        ] = &reply[..]
        {
            let holder = Lease::decode(data).map_err(|error| {
                TransportError::NotDone(format!("the lease that is held cannot be read: {error}"))
            })?;
            self.known.add(vec![holder.epoch]);
            return Ok(Acquired::Held { holder });
        }
        let [one, epoch, now, last] = &reply[..] else {
            return Err(unexpected());
        };
        let numbers = [one, epoch, now].map(into_u64);
        let ([Some(1), Some(epoch), Some(now)], Some(last)) = (numbers, into_bytes(last.clone()))
        else {
            return Err(unexpected());
        };
        let epoch = Epoch(epoch);
        let last = String::from_utf8_lossy(&last);
        let last = last.split(' ').filter_map(|number| number.parse().ok());
        self.known.add(last.map(Epoch).collect());
        self.known.add(vec![epoch]);
        self.limit_leftovers(epoch).await;
        Ok(Acquired::Granted {
            epoch,
            now: BusTime(now),
        })
    }

    async fn renew(&self, epoch: Epoch) -> Result<Option<BusTime>, TransportError> {
        let arguments = vec![bytes(HEAD), epoch.0.to_string().into(), duration(LEASE)];
        let renewed = self.script(RENEW, vec![self.names.lease()], arguments);
        let (renewed, ()) = tokio::join!(renewed, self.clear_former(epoch));
        match renewed? {
            Resp3Frame::Null => Ok(None),
            time => into_u64(&time)
                .map(BusTime)
                .map(Some)
                .ok_or_else(unexpected),
        }
    }

    async fn release(&self, epoch: Epoch, wake: Bytes) -> Result<bool, TransportError> {
        let keys = vec![self.names.lease(), self.names.inbox(epoch)];
        let arguments = vec![bytes(HEAD), epoch.0.to_string().into(), Value::Bytes(wake)];
        let released = self.script(RELEASE, keys, arguments);
        let (released, ()) = tokio::join!(released, self.clear_former(epoch));
        Ok(into_u64(&released?) == Some(1))
    }

    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError> {
        let inbox = self.names.inbox(epoch);
        let link = self.commands.link()?;
        let pushed = vec![inbox.clone().into(), Value::Bytes(wake)];
        let limited = vec![inbox.into(), duration(LEFTOVERS)];
        let (pushed, limited) = tokio::join!(
            biased;
            link.request("RPUSH", pushed, COMMAND),
            link.request("PEXPIRE", limited, COMMAND),
        );
        pushed.and(limited).map(drop)
    }

    async fn pop(
        &self,
        epoch: Epoch,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let link = self.pops.link()?;
        let key = self.names.inbox(epoch);
        let count = count.max(1);
        if !block.is_zero() && !self.lacks_blmpop.load(Ordering::Relaxed) {
            // Given to the connection together; Redis answers the second right after the first.
            let pop = self.pop_many(&link, &key, count, block);
            match tokio::join!(biased; pop, self.owner(&link)) {
                (Err(TransportError::NotDone(reply)), _) if is_unknown_command(&reply) => {
                    self.lacks_blmpop.store(true, Ordering::Relaxed);
                    tracing::info!("this Redis does not know BLMPOP; using BLPOP and LPOP");
                }
                (frames, owner) => return frames.map(|frames| Popped { frames, owner }),
            }
        }
        let frames = if block.is_zero() {
            self.pop_now(&link, &key, count).await?
        } else {
            self.pop_one_and_more(&link, &key, count, block).await?
        };
        let owner = self.owner(&link).await;
        Ok(Popped { frames, owner })
    }

    async fn publish(&self, client: ClientId, frame: Bytes) -> Result<Option<u64>, TransportError> {
        let link = self.commands.link()?;
        let given = link.within(COMMAND);
        let published = given.publish(self.names.reply(client), frame);
        let receivers: Result<u64, _> = link.run(Box::pin(published)).await?;
        receivers.map(Some).map_err(|error| failure(&error))
    }

    async fn consumer(&self) -> Result<Arc<dyn StreamConsumer>, TransportError> {
        let reads = Connection::open(self.reads.clone(), self.health.clone()).await;
        let reads = reads.map_err(|error| TransportError::NotDone(error.to_string()))?;
        Ok(Arc::new(RedisConsumer::new(
            self.names.clone(),
            reads,
            self.commands.clone(),
        )))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetterStore> {
        Arc::new(RedisDeadLetters::over(
            self.names.clone(),
            self.commands.clone(),
        ))
    }

    async fn close(&self) {
        self.pops.close();
        self.commands.close();
    }
}

/// How many epochs are kept in mind.
const KNOWN: usize = 9;

/// The last epochs that we have heard of, the newest first. Our own are among them, and those of others
/// who had the lease: a bus that lost its data knows of none.
#[derive(Default)]
struct KnownEpochs(std::sync::Mutex<Vec<Epoch>>);

impl KnownEpochs {
    /// Newer ones, the newest first.
    fn add(&self, newer: Vec<Epoch>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|epoch| !newer.contains(epoch));
        all.splice(..0, newer);
        all.truncate(KNOWN);
    }

    fn all_but(&self, ours: Epoch) -> Vec<Epoch> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().copied().filter(|known| *known != ours).collect()
    }
}

/// What follows the key in the reply to a blocking pop.
fn second(reply: Resp3Frame) -> Result<Resp3Frame, TransportError> {
    let mut parts = into_array(reply).ok_or_else(unexpected)?;
    parts.truncate(2);
    match (parts.pop(), parts.pop()) {
        (Some(second), Some(_)) => Ok(second),
        _ => Err(unexpected()),
    }
}

fn frames(reply: Resp3Frame) -> Result<Vec<Bytes>, TransportError> {
    let elements = into_array(reply).ok_or_else(unexpected)?;
    let frames: Option<_> = elements.into_iter().map(into_bytes).collect();
    frames.ok_or_else(unexpected)
}

fn is_unknown_command(reply: &str) -> bool {
    reply
        .to_ascii_lowercase()
        .starts_with("err unknown command")
}

/// A time to block, as Redis takes it. Redis 6.2 cuts what it makes of it to whole milliseconds, so
/// that 0.001 becomes 0, which means for ever.
fn seconds(block: Duration) -> Value {
    let millis = millis(block).max(2);
    format!("{}.{:03}", millis / 1000, millis % 1000).into()
}

fn millis(block: Duration) -> u64 {
    u64::try_from(block.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, 3_600_000)
}

fn duration(duration: Duration) -> Value {
    duration.as_millis().to_string().into()
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(Bytes::copy_from_slice(bytes))
}

/// A part of the time for which pops may block; given back on drop.
struct Share<'a> {
    blocking: &'a AtomicU64,
    millis: u64,
    /// Its own and that of all before it.
    total: Duration,
}

impl<'a> Share<'a> {
    fn take(blocking: &'a AtomicU64, millis: u64) -> Self {
        let before = blocking.fetch_add(millis, Ordering::Relaxed);
        Self {
            blocking,
            millis,
            total: Duration::from_millis(before.saturating_add(millis)),
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.blocking.fetch_sub(self.millis, Ordering::Relaxed);
    }
}
