//! Actions on a member, and their outcomes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::inspect::message::query::sealed::{Named, Need};
use crate::bus::inspect::message::{LogState, Query};
use crate::urn::Urn;

/// An action on a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Stops an actor after its queued messages, as [`ActorRef::stop`](crate::ActorRef::stop) does.
    Stop {
        /// The actor.
        urn: Urn,
    },
    /// Ends an actor at its next await, as [`ActorRef::kill`](crate::ActorRef::kill) does.
    Kill {
        /// The actor.
        urn: Urn,
    },
    /// Starts a supervised actor anew after its current message. Its queued messages stay.
    Restart {
        /// The actor.
        urn: Urn,
    },
    /// The same at its next await: its current message is lost, and its asker gets an error.
    Interrupt {
        /// The actor.
        urn: Urn,
    },
    /// Stops the node in good order: it takes no more requests, answers those that it has, and its actors stop. In a
    /// fleet, clients choose other members.
    Drain,
    /// Changes the filter of the log for a time.
    SetLogFilter {
        /// The filter, in the syntax of the program's subscriber.
        filter: String,
        /// The time after which the filter before it is set again: up to [`MAX_LOG_DURATION`](super::MAX_LOG_DURATION).
        duration: Duration,
    },
    /// Sets the filter again that the log had before it was changed.
    ResetLogFilter,
}

impl Action {
    /// The name of the action in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Kill { .. } => "kill",
            Self::Restart { .. } => "restart",
            Self::Interrupt { .. } => "interrupt",
            Self::Drain => "drain",
            Self::SetLogFilter { .. } => "set_log_filter",
            Self::ResetLogFilter => "reset_log_filter",
        }
    }

    /// The actor that the action is for, if it is for one.
    pub fn urn(&self) -> Option<&Urn> {
        match self {
            Self::Stop { urn }
            | Self::Kill { urn }
            | Self::Restart { urn }
            | Self::Interrupt { urn } => Some(urn),
            Self::Drain | Self::SetLogFilter { .. } | Self::ResetLogFilter => None,
        }
    }
}

/// An action with its author and its reason, for the member's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ActionRequest {
    pub(crate) action: Action,
    /// The name that the author gives: it is not checked.
    pub(crate) operator: String,
    pub(crate) reason: String,
}

impl Named for ActionRequest {
    const NAME: &'static str = "action";
    const NEEDS: Need = Need::ADMIN;
}

impl Query for ActionRequest {
    type Answer = ActionOutcome;
}

/// The outcome of an action on a member that allows actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActionOutcome {
    /// The action is complete.
    Done {
        /// The effect, in words.
        detail: String,
    },
    /// The action has begun, and was not complete yet when the member answered.
    Begun {
        /// The event that it waits for, in words.
        detail: String,
    },
    /// The filter of the log was changed.
    Log(LogState),
    /// The action is not possible. Nothing was changed.
    Impossible {
        /// The cause, in words.
        reason: String,
    },
    /// Not known to this version.
    #[serde(other)]
    Unknown,
}

impl ActionOutcome {
    /// True if the action was executed, or has begun.
    pub fn is_accepted(&self) -> bool {
        !matches!(self, Self::Impossible { .. } | Self::Unknown)
    }
}

impl fmt::Display for ActionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { detail } => write!(f, "done: {detail}"),
            Self::Begun { detail } => write!(f, "begun: {detail}"),
            Self::Log(state) => {
                let filter = state.filter.as_deref().unwrap_or("unknown");
                write!(f, "done: the filter of the log is `{filter}`")
            }
            Self::Impossible { reason } => write!(f, "not possible: {reason}"),
            Self::Unknown => f.write_str("an outcome that this version does not know"),
        }
    }
}
