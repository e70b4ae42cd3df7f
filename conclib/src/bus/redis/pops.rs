//! Pops from an inbox, on a connection of their own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::error::ErrorKind;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};
use tokio::sync::Mutex;

use crate::bus::redis::connection::{Connection, Link};
use crate::bus::redis::{
    LEASE_COMMAND, accepted, failure, into_array, into_bytes, lease, unexpected,
};
use crate::bus::transport::{Epoch, Popped, TransportError};

/// Time beyond its block after which a pop times out, and its connection is given up. A connection
/// that is given up too early loses the frames that it had popped; one that is given up too late
/// takes no requests meanwhile.
const POP_GRACE: Duration = Duration::from_secs(4);

/// The connection for pops. No other command runs on it, because Redis answers none while a pop
/// blocks.
pub(super) struct Pops {
    connection: Connection,
    /// Time for which the pops under way may block in all, in ms: they wait for each other.
    blocking: AtomicU64,
    /// Redis is older than 7 and does not know `BLMPOP`.
    lacks_blmpop: AtomicBool,
    /// Held by a pop that takes two commands, so that no other pop comes between them.
    turn: Mutex<()>,
}

impl Pops {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            blocking: AtomicU64::new(0),
            lacks_blmpop: AtomicBool::new(false),
            turn: Mutex::new(()),
        }
    }

    pub(super) fn close(&self) {
        self.connection.close();
    }

    /// Fails if the connection is dead, which is not noticed while there are no pops: a lease would
    /// be held in vain.
    pub(super) async fn check(&self) -> Result<(), TransportError> {
        let link = self.connection.link()?;
        if self.blocking.load(Ordering::Relaxed) > 0 {
            return Ok(()); // the pops under way notice
        }
        let pong = link.request("PING", Vec::new(), LEASE_COMMAND).await;
        pong.map(drop).map_err(|error| {
            if let TransportError::Unknown(_) = error {
                link.give_up();
            }
            TransportError::NotDone(format!("requests cannot be popped: {error}"))
        })
    }

    /// Takes up to `count` frames off the inbox at `key`, waiting up to `block` for the first one;
    /// then reads the owner of the lease at `lease`.
    pub(super) async fn pop(
        &self,
        key: &str,
        lease: &str,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let link = self.connection.link()?;
        let count = count.max(1);
        if !block.is_zero() && !self.lacks_blmpop.load(Ordering::Relaxed) {
            // Given to the connection together; Redis answers the second right after the first.
            let pop = self.pop_many(&link, key, count, block);
            match tokio::join!(biased; pop, self.owner(&link, lease)) {
                (Err(TransportError::NotDone(reply)), _) if is_unknown_command(&reply) => {
                    self.lacks_blmpop.store(true, Ordering::Relaxed);
                    tracing::info!("this Redis does not know BLMPOP; using BLPOP and LPOP");
                }
                (frames, owner) => return frames.map(|frames| Popped { frames, owner }),
            }
        }
        let frames = if block.is_zero() {
            self.pop_now(&link, key, count).await?
        } else {
            self.pop_one_and_more(&link, key, count, block).await?
        };
        let owner = self.owner(&link, lease).await;
        Ok(Popped { frames, owner })
    }

    /// The owner of the lease, asked on the connection for pops: so the answer comes from the Redis
    /// that the frames before it came from, at a moment after they were popped.
    async fn owner(&self, link: &Link, lease: &str) -> Result<Option<Epoch>, TransportError> {
        let share = BlockingShare::take(&self.blocking, 0);
        let client = link.within(share.total + POP_GRACE);
        let lease = link.run(Box::pin(client.get(lease))).await?;
        Ok(lease::read(lease)?.map(|lease| lease.epoch))
    }

    /// Sends a pop, which waits until the pops before it have ended. If it times out its connection
    /// is given up, since it must not pop anything later.
    async fn command(
        &self,
        link: &Link,
        name: &'static str,
        arguments: Vec<Value>,
        block: Duration,
    ) -> Result<Resp3Frame, TransportError> {
        let share = BlockingShare::take(&self.blocking, millis(block));
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, !block.is_zero());
        let client = link.within(share.total + POP_GRACE);
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
            .command(link, "LPOP", arguments, Duration::ZERO)
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
        match self.command(link, "BLMPOP", arguments, block).await? {
            Resp3Frame::Null => Ok(Vec::new()),
            reply => second(reply).and_then(frames),
        }
    }

    /// `BLPOP` for the first frame, and then `LPOP` for the rest.
    async fn pop_one_and_more(
        &self,
        link: &Link,
        key: &str,
        count: u32,
        block: Duration,
    ) -> Result<Vec<Bytes>, TransportError> {
        let _turn = self.turn.lock().await;
        let first = self
            .command(link, "BLPOP", vec![key.into(), seconds(block)], block)
            .await?;
        if let Resp3Frame::Null = first {
            return Ok(Vec::new());
        }
        let first = second(first).and_then(|frame| into_bytes(frame).ok_or_else(unexpected))?;
        let mut popped = vec![first];
        if count > 1 {
            match self.pop_now(link, key, count - 1).await {
                Ok(rest) => popped.extend(rest),
                // The first frame is off the list and must not be lost; the next pop meets the
                // problem.
                Err(error) => tracing::debug!(%error, "popped a single request: LPOP failed"),
            }
        }
        Ok(popped)
    }
}

/// The element after the key in the reply to a blocking pop.
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

/// A time to block, in Redis' format. Redis 6.2 truncates its value to whole milliseconds after a
/// conversion that rounds down, so that 0.001 becomes 0, which blocks for ever.
fn seconds(block: Duration) -> Value {
    let millis = millis(block).max(2);
    format!("{}.{:03}", millis / 1000, millis % 1000).into()
}

fn millis(block: Duration) -> u64 {
    u64::try_from(block.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, 3_600_000)
}

/// A part of the time for which pops may block; given back on drop.
struct BlockingShare<'a> {
    blocking: &'a AtomicU64,
    millis: u64,
    /// This share and the shares of all pops before it.
    total: Duration,
}

impl<'a> BlockingShare<'a> {
    fn take(blocking: &'a AtomicU64, millis: u64) -> Self {
        let before = blocking.fetch_add(millis, Ordering::Relaxed);
        Self {
            blocking,
            millis,
            total: Duration::from_millis(before.saturating_add(millis)),
        }
    }
}

impl Drop for BlockingShare<'_> {
    fn drop(&mut self) {
        self.blocking.fetch_sub(self.millis, Ordering::Relaxed);
    }
}
