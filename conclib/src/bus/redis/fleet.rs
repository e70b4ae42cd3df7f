//! The map of a fleet in Redis.
//!
//! - [`scripts`]: the fields of the map, and each change of them
//! - [`names`]: the values of listed names
//! - [`reader`]: reads the map with plain commands, at both ends
//! - [`counters`]: heartbeats and counters

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::{Resp3Frame, Value};

use crate::bus::keys::Keys;
use crate::bus::link::log_once::{Anomaly, LogOnce};
use crate::bus::redis::connection::Connection;
use crate::bus::redis::lease::LeaseOwner;
use crate::bus::redis::library::{
    LibrarySession, eval, into_array, into_bytes, into_u64, unexpected,
};
use crate::bus::redis::resp::{Driver, ReplyTimeout};
use crate::bus::redis::{LEASE_COMMAND, lease};
use crate::bus::transport::TransportError;
use crate::bus::transport::fleet::{
    FleetMap, Heartbeats, ListOutcome, MAX_NAMES, MapCounters, MapVersion, MemberId, MemberProfile,
    Members, check_names, check_profile,
};
use crate::urn::Urn;
use scripts::{ANNOUNCE, FORGET_NODE, JOIN, LIST, REMOVE, SWEEP, SWEPT, UNLIST};

pub(super) use reader::MapReader;

mod counters;
mod names;
mod reader;
mod scripts;

/// The number of epochs in the list of a node whose inboxes are deleted with it; more are not written.
const MAX_EPOCHS: usize = 64;

/// The map as members see it.
pub(super) struct RedisFleet {
    keys: Keys,
    /// The connection for scripts.
    commands: Arc<Connection<LibrarySession>>,
    /// The connection for plain reads: what other members have written is bounded there.
    reads: Arc<Connection<Driver>>,
    reader: MapReader,
}

impl RedisFleet {
    pub(super) fn over(
        keys: Keys,
        commands: Arc<Connection<LibrarySession>>,
        reads: Arc<Connection<Driver>>,
    ) -> Self {
        let log = LogOnce::default();
        Self {
            reader: MapReader::new(
                keys.clone(),
                Box::new(move |problem| log.record(Anomaly::UnreadableMember, problem)),
            ),
            keys,
            commands,
            reads,
        }
    }

    /// The keys that have the parts of members.
    fn members(&self) -> Vec<String> {
        vec![self.keys.fleet(), self.keys.heartbeats()]
    }

    async fn script(
        &self,
        script: &'static str,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        let link = self.commands.link()?;
        let arguments = eval(script, keys, arguments);
        link.request("EVAL", arguments, LEASE_COMMAND).await
    }

    /// Runs a script about names, which follow its other arguments by shards.
    async fn script_on(
        &self,
        script: &'static str,
        shards: &BTreeMap<u8, Vec<usize>>,
        names: &[Urn],
        mut arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        let mut keys = vec![self.keys.fleet()];
        for (shard, places) in shards {
            keys.push(self.keys.urns(*shard));
            arguments.push(decimal(places.len() as u64));
            let names = places.iter().map(|place| names[*place].as_str().into());
            arguments.extend(names);
        }
        self.script(script, keys, arguments).await
    }

    /// The last epochs of a node, as they are stored.
    async fn last_epochs(&self, node: &Keys) -> Result<Option<Bytes>, TransportError> {
        let link = self.reads.link()?;
        let replies = link.exchange(ReplyTimeout::at_once(LEASE_COMMAND), |commands| {
            commands.begin("GET", 1).text(&node.last_epoch());
        });
        let epochs = replies.await?.pop().ok_or_else(|| link.unexpected())?;
        Ok(epochs.accepted()?.into_bytes())
    }
}

#[async_trait]
impl FleetMap for RedisFleet {
    async fn join(&self, profile: &MemberProfile) -> Result<MemberId, TransportError> {
        check_profile(profile)?;
        let arguments = [
            vec![self.keys.map_changes().into()],
            written(profile).to_vec(),
        ];
        let joined = self
            .script(JOIN, self.members(), arguments.concat())
            .await?;
        into_u64(&joined).map(MemberId).ok_or_else(unexpected)
    }

    async fn announce(
        &self,
        id: MemberId,
        profile: &MemberProfile,
    ) -> Result<bool, TransportError> {
        check_profile(profile)?;
        let arguments = [
            vec![self.keys.map_changes().into(), decimal(id.0)],
            written(profile).to_vec(),
        ];
        let written = self.script(ANNOUNCE, self.members(), arguments.concat());
        Ok(into_u64(&written.await?) == Some(1))
    }

    async fn heartbeat(&self, id: MemberId) -> Result<Option<MapCounters>, TransportError> {
        let member = Some(decimal(id.0));
        counters::read(&self.commands.link()?, &self.keys, member).await
    }

    async fn counters(&self) -> Result<MapCounters, TransportError> {
        let counters = counters::read(&self.commands.link()?, &self.keys, None).await?;
        counters.ok_or_else(unexpected)
    }

    async fn members(&self) -> Result<Members, TransportError> {
        self.reader.members(&self.reads.link()?).await
    }

    async fn remove(&self, id: MemberId, last: Heartbeats) -> Result<bool, TransportError> {
        let channel = self.keys.map_changes().into();
        let arguments = vec![channel, decimal(id.0), decimal(last.0)];
        let removed = self.script(REMOVE, self.members(), arguments).await?;
        Ok(into_u64(&removed) == Some(1))
    }

    async fn list(
        &self,
        id: MemberId,
        names: &[Urn],
    ) -> Result<Option<Vec<ListOutcome>>, TransportError> {
        check_names(names)?;
        let shards = names::by_shard(names);
        let arguments = vec![decimal(id.0), packed(id)];
        let owners = match self.script_on(LIST, &shards, names, arguments).await? {
            Resp3Frame::Null => return Ok(None),
            owners => into_array(owners).filter(|owners| owners.len() == names.len()),
        };
        let mut listed = vec![ListOutcome::Here; names.len()];
        let places = shards.values().flatten();
        for (place, owner) in places.zip(owners.ok_or_else(unexpected)?) {
            let owner = into_u64(&owner).ok_or_else(unexpected)?;
            if owner != 0 {
                listed[*place] = ListOutcome::There(MemberId(owner));
            }
        }
        Ok(Some(listed))
    }

    async fn unlist(&self, id: MemberId, names: &[Urn]) -> Result<(), TransportError> {
        check_names(names)?;
        let shards = names::by_shard(names);
        let unlisted = self.script_on(UNLIST, &shards, names, vec![packed(id)]);
        unlisted.await.map(drop)
    }

    async fn sweep(&self, shard: u8, position: u64) -> Result<u64, TransportError> {
        let keys = vec![self.keys.fleet(), self.keys.urns(shard)];
        let arguments = vec![decimal(position), decimal(MAX_NAMES as u64)];
        let next = into_bytes(self.script(SWEEP, keys, arguments).await?);
        let next = next.and_then(|next| std::str::from_utf8(&next).ok()?.parse().ok());
        next.ok_or_else(unexpected)
    }

    async fn swept(&self, unswept_since: MapVersion) -> Result<(), TransportError> {
        let keys = vec![self.keys.fleet()];
        let noted = self.script(SWEPT, keys, vec![decimal(unswept_since.0)]);
        noted.await.map(drop)
    }

    async fn forget_node(&self, node: &str) -> Result<(), TransportError> {
        let node = self.keys.of(node);
        let Some(last) = self.last_epochs(&node).await? else {
            return Ok(());
        };
        let terms = lease::read_epochs(&String::from_utf8_lossy(&last), LeaseOwner::random());
        let terms = terms.iter().take(MAX_EPOCHS);
        let inboxes = terms.map(|term| node.inbox(term.epoch));
        let keys = [node.lease(), node.last_epoch()].into_iter().chain(inboxes);
        let arguments = vec![Value::Bytes(last.clone())];
        let arguments = eval(FORGET_NODE, keys.collect(), arguments);
        let link = self.commands.link()?;
        let forgotten = link.request("EVAL", arguments, LEASE_COMMAND);
        forgotten.await.map(drop)
    }
}

/// The arguments of a script that writes a profile: node, state, and the whole.
fn written(profile: &MemberProfile) -> [Value; 3] {
    [
        profile.node.as_str().into(),
        decimal((profile.state as u8).into()),
        Value::Bytes(profile.encode()),
    ]
}

fn decimal(number: u64) -> Value {
    number.to_string().into()
}

fn packed(id: MemberId) -> Value {
    Value::Bytes(Bytes::copy_from_slice(&names::encode(id)))
}
