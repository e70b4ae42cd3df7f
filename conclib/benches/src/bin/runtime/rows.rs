//! The rows of the table, and their required limits.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::work::Scale;

/// The peers; conclib comes first.
pub(crate) const PEERS: [&str; 7] = [
    "conclib",
    "tokio mpsc",
    "kameo",
    "ractor",
    "xtra",
    "actix",
    "tokio-actors",
];

/// The peer without a framework: an actor written by hand.
pub(crate) const BY_HAND: &str = "tokio mpsc";

/// A measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tell,
    TellAtOnce,
    Ask,
    AskAtOnce,
    Spawn,
    Idle,
    Periodic,
    Ring,
    /// For a chart: tells to one of many live actors.
    Live,
    /// For a chart: requests to one of many URNs.
    Urns,
}

/// The rows of the table can be chosen.
impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::TABLE
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// The reference of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// A multiple of the cost of the actor written by hand.
    ByHand(f64),
    /// A multiple of the cost of the fastest published framework.
    BestPeer(f64),
    /// A number of bytes.
    Bytes(f64),
}

impl Kind {
    /// The rows of the table, in order.
    pub(crate) const TABLE: [Self; 8] = [
        Self::Tell,
        Self::TellAtOnce,
        Self::Ask,
        Self::AskAtOnce,
        Self::Spawn,
        Self::Idle,
        Self::Periodic,
        Self::Ring,
    ];

    /// The name of the row, in the table and in the options.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tell => "tell, 1 sender",
            Self::TellAtOnce => "tell, 4 senders",
            Self::Ask => "ask, one after another",
            Self::AskAtOnce => "64 askers",
            Self::Spawn => "spawn, and a first answer",
            Self::Idle => "idle actor",
            Self::Periodic => "10,000 periodic actors at 10 Hz",
            Self::Ring => "ring of 1,000 actors",
            Self::Live => "live actors",
            Self::Urns => "registered URNs",
        }
    }

    /// The measurement of that name, also those of charts.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let charts = [Self::Live, Self::Urns];
        let mut all = Self::TABLE.into_iter().chain(charts);
        all.find(|kind| kind.name() == name)
            .ok_or_else(|| format!("no row is called {name}"))
    }

    /// The unit of the figures.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Idle => "B",
            Self::Periodic => "CPU s",
            _ => "ns",
        }
    }

    /// The limits of conclib.
    pub(crate) fn bounds(self) -> &'static [Bound] {
        match self {
            Self::Tell | Self::TellAtOnce => &[Bound::ByHand(0.6), Bound::BestPeer(0.3)],
            Self::Ask => &[Bound::ByHand(1.0), Bound::BestPeer(0.7)],
            Self::AskAtOnce => &[Bound::ByHand(1.0), Bound::BestPeer(0.65)],
            Self::Spawn => &[Bound::BestPeer(1.0)],
            Self::Idle => &[Bound::Bytes(1024.0)],
            Self::Periodic | Self::Ring | Self::Live | Self::Urns => &[],
        }
    }

    /// The amount of work for the table.
    pub(crate) fn full(self) -> Scale {
        let (size, milliseconds) = match self {
            Self::Tell | Self::TellAtOnce => (100_000, 400),
            Self::Ask => (10_000, 400),
            Self::AskAtOnce => (64_000, 400),
            Self::Spawn | Self::Ring => (1_000, 400),
            Self::Idle => (100_000, 0),
            Self::Periodic => (10_000, 5_000),
            Self::Live | Self::Urns => (1, 400),
        };
        Scale {
            size,
            time: Duration::from_millis(milliseconds),
        }
    }

    /// The least work that shows that everything works.
    pub(crate) fn quick(self) -> Scale {
        let (size, milliseconds) = match self {
            Self::Periodic => (20, 500),
            Self::Ring | Self::Spawn | Self::Live | Self::Urns => (10, 0),
            _ => (256, 0),
        };
        Scale {
            size,
            time: Duration::from_millis(milliseconds),
        }
    }
}
