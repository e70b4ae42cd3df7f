//! The peers: the ways in which requests are carried.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::servers::Kind;

pub(crate) mod conclib;
pub(crate) mod naive;
pub(crate) mod nats;
pub(crate) mod raw;
pub(crate) mod traces;

/// One way to ask an actor of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A `ProxyClient` and an actor behind `start_proxy`.
    Conclib,
    /// The same with traces across the bus, of which one in a hundred is kept.
    ConclibTraced,
    /// Request and reply of `async-nats`.
    Nats,
    /// One `BLPOP` and one `PUBLISH` after another.
    NaiveLoop,
    /// The same with blocking sockets and nothing else.
    RawSockets,
}

impl Peer {
    /// All peers, in the order of the table.
    pub(crate) const ALL: [Self; 5] = [
        Self::Conclib,
        Self::ConclibTraced,
        Self::Nats,
        Self::NaiveLoop,
        Self::RawSockets,
    ];

    /// The peers of the table, unless others are named.
    pub(crate) const USUAL: [Self; 4] =
        [Self::Conclib, Self::Nats, Self::NaiveLoop, Self::RawSockets];

    /// The name in the option `--peer`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Conclib => "conclib",
            Self::ConclibTraced => "conclib-traced",
            Self::Nats => "nats",
            Self::NaiveLoop => "naive",
            Self::RawSockets => "raw",
        }
    }

    /// The name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conclib => "conclib",
            Self::ConclibTraced => "conclib, traces at 1 %",
            Self::Nats => "NATS",
            Self::NaiveLoop => "naive fred loop",
            Self::RawSockets => "raw sockets",
        }
    }

    /// The library that it uses; its version is that of the lock file.
    pub(crate) fn library(self) -> &'static str {
        match self {
            Self::Conclib | Self::ConclibTraced => "conclib",
            Self::Nats => "async-nats",
            Self::NaiveLoop => "fred",
            Self::RawSockets => "std",
        }
    }

    /// The server between the processes.
    pub(crate) fn server(self) -> Kind {
        match self {
            Self::Nats => Kind::Nats,
            Self::Conclib | Self::ConclibTraced | Self::NaiveLoop | Self::RawSockets => Kind::Redis,
        }
    }
}

impl ValueEnum for Peer {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let way = match self {
            Self::Conclib => "a proxy client, and an actor behind a proxy",
            Self::ConclibTraced => "the same with traces of OpenTelemetry, of which 1 % is kept",
            Self::Nats => "request and reply of async-nats",
            Self::NaiveLoop => "one BLPOP and one PUBLISH of fred after another",
            Self::RawSockets => "the same with blocking sockets and nothing else, for one caller",
        };
        Some(PossibleValue::new(self.id()).help(way))
    }
}
