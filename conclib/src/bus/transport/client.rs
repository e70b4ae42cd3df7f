//! A client's end of the bus.

use std::fmt::Display;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::keys::Keys;
use crate::bus::transport::fleet::FleetView;
use crate::bus::transport::stream::StreamProducer;
use crate::bus::transport::{Epoch, Frame, LeaseRecord, ServerTime, TransportError};

/// The bus' reply to a batch of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enqueued {
    /// The lease as it was when the batch arrived. If it is `None` or names another epoch than
    /// the batch went to, no system will take the batch.
    pub(crate) lease: Option<LeaseRecord>,
    /// The number of requests in the inbox, this batch included.
    pub(crate) length: u64,
    /// The bus' time, if the transport asked for it along with this batch.
    pub(crate) now: Option<ServerTime>,
}

/// The number of times that frames may be in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// Each was sent once. With frames in the order in which they were sent, each is found near the front.
    One,
    /// Some may have been sent twice: the whole inbox is searched for each.
    Any,
}

/// The bus as a client sees it.
#[async_trait]
pub(crate) trait ClientTransport: StreamProducer + FleetView {
    /// Reads the lease of a node, if any, and the time.
    async fn lease(&self, node: &Keys)
    -> Result<(Option<LeaseRecord>, ServerTime), TransportError>;

    /// Appends a batch to the inbox of a node's `epoch`, in order, and reads the lease before it. The
    /// batch is given to the connection in the first poll, so that batches stay in order. A batch is
    /// never doubled, even if the connection breaks. Fails with `NotDone` while replies cannot come in.
    async fn enqueue(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> Result<Enqueued, TransportError>;

    /// Removes a batch from an inbox, and returns for each frame if it was there: no system takes it any more.
    async fn take_back(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
        copies: Copies,
    ) -> Result<Vec<bool>, TransportError>;

    /// Writes where that has no effect: fails if the bus takes no writes any more, because another has
    /// taken its place. (A bus in memory always does.)
    async fn prove_writable(&self) -> Result<(), TransportError> {
        Ok(())
    }

    /// Makes the connections anew, with the address of the bus resolved again. (A bus in memory has no
    /// other one.)
    fn reconnect(&self, _why: &str) {}

    /// Ends the connections.
    async fn close(&self);
}

/// Takes a client's replies as they come in. A call instead of a channel and a task behind it: with
/// a single caller, each step between the socket and the asker costs several microseconds.
pub(crate) trait ReplySink: Send + Sync {
    /// Must neither wait nor take long: replies that come in too fast are lost.
    fn receive(&self, frame: Bytes);

    /// Notes that the map of the fleet has changed, or may have: also called for each subscription that is
    /// made, since changes before it were not heard. Notices can be lost. Must not take long either.
    fn map_changed(&self) {}

    /// Notes that the profile of a member of the fleet cannot be read.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory has no profiles to read")
    )]
    fn unreadable_member(&self, _problem: &dyn Display) {}
}
