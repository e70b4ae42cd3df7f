//! The task of a member: joins the fleet, counts heartbeats, lists names, removes members that are gone,
//! and leaves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use crate::bus::fleet::inbox_cleanup::InboxCleanup;
use crate::bus::fleet::map_observer::MapObserver;
use crate::bus::fleet::membership::Membership;
use crate::bus::fleet::standby_retry::StandbyRetry;
use crate::bus::fleet::sweep::Sweep;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::outage::Outage;
use crate::bus::transport::TransportError;
use crate::bus::transport::fleet::{MapCounters, MapVersion, MemberId, MemberState};
use crate::urn::Urn;

mod names;

/// Interval of the heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// Interval at which the map is looked at while names stand by.
const COUNTERS_INTERVAL: Duration = Duration::from_millis(500);

/// Time for the last call of a member.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause after work that was not done.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The reason for which a session ends.
enum SessionEnd {
    /// The map does not know the member any more.
    Removed,
    /// The member is to leave.
    Leaving,
}

/// Joins the fleet and serves as a member, again after each removal, until the membership ends.
pub(crate) async fn run(membership: Arc<Membership>) {
    let mut has_been_removed = false;
    loop {
        let Some((id, shown)) = join(&membership).await else {
            break;
        };
        let mut session = MemberSession::new(&membership, id, shown);
        if has_been_removed {
            session.standbys.pause(Instant::now());
        }
        match session.serve().await {
            SessionEnd::Leaving => {
                session.leave().await;
                break;
            }
            SessionEnd::Removed => {
                let node = &*membership.node;
                warn!(
                    node,
                    "the fleet has taken this member for gone, or lost its map: joining anew"
                );
                membership.relist();
                has_been_removed = true;
            }
        }
    }
    // Cannot fail unless it is set already.
    drop(membership.drained.set(()));
}

/// Joins the fleet, again and again until that succeeds; returns the state that the map shows. `None` if the
/// member is to leave before.
async fn join(membership: &Membership) -> Option<(MemberId, MemberState)> {
    let outage = Outage::default();
    for attempt in 0.. {
        let profile = membership.profile(state(membership));
        let sent = Instant::now();
        let joining = membership.map.join(&profile);
        let joined = membership.departure.run_until_cancelled(joining).await?;
        match joined {
            Ok(id) => {
                membership.heartbeat_answered(sent);
                membership.announced(&profile);
                info!(node = %membership.node, member = id.0, "this process is a member of the fleet");
                return Some((id, profile.state));
            }
            Err(reason) => {
                if outage.record_failure() {
                    warn!(node = %membership.node, %reason, "cannot join the fleet: trying again until it can");
                }
            }
        }
        let pause = sleep(RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64()));
        membership.departure.run_until_cancelled(pause).await?;
    }
    None
}

/// The state that the map is to show.
fn state(membership: &Membership) -> MemberState {
    if membership.is_draining() {
        MemberState::Draining
    } else if membership.names.are_settled() {
        MemberState::Serving
    } else {
        MemberState::Listing
    }
}

/// The time in which a process is one member.
struct MemberSession<'a> {
    membership: &'a Membership,
    id: MemberId,
    /// The state that the map shows.
    shown: MemberState,
    map: MapObserver,
    /// The sweep that is under way.
    sweep: Option<Sweep>,
    /// The removals that one sweep has covered. The second one frees the names that others stood by for, and
    /// have not listed since.
    swept_once: MapVersion,
    /// Names that were freed since the last heartbeat, and in the interval before it. The latter are freed once
    /// more, in case the member that stood by for them has not listed them.
    freed: [Vec<Urn>; 2],
    /// The times at which names that stand by are listed again.
    standbys: StandbyRetry,
    /// Nodes of members that this one has removed.
    inbox_cleanup: InboxCleanup,
    /// Names that this member has listed and others share, as the log says.
    contested: HashSet<Urn>,
    outage: Outage,
}

impl<'a> MemberSession<'a> {
    fn new(membership: &'a Membership, id: MemberId, shown: MemberState) -> Self {
        Self {
            membership,
            id,
            shown,
            map: MapObserver::default(),
            sweep: None,
            swept_once: MapVersion(0),
            freed: Default::default(),
            standbys: StandbyRetry::new(Instant::now()),
            inbox_cleanup: InboxCleanup::default(),
            contested: HashSet::new(),
            outage: Outage::default(),
        }
    }

    async fn serve(&mut self) -> SessionEnd {
        let membership = self.membership;
        let (mut heartbeats, mut looks) =
            (interval(HEARTBEAT_INTERVAL), interval(COUNTERS_INTERVAL));
        for timer in [&mut heartbeats, &mut looks] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut may_work = true;
        loop {
            let is_draining = self.shown == MemberState::Draining;
            let step = tokio::select! {
                biased;
                () = membership.departure.cancelled() => return SessionEnd::Leaving,
                _ = heartbeats.tick() => {
                    may_work = true; // a sweep may have become due
                    self.heartbeat().await
                }
                () = membership.draining.cancelled(), if !is_draining => self.announce().await,
                () = std::future::ready(()), if may_work => match self.work().await {
                    Ok(None) => {
                        membership.names_are_listed();
                        may_work = false;
                        continue;
                    }
                    Ok(Some(is_member)) => Ok(is_member),
                    Err(reason) => Err(reason),
                },
                () = membership.names.changed() => {
                    may_work = true;
                    continue;
                }
                _ = looks.tick(), if membership.names.has_standbys() => self.read_counters().await,
            };
            match step {
                Ok(true) => self.outage_is_over(),
                Ok(false) => return SessionEnd::Removed,
                Err(reason) => {
                    self.log_outage(&reason);
                    let pause = sleep(RETRY_PAUSE);
                    membership.departure.run_until_cancelled(pause).await;
                    may_work = true;
                }
            }
        }
    }

    fn log_outage(&self, reason: &TransportError) {
        if self.outage.record_failure() {
            let node = &*self.membership.node;
            warn!(node, %reason, "the map of the fleet cannot be used: trying again until it can");
        }
    }

    fn outage_is_over(&self) {
        if self.outage.record_success() {
            info!(node = %self.membership.node, "the map of the fleet is used again");
        }
    }

    /// Counts a heartbeat, and does what the map then asks for; false if this is no member any more.
    async fn heartbeat(&mut self) -> Result<bool, TransportError> {
        let sent = Instant::now();
        let Some(counters) = self.membership.map.heartbeat(self.id).await? else {
            return Ok(false);
        };
        self.membership.heartbeat_answered(sent);
        self.saw(counters).await?;
        self.remove_silent().await?;
        self.free_again().await?;
        if !self.verify_listed_names().await? {
            return Ok(false);
        }
        if self.sweep.is_none() && self.map.is_to_be_swept_by(self.id) {
            self.sweep = Some(Sweep::of(self.map.unswept_since()));
        }
        Ok(true)
    }

    /// Looks at the map without a heartbeat: a name that this member stands by for may be free. False if this
    /// is no member any more.
    async fn read_counters(&mut self) -> Result<bool, TransportError> {
        let counters = self.membership.map.counters().await?;
        if !counters.heartbeats.iter().any(|(id, _)| *id == self.id) {
            return Ok(false); // a map that has lost this member may have lost those that have the names
        }
        self.saw(counters).await?;
        self.remove_silent().await?;
        Ok(true)
    }

    /// Takes note of the map.
    async fn saw(&mut self, counters: MapCounters) -> Result<(), TransportError> {
        let now = Instant::now();
        let names = &self.membership.names;
        let changes = self.map.record(counters, now);
        if changes.has_another_server {
            names.list_own(); // the names of the last moments may be lost
            self.standbys.pause(now);
        }
        if changes.has_freed_names {
            self.standbys.request();
        }
        if self.standbys.take_due(names.standbys(), now) {
            names.retry(|_| true);
        }
        if changes.has_other_members {
            self.map.set_members(self.membership.map.members().await?);
            self.membership.saw_members(self.map.member_counts());
            self.check_shared_names();
            if !self.standbys.is_paused(now) {
                names.retry(|member| !self.map.is_living(member));
            }
        }
        Ok(())
    }

    /// Removes members that are gone.
    async fn remove_silent(&mut self) -> Result<(), TransportError> {
        for (id, heartbeats) in self.map.gone_members(self.id, Instant::now()) {
            let map = &self.membership.map;
            if map.remove(id, heartbeats).await? {
                let node = self.map.node_of(id).unwrap_or_default();
                info!(
                    member = id.0,
                    node, "removed a member of the fleet that is gone"
                );
                self.membership.names.retry(|member| member == id);
                self.inbox_cleanup.add(node, Instant::now());
            }
        }
        for node in self.inbox_cleanup.take_due(Instant::now()) {
            self.membership.map.forget_node(&node).await?;
        }
        Ok(())
    }

    /// Writes the state and the shared names of this member into the map; false if it is no member.
    async fn announce(&mut self) -> Result<bool, TransportError> {
        let membership = self.membership;
        let profile = membership.profile(state(membership));
        let is_member = membership.map.announce(self.id, &profile).await?;
        if is_member {
            membership.announced(&profile);
            self.shown = profile.state;
        }
        Ok(is_member)
    }

    /// Leaves the fleet: other members may list the names of this one from now on.
    async fn leave(&self) {
        let profile = self.membership.profile(MemberState::Left);
        let left = self.membership.map.announce(self.id, &profile);
        let node = &*self.membership.node;
        if let Ok(Ok(_)) = timeout(LEAVE_TIMEOUT, left).await {
            debug!(node, "left the fleet");
        } else {
            warn!(
                node,
                "cannot leave the fleet in good order: its names are free once it is taken for gone"
            );
        }
    }
}
