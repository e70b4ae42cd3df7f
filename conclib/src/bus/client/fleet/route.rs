//! The way of one request through a fleet.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::bus::client::fleet::names::NameGeneration;
use crate::bus::client::node_link::NodeLink;
use crate::bus::transport::fleet::MemberId;
use crate::error::AskError;
use crate::urn::Urn;

/// The state of one request in a fleet.
#[derive(Debug)]
pub(in crate::bus::client) struct Route {
    pub(super) urn: Urn,
    /// The member that it was given to last.
    pub(super) assigned: Option<(MemberId, Addressing)>,
    /// Members that have refused it.
    pub(super) tried: SmallVec<[MemberId; 4]>,
    /// The last refusal.
    pub(super) refusal: Option<AskError>,
}

/// The reason for which a request goes to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addressing {
    /// The member has the name; the generation of the name.
    Listed(NameGeneration),
    /// The member shares the name.
    Shared,
    /// The name says its process.
    Generated,
}

/// The place to which a request goes now.
pub(in crate::bus::client) enum Destination {
    To(Arc<NodeLink>),
    /// None yet: the request waits.
    Hold,
    Fail(AskError),
}

/// A refusal that says that the request was certainly not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bus::client) enum Rejection {
    /// The member has no such actor.
    NotHere,
    /// The member does not serve.
    Closed,
    /// The actor has too much to do.
    Busy,
}

impl Rejection {
    /// The rejection that an error means for a request with this addressing, if it means one.
    fn of(error: &AskError, addressing: Addressing) -> Option<Self> {
        match error {
            AskError::NoResponder => Some(Self::Closed),
            AskError::ActorNotFound { .. } if addressing != Addressing::Generated => {
                Some(Self::NotHere)
            }
            AskError::ActorFailed { .. } if addressing == Addressing::Shared => Some(Self::NotHere),
            AskError::Overloaded { .. } if addressing == Addressing::Shared => Some(Self::Busy),
            _ => None,
        }
    }
}

impl Route {
    pub(in crate::bus::client) fn new(urn: Urn) -> Self {
        Self {
            urn,
            assigned: None,
            tried: SmallVec::new(),
            refusal: None,
        }
    }

    pub(in crate::bus::client) fn urn(&self) -> &Urn {
        &self.urn
    }

    /// The member that it was given to last, and that has not refused it.
    pub(in crate::bus::client) fn member(&self) -> Option<MemberId> {
        self.assigned.map(|(member, _)| member)
    }

    /// The last refusal of the request.
    pub(in crate::bus::client) fn refusal(&self) -> Option<AskError> {
        self.refusal.clone()
    }

    /// The rejection that an error means for this request, if it means one.
    pub(in crate::bus::client) fn rejection(&self, error: &AskError) -> Option<Rejection> {
        self.assigned
            .and_then(|(_, addressing)| Rejection::of(error, addressing))
    }
}
