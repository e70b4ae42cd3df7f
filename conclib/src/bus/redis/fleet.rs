//! The map of a fleet in Redis.
//!
//! - [`scripts`]: the fields of the map, and each change of them
//! - [`names`]: the values of listed names
//! - [`reader`]: reads the map with plain commands, at both ends

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::{Resp3Frame, Value};

use crate::bus::keys::Keys;
use crate::bus::redis::connection::Connection;
use crate::bus::redis::lease::LeaseOwner;
use crate::bus::redis::library::{
    LibrarySession, eval, into_array, into_bytes, into_u64, unexpected,
};
use crate::bus::redis::resp::{Driver, ReplyTimeout};
use crate::bus::redis::{LEASE_COMMAND, lease};
use crate::bus::transport::TransportError;
use crate::bus::transport::fleet::{
    FleetMap, Heartbeats, Listed, MAX_NAMES, MapVersion, MemberId, MemberProfile, Members, Pulse,
    ServerTerm, check_names, check_profile,
};
use crate::urn::Urn;
use scripts::{ANNOUNCE, FORGET_NODE, HEARTBEAT, JOIN, LIST, PULSE, REMOVE, SWEEP, SWEPT, UNLIST};

pub(super) use reader::MapReader;

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
        Self {
            reader: MapReader::new(keys.clone()),
            keys,
            commands,
            reads,
        }
    }

    /// Runs a script in the slot of the map, with further keys.
    async fn script(
        &self,
        script: &'static str,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        let keys = [self.keys.fleet()].into_iter().chain(keys).collect();
        let link = self.commands.link()?;
        let arguments = eval(script, keys, arguments);
        link.request("EVAL", arguments, LEASE_COMMAND).await
    }

    /// Runs a script about names, which follow its other arguments.
    async fn script_on(
        &self,
        script: &'static str,
        names: &[Urn],
        mut arguments: Vec<Value>,
    ) -> Result<Resp3Frame, TransportError> {
        check_names(names)?;
        let mut keys = Vec::new();
        let mut places = vec![0_i64; names.len()];
        for (shard, of_shard) in names::by_shard(names) {
            keys.push(self.keys.urns(shard));
            let key = i64::try_from(keys.len()).unwrap_or(i64::MAX) + 1; // behind the fleet
            for place in of_shard {
                places[place] = key;
            }
        }
        for (name, place) in names.iter().zip(places) {
            arguments.extend([place.into(), name.as_str().into()]);
        }
        self.script(script, keys, arguments).await
    }

    /// Reads the term of the server, and the counters by a script.
    async fn pulse_by(
        &self,
        script: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Option<Pulse>, TransportError> {
        let script = eval(script, vec![self.keys.fleet()], arguments);
        let commands = vec![
            ("INFO", vec!["server".into()]),
            ("INFO", vec!["replication".into()]),
            ("EVAL", script),
        ];
        let link = self.commands.link()?;
        let mut replies = link.pipeline(commands, LEASE_COMMAND).await?;
        let pulse = replies.pop().ok_or_else(unexpected)??;
        if pulse.is_null() {
            return Ok(None);
        }
        // A user may not be allowed to read them.
        let info: Vec<_> = replies.into_iter().filter_map(Result::ok).collect();
        let pulse = read_pulse(pulse, term(&info)).ok_or_else(unexpected)?;
        Ok(Some(pulse))
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
        let joined = self.script(JOIN, Vec::new(), arguments.concat()).await?;
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
        let written = self.script(ANNOUNCE, Vec::new(), arguments.concat());
        Ok(into_u64(&written.await?) == Some(1))
    }

    async fn heartbeat(&self, id: MemberId) -> Result<Option<Pulse>, TransportError> {
        self.pulse_by(HEARTBEAT, vec![decimal(id.0)]).await
    }

    async fn pulse(&self) -> Result<Pulse, TransportError> {
        let pulse = self.pulse_by(PULSE, Vec::new()).await?;
        pulse.ok_or_else(unexpected)
    }

    async fn members(&self) -> Result<Members, TransportError> {
        self.reader.members(&self.reads.link()?).await
    }

    async fn remove(&self, id: MemberId, last: Heartbeats) -> Result<bool, TransportError> {
        let channel = self.keys.map_changes().into();
        let arguments = vec![channel, decimal(id.0), decimal(last.0)];
        let removed = self.script(REMOVE, Vec::new(), arguments).await?;
        Ok(into_u64(&removed) == Some(1))
    }

    async fn list(
        &self,
        id: MemberId,
        names: &[Urn],
    ) -> Result<Option<Vec<Listed>>, TransportError> {
        let arguments = vec![decimal(id.0), packed(id)];
        let listed = match self.script_on(LIST, names, arguments).await? {
            Resp3Frame::Null => return Ok(None),
            listed => into_array(listed).ok_or_else(unexpected)?,
        };
        let read = |listed: &Resp3Frame| {
            into_u64(listed).map(|owner| match owner {
                0 => Listed::Here,
                owner => Listed::There(MemberId(owner)),
            })
        };
        let listed: Option<Vec<_>> = listed.iter().map(read).collect();
        let listed = listed.filter(|listed| listed.len() == names.len());
        listed.map(Some).ok_or_else(unexpected)
    }

    async fn unlist(&self, id: MemberId, names: &[Urn]) -> Result<(), TransportError> {
        let unlisted = self.script_on(UNLIST, names, vec![packed(id)]);
        unlisted.await.map(drop)
    }

    async fn sweep(&self, shard: u8, position: u64) -> Result<u64, TransportError> {
        let names = vec![self.keys.urns(shard)];
        let arguments = vec![decimal(position), decimal(MAX_NAMES as u64)];
        let next = into_bytes(self.script(SWEEP, names, arguments).await?);
        let next = next.and_then(|next| std::str::from_utf8(&next).ok()?.parse().ok());
        next.ok_or_else(unexpected)
    }

    async fn swept(&self, unswept: u64) -> Result<(), TransportError> {
        let noted = self.script(SWEPT, Vec::new(), vec![decimal(unswept)]);
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
        let arguments = eval(
            FORGET_NODE,
            keys.collect(),
            vec![Value::Bytes(last.clone())],
        );
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

/// The term of the server by what it says about itself.
fn term(info: &[Value]) -> ServerTerm {
    let fact = |name: &str| {
        let sections = info.iter().filter_map(Value::as_bytes_str);
        let mut found = sections.filter_map(|section| {
            let mut lines = section.lines();
            Some(lines.find_map(|line| line.strip_prefix(name))?.to_owned())
        });
        found.next().filter(|value| !value.is_empty())
    };
    match (fact("run_id:"), fact("master_replid:")) {
        (Some(process), Some(data)) => ServerTerm(format!("{process}:{data}")),
        _ => ServerTerm::default(),
    }
}

fn read_pulse(reply: Value, term: ServerTerm) -> Option<Pulse> {
    let [version, freed, unswept, heartbeats] = reply.into_array().try_into().ok()?;
    let heartbeats = heartbeats.into_array();
    let read = |pair: &[Value]| {
        let [id, count] = pair else { return None };
        Some((MemberId(id.as_u64()?), Heartbeats(count.as_u64()?)))
    };
    Some(Pulse {
        term,
        version: MapVersion(version.as_u64()?),
        freed: freed.as_u64()?,
        unswept: unswept.as_u64()?,
        heartbeats: heartbeats.chunks(2).map(read).collect::<Option<_>>()?,
    })
}
