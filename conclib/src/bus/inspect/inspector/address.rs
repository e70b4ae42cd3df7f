//! The members that can be asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bus::transport::fleet::MemberState;

/// A process that serves a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberAddress {
    /// The node that it serves: the name by which it is asked.
    pub node: String,
    /// The number of the member in its fleet; `None` without a fleet.
    pub number: Option<u64>,
    /// The stage of the member's life in its fleet; `None` without a fleet.
    pub stage: Option<MemberStage>,
}

/// The stage of the life of a fleet's member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemberStage {
    /// It serves, and has names that it has not tried to list yet.
    Listing,
    /// It serves.
    Serving,
    /// It is about to stop: clients are to choose it no more.
    Draining,
    /// It has ended in good order.
    Left,
}

impl MemberStage {
    /// The name of the stage: `serving`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for MemberStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<MemberState> for MemberStage {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Listing => Self::Listing,
            MemberState::Serving => Self::Serving,
            MemberState::Draining => Self::Draining,
            MemberState::Left => Self::Left,
        }
    }
}
