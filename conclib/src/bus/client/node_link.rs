//! A client's link to one node: the state of the requests that go to its inbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::bus::client::absence::Absence;
use crate::bus::client::backpressure::InboxBackpressure;
use crate::bus::client::send_queue::SendQueue;
use crate::bus::keys::Keys;
use crate::bus::link::server_clock::ServerClock;
use crate::bus::protocol::CONFIRM_BYTES;
use crate::bus::transport::LeaseRecord;
use crate::time::coarse::CoarseInstant;

/// A client's link to one node.
pub(super) struct NodeLink {
    pub(super) keys: Keys,
    pub(super) queue: SendQueue,
    /// Stops requests while the node's actor system does not keep up.
    pub(super) backpressure: InboxBackpressure,
    /// The clock of the bus that has the node's inbox. Links to one Redis share it.
    pub(super) clock: Arc<ServerClock>,
    /// The lease as it was last seen.
    lease: Mutex<Option<LeaseRecord>>,
    /// The moment at which the lease was last seen, as the bits of a [`CoarseInstant`].
    lease_seen: AtomicU64,
    /// The time for which no actor system serves the node.
    pub(super) absence: Absence,
    /// Bytes of large frames that came from the node and are not confirmed yet.
    unconfirmed: AtomicUsize,
    /// The number of pending requests for this node, changed under their lock. Those for the client's own node are
    /// counted by [`PendingRequests::own_node`](crate::bus::client::pending::PendingRequests::own_node).
    in_flight: AtomicUsize,
    /// The node is that of a member of a fleet.
    is_of_member: bool,
}

impl NodeLink {
    pub(super) fn new(keys: Keys, clock: Arc<ServerClock>) -> Self {
        Self {
            keys,
            queue: SendQueue::default(),
            backpressure: InboxBackpressure::default(),
            clock,
            lease: Mutex::default(),
            lease_seen: AtomicU64::new(0),
            absence: Absence::default(),
            unconfirmed: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            is_of_member: false,
        }
    }

    /// Makes it the link to a member of a fleet.
    pub(super) fn of_member(mut self) -> Self {
        self.is_of_member = true;
        self
    }

    /// The lease, unless it was seen so long ago that another system may have it by now: requests
    /// could go to an inbox that no system deletes any more. Such requests are taken back, which is what a
    /// member risks: the links to many members are often silent for so long, and reading the lease first would
    /// take each of their requests another round trip.
    pub(super) fn known_lease(&self) -> Option<LeaseRecord> {
        let seen = CoarseInstant::from_bits(self.lease_seen.load(Ordering::Relaxed));
        let lease = self.lease.lock().clone();
        lease.filter(|lease| self.is_of_member || seen.elapsed() < lease.length)
    }

    /// Notes the lease that was just seen.
    pub(super) fn set_lease(&self, lease: Option<LeaseRecord>) {
        *self.lease.lock() = lease;
        self.confirm_lease();
    }

    /// Notes that the lease was seen unchanged.
    pub(super) fn confirm_lease(&self) {
        let now = CoarseInstant::now().to_bits();
        self.lease_seen.store(now, Ordering::Relaxed);
    }

    /// The largest request that the owner of the lease accepts, as far as that is known.
    pub(super) fn known_limit(&self) -> usize {
        let lease = self.lease.lock();
        let limit = lease.as_ref().map(|lease| lease.max_frame);
        limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX)
    }

    /// Notes a large frame of the node; returns the bytes to be confirmed once they are many.
    pub(super) fn confirm_later(&self, bytes: usize) -> Option<usize> {
        let unconfirmed = self.unconfirmed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unconfirmed < CONFIRM_BYTES {
            return None;
        }
        self.unconfirmed.fetch_sub(unconfirmed, Ordering::Relaxed);
        Some(unconfirmed)
    }

    /// The number of pending requests for this node, except those that are counted with the client's own node.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Notes that a request for this node is pending.
    pub(super) fn begin_request(&self) {
        let in_flight = self.in_flight();
        self.in_flight.store(in_flight + 1, Ordering::Relaxed); // under the lock, so that none is lost
    }

    /// Notes that a pending request for this node has ended.
    pub(super) fn end_request(&self) {
        let in_flight = self.in_flight().saturating_sub(1);
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl NodeLink {
    pub(super) fn to(node: &str) -> Arc<Self> {
        Arc::new(Self::new(Keys::new("test", node), Arc::default()))
    }
}
