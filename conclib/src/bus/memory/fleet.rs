//! The map of a fleet on the bus in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use crate::bus::keys::Keys;
use crate::bus::memory::{MemoryBus, check_open};
use crate::bus::transport::fleet::{
    FleetMap, Heartbeats, ListOutcome, MAX_MEMBERS, MapCounters, MapVersion, Member, MemberId,
    MemberProfile, MemberState, Members, ServerIdentity, check_names, check_profile, shard_of,
};
use crate::bus::transport::{ReplySink, ServerTime, TransportError};
use crate::urn::Urn;

/// The members of a namespace's fleet, and the names that they list.
#[derive(Default)]
pub(super) struct Fleet {
    /// Counters as [`MapCounters`] has them.
    version: u64,
    freed: u64,
    unswept_since: MapVersion,
    /// The last number that a member was given.
    last_id: u64,
    members: BTreeMap<MemberId, (MemberProfile, Heartbeats)>,
    names: HashMap<Urn, ListedName>,
}

/// A listed name.
struct ListedName {
    owner: MemberId,
    /// A member has been told that it stands by.
    has_standby: bool,
}

impl Fleet {
    pub(super) fn version(&self) -> MapVersion {
        MapVersion(self.version)
    }

    pub(super) fn members(&self) -> Members {
        let members = self.members.iter();
        let members = members.map(|(id, (profile, _))| Member {
            id: *id,
            profile: profile.clone(),
        });
        Members {
            version: self.version(),
            all: members.collect(),
        }
    }

    pub(super) fn owner(&self, name: &Urn) -> Option<MemberId> {
        self.names.get(name).map(|listed| listed.owner)
    }

    fn counters(&self) -> MapCounters {
        let members = self.members.iter();
        MapCounters {
            server: ServerIdentity("memory".to_owned()),
            version: self.version(),
            freed: self.freed,
            unswept_since: self.unswept_since,
            heartbeats: members.map(|(id, (_, count))| (*id, *count)).collect(),
        }
    }

    fn join(&mut self, profile: &MemberProfile, now: ServerTime) -> Option<MemberId> {
        let before = self.members.len();
        self.members
            .retain(|_, (earlier, _)| earlier.node != profile.node);
        if self.members.len() >= MAX_MEMBERS {
            return None;
        }
        let is_unswept = self.members.len() < before;
        rise(&mut self.version, now);
        if is_unswept {
            self.unswept_since = self.version();
        }
        rise(&mut self.last_id, now);
        let id = MemberId(self.last_id);
        self.members.insert(id, (profile.clone(), Heartbeats(1)));
        Some(id)
    }

    fn remove(&mut self, id: MemberId, last: Heartbeats, now: ServerTime) -> bool {
        let found = self.members.get(&id);
        let is_removed = found.is_some_and(|(_, count)| *count == last);
        if is_removed {
            self.members.remove(&id);
            rise(&mut self.version, now);
            self.unswept_since = self.version();
        }
        is_removed
    }

    fn list(&mut self, id: MemberId, name: &Urn) -> ListOutcome {
        let listed = self.names.entry(name.clone()).or_insert(ListedName {
            owner: id,
            has_standby: false,
        });
        let owner = self.members.get(&listed.owner);
        let is_given = owner.is_none_or(|(profile, _)| profile.state == MemberState::Left);
        if listed.owner == id || is_given {
            listed.owner = id;
            return ListOutcome::Here;
        }
        listed.has_standby = true;
        ListOutcome::There(listed.owner)
    }

    fn unlist(&mut self, id: MemberId, names: &[Urn], now: ServerTime) {
        let mut is_awaited = false;
        for name in names {
            if self.owner(name) == Some(id) {
                is_awaited |= self.free(name);
            }
        }
        if is_awaited {
            rise(&mut self.freed, now);
        }
    }

    /// Frees a name; true if a member stands by for it. Then it stays, as that of no member, so that clients
    /// wait.
    fn free(&mut self, name: &Urn) -> bool {
        match self.names.get_mut(name) {
            Some(listed) if listed.has_standby => {
                *listed = ListedName {
                    owner: MemberId::NONE,
                    has_standby: false,
                };
                true
            }
            _ => {
                self.names.remove(name);
                false
            }
        }
    }

    fn sweep(&mut self, shard: u8, now: ServerTime) {
        let members = &self.members;
        let is_left = |(name, listed): &(&Urn, &ListedName)| {
            shard_of(name) == shard && !members.contains_key(&listed.owner)
        };
        let left = self.names.iter().filter(is_left);
        let left: Vec<_> = left.map(|(name, _)| name.clone()).collect();
        let mut is_awaited = false;
        for name in left {
            is_awaited |= self.free(&name);
        }
        if is_awaited {
            rise(&mut self.freed, now);
        }
    }
}

/// Raises a counter, which is at least the time: so it rises even if it was lost.
fn rise(counter: &mut u64, now: ServerTime) {
    *counter = now.0.max(*counter + 1);
}

/// The map as members on a memory bus see it.
pub(super) struct MemoryFleet {
    bus: Arc<MemoryBus>,
    keys: Keys,
    /// The end of the bus that it belongs to is closed.
    closed: Arc<AtomicBool>,
}

impl MemoryFleet {
    pub(super) fn new(bus: Arc<MemoryBus>, keys: Keys, closed: Arc<AtomicBool>) -> Self {
        Self { bus, keys, closed }
    }

    /// Acts on the map, and tells clients if its version has changed.
    fn with<T>(&self, act: impl FnOnce(&mut Fleet) -> T) -> Result<T, TransportError> {
        check_open(&self.closed)?;
        let mut tables = self.bus.tables();
        let fleet = tables.fleets.entry(self.keys.fleet()).or_default();
        let before = fleet.version;
        let outcome = act(fleet);
        let mut notified: Vec<Arc<dyn ReplySink>> = Vec::new();
        if fleet.version != before {
            let channel = Some(self.keys.map_changes());
            let clients = tables.clients.values();
            let subscribed = clients.filter(|client| client.map_changes == channel);
            notified.extend(subscribed.map(|client| client.sink.clone()));
        }
        drop(tables);
        for sink in notified {
            sink.map_changed(); // outside the lock
        }
        Ok(outcome)
    }
}

#[async_trait]
impl FleetMap for MemoryFleet {
    async fn join(&self, profile: &MemberProfile) -> Result<MemberId, TransportError> {
        check_profile(profile)?;
        let now = self.bus.now();
        let id = self.with(|fleet| fleet.join(profile, now))?;
        id.ok_or_else(|| TransportError::NotDone("the fleet has too many members".to_owned()))
    }

    async fn announce(
        &self,
        id: MemberId,
        profile: &MemberProfile,
    ) -> Result<bool, TransportError> {
        check_profile(profile)?;
        let now = self.bus.now();
        self.with(|fleet| {
            let Some((known, _)) = fleet.members.get_mut(&id) else {
                return false;
            };
            *known = profile.clone();
            rise(&mut fleet.version, now);
            true
        })
    }

    async fn heartbeat(&self, id: MemberId) -> Result<Option<MapCounters>, TransportError> {
        self.with(|fleet| {
            let (_, Heartbeats(count)) = fleet.members.get_mut(&id)?;
            *count += 1;
            Some(fleet.counters())
        })
    }

    async fn counters(&self) -> Result<MapCounters, TransportError> {
        self.with(|fleet| fleet.counters())
    }

    async fn members(&self) -> Result<Members, TransportError> {
        self.with(|fleet| fleet.members())
    }

    async fn remove(&self, id: MemberId, last: Heartbeats) -> Result<bool, TransportError> {
        let now = self.bus.now();
        self.with(|fleet| fleet.remove(id, last, now))
    }

    async fn list(
        &self,
        id: MemberId,
        names: &[Urn],
    ) -> Result<Option<Vec<ListOutcome>>, TransportError> {
        check_names(names)?;
        self.with(|fleet| {
            fleet.members.get(&id)?;
            Some(names.iter().map(|name| fleet.list(id, name)).collect())
        })
    }

    async fn unlist(&self, id: MemberId, names: &[Urn]) -> Result<(), TransportError> {
        check_names(names)?;
        let now = self.bus.now();
        self.with(|fleet| fleet.unlist(id, names, now))
    }

    /// Sweeps the whole shard at once.
    async fn sweep(&self, shard: u8, _: u64) -> Result<u64, TransportError> {
        let now = self.bus.now();
        self.with(|fleet| fleet.sweep(shard, now))?;
        Ok(0)
    }

    async fn swept(&self, unswept_since: MapVersion) -> Result<(), TransportError> {
        self.with(|fleet| {
            if fleet.unswept_since == unswept_since {
                fleet.unswept_since = MapVersion(0);
            }
        })
    }

    async fn forget_node(&self, node: &str) -> Result<(), TransportError> {
        check_open(&self.closed)?;
        let lease = self.keys.of(node).lease();
        let mut tables = self.bus.tables();
        if let Some(left) = tables.nodes.get_mut(&lease)
            && left.lease().is_none()
        {
            tables.nodes.remove(&lease);
        }
        Ok(())
    }
}
