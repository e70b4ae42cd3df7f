//! The rows of the table, and their required limits.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::work::Scale;

/// The peers; conclib comes first.
pub(crate) const PEERS: [&str; 8] = [
    "conclib",
    "tokio mpsc",
    "crossfire",
    "kameo",
    "ractor",
    "xtra",
    "actix",
    "tokio-actors",
];

/// The peer without a framework: an actor written by hand.
pub(crate) const BY_HAND: &str = "tokio mpsc";

/// The peer that shows the limit of a mailbox: an actor written by hand, with a queue without locks.
pub(crate) const LIMIT: &str = "crossfire";

/// The worker threads of the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workers {
    /// As in most programs.
    Two,
    /// As actix has it, which runs all actors of these rows on one thread.
    One,
}

impl Workers {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Two => 2,
            Self::One => 1,
        }
    }
}

/// A measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Tells of one sender or of several at once.
    Tell(Senders),
    Ask,
    AskAtOnce,
    Spawn(Workers),
    Idle,
    Periodic(Workers),
    Ring(Length, Workers),
    /// For a chart: tells to one of many live actors.
    Live,
    /// For a chart: requests to one of many URNs.
    Urns,
}

/// The number of senders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Senders {
    One,
    Four,
    Sixteen,
}

/// The number of actors of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// They fit into the smallest cache.
    Ten,
    /// They fit into a cache.
    Thousand,
    /// They fit into none that is near.
    TenThousand,
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
    pub(crate) const TABLE: [Self; 14] = [
        Self::Tell(Senders::One),
        Self::Tell(Senders::Four),
        Self::Tell(Senders::Sixteen),
        Self::Ask,
        Self::AskAtOnce,
        Self::Spawn(Workers::Two),
        Self::Spawn(Workers::One),
        Self::Idle,
        Self::Periodic(Workers::Two),
        Self::Periodic(Workers::One),
        Self::Ring(Length::Ten, Workers::Two),
        Self::Ring(Length::Thousand, Workers::Two),
        Self::Ring(Length::TenThousand, Workers::Two),
        Self::Ring(Length::Thousand, Workers::One),
    ];

    /// The name of the row, in the table and in the options.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tell(Senders::One) => "tell, 1 sender",
            Self::Tell(Senders::Four) => "tell, 4 senders",
            Self::Tell(Senders::Sixteen) => "tell, 16 senders",
            Self::Ask => "ask, one after another",
            Self::AskAtOnce => "64 askers",
            Self::Spawn(Workers::Two) => "spawn, and a first answer",
            Self::Spawn(Workers::One) => "spawn, one worker thread",
            Self::Idle => "idle actor",
            Self::Periodic(Workers::Two) => "10,000 periodic actors at 10 Hz",
            Self::Periodic(Workers::One) => "10,000 periodic actors, one worker thread",
            Self::Ring(Length::Ten, _) => "ring of 10 actors",
            Self::Ring(Length::Thousand, Workers::Two) => "ring of 1,000 actors",
            Self::Ring(Length::Thousand, Workers::One) => "ring of 1,000 actors, one worker thread",
            Self::Ring(Length::TenThousand, _) => "ring of 10,000 actors",
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
            Self::Periodic(_) => "CPU s",
            _ => "ns",
        }
    }

    /// The limits of conclib.
    pub(crate) fn bounds(self) -> &'static [Bound] {
        match self {
            Self::Ask => &[Bound::ByHand(0.95), Bound::BestPeer(1.0)],
            Self::AskAtOnce => &[Bound::ByHand(0.9), Bound::BestPeer(1.0)],
            Self::Spawn(_) => &[Bound::BestPeer(0.9)],
            Self::Idle => &[Bound::Bytes(800.0), Bound::BestPeer(1.0)],
            Self::Periodic(_) | Self::Ring(Length::Thousand, _) => {
                &[Bound::ByHand(1.25), Bound::BestPeer(1.0)]
            }
            Self::Tell(_) | Self::Ring(..) => &[Bound::BestPeer(1.0)],
            Self::Live | Self::Urns => &[],
        }
    }

    /// The amount of work for the table.
    pub(crate) fn full(self) -> Scale {
        let (size, milliseconds) = match self {
            Self::Tell(_) => (100_000, 400),
            Self::Ask => (10_000, 400),
            Self::AskAtOnce => (64_000, 400),
            Self::Spawn(_) | Self::Ring(Length::Thousand, _) => (1_000, 400),
            Self::Ring(Length::Ten, _) => (10, 400),
            Self::Ring(Length::TenThousand, _) => (10_000, 800),
            Self::Idle => (100_000, 0),
            Self::Periodic(_) => (10_000, 5_000),
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
            Self::Periodic(_) => (20, 500),
            Self::Ring(..) | Self::Spawn(_) | Self::Live | Self::Urns => (10, 0),
            _ => (256, 0),
        };
        Scale {
            size,
            time: Duration::from_millis(milliseconds),
        }
    }
}

impl Senders {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Four => 4,
            Self::Sixteen => 16,
        }
    }
}
