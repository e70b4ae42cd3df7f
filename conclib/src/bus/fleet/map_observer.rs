//! The map of a fleet as one of its members sees it. No I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::fleet::heartbeat_watch::HeartbeatWatch;
use crate::bus::fleet::membership::GONE_AFTER;
use crate::bus::fleet::stats::MemberCounts;
use crate::bus::transport::fleet::{
    Heartbeats, MapCounters, MapVersion, Member, MemberId, MemberState, Members, ServerIdentity,
};
use crate::urn::Urn;

/// Time for which a member that has left stays in the map: clients wait for its names meanwhile.
const LEFT_TIME: Duration = Duration::from_secs(60);

/// The map as it was last seen.
#[derive(Default)]
pub(super) struct MapObserver {
    watch: HeartbeatWatch,
    counters: MapCounters,
    members: Members,
}

/// The differences between two looks at the map.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MapChanges {
    /// Another server has the map, or it has lost data: the last writes may be missing.
    pub(super) has_another_server: bool,
    /// Names were freed for which members stand by.
    pub(super) has_freed_names: bool,
    /// The members are other ones, and to be read.
    pub(super) has_other_members: bool,
}

impl MapObserver {
    /// Records the counters of the map.
    pub(super) fn record(&mut self, counters: MapCounters, now: Instant) -> MapChanges {
        self.watch.record(&counters.heartbeats, now);
        let changes = MapChanges {
            has_another_server: is_another(&self.counters.server, &counters.server),
            has_freed_names: counters.freed != self.counters.freed,
            // Compared with the members themselves, which may not have been read.
            has_other_members: counters.version != self.members.version,
        };
        if changes.has_another_server {
            self.watch.restart(now); // it may have lost heartbeats
        }
        self.counters = counters;
        changes
    }

    /// Records the members. They may be newer than the counters.
    pub(super) fn set_members(&mut self, members: Members) {
        self.members = members;
    }

    fn member(&self, id: MemberId) -> Option<&Member> {
        let all = &self.members.all;
        let place = all.binary_search_by_key(&id, |member| member.id);
        all.get(place.ok()?)
    }

    /// The members by state.
    pub(super) fn member_counts(&self) -> MemberCounts {
        MemberCounts::of_states(self.members.all.iter().map(|member| member.profile.state))
    }

    /// The node of a member.
    pub(super) fn node_of(&self, id: MemberId) -> Option<&str> {
        self.member(id).map(|member| &*member.profile.node)
    }

    /// The names that other members share, with their nodes.
    pub(super) fn shared_by_others(&self, own: MemberId) -> impl Iterator<Item = (&Urn, &str)> {
        let others = self
            .members
            .all
            .iter()
            .filter(move |member| member.id != own);
        let living = others.filter(|member| member.profile.state != MemberState::Left);
        living.flat_map(|Member { profile, .. }| {
            let shared = profile.shared.iter();
            shared.map(|urn| (urn, &*profile.node))
        })
    }

    /// True if this is a member that has not left.
    pub(super) fn is_living(&self, id: MemberId) -> bool {
        let member = self.member(id);
        member.is_some_and(|member| member.profile.state != MemberState::Left)
    }

    /// The members whose heartbeats have stood still for too long, and those heartbeats. One that has left
    /// in good order stays for a while.
    pub(super) fn gone_members(&self, own: MemberId, now: Instant) -> Vec<(MemberId, Heartbeats)> {
        let is_known = |id| self.member(id).is_some();
        let mut gone = self.watch.silent(GONE_AFTER, now);
        let long_gone = self.watch.silent(LEFT_TIME, now);
        gone.retain(|silent| {
            let has_left = is_known(silent.0) && !self.is_living(silent.0);
            silent.0 != own && (!has_left || long_gone.contains(silent))
        });
        gone
    }

    /// True if names of members that were removed are to be freed, and this is the member whose turn it is:
    /// the oldest that has not left.
    pub(super) fn is_to_be_swept_by(&self, own: MemberId) -> bool {
        let all = self.counters.heartbeats.iter().map(|(id, _)| *id);
        let oldest = all.filter(|id| self.is_living(*id)).min();
        self.counters.unswept_since > MapVersion(0) && oldest == Some(own)
    }

    /// The version of the map up to which removed members are to be swept.
    pub(super) fn unswept_since(&self) -> MapVersion {
        self.counters.unswept_since
    }

    /// Notes that their names were freed.
    pub(super) fn was_swept(&mut self) {
        self.counters.unswept_since = MapVersion(0);
    }
}

/// True if a server that was known was followed by another one, or may have lost data.
fn is_another(known: &ServerIdentity, now: &ServerIdentity) -> bool {
    !known.0.is_empty() && known != now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::transport::fleet::MemberProfile;

    const SECOND: Duration = Duration::from_secs(1);

    fn counters(server: &str, version: u64, heartbeats: u64) -> MapCounters {
        MapCounters {
            server: ServerIdentity(server.to_owned()),
            version: MapVersion(version),
            heartbeats: vec![
                (MemberId(1), Heartbeats(1)),
                (MemberId(2), Heartbeats(heartbeats)),
            ],
            ..MapCounters::default()
        }
    }

    fn members(version: u64, state: MemberState) -> Members {
        let member = |id| Member {
            id: MemberId(id),
            profile: MemberProfile {
                node: format!("node-{id}"),
                process: [0; 6],
                state,
                shared: Vec::new(),
            },
        };
        Members {
            version: MapVersion(version),
            all: vec![member(1), member(2)],
        }
    }

    #[test]
    fn members_are_to_be_read_until_they_are() {
        let mut map = MapObserver::default();
        let now = Instant::now();
        assert!(map.record(counters("a", 5, 1), now).has_other_members);
        assert!(map.record(counters("a", 5, 1), now).has_other_members);
        map.set_members(members(5, MemberState::Serving));
        let same = map.record(counters("a", 5, 2), now);
        assert_eq!(
            same,
            MapChanges {
                has_another_server: false,
                has_freed_names: false,
                has_other_members: false,
            }
        );
        assert!(map.record(counters("b", 5, 2), now).has_another_server);
        assert_eq!(map.node_of(MemberId(2)), Some("node-2"));
        assert_eq!(map.node_of(MemberId(3)), None);
    }

    #[test]
    fn member_that_has_left_stays_for_a_while() {
        for (state, seconds) in [(MemberState::Serving, 8), (MemberState::Left, 62)] {
            let mut map = MapObserver::default();
            map.set_members(members(5, state));
            let start = Instant::now();
            let gone = (0..100).step_by(2).find(|second| {
                let now = start + *second * SECOND;
                map.record(counters("a", 5, 1 + u64::from(*second)), now);
                map.gone_members(MemberId(2), now) == [(MemberId(1), Heartbeats(1))]
            });
            assert!(
                gone.is_some_and(|second| second.abs_diff(seconds) <= 2),
                "{gone:?}"
            );
        }
    }
}
