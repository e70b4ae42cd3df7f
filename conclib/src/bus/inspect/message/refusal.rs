//! The reasons for which a member does not answer a query, or does not act.

use serde::{Deserialize, Serialize};

use crate::actor::FailedActor;
use crate::urn::Urn;

/// The reason for which a member has not answered a query, or not looked at an action. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The member does not know the query: its version of conclib is older.
    #[error("this member does not know the request `{name}`: its version of conclib is older")]
    UnknownRequest {
        /// The name of the query.
        name: String,
    },
    /// The member speaks another version of these messages.
    #[error("this member speaks version {known} of inspection, not {version}")]
    UnknownVersion {
        /// The version of the query.
        version: u16,
        /// The version of the member.
        known: u16,
    },
    /// The query cannot be read, or asks for something that does not exist, such as an unknown order.
    #[error("the request cannot be read: {reason}")]
    Unreadable {
        /// The cause, in words.
        reason: String,
    },
    /// The member's config, or the right of the asker, does not allow it.
    #[error("not allowed here: {reason}")]
    NotAllowed {
        /// The missing permission, in words.
        reason: String,
    },
    /// No living actor has this URN.
    #[error("no actor has the URN `{urn}`")]
    NoSuchActor {
        /// The URN of the query.
        urn: Urn,
        /// The last actor of that name, if it has failed and will not start again.
        failed: Option<Box<FailedActor>>,
    },
    /// The list that the page continues is not kept any more: begin with the first page.
    #[error("the list of that page is not kept any more: begin with its first page")]
    CursorExpired,
    /// The member cannot answer now.
    #[error("this member cannot answer now: {reason}")]
    Unavailable {
        /// The cause, in words.
        reason: String,
    },
    /// The member is ending.
    #[error("the member is ending")]
    Ending,
    /// A reason that this version does not know.
    #[serde(other)]
    #[error("refused, for a reason that this version does not know")]
    Other,
}
