//! The part of a membership that the proxy sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::actor::any::AnyActor;
use crate::actor::listing::Listing;
use crate::bus::fleet::name_table::NameTable;
use crate::bus::fleet::stats::{FleetStats, MemberCounts};
use crate::bus::transport::fleet::{FleetMap, MemberProfile, MemberState};
use crate::core::{NameLists, SystemCore};
use crate::random::{Process, Uuid};

/// Time without a new heartbeat, on the clock of another member, after which that one removes this member.
pub(super) const GONE_AFTER: Duration = Duration::from_millis(6_500);

/// Time after its last heartbeat was sent for which a member answers for its listed names: a second less
/// than [`GONE_AFTER`].
const FENCE_TIME: Duration = Duration::from_millis(5_500);

/// Time for which a member that is to stop tries to tell clients so.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Added to [`GONE_AFTER`] for the wait of a spawn: a name that is still taken after that belongs to a living member.
const LISTING_MARGIN: Duration = Duration::from_millis(500);

/// The membership of a system in a fleet.
pub(crate) struct Membership {
    pub(super) map: Arc<dyn FleetMap>,
    pub(super) node: String,
    /// The part of the URNs that the system generates which names it.
    process: Process,
    pub(super) names: Arc<NameTable>,
    /// The moment until which the heartbeats speak for the listed names.
    fence: Mutex<Instant>,
    /// The member was removed from the map, and has not listed all of its names since.
    relists: AtomicBool,
    /// The members as this one has seen them last.
    members: Mutex<MemberCounts>,
    /// Requests that were not admitted.
    bounces: AtomicU64,
    /// Cancelled when clients are to choose this member no more.
    pub(super) draining: CancellationToken,
    /// Set once the map says so, or will not.
    pub(super) drained: SetOnce<()>,
    /// Cancelled when the system's actors have stopped, and the lease is released.
    pub(super) departure: CancellationToken,
}

impl Membership {
    /// Begins the membership of a system; `None` if the system is a member of a fleet already.
    pub(crate) fn begin(
        core: &SystemCore,
        map: Arc<dyn FleetMap>,
        node: &str,
    ) -> Option<Arc<Self>> {
        let names = Arc::new(NameTable::new(GONE_AFTER + LISTING_MARGIN));
        let lists: Arc<dyn NameLists> = names.clone();
        core.list_names(&lists).then(|| {
            Arc::new(Self {
                map,
                node: node.to_owned(),
                process: core.process(),
                names,
                fence: Mutex::new(Instant::now()),
                relists: AtomicBool::new(false),
                members: Mutex::default(),
                bounces: AtomicU64::new(0),
                draining: CancellationToken::new(),
                drained: SetOnce::new(),
                departure: CancellationToken::new(),
            })
        })
    }

    /// True if a request for the name of an actor may go to it. A request that names the node `is_direct`.
    pub(crate) fn admits(&self, actor: &dyn AnyActor, is_direct: bool) -> bool {
        let Some(listing) = actor.listing() else {
            // A child, a worker or an actor on demand is found by its node, or by a URN that names its process.
            let process = Uuid::from_urn(actor.urn().as_str()).and_then(Uuid::process);
            return is_direct || process == Some(self.process);
        };
        is_direct
            || listing.is(|listing| match listing {
                Listing::StandsBy { .. } => false,
                Listing::Listed => self.speaks_for_names(),
                // Pending: a client that sends here was sent by the map, or knows no other member.
                Listing::Local | Listing::Pending | Listing::Shared => true,
            })
    }

    /// Notes a request that was not admitted: it goes on to another member.
    pub(crate) fn count_bounce(&self) {
        self.bounces.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the members of the fleet.
    pub(super) fn saw_members(&self, members: MemberCounts) {
        *self.members.lock() = members;
    }

    /// The counters of this member.
    pub(crate) fn stats(&self) -> FleetStats {
        FleetStats {
            members: *self.members.lock(),
            bounces: self.bounces.load(Ordering::Relaxed),
            ..self.names.stats()
        }
    }

    /// True if no other member can have listed a name that this one has listed.
    pub(super) fn speaks_for_names(&self) -> bool {
        !self.relists.load(Ordering::Relaxed) && Instant::now() < *self.fence.lock()
    }

    /// Has all names listed once more, after the map has lost this member. Until then others may list them.
    pub(super) fn relist(&self) {
        self.relists.store(true, Ordering::Relaxed);
        self.names.list_own();
    }

    /// Notes that this member has tried to list all of its names.
    pub(super) fn names_are_listed(&self) {
        self.relists.store(false, Ordering::Relaxed);
    }

    /// Has clients choose this member no more, as far as they can be told.
    pub(crate) async fn drain(&self) {
        self.names.hold_names();
        self.draining.cancel();
        if timeout(DRAIN_TIMEOUT, self.drained.wait()).await.is_err() {
            warn!(node = %self.node, "clients cannot be told that this member stops: they send requests to it until its lease is closed, and then to other members");
        }
    }

    /// Notes that the membership has ended.
    pub(crate) fn end(&self) {
        self.names.end();
    }

    /// Has the member leave: its actors have stopped, and its lease is released.
    pub(crate) fn leave(&self) {
        self.departure.cancel();
    }

    /// True once clients are to choose this member no more.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Notes that a heartbeat was answered that was sent at that time.
    pub(super) fn heartbeat_answered(&self, sent: Instant) {
        *self.fence.lock() = sent + FENCE_TIME;
    }

    /// Notes that the map has this profile of the member.
    pub(super) fn announced(&self, profile: &MemberProfile) {
        self.names.announced(&profile.shared);
        if profile.state == MemberState::Draining {
            drop(self.drained.set(())); // fails if it is set already
        }
    }

    /// The profile of this member in a state.
    pub(super) fn profile(&self, state: MemberState) -> MemberProfile {
        MemberProfile {
            node: self.node.clone(),
            process: self.process,
            state,
            shared: self.names.shared(),
        }
    }
}
