//! Reads the map of a fleet with plain commands: clients have no scripts.

use std::fmt::Display;

use bytes::Bytes;

use crate::bus::keys::Keys;
use crate::bus::redis::COMMAND;
use crate::bus::redis::fleet::names;
use crate::bus::redis::resp::{Link, RedisReply, ReplyTimeout};
use crate::bus::transport::TransportError;
use crate::bus::transport::fleet::{
    MAX_MEMBERS, MapVersion, Member, MemberId, MemberProfile, Members, NameOwners, check_names,
};
use crate::urn::Urn;

const TIMEOUT: ReplyTimeout = ReplyTimeout::at_once(COMMAND);

/// Called with the problem of a profile that cannot be read.
pub(in crate::bus::redis) type ReportUnreadable = Box<dyn Fn(&dyn Display) + Send + Sync>;

/// Reads the map over a link, whose replies are bounded.
pub(in crate::bus::redis) struct MapReader {
    keys: Keys,
    report: ReportUnreadable,
}

impl MapReader {
    pub(in crate::bus::redis) fn new(keys: Keys, report: ReportUnreadable) -> Self {
        Self { keys, report }
    }

    pub(in crate::bus::redis) async fn version(
        &self,
        link: &Link,
    ) -> Result<MapVersion, TransportError> {
        let mut replies = link
            .exchange(TIMEOUT, |commands| {
                let fleet = self.keys.fleet();
                commands.begin("HGET", 2).text(&fleet).text("version");
            })
            .await?;
        let version = replies.pop().ok_or_else(|| link.unexpected())?.accepted()?;
        Ok(version_of(version))
    }

    pub(in crate::bus::redis) async fn members(
        &self,
        link: &Link,
    ) -> Result<Members, TransportError> {
        let mut replies = link
            .exchange(TIMEOUT, |commands| {
                commands.begin("HGETALL", 1).text(&self.keys.fleet());
            })
            .await?;
        let fields = replies.pop().ok_or_else(|| link.unexpected())?.accepted()?;
        let fields = fields.into_array().ok_or_else(|| link.unexpected())?;
        Ok(self.members_of(fields))
    }

    /// The members in the fields of the map, which are followed by their values.
    fn members_of(&self, fields: Vec<RedisReply>) -> Members {
        let mut members = Members::default();
        let mut fields = fields.into_iter();
        while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
            let Some(field) = field.into_bytes() else {
                continue;
            };
            if *field == *b"version" {
                members.version = version_of(value);
            } else if let Some(id) = field.strip_prefix(b"m:") {
                members.all.extend(self.member(id, value));
            }
        }
        members.all.sort_unstable_by_key(|member| member.id);
        members.all.truncate(MAX_MEMBERS);
        members
    }

    /// A member by its number and its profile; logs the first one that cannot be read.
    fn member(&self, id: &[u8], profile: RedisReply) -> Option<Member> {
        let unreadable = |problem: &dyn Display| {
            (self.report)(problem);
        };
        let (Some(id), Some(profile)) = (parse(id), profile.into_bytes()) else {
            unreadable(&"its number cannot be read, or its profile is too large");
            return None;
        };
        match MemberProfile::decode(&profile) {
            Ok(profile) => Some(Member {
                id: MemberId(id),
                profile,
            }),
            Err(problem) => {
                unreadable(&problem);
                None
            }
        }
    }

    pub(in crate::bus::redis) async fn look_up(
        &self,
        link: &Link,
        names: &[Urn],
    ) -> Result<NameOwners, TransportError> {
        check_names(names)?;
        let mut owners = vec![None; names.len()];
        let shards = names::by_shard(names);
        let replies = link.exchange(TIMEOUT, |commands| {
            for (shard, places) in &shards {
                let key = self.keys.urns(*shard);
                commands.begin("HMGET", 1 + places.len()).text(&key);
                for place in places {
                    commands.text(names[*place].as_str());
                }
            }
            commands
                .begin("HGET", 2)
                .text(&self.keys.fleet())
                .text("version");
        });
        let mut replies = replies.await?;
        let version = replies.pop().ok_or_else(|| link.unexpected())?.accepted()?;
        for (places, values) in shards.values().zip(replies) {
            let values = values.accepted()?.into_array();
            let values = values.filter(|values| values.len() == places.len());
            for (place, value) in places.iter().zip(values.ok_or_else(|| link.unexpected())?) {
                let value = value.into_bytes().unwrap_or_default();
                owners[*place] = names::decode(&value);
            }
        }
        let version = version_of(version);
        Ok(NameOwners { owners, version })
    }
}

/// The version in a field; 0 if it is missing, or written by another program.
fn version_of(value: RedisReply) -> MapVersion {
    let value = value.into_bytes();
    let version = value.as_ref().map(Bytes::as_ref).and_then(parse);
    MapVersion(version.unwrap_or_default())
}

fn parse(digits: &[u8]) -> Option<u64> {
    names::number(std::str::from_utf8(digits).ok()?.parse().ok())
}
