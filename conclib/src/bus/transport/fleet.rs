//! The map of a fleet: its members, and the names that they list.
//!
//! A member is a process that has joined, until it is removed. The map keeps the members and a version,
//! which rises with each change that clients have to know. A listed name has one member.
//!
//! No wall clock decides on a member's life: a member counts its heartbeats, and other members see on
//! their own clocks how long a count has stood still.

use async_trait::async_trait;

use crate::bus::transport::TransportError;
use crate::urn::Urn;

/// The number of names in one call of [`FleetMap::list`], [`FleetMap::unlist`] or [`FleetView::look_up`].
pub(crate) const MAX_NAMES: usize = 512;

/// The number of names that one member shares.
pub(crate) const MAX_SHARED: usize = 4_096;

/// The number of members of a fleet.
pub(crate) const MAX_MEMBERS: usize = 4_096;

/// The number of tables that the listed names of a namespace are spread over.
pub(crate) const SHARDS: u8 = 64;

/// The number of a member: never given twice, and greater than that of every member before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct MemberId(pub(crate) u64);

impl MemberId {
    /// The number of no member. A freed name has it for which a member stands by.
    pub(crate) const NONE: Self = Self(0);
}

/// The number of a change of the map that clients have to know: greater than every one before. 0 is the
/// version of a map without a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct MapVersion(pub(crate) u64);

/// The number of heartbeats of a member so far, joining included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Heartbeats(pub(crate) u64);

/// The name of a server process and of the history of its data: under another one, writes may be lost.
/// Empty if the server hides either.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerIdentity(pub(crate) String);

/// The stage of a member's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum MemberState {
    /// Serves, and has names that it has not tried to list yet: a name that is not listed may be here.
    Listing = 0,
    /// Serves, and has tried to list all of its names.
    Serving = 1,
    /// Serves requests that still come, and is to be chosen no more.
    Draining = 2,
    /// Ended in good order. Other members may list its names; clients wait for that meanwhile.
    Left = 3,
}

impl MemberState {
    /// The state that is written as this number; `None` if this version knows none.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        let all = [Self::Listing, Self::Serving, Self::Draining, Self::Left];
        all.into_iter().find(|state| *state as u8 == number)
    }
}

/// A member as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) profile: MemberProfile,
}

/// The part of a member that it writes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberProfile {
    /// The node whose inbox it takes requests from; the same for all of its life.
    pub(crate) node: String,
    /// The part of the URNs that it generates which names their process.
    pub(crate) process: [u8; 6],
    pub(crate) state: MemberState,
    /// The names that it shares with other members, up to [`MAX_SHARED`].
    pub(crate) shared: Vec<Urn>,
}

/// The members of a fleet at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Members {
    pub(crate) version: MapVersion,
    /// The members in the order of their numbers, up to [`MAX_MEMBERS`]. Those whose profiles cannot be
    /// read are left out.
    pub(crate) all: Vec<Member>,
}

/// The counters of the map. Those of Redis are read one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MapCounters {
    /// Read before the counters, on the same connection: the counters are never those of an earlier server.
    pub(crate) server: ServerIdentity,
    pub(crate) version: MapVersion,
    /// Rises when names are freed for which other members stand by.
    pub(crate) freed: u64,
    /// The version at which a member was removed last that may have left listed names; 0 if every shard
    /// was swept since.
    pub(crate) unswept_since: MapVersion,
    /// The heartbeats of all members, in any order.
    pub(crate) heartbeats: Vec<(MemberId, Heartbeats)>,
}

/// The outcome of listing a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListOutcome {
    /// The caller has the name.
    Here,
    /// Another living member has it, and the map notes that a member stands by for it.
    There(MemberId),
}

/// The members that have some names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NameOwners {
    /// In the order of the names. A member may be gone that still has a name, or be
    /// [`NONE`](MemberId::NONE).
    pub(crate) owners: Vec<Option<MemberId>>,
    /// The version of the map, read after the names: a member that had joined when they were read is among
    /// those of this version.
    pub(crate) version: MapVersion,
}

/// The map as members see it.
#[async_trait]
pub(crate) trait FleetMap: Send + Sync {
    /// Adds a member, with its first heartbeat. A member of the same node that was there before is
    /// removed. Fails with `NotDone` if there are [`MAX_MEMBERS`] others.
    async fn join(&self, profile: &MemberProfile) -> Result<MemberId, TransportError>;

    /// Writes the member's profile anew; false if it is no member any more.
    async fn announce(&self, id: MemberId, profile: &MemberProfile)
    -> Result<bool, TransportError>;

    /// Counts a heartbeat; `None` if the caller is no member any more.
    async fn heartbeat(&self, id: MemberId) -> Result<Option<MapCounters>, TransportError>;

    /// Reads the counters of the map.
    async fn counters(&self) -> Result<MapCounters, TransportError>;

    /// Reads the members.
    async fn members(&self) -> Result<Members, TransportError>;

    /// Removes a member that has had as many heartbeats; false if it has had another number, or is no
    /// member.
    async fn remove(&self, id: MemberId, last: Heartbeats) -> Result<bool, TransportError>;

    /// Lists up to [`MAX_NAMES`] names: those that are free, those that the caller has, and those of
    /// members that have left or are gone. `None` if the caller is no member any more.
    async fn list(
        &self,
        id: MemberId,
        names: &[Urn],
    ) -> Result<Option<Vec<ListOutcome>>, TransportError>;

    /// Frees those of up to [`MAX_NAMES`] names that `id` has, even if it is no member any more. A name that
    /// another member stands by for is that of [`MemberId::NONE`] from then on, so that clients wait until
    /// it is listed; if it is not, it is to be freed once more.
    async fn unlist(&self, id: MemberId, names: &[Urn]) -> Result<(), TransportError>;

    /// Frees names of one shard, some hundreds at a time, that are of no member, in the same way; returns
    /// the position for the next call, 0 after the last one.
    async fn sweep(&self, shard: u8, position: u64) -> Result<u64, TransportError>;

    /// Notes that every shard was swept, unless a member was removed since `unswept_since` was read.
    async fn swept(&self, unswept_since: MapVersion) -> Result<(), TransportError>;

    /// Deletes the inboxes and the list of epochs of a node whose lease has expired or was released.
    /// Does nothing while a process has its lease.
    async fn forget_node(&self, node: &str) -> Result<(), TransportError>;
}

/// The map as clients see it.
#[async_trait]
pub(crate) trait FleetView: Send + Sync {
    /// Reads the version of the map.
    async fn version(&self) -> Result<MapVersion, TransportError>;

    /// Reads the members.
    async fn members(&self) -> Result<Members, TransportError>;

    /// Reads which members have up to [`MAX_NAMES`] names.
    async fn look_up(&self, names: &[Urn]) -> Result<NameOwners, TransportError>;
}

/// The shard of a listed name: the same in each process, and for each version of this library.
pub(crate) fn shard_of(name: &Urn) -> u8 {
    // FNV-1a, folded: 64 is a power of two.
    let hash = name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a);
    (hash ^ (hash >> 32)).to_le_bytes()[0] % SHARDS
}

fn fnv1a(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

/// Fails if a call has more than [`MAX_NAMES`] names.
pub(crate) fn check_names(names: &[Urn]) -> Result<(), TransportError> {
    check_count("names in one call", names.len(), MAX_NAMES)
}

/// Fails if a profile has more than [`MAX_SHARED`] shared names.
pub(crate) fn check_profile(profile: &MemberProfile) -> Result<(), TransportError> {
    check_count("shared names of a member", profile.shared.len(), MAX_SHARED)
}

fn check_count(things: &str, count: usize, max: usize) -> Result<(), TransportError> {
    if count > max {
        let problem = format!("{count} {things} are more than {max}");
        return Err(TransportError::NotDone(problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_those_of_every_version() {
        let shard = |name: &str| shard_of(&Urn::unchecked(name));
        assert_eq!(
            ["a", "ledger", "user/42", "größe"].map(shard),
            [0, 62, 4, 4]
        );
    }

    #[test]
    fn names_are_spread_evenly() {
        let mut counts = [0_u32; SHARDS as usize];
        for number in 0..64_000 {
            let name = Urn::unchecked(&format!("user/{number}"));
            counts[usize::from(shard_of(&name))] += 1;
        }
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(least >= Some(&850) && most <= Some(&1150), "{counts:?}");
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for number in 0..=255 {
            let state = MemberState::from_number(number);
            assert_eq!(
                state.map(|state| state as u8),
                (number < 4).then_some(number)
            );
        }
    }
}
