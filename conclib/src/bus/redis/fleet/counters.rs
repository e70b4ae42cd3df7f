//! The counters of the map and the identity of the server, read together.

use fred::types::Value;

use crate::bus::keys::Keys;
use crate::bus::redis::fleet::names;
use crate::bus::redis::fleet::scripts::HEARTBEAT;
use crate::bus::redis::library::{LibraryLink, eval, unexpected};
use crate::bus::redis::{LEASE_COMMAND, identity};
use crate::bus::transport::TransportError;
use crate::bus::transport::fleet::{
    Heartbeats, MAX_MEMBERS, MapCounters, MapVersion, MemberId, ServerIdentity,
};

/// Counts a heartbeat of a member, if one is named, and reads the counters behind it: with plain commands,
/// which cost less than the same in a script. `None` if it is no member.
pub(super) async fn read(
    link: &LibraryLink,
    keys: &Keys,
    member: Option<Value>,
) -> Result<Option<MapCounters>, TransportError> {
    // The identity comes first: counters of an earlier server would be taken for those of the later one.
    let mut commands = vec![
        ("INFO", vec!["server".into()]),
        ("INFO", vec!["replication".into()]),
    ];
    let counts_one = member.is_some();
    commands.extend(member.map(|member| {
        let keys = vec![keys.fleet(), keys.heartbeats()];
        ("EVAL", eval(HEARTBEAT, keys, vec![member]))
    }));
    let fields = ["version", "freed", "unswept"].map(Value::from);
    let counters = [vec![keys.fleet().into()], fields.to_vec()].concat();
    commands.push(("HMGET", counters));
    commands.push(("HGETALL", vec![keys.heartbeats().into()]));
    let mut replies = link.pipeline(commands, LEASE_COMMAND).await?;
    let mut last = || replies.pop().ok_or_else(unexpected)?;
    let (heartbeats, counters) = (last()?, last()?);
    if counts_one && last()?.as_u64() != Some(1) {
        return Ok(None);
    }
    // A user may not be allowed to read them.
    let info = replies.into_iter().filter_map(Result::ok);
    let info: Vec<_> = info.filter_map(Value::into_string).collect();
    let counters = parse(identity::of(&info), counters, &heartbeats.into_array());
    counters.map(Some).ok_or_else(unexpected)
}

fn parse(server: ServerIdentity, counters: Value, heartbeats: &[Value]) -> Option<MapCounters> {
    let counters = counters.into_array();
    let [version, freed, unswept] = &counters[..] else {
        return None;
    };
    let read = |pair: &[Value]| {
        let [id, count] = pair else { return None };
        // Members have numbers; another program may have written something else.
        let id = names::number(id.as_u64())?;
        Some((MemberId(id), Heartbeats(number(count))))
    };
    let heartbeats = heartbeats.chunks(2).filter_map(read);
    Some(MapCounters {
        server,
        version: MapVersion(number(version)),
        freed: number(freed),
        unswept_since: MapVersion(number(unswept)),
        heartbeats: heartbeats.take(MAX_MEMBERS).collect(),
    })
}

/// The number in a field; 0 if it is missing, or no number, as in the scripts.
fn number(value: &Value) -> u64 {
    names::number(value.as_u64()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_numbers_count_as_none() {
        let counters = |version: &str| {
            let values = [version, "-1", "x"].map(Value::from);
            Value::Array(values.to_vec())
        };
        let heartbeats = ["5", "7", "x", "1", "6", "many", "8"].map(Value::from);
        let read = |version: &str| {
            let counters = parse(ServerIdentity::default(), counters(version), &heartbeats);
            counters.unwrap()
        };
        let counters = read("12");
        assert_eq!(
            (counters.version, counters.freed, counters.unswept_since),
            (MapVersion(12), 0, MapVersion(0))
        );
        let expected = [(5, 7), (6, 0)].map(|(id, count)| (MemberId(id), Heartbeats(count)));
        assert_eq!(counters.heartbeats, expected);
        for wrong in ["", "1e300", "281474976710656", "99999999999999999999"] {
            assert_eq!(read(wrong).version, MapVersion(0), "{wrong}");
        }
    }
}
