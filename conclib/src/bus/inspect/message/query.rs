//! The queries.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::actor::stats::Phase;
use crate::bus::inspect::message::{
    ActorDetails, ActorPage, Cursor, FailurePage, LogState, MemberMetrics, MemberStatus,
    SchemaPage, TreePage, TypePage, WaitGraph,
};
use crate::urn::Urn;

/// The most entries of a page.
pub const MAX_PAGE: usize = 500;

/// The entries of a page, unless the query sets another number.
const DEFAULT_PAGE: usize = 100;

/// A query to a member, with the type of its answer. Sealed: the queries are those of this module.
pub trait Query: sealed::Named {
    /// The answer.
    type Answer: Serialize + serde::de::DeserializeOwned + Send;
}

pub(crate) mod sealed {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::bus::keys::Right;

    /// The name of a query on the bus.
    pub trait Named: Serialize + DeserializeOwned + Send + Sync {
        #[doc(hidden)]
        const NAME: &'static str;

        #[doc(hidden)]
        const NEEDS: Need = Need::INSPECT;
    }

    /// The right that a query needs.
    #[derive(Debug, Clone, Copy)]
    pub struct Need(pub(crate) Right);

    impl Need {
        pub(crate) const INSPECT: Self = Self(Right::Inspect);
        pub(crate) const ADMIN: Self = Self(Right::Admin);
    }
}

macro_rules! queries {
    ($($query:ident $name:literal -> $answer:ty;)*) => {
        $(
            impl sealed::Named for $query {
                const NAME: &'static str = $name;
            }

            impl Query for $query {
                type Answer = $answer;
            }
        )*
    };
}

queries! {
    StatusQuery "status" -> MemberStatus;
    ActorsQuery "actors" -> ActorPage;
    TypesQuery "types" -> TypePage;
    ActorQuery "actor" -> ActorDetails;
    TreeQuery "tree" -> TreePage;
    WaitsQuery "waits" -> WaitGraph;
    FailuresQuery "failures" -> FailurePage;
    MetricsQuery "metrics" -> MemberMetrics;
    LogQuery "log" -> LogState;
    SchemasQuery "schemas" -> SchemaPage;
}

/// Asks for the versions, the lease, the settings and the counters of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StatusQuery {}

/// Selects actors. A condition that is not set holds for each actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ActorFilter {
    /// A pattern of the URN: `*` stands for any text, also with slashes, and `?` for one character.
    pub urn: Option<String>,
    /// The name of the Rust type: the whole name, or its last part, without generics.
    pub actor_type: Option<String>,
    /// The phase of the lifecycle.
    pub phase: Option<Phase>,
    /// The least age of the oldest message: one in the mailbox, or the one whose handler runs, since it began.
    pub min_age: Option<Duration>,
}

/// The order of a list of actors or types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sort {
    /// The age of the oldest message in the mailbox, and then of the running handler: the highest first.
    #[default]
    Oldest,
    /// The number of queued messages: the highest first.
    Queued,
    /// The time for which the handler has run: the longest first.
    Running,
    /// The number of handled messages: the highest first.
    Handled,
    /// The number of failures: the highest first.
    Failures,
    /// The number of restarts: the highest first.
    Restarts,
    /// The URN, or the name of the type: the alphabet.
    Name,
}

/// Asks for a page of actors.
///
/// ```
/// use conclib::inspect::{ActorsQuery, Sort};
/// use std::time::Duration;
///
/// let slow = ActorsQuery::new()
///     .urn("order/*")
///     .min_age(Duration::from_secs(30))
///     .sort(Sort::Queued)
///     .limit(20);
/// assert_eq!(slow.limit, 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ActorsQuery {
    /// The actors that are asked for.
    pub filter: ActorFilter,
    /// Their order. Of equal ones, the URNs decide.
    pub sort: Sort,
    /// The most actors of the answer: 100 by default, up to [`MAX_PAGE`]. A page may be shorter although others follow.
    pub limit: usize,
    /// The [end](ActorPage::next) of the page before; `None` for the first one.
    pub after: Option<Cursor>,
}

impl Default for ActorsQuery {
    fn default() -> Self {
        Self {
            filter: ActorFilter::default(),
            sort: Sort::default(),
            limit: DEFAULT_PAGE,
            after: None,
        }
    }
}

impl ActorsQuery {
    /// All actors, those with the oldest messages first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only actors whose URN has this pattern.
    #[must_use]
    pub fn urn(mut self, pattern: impl Into<String>) -> Self {
        self.filter.urn = Some(pattern.into());
        self
    }

    /// Only actors of this type.
    #[must_use]
    pub fn actor_type(mut self, name: impl Into<String>) -> Self {
        self.filter.actor_type = Some(name.into());
        self
    }

    /// Only actors in this phase.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.filter.phase = Some(phase);
        self
    }

    /// Only actors whose oldest message has at least this age: one in the mailbox, or the one whose handler runs, since it
    /// began.
    #[must_use]
    pub fn min_age(mut self, age: Duration) -> Self {
        self.filter.min_age = Some(age);
        self
    }

    /// Sets the order.
    #[must_use]
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sort = sort;
        self
    }

    /// Sets the most actors of the answer.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Continues behind the page that had this end.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

/// Asks for the sums of the actors of each type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TypesQuery {
    /// The actors that are counted.
    pub filter: ActorFilter,
    /// The order of the types.
    pub sort: Sort,
}

impl TypesQuery {
    /// All actors, the types with the oldest messages first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts only these actors.
    #[must_use]
    pub fn filter(mut self, filter: ActorFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets the order of the types.
    #[must_use]
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sort = sort;
        self
    }
}

/// Asks for the whole state of one actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActorQuery {
    /// The actor.
    pub urn: Urn,
}

impl ActorQuery {
    /// The actor with this URN, whose absence starts none on demand.
    pub fn new(urn: Urn) -> Self {
        Self { urn }
    }
}

/// Asks for a page of the tree of actors: parents before their children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TreeQuery {
    /// The root of the tree; `None` for all root actors.
    pub root: Option<Urn>,
    /// The levels below the roots that are shown.
    pub depth: u16,
    /// The most actors of the answer: 100 by default, up to [`MAX_PAGE`].
    pub limit: usize,
    /// The [end](TreePage::next) of the page before; `None` for the first one.
    pub after: Option<Cursor>,
}

impl Default for TreeQuery {
    fn default() -> Self {
        Self {
            root: None,
            depth: u16::MAX,
            limit: DEFAULT_PAGE,
            after: None,
        }
    }
}

impl TreeQuery {
    /// All actors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only this actor and those below it.
    #[must_use]
    pub fn root(mut self, urn: Urn) -> Self {
        self.root = Some(urn);
        self
    }

    /// Sets the levels below the roots that are shown.
    #[must_use]
    pub fn depth(mut self, depth: u16) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the most actors of the answer.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Continues behind the page that had this end.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

/// Asks which actors wait for which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WaitsQuery {
    /// The most waits of the answer: up to [`MAX_PAGE`], the default.
    pub limit: usize,
}

impl Default for WaitsQuery {
    fn default() -> Self {
        Self { limit: MAX_PAGE }
    }
}

impl WaitsQuery {
    /// All waits.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Asks for the failures of actors after one that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FailuresQuery {
    /// The number from which on failures are wanted: [`next`](FailurePage::next) of the answer before, or 0.
    pub since: u64,
    /// The most failures of the answer: the oldest ones. 100 by default, up to [`MAX_PAGE`].
    pub limit: usize,
}

impl Default for FailuresQuery {
    fn default() -> Self {
        Self {
            since: 0,
            limit: DEFAULT_PAGE,
        }
    }
}

impl FailuresQuery {
    /// The failures that the member has kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only failures from this number on.
    #[must_use]
    pub fn since(mut self, number: u64) -> Self {
        self.since = number;
        self
    }

    /// Sets the most failures of the answer.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// Asks for the counters of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricsQuery {}

/// Asks for the filter of a member's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogQuery {}

/// Asks for the messages that the actors of a member handle, with their schemas, and for those that did not decode. Members of
/// versions before this query refuse it as [`UnknownRequest`](super::Refusal::UnknownRequest).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SchemasQuery {
    /// The most messages of the answer: up to [`MAX_PAGE`], the default. A page may be shorter although others follow.
    pub limit: usize,
    /// The [end](SchemaPage::next) of the page before; `None` for the first one.
    pub after: Option<String>,
}

impl Default for SchemasQuery {
    fn default() -> Self {
        Self {
            limit: MAX_PAGE,
            after: None,
        }
    }
}

impl SchemasQuery {
    /// All messages, by name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most messages of the answer.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Continues behind the page that had this end.
    #[must_use]
    pub fn after(mut self, message: impl Into<String>) -> Self {
        self.after = Some(message.into());
        self
    }
}
