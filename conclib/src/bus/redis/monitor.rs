//! Redis as a tool sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::bus::config::{Config, RedisAddress};
use crate::bus::keys::Keys;
use crate::bus::redis::client::read_time;
use crate::bus::redis::connection::Connection;
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
use crate::bus::redis::fleet::MapReader;
use crate::bus::redis::library::{LibrarySession, unexpected};
use crate::bus::redis::resp::{Commands, Driver, Link, RedisReply, ReplyTimeout};
use crate::bus::redis::stream::{GROUP, entries};
use crate::bus::redis::{COMMAND, Unreachable};
use crate::bus::transport::fleet::Member;
use crate::bus::transport::monitor::{
    BusView, DeadFacts, EntryFacts, LeaseFacts, ServerFacts, StreamFacts,
};
use crate::bus::transport::stream::{EntryId, StreamEntry};
use crate::bus::transport::{Epoch, LeaseHolder, ServerTime, TransportError};

const TIMEOUT: ReplyTimeout = ReplyTimeout::at_once(COMMAND);

/// A Redis that is only read.
pub(crate) struct RedisView {
    map: MapReader,
    commands: Connection<Driver>,
    /// The connection for lists of messages, from the first one on.
    lists: OnceCell<Connection<LibrarySession>>,
    endpoint: Arc<Endpoint>,
}

impl RedisView {
    pub(crate) async fn connect(
        address: &RedisAddress,
        config: &Config,
    ) -> Result<Self, Unreachable> {
        let endpoint = Arc::new(Endpoint::new(address, config, Arc::default()));
        let report = |problem: &dyn std::fmt::Display| {
            tracing::warn!(%problem, "cannot read the profile of a member of the fleet: leaving it out");
        };
        Ok(Self {
            map: MapReader::new(config.keys(), Box::new(report)),
            commands: Connection::open(&endpoint, ConnectionRole::Commands).await?,
            lists: OnceCell::new(),
            endpoint,
        })
    }

    /// Sends `N` commands together; error replies are among the replies.
    async fn ask<const N: usize>(
        &self,
        encode: impl FnOnce(&mut Commands<'_>) + Send,
    ) -> Result<(Link, [RedisReply; N]), TransportError> {
        let link = self.commands.link()?;
        let replies = link.exchange(TIMEOUT, encode).await?;
        let replies = replies.try_into().map_err(|_| link.unexpected())?;
        Ok((link, replies))
    }
}

#[async_trait]
impl BusView for RedisView {
    async fn time(&self) -> Result<ServerTime, TransportError> {
        let (link, [time]) = self
            .ask(|commands| {
                commands.begin("TIME", 0);
            })
            .await?;
        read_time(&link, time.accepted()?)
    }

    async fn server(&self) -> Result<Option<ServerFacts>, TransportError> {
        let (_, [info, user, save]) = self
            .ask(|commands| {
                commands.begin("INFO", 0);
                commands.begin("ACL", 1).text("WHOAMI");
                commands.begin("CONFIG", 2).text("GET").text("save");
            })
            .await?;
        let info = text(info.accepted()?);
        // A user may be allowed the first one only.
        let save = save.into_array().and_then(|mut pair| pair.pop());
        Ok(Some(ServerFacts {
            info,
            user: text(user),
            save: save.map(text),
        }))
    }

    async fn lease(&self, node: &Keys) -> Result<Option<LeaseFacts>, TransportError> {
        let key = node.lease();
        let (_, [lease, remaining]) = self
            .ask(|commands| {
                commands.begin("GET", 1).text(&key);
                commands.begin("PTTL", 1).text(&key);
            })
            .await?;
        let Some(bytes) = lease.accepted()?.into_bytes() else {
            return Ok(None);
        };
        let (lease, instance) = LeaseHolder::decode(&bytes).map_err(|error| {
            TransportError::NotDone(format!("the lease is unreadable: {error}"))
        })?;
        Ok(Some(LeaseFacts {
            lease,
            instance,
            remaining: remaining.as_u64().map(Duration::from_millis),
        }))
    }

    async fn inbox_len(&self, node: &Keys, epoch: Epoch) -> Result<u64, TransportError> {
        let inbox = node.inbox(epoch);
        let (link, [length]) = self
            .ask(|commands| {
                commands.begin("LLEN", 1).text(&inbox);
            })
            .await?;
        count(&link, length)
    }

    async fn stream(&self, node: &Keys) -> Result<StreamFacts, TransportError> {
        let (stream, delayed) = (node.durable(), node.delayed());
        let (link, [stored, delayed, oldest, claims]) = self
            .ask(|commands| {
                commands.begin("XLEN", 1).text(&stream);
                commands.begin("ZCARD", 1).text(&delayed);
                begin_first(commands, &stream);
                commands.begin("XPENDING", 2).text(&stream).text(GROUP);
            })
            .await?;
        let entries = permitted(first_id(oldest))?;
        let claimed = permitted(claimed(claims))?;
        Ok(StreamFacts {
            stored: count(&link, stored)?,
            delayed: count(&link, delayed)?,
            entries: entries
                .zip(claimed)
                .map(|(oldest, claimed)| EntryFacts { oldest, claimed }),
        })
    }

    async fn entries(
        &self,
        node: &Keys,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError> {
        let open = || Connection::open(&self.endpoint, ConnectionRole::Durable);
        let lists = self.lists.get_or_try_init(open).await;
        let lists = lists.map_err(|error| TransportError::NotDone(error.to_string()))?;
        let arguments = vec![
            node.durable().into(),
            format!("({after}").into(),
            "+".into(),
            "COUNT".into(),
            i64::from(count).into(),
        ];
        let listed = lists.link()?.request("XRANGE", arguments, COMMAND).await?;
        entries::stream_entries(listed).ok_or_else(unexpected)
    }

    async fn dead_letters(&self, node: &Keys) -> Result<DeadFacts, TransportError> {
        let key = node.dead_letters();
        let (link, [length, oldest]) = self
            .ask(|commands| {
                commands.begin("XLEN", 1).text(&key);
                begin_first(commands, &key);
            })
            .await?;
        let oldest = permitted(first_id(oldest))?;
        Ok(DeadFacts {
            stored: count(&link, length)?,
            oldest: oldest.flatten(),
            is_readable: oldest.is_some(),
        })
    }

    async fn members(&self) -> Result<Vec<Member>, TransportError> {
        let link = self.commands.link()?;
        Ok(self.map.members(&link).await?.all)
    }
}

/// Begins to read the first entry of a stream.
fn begin_first(commands: &mut Commands<'_>, stream: &str) {
    let range = commands.begin("XRANGE", 5).text(stream);
    range.text("-").text("+").text("COUNT").number(1);
}

fn text(reply: RedisReply) -> String {
    let bytes = reply.into_bytes().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn count(link: &Link, reply: RedisReply) -> Result<u64, TransportError> {
    reply.accepted()?.as_u64().ok_or_else(|| link.unexpected())
}

/// The id of the only entry in a list. Its contents may be cut.
fn first_id(list: RedisReply) -> Result<Option<EntryId>, TransportError> {
    let mut entries = list
        .accepted()?
        .into_array()
        .unwrap_or_default()
        .into_iter();
    let entry = entries.next().and_then(RedisReply::into_array);
    let id = entry.and_then(|parts| parts.into_iter().next());
    Ok(id.and_then(|id| text(id).parse().ok()))
}

/// The number of claims in the summary of a group; 0 before the first consumer has made the group.
fn claimed(summary: RedisReply) -> Result<u64, TransportError> {
    let parts = match summary.accepted() {
        Err(TransportError::NotDone(why)) if why.starts_with("NOGROUP") => return Ok(0),
        reply => reply?.into_array().unwrap_or_default(),
    };
    Ok(parts.first().and_then(RedisReply::as_u64).unwrap_or(0))
}

/// A fact that this user may read, or `None`.
fn permitted<T>(fact: Result<T, TransportError>) -> Result<Option<T>, TransportError> {
    match fact {
        Err(TransportError::NotPermitted(_)) => Ok(None),
        fact => fact.map(Some),
    }
}
