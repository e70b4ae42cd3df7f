//! The frame of a member of a fleet.

use crate::bus::keys::Keys;
use crate::bus::protocol::limits::BoundedVec;
use crate::bus::protocol::{Problem, pack, unpack};
use crate::bus::transport::fleet::{MAX_SHARED, MemberProfile, MemberState};
use crate::urn::Urn;

#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "a bus in memory needs none")
)]
impl MemberProfile {
    pub(crate) fn encode(&self) -> bytes::Bytes {
        let process = serde_bytes::Bytes::new(&self.process);
        pack(&(&self.node, process, self.state as u8, &self.shared))
    }

    pub(crate) fn decode(frame: &[u8]) -> Result<Self, Problem> {
        type Whole<'a> = (
            &'a str,
            serde_bytes::ByteArray<6>,
            u8,
            BoundedVec<MAX_SHARED, &'a str>,
        );
        let (node, process, state, BoundedVec(shared)) = unpack::<Whole<'_>>(frame)?;
        // Keys are made of it.
        if !Keys::is_name(node) {
            return Err(Problem::Malformed("its node has no proper name".to_owned()));
        }
        let unknown = || Problem::Malformed(format!("state {state} is unknown"));
        let shared = shared.into_iter().map(Urn::new).collect::<Result<_, _>>();
        Ok(Self {
            node: node.to_owned(),
            process: process.into_array(),
            state: MemberState::from_number(state).ok_or_else(unknown)?,
            shared: shared.map_err(|error| Problem::Malformed(error.to_string()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(shared: usize) -> MemberProfile {
        let names = (0..shared).map(|number| Urn::unchecked(&format!("shared/{number}")));
        MemberProfile {
            node: "eu-1".to_owned(),
            process: [0, 1, 2, 253, 254, 255],
            state: MemberState::Draining,
            shared: names.collect(),
        }
    }

    #[test]
    fn profile_survives_encoding() {
        for shared in [0, 1, 20, MAX_SHARED] {
            let profile = profile(shared);
            assert_eq!(MemberProfile::decode(&profile.encode()), Ok(profile));
        }
    }

    #[test]
    fn additional_elements_are_ignored() {
        let process = serde_bytes::Bytes::new(&[7; 6]);
        let longer = pack(&("eu-1", process, 1_u8, ["a"], "load", [1, 2]));
        let read = MemberProfile::decode(&longer).unwrap();
        assert_eq!((read.process, read.shared.len()), ([7; 6], 1));
    }

    #[test]
    fn profiles_beyond_the_limits_are_not_read() {
        let long = "x".repeat(Urn::MAX_LEN + 1);
        let process = |length| serde_bytes::Bytes::new(&[7; 9][..length]);
        let none: [&str; 0] = [];
        for unreadable in [
            profile(MAX_SHARED + 1).encode(),
            pack(&("eu-1", process(6), 1_u8, [long.as_str()])),
            pack(&("eu-1", process(6), 1_u8, ["two words"])),
            pack(&("eu-1", process(6), 4_u8, none)),
            pack(&("eu-1", process(7), 1_u8, none)),
            pack(&("", process(6), 1_u8, none)),
            pack(&("a}:{b", process(6), 1_u8, none)),
            pack(&("eu-1", process(6), 1_u8)),
            vec![0x94, 0xdb, 0xff, 0xff, 0xff, 0xff].into(),
            vec![].into(),
        ] {
            let problem = MemberProfile::decode(&unreadable).unwrap_err();
            assert!(problem.to_string().len() < 1000, "{problem}");
        }
    }
}
