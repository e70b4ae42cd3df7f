//! Pops from an inbox and the lists beside it, on a connection of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::keys::{Keys, Right};
use crate::bus::redis::connection::Connection;
use crate::bus::redis::lease;
use crate::bus::redis::resp::{Commands, Driver, Link, RedisReply, ReplyTimeout};
use crate::bus::transport::{
    CutFrame, Epoch, Lists, OperatorFrames, Popped, ServerNumber, TransportError,
};

/// Time beyond its block after which a pop times out, and its connection is given up. A connection
/// that is given up too early loses the frames that it had popped; one that is given up too late
/// takes no requests meanwhile.
const POP_GRACE: Duration = Duration::from_secs(4);

/// Time after which a user that may pop the inbox alone tries the lists beside it again.
const RIGHTS_RETRY: Duration = Duration::from_secs(60);

/// The most frames of the rest of a list beside the inbox that one pop takes.
const MAX_REST: u64 = 512;

/// The keys of the pops of one epoch.
pub(super) struct PopKeys {
    lease: String,
    admin: String,
    inspect: String,
    inbox: String,
}

impl PopKeys {
    pub(super) fn new(keys: &Keys, epoch: Epoch) -> Self {
        Self {
            lease: keys.lease(),
            admin: keys.operator_list(Right::Admin, epoch),
            inspect: keys.operator_list(Right::Inspect, epoch),
            inbox: keys.inbox(epoch),
        }
    }

    /// The keys of lists in the order in which a pop looks at them.
    fn of(&self, lists: Lists) -> impl ExactSizeIterator<Item = &str> {
        let all = [&self.admin, &self.inspect, &self.inbox];
        let skipped = match lists {
            Lists::All => 0,
            Lists::Inbox | Lists::Rest(_) => 2,
        };
        all.into_iter().skip(skipped).map(String::as_str)
    }

    /// The list of a right.
    fn of_right(&self, right: Right) -> &str {
        match right {
            Right::Admin => &self.admin,
            Right::Inspect => &self.inspect,
        }
    }

    /// The right of the list at a key; `None` for the inbox.
    fn right_of(&self, key: &[u8]) -> Option<Right> {
        if key == self.admin.as_bytes() {
            Some(Right::Admin)
        } else {
            (key == self.inspect.as_bytes()).then_some(Right::Inspect)
        }
    }
}

/// The connection for pops. No other command runs on it, because Redis answers none while a pop
/// blocks.
pub(super) struct Pops {
    connection: Connection<Driver>,
    /// Redis is older than 7 and does not know `BLMPOP`.
    lacks_blmpop: AtomicBool,
    /// The user may pop the inbox alone, as with the rules of an earlier version.
    lacks_rights: AtomicBool,
    /// The time at which the other lists are tried again then.
    rights_retry: Mutex<Option<Instant>>,
}

/// The commands of one pop.
#[derive(Clone, Copy)]
enum PopCommands {
    /// `LPOP` of the inbox, which does not wait.
    Now,
    /// `LPOP` of the list of a right and of the inbox, which do not wait.
    Rest(Right),
    /// `BLMPOP`, from Redis 7 on.
    Many(Lists),
    /// `BLPOP` for the first frame, and then `LPOP` of the inbox for the rest.
    OneAndMore(Lists),
}

impl Pops {
    pub(super) fn new(connection: Connection<Driver>) -> Self {
        Self {
            connection,
            lacks_blmpop: AtomicBool::new(false),
            lacks_rights: AtomicBool::new(false),
            rights_retry: Mutex::default(),
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

    /// Takes up to `count` frames off one of the lists, waiting up to `block` for the first one; then reads the
    /// owner of the lease.
    pub(super) async fn pop(
        &self,
        keys: &PopKeys,
        lists: Lists,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError> {
        let link = self.connection.link()?;
        let commands = self.commands(lists, block);
        let popped = pop(&link, commands, keys, count, block).await?;
        let Some(refusal) = popped.refusal else {
            return Ok(popped.popped);
        };
        // Not tried again here: pops behind this one may have taken later requests by now.
        match commands {
            PopCommands::Many(_) if refusal.starts_with("ERR unknown command") => {
                self.lacks_blmpop.store(true, Ordering::Relaxed);
                tracing::info!("this Redis does not know BLMPOP; using BLPOP and LPOP");
            }
            PopCommands::Many(Lists::All)
            | PopCommands::OneAndMore(Lists::All)
            | PopCommands::Rest(_)
                if refusal.starts_with("NOPERM") =>
            {
                self.note_missing_rights(&refusal);
            }
            _ => {
                self.lacks_rights.store(false, Ordering::Relaxed); // not only these are missing
                return Err(TransportError::NotPermitted(refusal));
            }
        }
        Ok(popped.popped)
    }

    /// True if the lists beside the inbox are popped too.
    pub(super) fn include_operators(&self) -> bool {
        !self.lacks_rights.load(Ordering::Relaxed)
    }

    fn commands(&self, lists: Lists, block: Duration) -> PopCommands {
        let lists = match lists {
            Lists::All if !self.include_operators() && !self.is_rights_retry() => Lists::Inbox,
            lists => lists,
        };
        if let Lists::Rest(right) = lists {
            PopCommands::Rest(right)
        } else if block.is_zero() {
            PopCommands::Now
        } else if self.lacks_blmpop.load(Ordering::Relaxed) {
            PopCommands::OneAndMore(lists)
        } else {
            PopCommands::Many(lists)
        }
    }

    /// True if a user that may not pop all lists is to try them again now.
    fn is_rights_retry(&self) -> bool {
        let mut retry = self.rights_retry.lock();
        let now = Instant::now();
        let is_due = retry.is_some_and(|at| at <= now);
        if is_due {
            *retry = Some(now + RIGHTS_RETRY);
            self.lacks_rights.store(false, Ordering::Relaxed);
        }
        is_due
    }

    fn note_missing_rights(&self, refusal: &str) {
        self.lacks_rights.store(true, Ordering::Relaxed);
        let before = self
            .rights_retry
            .lock()
            .replace(Instant::now() + RIGHTS_RETRY);
        if before.is_none() {
            tracing::warn!(
                %refusal,
                "this process cannot be inspected or operated: its user of Redis may not pop the lists for that; the \
                 rules of its role mend that (`Config::acl`)"
            );
        }
    }
}

impl PopCommands {
    /// Writes the commands, and a read of the lease behind them.
    fn write(self, commands: &mut Commands<'_>, keys: &PopKeys, count: u64, block: Duration) {
        let inbox = &keys.inbox;
        match self {
            Self::Now => {
                commands.begin("LPOP", 2).text(inbox).number(count);
            }
            Self::Rest(right) => {
                let list = keys.of_right(right);
                commands.begin("LPOP", 2).text(list).number(MAX_REST);
                commands.begin("LPOP", 2).text(inbox).number(count);
            }
            Self::Many(lists) => {
                let lists = keys.of(lists);
                commands.begin("BLMPOP", 5 + lists.len());
                commands.text(&seconds(block)).number(lists.len() as u64);
                for key in lists {
                    commands.text(key);
                }
                commands.text("LEFT").text("COUNT").number(count);
            }
            Self::OneAndMore(lists) => {
                let lists = keys.of(lists);
                commands.begin("BLPOP", 1 + lists.len());
                for key in lists {
                    commands.text(key);
                }
                commands.text(&seconds(block));
                if count > 1 {
                    commands.begin("LPOP", 2).text(inbox).number(count - 1);
                }
            }
        }
        commands.begin("GET", 1).text(&keys.lease);
    }

    /// The list that the frames of the reply at this place come from.
    fn popped_list(self, place: usize) -> PoppedList {
        match (self, place) {
            (Self::Many(_) | Self::OneAndMore(_), 0) => PoppedList::Named,
            (Self::Rest(right), 0) => PoppedList::Operators(right),
            _ => PoppedList::Inbox,
        }
    }

    /// True if a list may have more than these frames of it.
    fn may_leave(self, frames: usize, count: u64) -> bool {
        match self {
            Self::Many(_) => frames as u64 >= count,
            Self::OneAndMore(_) => true,
            Self::Now | Self::Rest(_) => false,
        }
    }
}

/// The list that a reply has frames of.
#[derive(Clone, Copy)]
enum PoppedList {
    /// The reply has the key of its list before the frames.
    Named,
    Operators(Right),
    Inbox,
}

/// The outcome of the commands of a pop.
struct PopOutcome {
    popped: Popped,
    /// The reason for which the first command was refused. A later one may have taken frames all the same.
    refusal: Option<String>,
}

/// Pops, and asks for the lease in the same write: so the owner comes from the Redis that the frames
/// before it came from, at a moment after they were popped.
async fn pop(
    link: &Link,
    method: PopCommands,
    keys: &PopKeys,
    count: u32,
    block: Duration,
) -> Result<PopOutcome, TransportError> {
    let count = u64::from(count.max(1));
    let timeout = ReplyTimeout {
        block,
        grace: POP_GRACE,
    };
    let replies = link.exchange(timeout, |commands| {
        method.write(commands, keys, count, block);
    });
    let mut replies = replies.await?;
    let owner = replies.pop().ok_or_else(|| link.unexpected())?;
    let owner = lease::read(owner).map(|lease| Some(lease?.serving()?.epoch));
    let mut popped = Popped {
        server: link.server(),
        ..Popped::nothing(owner)
    };
    let mut refusal = None;
    for (place, reply) in replies.into_iter().enumerate() {
        match reply.accepted() {
            Err(TransportError::NotPermitted(reason)) if place == 0 => refusal = Some(reason),
            Ok(reply) => {
                let added = add_frames(reply, method.popped_list(place), keys, &mut popped);
                added.ok_or_else(|| link.unexpected())?;
            }
            // The frames before it are off the list and must not be lost; the next pop meets the
            // problem.
            Err(error) if !popped.is_empty() => {
                tracing::debug!(%error, "popped fewer requests than there may be: LPOP failed");
            }
            Err(TransportError::NotPermitted(_)) if refusal.is_some() => {} // as the first one
            Err(error) => return Err(error),
        }
    }
    if let Some(taken) = &mut popped.operator {
        let frames = taken.frames.len() + taken.cut.len();
        taken.may_have_more = method.may_leave(frames, count);
    }
    Ok(PopOutcome { popped, refusal })
}

/// Adds the frames of a reply.
fn add_frames(
    reply: RedisReply,
    list: PoppedList,
    keys: &PopKeys,
    popped: &mut Popped,
) -> Option<()> {
    let (frames, right) = match (reply, list) {
        (RedisReply::Null, _) => return Some(()),
        (reply, PoppedList::Inbox) => (reply, None),
        (reply, PoppedList::Operators(right)) => (reply, Some(right)),
        (reply, PoppedList::Named) => {
            let [key, frames] = <[RedisReply; 2]>::try_from(reply.into_array()?).ok()?;
            (frames, keys.right_of(&key.into_bytes()?))
        }
    };
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    match frames {
        RedisReply::Array(frames) => {
            whole.reserve(frames.len());
            for frame in frames {
                add_frame(frame, &mut whole, &mut cut)?;
            }
        }
        frame => add_frame(frame, &mut whole, &mut cut)?,
    }
    match right {
        Some(right) => {
            popped.operator = Some(OperatorFrames {
                right,
                frames: whole,
                cut,
                may_have_more: false,
            });
        }
        None if popped.frames.is_empty() && popped.cut.is_empty() => {
            (popped.frames, popped.cut) = (whole, cut);
        }
        // The second reply of a pop of one and more.
        None => {
            let before = popped.frames.len();
            for cut in &mut cut {
                cut.position += before;
            }
            popped.frames.append(&mut whole);
            popped.cut.append(&mut cut);
        }
    }
    Some(())
}

fn add_frame(frame: RedisReply, whole: &mut Vec<Bytes>, cut: &mut Vec<CutFrame>) -> Option<()> {
    match frame {
        RedisReply::Bulk(frame) => whole.push(frame),
        RedisReply::Cut { head, length } => cut.push(CutFrame {
            position: whole.len(),
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
