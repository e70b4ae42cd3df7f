//! The actor system's end of the bus.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::transport::fleet::FleetMap;
use crate::bus::transport::stream::{DeadLetterStore, EntryId, StreamConsumer};
use crate::bus::transport::{
    Epoch, Frame, LeaseRecord, Lists, OperatorFrames, ServerTime, TransportError,
};
use crate::reply::remote::ClientId;

/// The lease that a system asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseClaim {
    /// The lowest and the highest version of the protocol that the system speaks.
    pub(crate) versions: (u8, u8),
    /// The largest request frame that it accepts, in bytes.
    pub(crate) max_frame: u64,
    /// Time that the lease is to last after its last renewal.
    pub(crate) length: Duration,
    /// Requests are taken at once, and not only from [`ServerTransport::open`] on.
    pub(crate) serves: bool,
    /// The name of this process among those of its node; empty if it has none. It takes the lease from
    /// an older process of the same name.
    pub(crate) instance: String,
    /// The age of this process among those of its instance, if it had a turn before; otherwise its first
    /// attempt tells it.
    pub(crate) age: Option<Epoch>,
    /// The epoch that the system held last: it takes the lease again only if no other system has had
    /// it since.
    pub(crate) before: Option<Epoch>,
}

/// The result of an attempt to take the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// The caller owns the lease.
    Granted(LeaseGrant),
    /// Another system owns the lease.
    Held(LeaseHolder),
    /// Another system has had the lease since the caller held it.
    Lost,
}

/// The number of a server among those that this end has popped from. One that is another than the one before,
/// has restarted, or was set back to older data has the next number. An end that does not tell servers apart has
/// one number for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ServerNumber(pub(crate) u64);

/// A lease that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseGrant {
    pub(crate) epoch: Epoch,
    pub(crate) now: ServerTime,
    /// The server that requests of the epoch are popped from: under any other number, its inbox may have requests
    /// that their clients have taken back.
    pub(crate) server: ServerNumber,
    /// The term before this one; `None` if the bus knows of none.
    pub(crate) former: Option<FormerTerm>,
}

/// The lease term before one that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormerTerm {
    pub(crate) epoch: Epoch,
    /// It was a term of this process.
    pub(crate) is_own: bool,
    /// Its owner has released the lease, and answers the requests that are left in its inbox.
    pub(crate) was_released: bool,
}

/// The owner of a lease, as another system sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseHolder {
    pub(crate) lease: LeaseRecord,
    /// The name of its process; empty if it has none.
    pub(crate) instance: String,
    /// It has the name of this process, and is younger: this process was replaced.
    pub(crate) is_successor: bool,
}

/// Frames that were taken off an inbox, or off a list beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Popped {
    pub(crate) frames: Vec<Bytes>,
    /// Frames among them for which there was no room: they can only be refused.
    pub(crate) cut: Vec<CutFrame>,
    /// Frames of a list beside the inbox: mostly instead of frames of the inbox.
    pub(crate) operator: Option<OperatorFrames>,
    /// The owner of the lease after the pop. The frames may be executed only if the lease was still
    /// that of the inbox: clients that found it gone, or another's, report theirs as not done.
    pub(crate) owner: Result<Option<Epoch>, TransportError>,
    /// The server that they come from.
    pub(crate) server: ServerNumber,
}

impl Popped {
    /// Nothing was taken yet.
    pub(crate) fn nothing(owner: Result<Option<Epoch>, TransportError>) -> Self {
        Self {
            frames: Vec::new(),
            cut: Vec::new(),
            operator: None,
            owner,
            server: ServerNumber::default(),
        }
    }

    /// True if nothing was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.cut.is_empty() && self.operator.is_none()
    }
}

/// A frame that was taken off an inbox, and was too large to be kept along with those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CutFrame {
    /// The number of whole frames that were taken off before it.
    pub(crate) position: usize,
    /// Its first bytes.
    pub(crate) head: Bytes,
    /// The number of all its bytes.
    pub(crate) length: usize,
}

/// The backlog of a node on the bus. A number is `None` if the bus does not permit its read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Backlog {
    /// Requests in the inbox of the epoch.
    pub(crate) inbox: Option<u64>,
    /// Entries of the stream.
    pub(crate) stored: Option<u64>,
    /// The first entry of the stream.
    pub(crate) oldest: Option<EntryId>,
    /// Entries that wait for their due times.
    pub(crate) delayed: Option<u64>,
    pub(crate) dead_letters: Option<u64>,
}

/// The bus as the actor system's end sees it.
#[async_trait]
pub(crate) trait ServerTransport: Send + Sync {
    /// Makes sure that requests could be taken: a lease would be held in vain otherwise. Comes before
    /// [`acquire`](Self::acquire), whose duration is that of one command: clocks are compared by it.
    async fn prepare(&self) -> Result<(), TransportError>;

    /// Takes the lease of the node if it is free, if an earlier call of this transport whose reply was
    /// lost has taken it, or if an older process of the same instance has it. The bus chooses the
    /// epoch, greater than any before. A process is as old as its first call.
    async fn acquire(&self, claim: &LeaseClaim) -> Result<Acquired, TransportError>;

    /// Announces to clients that the owner of the lease takes requests now; false if the caller no
    /// longer owns it.
    async fn open(&self, epoch: Epoch, claim: &LeaseClaim) -> Result<bool, TransportError>;

    /// Prolongs the lease by its `length`; `None` if the caller no longer owns it. Deletes the inbox
    /// of the epoch before: now, and not when the lease was taken, since the system that released it
    /// may still have been answering.
    async fn renew(
        &self,
        epoch: Epoch,
        length: Duration,
    ) -> Result<Option<ServerTime>, TransportError>;

    /// Announces to clients that the owner of the lease takes no more requests, and appends `wake` to the
    /// inbox, so that a blocked [`pop`](Self::pop) returns. The lease stays, and is prolonged by its
    /// `length`; false if the caller does not own it.
    async fn stop_serving(
        &self,
        epoch: Epoch,
        claim: &LeaseClaim,
        wake: Bytes,
    ) -> Result<bool, TransportError>;

    /// Releases a lease in good order whose owner takes no more requests; false if the caller does not
    /// own it.
    async fn release(&self, epoch: Epoch) -> Result<bool, TransportError>;

    /// Gives a lost lease back, in case it still stands: its owner answers no request any more that is
    /// left in the inbox. False if the caller does not own it.
    async fn give_up(&self, epoch: Epoch) -> Result<bool, TransportError>;

    /// Appends `wake` to the inbox of an epoch that is over, so that one more blocked
    /// [`pop`](Self::pop) returns. A wake that no pop takes expires: the system may end before it
    /// could delete the inbox, and the bus may have lost the list of epochs by which other systems
    /// would.
    async fn wake(&self, epoch: Epoch, wake: Bytes) -> Result<(), TransportError>;

    /// Takes up to `count` frames off one of the lists, waiting up to `block` for the first one; a `block`
    /// of zero does not wait, and takes from the inbox alone, except for the [rest](Lists::Rest) of another list. Then reads the owner of the lease: of one that serves, as clients see it.
    ///
    /// # Cancel safety
    ///
    /// None: a dropped call may still pop. Run it to its end. Several may be under way: they end in
    /// the order in which they were first polled.
    async fn pop(
        &self,
        epoch: Epoch,
        lists: Lists,
        count: u32,
        block: Duration,
    ) -> Result<Popped, TransportError>;

    /// Sends a frame to a client's reply channel; returns the number of receivers, `None` if the bus
    /// cannot tell.
    async fn publish(&self, client: ClientId, frame: Frame) -> Result<Option<u64>, TransportError>;

    /// Opens a consumer of the node's durable messages, over an additional connection. It is named after
    /// the instance, unless that is empty.
    async fn consumer(&self, instance: &str) -> Result<Arc<dyn StreamConsumer>, TransportError>;

    /// The epoch of the lease, whether or not its owner takes requests.
    async fn owner(&self) -> Result<Option<Epoch>, TransportError>;

    /// Counts what waits for the node.
    async fn backlog(&self, epoch: Epoch) -> Result<Backlog, TransportError>;

    /// The node's dead letters.
    fn dead_letters(&self) -> Arc<dyn DeadLetterStore>;

    /// The map of the namespace's fleet, over the connections of this end.
    fn fleet(&self) -> Arc<dyn FleetMap>;

    /// Ends the connections. No call may be under way.
    async fn close(&self);
}
