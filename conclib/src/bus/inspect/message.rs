//! The messages of inspection: queries, answers, actions and refusals. Versioned, and without I/O.
//!
//! They are MessagePack with names. A reader ignores fields that it does not know, and fields that are missing have
//! defaults, so that tools and members of different versions understand each other.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

pub use crate::actor::supervision::{RestartBudget, Supervision};
pub use action::{Action, ActionOutcome};
pub use actor::{
    ActorDetails, ActorPage, Cursor, CursorError, TreeNode, TreePage, TypePage, TypeSummary,
    WaitEdge, WaitGraph, WaitKind, WaitsFor,
};
pub use member::{
    FailurePage, LogState, MAX_LOG_DURATION, MemberConfig, MemberMetrics, MemberStatus,
};
pub use query::{
    ActorFilter, ActorQuery, ActorsQuery, FailuresQuery, LogQuery, MAX_PAGE, MetricsQuery, Query,
    SchemasQuery, Sort, StatusQuery, TreeQuery, TypesQuery, WaitsQuery,
};
pub use refusal::Refusal;
pub use schemas::SchemaPage;

pub(crate) use action::ActionRequest;
pub(crate) use query::sealed::Named;
#[cfg(test)]
pub(crate) use query::sealed::Need;

mod action;
mod actor;
mod member;
mod query;
mod refusal;
mod schemas;

/// The version of these messages. It rises when one of them changes its meaning, not when one is added, or a field of
/// one: a member answers queries of its own version.
pub const VERSION: u16 = 1;

/// A query with its version.
#[derive(Serialize)]
pub(crate) struct Versioned<'a, Q> {
    pub(crate) version: u16,
    pub(crate) query: &'a Q,
}

/// The version of a query, and nothing else of it.
#[derive(Deserialize)]
pub(crate) struct VersionOnly {
    pub(crate) version: u16,
    #[serde(rename = "query")]
    _query: IgnoredAny,
}

/// A received query.
#[derive(Deserialize)]
pub(crate) struct ReceivedQuery<Q> {
    pub(crate) query: Q,
}

/// The answer to a query, or the reason that there is none.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Inspected<T> {
    Ok(T),
    Refused(Refusal),
}

/// Reads a received query.
///
/// # Errors
///
/// The refusal of a query that this version does not understand.
pub(crate) fn read_query<Q: DeserializeOwned>(contents: &[u8]) -> Result<Q, Refusal> {
    let unreadable = |error: crate::message::CodecError| Refusal::Unreadable {
        reason: error.to_string(),
    };
    let VersionOnly { version, .. } = crate::message::decode(contents).map_err(unreadable)?;
    if version != VERSION {
        let known = VERSION;
        return Err(Refusal::UnknownVersion { version, known });
    }
    let received: ReceivedQuery<Q> = crate::message::decode(contents).map_err(unreadable)?;
    Ok(received.query)
}
