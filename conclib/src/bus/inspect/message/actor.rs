//! Answers about actors. None has contents of messages.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::actor::ActorSnapshot;
use crate::actor::stats::Phase;
use crate::actor::supervision::{RestartBudget, Supervision};
use crate::core::FailureRecord;
use crate::system::metrics::HandlerCount;
use crate::urn::Urn;

/// A place in a list of actors, behind the last one of a page. The member keeps the list for ten seconds after its
/// last page, so that pages neither repeat an actor nor leave one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// The number of the list.
    pub(crate) list: u64,
    /// The number of actors before the place.
    pub(crate) offset: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.list, self.offset)
    }
}

/// A text that is no [`Cursor`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is the text that the page before has given, such as `7.100`")]
#[non_exhaustive]
pub struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (list, offset) = text.split_once('.').ok_or(CursorError)?;
        let number = |digits: &str| digits.parse().map_err(|_| CursorError);
        Ok(Self {
            list: number(list)?,
            offset: number(offset)?,
        })
    }
}

/// A page of actors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ActorPage {
    /// The actors of the page.
    pub actors: Vec<ActorSnapshot>,
    /// The number of actors that the filter selects, on all pages.
    pub matching: usize,
    /// The number of all actors.
    pub total: usize,
    /// The place behind this page; `None` if it is the last one.
    pub next: Option<Cursor>,
    /// The age of the list: the member makes a new one about twice a second at most.
    pub age: Duration,
}

/// The sums of the actors of each type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TypePage {
    /// The types, up to [`MAX_PAGE`](super::MAX_PAGE) of them, and fewer if their names are long.
    pub types: Vec<TypeSummary>,
    /// The number of further types.
    pub omitted: usize,
    /// The age of the list of actors.
    pub age: Duration,
}

/// The sums of the living actors of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TypeSummary {
    /// The name of the Rust type.
    pub actor_type: Cow<'static, str>,
    /// The number of actors.
    pub actors: usize,
    /// Actors that start.
    pub starting: usize,
    /// Those that handle messages or wait for them.
    pub running: usize,
    /// Those that wait for a restart.
    pub restarting: usize,
    /// Those that wait for their children to stop, or run their last hooks.
    pub stopping: usize,
    /// Those in which a handler runs.
    pub busy: usize,
    /// The messages in all mailboxes.
    pub queued: usize,
    /// The messages in the fullest mailbox.
    pub queued_max: usize,
    /// The senders that wait for room.
    pub waiting_senders: usize,
    /// The age of the oldest message in a mailbox.
    pub oldest: Option<Duration>,
    /// The actor that has it.
    pub oldest_urn: Option<Urn>,
    /// The time for which the slowest handler has run.
    pub longest_running: Option<Duration>,
    /// Messages and ticks that these actors have handled.
    pub handled: u64,
    /// Failures of these actors.
    pub failures: u64,
    /// Restarts of these actors.
    pub restarts: u64,
}

/// The whole state of an actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActorDetails {
    /// Its phase, mailbox, counters, and the handler that runs.
    pub actor: ActorSnapshot,
    /// The handlers of its type, up to [`MAX_PAGE`](super::MAX_PAGE), with the counts of all its actors.
    #[serde(default)]
    pub handlers: Vec<HandlerCount>,
    /// The messages of handlers are counted: the program has the feature `metrics`. Otherwise their counts are 0.
    #[serde(default)]
    pub counts_handlers: bool,
    /// Its children, the newest first: up to 100.
    #[serde(default)]
    pub children: Vec<Urn>,
    /// The number of its children.
    #[serde(default)]
    pub children_total: usize,
    /// The actors that watch it: up to 100.
    #[serde(default)]
    pub watchers: Vec<Urn>,
    /// The number of its watchers.
    #[serde(default)]
    pub watchers_total: usize,
    /// The actors for which it waits in its handler or hook.
    #[serde(default)]
    pub waits_for: Vec<WaitsFor>,
    /// The end of its life after a failure.
    #[serde(default)]
    pub supervision: Supervision,
    /// The bound of its restarts; `None` if its group has one, or it never starts again.
    #[serde(default)]
    pub budget: Option<RestartBudget>,
    /// Its last failure among those that the member has kept.
    #[serde(default)]
    pub last_failure: Option<FailureRecord>,
    /// It is hidden from clients.
    #[serde(default)]
    pub is_private: bool,
    /// It has a thread of its own.
    #[serde(default)]
    pub has_thread: bool,
}

/// An actor that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitsFor {
    /// The actor.
    pub urn: Urn,
    /// The event that is waited for.
    pub kind: WaitKind,
}

/// The event that an actor waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitKind {
    /// The answer to an ask.
    Answer,
    /// Room in the mailbox.
    Capacity,
    /// The end of `on_start`.
    Start,
    /// The end of the actor.
    Stop,
    /// Not known to this version.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for WaitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Answer => "answer",
            Self::Capacity => "room",
            Self::Start => "start",
            Self::Stop => "end",
            Self::Unknown => "unknown",
        })
    }
}

/// The actors that wait for others, within one process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WaitGraph {
    /// The waits, those of the longest running handlers first: fewer than were asked for if their URNs are long.
    pub edges: Vec<WaitEdge>,
    /// The number of further waits.
    pub omitted: usize,
}

/// A wait of an actor for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitEdge {
    /// The actor that waits.
    pub from: Urn,
    /// The actor that is waited for.
    pub to: Urn,
    /// The event that is waited for.
    pub kind: WaitKind,
    /// The time for which the handler of the waiting actor has run; `None` in a hook.
    #[serde(default)]
    pub running: Option<Duration>,
}

/// A page of the tree of actors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TreePage {
    /// The actors of the page, parents before their children.
    pub nodes: Vec<TreeNode>,
    /// The number of actors on all pages.
    pub matching: usize,
    /// The place behind this page; `None` if it is the last one.
    pub next: Option<Cursor>,
}

/// An actor in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TreeNode {
    /// The actor.
    pub urn: Urn,
    /// The levels between it and the root of the page: 0 for the root.
    pub depth: u16,
    /// The name of its Rust type.
    pub actor_type: Cow<'static, str>,
    /// Its phase.
    pub phase: Phase,
    /// The messages in its mailbox.
    #[serde(default)]
    pub queued: usize,
    /// The number of its children.
    #[serde(default)]
    pub children: usize,
}
