//! A bus as a tool sees it: facts that the bus has, whether or not an actor system serves.

use std::time::Duration;

use async_trait::async_trait;

use crate::bus::keys::Keys;
use crate::bus::transport::fleet::Member;
use crate::bus::transport::stream::{EntryId, StreamEntry};
use crate::bus::transport::{Epoch, LeaseRecord, ServerTime, TransportError};

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseFacts {
    pub(crate) lease: LeaseRecord,
    /// The name of the owner's process; empty if it has none.
    pub(crate) instance: String,
    /// Time until it expires, unless it is renewed; `None` if the user may not read that.
    pub(crate) remaining: Option<Duration>,
}

/// The durable messages of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StreamFacts {
    /// The length of the stream.
    pub(crate) stored: u64,
    /// Messages outside of it that wait for their due times.
    pub(crate) delayed: u64,
    /// `None` if the user may not read entries.
    pub(crate) entries: Option<EntryFacts>,
}

/// The entries of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryFacts {
    /// The first one.
    pub(crate) oldest: Option<EntryId>,
    /// The number of those that a consumer has claimed.
    pub(crate) claimed: u64,
}

/// The dead letters of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeadFacts {
    pub(crate) stored: u64,
    /// The first one.
    pub(crate) oldest: Option<EntryId>,
    /// The user may read entries, and so the first one.
    pub(crate) is_readable: bool,
}

/// The words of a server about itself; empty where it has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerFacts {
    /// Lines of `name:value`.
    pub(crate) info: String,
    /// The name of the user.
    pub(crate) user: String,
    /// The setting `save`, if it may be read.
    pub(crate) save: Option<String>,
}

/// The bus as a tool sees it: it only reads.
#[async_trait]
pub(crate) trait BusView: Send + Sync {
    /// Reads the time.
    async fn time(&self) -> Result<ServerTime, TransportError>;

    /// Reads the state of the server; `None` if the bus has none.
    async fn server(&self) -> Result<Option<ServerFacts>, TransportError>;

    /// Reads the lease of a node, also of an owner that takes no requests yet.
    async fn lease(&self, node: &Keys) -> Result<Option<LeaseFacts>, TransportError>;

    /// The number of requests in the inbox of an epoch.
    async fn inbox_len(&self, node: &Keys, epoch: Epoch) -> Result<u64, TransportError>;

    /// Reads the counts of a node's durable messages.
    async fn stream(&self, node: &Keys) -> Result<StreamFacts, TransportError>;

    /// Lists up to `count` entries of the stream after `after`, the oldest first.
    async fn entries(
        &self,
        node: &Keys,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError>;

    /// Reads the number of dead letters, and the oldest one.
    async fn dead_letters(&self, node: &Keys) -> Result<DeadFacts, TransportError>;

    /// Reads the members of the fleet.
    async fn members(&self) -> Result<Vec<Member>, TransportError>;
}
