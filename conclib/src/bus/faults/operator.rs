//! An operator's end of a bus with injected faults.

use std::sync::Arc;

use async_trait::async_trait;

use crate::bus::faults::{Faults, check};
use crate::bus::keys::{Keys, Right};
use crate::bus::transport::fleet::Members;
use crate::bus::transport::{
    Epoch, Frame, LeaseRecord, OperatorTransport, ServerTime, TransportError,
};

/// An operator's end that fails while the bus is cut. Answers meet no other fault.
pub(super) struct FaultyOperator {
    pub(super) inner: Arc<dyn OperatorTransport>,
    pub(super) faults: Faults,
}

#[async_trait]
impl OperatorTransport for FaultyOperator {
    async fn lease(
        &self,
        node: &Keys,
    ) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        check(&self.faults)?;
        self.inner.lease(node).await
    }

    async fn members(&self) -> Result<Members, TransportError> {
        check(&self.faults)?;
        self.inner.members().await
    }

    async fn send(
        &self,
        node: &Keys,
        epoch: Epoch,
        right: Right,
        frames: Vec<Frame>,
    ) -> Result<Option<LeaseRecord>, TransportError> {
        check(&self.faults)?;
        self.inner.send(node, epoch, right, frames).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
