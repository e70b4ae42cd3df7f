//! The figures of a member of a fleet, and of the members that it sees.

use serde::{Deserialize, Serialize};

use crate::bus::transport::fleet::MemberState;

/// Members of a fleet, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemberCounts {
    /// Members that serve, and have names that they have not tried to list yet.
    pub listing: usize,
    /// Members that serve, and have tried to list all of their names.
    pub serving: usize,
    /// Members that serve requests that still come, and are about to leave.
    pub draining: usize,
    /// Members that have left in good order, in the last minute.
    pub left: usize,
}

/// The counters of a member of a [fleet](crate::Config::fleet), in [`ProxyStats`](crate::metrics::ProxyStats).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FleetStats {
    /// The members as this one sees them.
    pub members: MemberCounts,
    /// Names of actors that only this member has.
    pub listed: usize,
    /// Names of actors that several members may have.
    pub shared: usize,
    /// Names of actors for which this member stands by: another one has them.
    pub standing_by: usize,
    /// Names of actors that are not listed yet.
    pub pending: usize,
    /// Names that this member has taken over from others after it stood by for them.
    pub moves: u64,
    /// Requests for names that this member does not answer for: they went on to another one.
    pub bounces: u64,
}

impl MemberCounts {
    /// Counts members by their states.
    pub(crate) fn of_states(states: impl Iterator<Item = MemberState>) -> Self {
        let mut counts = Self::default();
        for state in states {
            *match state {
                MemberState::Listing => &mut counts.listing,
                MemberState::Serving => &mut counts.serving,
                MemberState::Draining => &mut counts.draining,
                MemberState::Left => &mut counts.left,
            } += 1;
        }
        counts
    }
}
