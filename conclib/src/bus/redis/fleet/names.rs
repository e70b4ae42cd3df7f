//! The values of listed names, and the numbers of the map. No I/O.

use std::collections::BTreeMap;

use crate::bus::transport::fleet::{MemberId, shard_of};
use crate::urn::Urn;

/// The size of a member's number, in bytes. With eight, a value would take twice the memory.
const ID_SIZE: usize = 6;

/// Greater than each number of the map, so that a member's fits; others were written by another program.
const LIMIT: u64 = 1 << (8 * ID_SIZE);

/// A number of the map.
pub(super) fn number(read: Option<u64>) -> Option<u64> {
    read.filter(|number| *number < LIMIT)
}

/// The number of a member at the beginning of a value. Redis gives out none that does not fit.
pub(super) fn encode(id: MemberId) -> [u8; ID_SIZE] {
    let [_, _, low @ ..] = id.0.to_be_bytes();
    low
}

/// The member that has the name of this value; `None` if another program has written it.
pub(super) fn decode(value: &[u8]) -> Option<MemberId> {
    let mut bytes = [0; 8];
    bytes[8 - ID_SIZE..].copy_from_slice(value.get(..ID_SIZE)?);
    Some(MemberId(u64::from_be_bytes(bytes)))
}

/// The places of names among those of a call, by their shards.
pub(super) fn by_shard(names: &[Urn]) -> BTreeMap<u8, Vec<usize>> {
    let mut shards = BTreeMap::<_, Vec<_>>::new();
    for (place, name) in names.iter().enumerate() {
        shards.entry(shard_of(name)).or_default().push(place);
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_their_members() {
        let id = MemberId(1_760_000_000_123);
        let value = encode(id);
        assert_eq!(decode(&value), Some(id));
        assert_eq!(decode(&[&value[..], b"+"].concat()), Some(id));
        assert_eq!(decode(&value[..5]), None);
        assert_eq!(decode(b""), None);
    }

    #[test]
    fn every_name_has_a_place() {
        let names: Vec<_> = (0..300).map(|n| Urn::unchecked(&n.to_string())).collect();
        let mut places: Vec<_> = by_shard(&names).into_values().flatten().collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..300));
    }
}
