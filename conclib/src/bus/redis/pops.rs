//! Pops from an inbox, on a connection of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bus::redis::connection::Connection;
use crate::bus::redis::lease;
use crate::bus::redis::resp::{Driver, Link, RedisReply, ReplyTimeout};
use crate::bus::transport::{CutFrame, Popped, ServerNumber, TransportError};

/// Time beyond its block after which a pop times out, and its connection is given up. A connection
/// that is given up too early loses the frames that it had popped; one that is given up too late
/// takes no requests meanwhile.
const POP_GRACE: Duration = Duration::from_secs(4);

/// The connection for pops. No other command runs on it, because Redis answers none while a pop
/// blocks.
pub(super) struct Pops {
    connection: Connection<Driver>,
    /// Redis is older than 7 and does not know `BLMPOP`.
    lacks_blmpop: AtomicBool,
}

/// The commands of one pop.
#[derive(Clone, Copy)]
enum Method {
    /// `LPOP`, which does not wait.
    Now,
    /// `BLMPOP`, from Redis 7 on.
    Many,
    /// `BLPOP` for the first frame, and then `LPOP` for the rest.
    OneAndMore,
}

impl Pops {
    pub(super) fn new(connection: Connection<Driver>) -> Self {
        Self {
            connection,
            lacks_blmpop: AtomicBool::new(false),
        }
    }

    pub(super) fn close(&self) {
        self.connection.close();
    }

    /// True if a pop is under way: then it is known whether the connection works.
    pub(super) fn are_under_way(&self) -> bool {
        self.connection.link().is_ok_and(|link| link.is_waiting())
    }

    /// The server that the next pop takes from.
    pub(super) fn server(&self) -> Result<ServerNumber, TransportError> {
        Ok(self.connection.link()?.server())
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
        let method = if block.is_zero() {
            Method::Now
        } else if self.lacks_blmpop.load(Ordering::Relaxed) {
            Method::OneAndMore
        } else {
            Method::Many
        };
        match pop(&link, method, key, lease, count, block).await {
            Err(TransportError::NotPermitted(reply))
                if matches!(method, Method::Many) && reply.starts_with("ERR unknown command") =>
            {
                self.lacks_blmpop.store(true, Ordering::Relaxed);
                tracing::info!("this Redis does not know BLMPOP; using BLPOP and LPOP");
                pop(&link, Method::OneAndMore, key, lease, count, block).await
            }
            popped => popped,
        }
    }
}

/// Pops, and asks for the lease in the same write: so the owner comes from the Redis that the frames
/// before it came from, at a moment after they were popped.
async fn pop(
    link: &Link,
    method: Method,
    key: &str,
    lease: &str,
    count: u32,
    block: Duration,
) -> Result<Popped, TransportError> {
    let count = u64::from(count.max(1));
    let timeout = ReplyTimeout {
        block,
        grace: POP_GRACE,
    };
    let replies = link.exchange(timeout, |commands| {
        match method {
            Method::Now => {
                commands.begin("LPOP", 2).text(key).number(count);
            }
            Method::Many => {
                commands.begin("BLMPOP", 6).text(&seconds(block)).number(1);
                commands.text(key).text("LEFT").text("COUNT").number(count);
            }
            Method::OneAndMore => {
                commands.begin("BLPOP", 2).text(key).text(&seconds(block));
                if count > 1 {
                    commands.begin("LPOP", 2).text(key).number(count - 1);
                }
            }
        }
        commands.begin("GET", 1).text(lease);
    });
    let mut replies = replies.await?;
    let owner = replies.pop().ok_or_else(|| link.unexpected())?;
    let mut popped = Popped {
        frames: Vec::new(),
        cut: Vec::new(),
        owner: lease::read(owner).map(|lease| Some(lease?.serving()?.epoch)),
        server: link.server(),
    };
    for (place, reply) in replies.into_iter().enumerate() {
        match reply.accepted() {
            Ok(reply) => {
                let has_key = place == 0 && !block.is_zero();
                add_frames(reply, has_key, &mut popped).ok_or_else(|| link.unexpected())?;
            }
            // The frames before it are off the list and must not be lost; the next pop meets the
            // problem.
            Err(error) if !popped.is_empty() => {
                tracing::debug!(%error, "popped a single request: LPOP failed");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(popped)
}

/// Adds the frames of a reply: behind the key in that to a blocking pop.
fn add_frames(reply: RedisReply, has_key: bool, popped: &mut Popped) -> Option<()> {
    let frames = match reply {
        RedisReply::Null => return Some(()),
        reply if !has_key => reply,
        reply => {
            let mut parts = reply.into_array()?;
            parts.pop().filter(|_| parts.len() == 1)?
        }
    };
    match frames {
        RedisReply::Array(frames) => frames
            .into_iter()
            .try_for_each(|frame| add_frame(frame, popped)),
        frame => add_frame(frame, popped),
    }
}

fn add_frame(frame: RedisReply, popped: &mut Popped) -> Option<()> {
    match frame {
        RedisReply::Bulk(frame) => popped.frames.push(frame),
        RedisReply::Cut { head, length } => popped.cut.push(CutFrame {
            position: popped.frames.len(),
            head,
            length,
        }),
        _ => return None,
    }
    Some(())
}

/// A time to block, in Redis' format. Redis 6.2 truncates its value to whole milliseconds after a
/// conversion that rounds down, so that 0.001 becomes 0, which blocks for ever.
fn seconds(block: Duration) -> String {
    let millis = u64::try_from(block.as_millis()).unwrap_or(u64::MAX);
    let millis = millis.clamp(2, 3_600_000);
    format!("{}.{:03}", millis / 1000, millis % 1000)
}
