//! The place of an actor's name in a fleet.

use std::fmt;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The place of an actor's name in the fleet of its system: see [`ActorRef::listing`](crate::ActorRef::listing).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Listing {
    /// The name is not for other processes to find: the system is in no fleet, or the actor is private, a
    /// child, a worker of a pool, on demand, or has a generated URN. (A client that names the actor's node
    /// reaches it, unless it is private.)
    #[default]
    Local,
    /// The name is not in the map yet; it will be, as soon as Redis can be reached.
    Pending,
    /// Requests for the name come to this actor, from wherever they are.
    Listed,
    /// Requests for the name come to this actor, and to those that share the name in other members.
    Shared,
    /// Another member has listed the name. Requests come to its actor, until it frees the name or ends.
    #[non_exhaustive]
    StandsBy {
        /// The node of the member that has the name.
        member: String,
    },
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Pending => f.write_str("about to be listed"),
            Self::Listed => f.write_str("listed"),
            Self::Shared => f.write_str("shared"),
            Self::StandsBy { member } => write!(f, "stands by for `{member}`"),
        }
    }
}

/// The way in which other processes find the actors of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// They do not.
    Local,
    /// One member of a fleet has the name.
    Listed,
    /// Several members may have it.
    Shared,
}

/// The place of one actor's name, shared by the actor and the part of its system that lists names.
#[derive(Default)]
pub(crate) struct ListingSlot(Mutex<Listing>);

impl ListingSlot {
    pub(crate) fn get(&self) -> Listing {
        self.0.lock().clone()
    }

    pub(crate) fn set(&self, listing: Listing) {
        *self.0.lock() = listing;
    }

    /// True if the name is in that place.
    pub(crate) fn is(&self, is_there: impl FnOnce(&Listing) -> bool) -> bool {
        is_there(&self.0.lock())
    }
}
