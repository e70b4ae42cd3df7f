//! One request on its way: sent under the lease of its node, and again where that is safe.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::bus::inspect::inspector::answers::AnswerWait;
use crate::bus::inspect::inspector::error::unavailable;
use crate::bus::inspect::inspector::{InspectError, InspectorShared};
use crate::bus::keys::{Keys, Right};
use crate::bus::protocol::{Kind, Request};
use crate::bus::transport::{Epoch, Frame, ServerTime, TransportError};
use crate::envelope::Attributes;
use crate::error::{AskError, Delivered};
use crate::reply::remote::Origin;

/// The most tries of a request to a node whose lease term changes meanwhile.
const MAX_TERMS: usize = 3;

/// A request on its way.
pub(super) struct Attempt<'a> {
    pub(super) node: &'a Keys,
    pub(super) name: &'static str,
    pub(super) right: Right,
    pub(super) contents: &'a [u8],
    pub(super) deadline: Instant,
    /// The progress so far.
    pub(super) delivered: Delivered,
}

impl InspectorShared {
    /// Sends a request until it is answered. A member that has too many of them is asked again.
    pub(super) async fn exchange(
        &self,
        attempt: &mut Attempt<'_>,
    ) -> Result<Vec<u8>, InspectError> {
        // Never closed.
        let _permit = self.permits.acquire().await;
        loop {
            let error = match self.exchange_once(attempt).await? {
                Ok(contents) => return Ok(contents.into()),
                Err(error) => error,
            };
            attempt.delivered = Delivered::No;
            match error {
                AskError::Overloaded { retry_after } => {
                    sleep(retry_after.max(Duration::from_millis(1))).await;
                }
                AskError::NoResponder => return Err(InspectError::NoResponder),
                AskError::Timeout { delivered } => return Err(InspectError::Timeout { delivered }),
                error => return Err(InspectError::Failed(error)),
            }
        }
    }

    async fn exchange_once(
        &self,
        attempt: &mut Attempt<'_>,
    ) -> Result<Result<Bytes, AskError>, InspectError> {
        for _ in 0..MAX_TERMS {
            let Some((epoch, now)) = self.lease(attempt.node).await? else {
                break;
            };
            let wait = self.answers.begin(epoch, attempt.node.node());
            let frames = self.frames(attempt, &wait, now);
            attempt.delivered = Delivered::Unknown;
            let sent = self
                .transport
                .send(attempt.node, epoch, attempt.right, frames);
            let seen = sent.await.map_err(|error| {
                let delivered = match error {
                    TransportError::Unknown(_) => Delivered::Unknown,
                    _ => Delivered::No,
                };
                attempt.delivered = delivered;
                unavailable(&error, delivered)
            })?;
            if seen.is_none_or(|seen| seen.epoch != epoch) {
                attempt.delivered = Delivered::No; // no process takes requests of that term any more
                self.leases.forget(attempt.node.node());
                continue;
            }
            attempt.delivered = Delivered::Accepted;
            return Ok(wait.answer().await);
        }
        Err(InspectError::NoResponder)
    }

    /// The epoch of a node and the time of the bus; `None` if no process serves the node.
    async fn lease(&self, node: &Keys) -> Result<Option<(Epoch, ServerTime)>, InspectError> {
        if let Some(known) = self.leases.get(node.node()) {
            return Ok(Some(known));
        }
        let read = self.transport.lease(node).await;
        let (lease, now) = read.map_err(|error| unavailable(&error, Delivered::No))?;
        let Some(lease) = lease else { return Ok(None) };
        self.leases.note(node.node(), lease.epoch, now);
        Ok(Some((lease.epoch, now)))
    }

    /// The frame of a request, behind a confirmation of large answers that came in.
    fn frames(&self, attempt: &Attempt<'_>, wait: &AnswerWait, now: ServerTime) -> Vec<Frame> {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let frame = |kind, id, name, contents: &[u8]| {
            let request = Request {
                kind,
                origin: Origin {
                    client: self.id,
                    id,
                },
                urn: "",
                message: name,
                deadline: ServerTime(now.0.saturating_add(left)),
                attributes: &Attributes::new(),
                is_direct: false,
                is_left_out: false,
            };
            Frame::from(request.encode(contents.to_vec()))
        };
        let confirmed = wait.take_unconfirmed();
        let confirmation = confirmed.map(|bytes| frame(Kind::Confirm, bytes, "", &[]));
        let request = frame(Kind::Ask, wait.id(), attempt.name, attempt.contents);
        confirmation.into_iter().chain([request]).collect()
    }
}
