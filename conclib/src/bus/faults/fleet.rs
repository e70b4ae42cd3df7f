//! The map of a fleet on a bus with injected faults.

use std::sync::Arc;

use async_trait::async_trait;

use crate::bus::faults::{Faults, check};
use crate::bus::transport::TransportError;
use crate::bus::transport::fleet::{
    FleetMap, Heartbeats, ListOutcome, MapCounters, MapVersion, MemberId, MemberProfile, Members,
};
use crate::urn::Urn;

/// A map that fails while the bus is cut. The faults of its notices happen where a client receives them.
pub(super) struct FaultyFleet {
    pub(super) inner: Arc<dyn FleetMap>,
    pub(super) faults: Faults,
}

#[async_trait]
impl FleetMap for FaultyFleet {
    async fn join(&self, profile: &MemberProfile) -> Result<MemberId, TransportError> {
        check(&self.faults)?;
        self.inner.join(profile).await
    }

    async fn announce(
        &self,
        id: MemberId,
        profile: &MemberProfile,
    ) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.inner.announce(id, profile).await
    }

    async fn heartbeat(&self, id: MemberId) -> Result<Option<MapCounters>, TransportError> {
        check(&self.faults)?;
        self.inner.heartbeat(id).await
    }

    async fn counters(&self) -> Result<MapCounters, TransportError> {
        check(&self.faults)?;
        self.inner.counters().await
    }

    async fn members(&self) -> Result<Members, TransportError> {
        check(&self.faults)?;
        self.inner.members().await
    }

    async fn remove(&self, id: MemberId, last: Heartbeats) -> Result<bool, TransportError> {
        check(&self.faults)?;
        self.inner.remove(id, last).await
    }

    async fn list(
        &self,
        id: MemberId,
        names: &[Urn],
    ) -> Result<Option<Vec<ListOutcome>>, TransportError> {
        check(&self.faults)?;
        self.inner.list(id, names).await
    }

    async fn unlist(&self, id: MemberId, names: &[Urn]) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.unlist(id, names).await
    }

    async fn sweep(&self, shard: u8, position: u64) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.sweep(shard, position).await
    }

    async fn swept(&self, unswept_since: MapVersion) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.swept(unswept_since).await
    }

    async fn forget_node(&self, node: &str) -> Result<(), TransportError> {
        check(&self.faults)?;
        self.inner.forget_node(node).await
    }
}
