//! The peers: the ways in which requests are carried.

use std::str::FromStr;

use crate::servers::Kind;

pub(crate) mod conclib;
pub(crate) mod naive;
pub(crate) mod nats;
pub(crate) mod raw;

/// One way to ask an actor of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A `ProxyClient` and an actor behind `start_proxy`.
    Conclib,
    /// Request and reply of `async-nats`.
    Nats,
    /// One `BLPOP` and one `PUBLISH` after another.
    NaiveLoop,
    /// The same with blocking sockets and nothing else.
    RawSockets,
}

impl Peer {
    /// All peers, in the order of the table.
    pub(crate) const ALL: [Self; 4] =
        [Self::Conclib, Self::Nats, Self::NaiveLoop, Self::RawSockets];

    /// The name in the option `--peer`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Conclib => "conclib",
            Self::Nats => "nats",
            Self::NaiveLoop => "naive",
            Self::RawSockets => "raw",
        }
    }

    /// The name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conclib => "conclib",
            Self::Nats => "NATS",
            Self::NaiveLoop => "naive fred loop",
            Self::RawSockets => "raw sockets",
        }
    }

    /// The library that it uses; its version is that of the lock file.
    pub(crate) fn library(self) -> &'static str {
        match self {
            Self::Conclib => "conclib",
            Self::Nats => "async-nats",
            Self::NaiveLoop => "fred",
            Self::RawSockets => "std",
        }
    }

    /// The server between the processes.
    pub(crate) fn server(self) -> Kind {
        match self {
            Self::Nats => Kind::Nats,
            Self::Conclib | Self::NaiveLoop | Self::RawSockets => Kind::Redis,
        }
    }
}

impl FromStr for Peer {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|peer| peer.id() == word)
            .ok_or(())
    }
}
