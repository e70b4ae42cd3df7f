//! The lists of a node beside its inbox, for those who inspect and operate it: which list a request was
//! taken from is the right that it has.

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::keys::{Keys, Right};
use crate::bus::transport::fleet::Members;
use crate::bus::transport::{CutFrame, Epoch, Frame, LeaseRecord, ServerTime, TransportError};

/// The lists that a pop takes frames from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lists {
    /// The first one that is not empty: of the right to act, of the right to inspect, the inbox.
    All,
    /// The inbox alone.
    Inbox,
    /// The list of a right and the inbox as well, both as they are now.
    Rest(Right),
}

/// Frames that were taken off a list beside the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OperatorFrames {
    /// The right of the list.
    pub(crate) right: Right,
    pub(crate) frames: Vec<Bytes>,
    /// Frames for which there was no room: they can only be refused.
    pub(crate) cut: Vec<CutFrame>,
    /// The list may have further ones, which a pop of its [rest](Lists::Rest) takes.
    pub(crate) may_have_more: bool,
}

/// The bus as the end of an operator sees it. Answers come to the sink that the end was opened with.
#[async_trait]
pub(crate) trait OperatorTransport: Send + Sync {
    /// Reads the lease of a node, if any, and the time.
    async fn lease(&self, node: &Keys)
    -> Result<(Option<LeaseRecord>, ServerTime), TransportError>;

    /// Reads the members of the fleet.
    async fn members(&self) -> Result<Members, TransportError>;

    /// Appends frames to the list of a right of a node's `epoch`, which expires if no frame follows for a minute,
    /// and reads the lease before it. Frames are never doubled. Fails with `NotDone` while answers cannot come in.
    async fn send(
        &self,
        node: &Keys,
        epoch: Epoch,
        right: Right,
        frames: Vec<Frame>,
    ) -> Result<Option<LeaseRecord>, TransportError>;

    /// Ends the connections.
    async fn close(&self);
}
