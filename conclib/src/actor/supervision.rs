//! The effect of a failure on an actor, as its cell keeps it for those who look.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The effect of a failure on an actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u8)]
pub enum Supervision {
    /// It ends: it was spawned from a value, of which there is only one.
    Unsupervised = 0,
    /// It starts again after each failure, and after it has stopped itself.
    Always = 1,
    /// It starts again after each failure.
    OnFailure = 2,
    /// It ends, by its policy.
    Never = 3,
    /// Its group decides, also about the other members.
    Group = 4,
    /// It starts again after a failure if its pattern says so, and with the next message in any case.
    OnDemand = 5,
    /// Not known to this version.
    #[default]
    #[serde(other)]
    Unknown = 6,
}

impl Supervision {
    pub(super) fn from_number(number: u8) -> Self {
        let known = [
            Self::Unsupervised,
            Self::Always,
            Self::OnFailure,
            Self::Never,
            Self::Group,
            Self::OnDemand,
        ];
        let known = known.into_iter().find(|kind| *kind as u8 == number);
        known.unwrap_or_default()
    }
}

/// A bound of restarts: one failure more within the window, and the actor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestartBudget {
    /// The restarts within the window; `None` without a limit.
    pub restarts: Option<u32>,
    /// The window.
    pub within: Duration,
}

impl RestartBudget {
    pub(crate) const DEFAULT: Self = Self {
        restarts: Some(3),
        within: Duration::from_secs(5),
    };

    pub(crate) fn new(restarts: Option<u32>, within: Duration) -> Self {
        Self { restarts, within }
    }
}
