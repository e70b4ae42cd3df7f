//! A batch of requests from its gathering to its end.
//!
//! A batch that was given to the connection runs to its end, also if its askers stop waiting: only so
//! its outcome is known.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::bus::client::node_link::NodeLink;
use crate::bus::client::pending::Batch;
use crate::bus::client::send_queue::{InlineSlot, WakeDriver};
use crate::bus::client::shared::ClientShared;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::transport::{Copies, Epoch, LeaseRecord, TransportError};
use crate::error::{AskError, Delivered};

/// Time to wait for a new connection before a batch that was lost with the last one is given up.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The error of requests that may have been executed.
pub(super) const UNKNOWN: AskError = AskError::Disconnected {
    delivered: Delivered::Unknown,
};

/// The outcome of an attempt to send a batch.
pub(super) enum SendOutcome {
    Accepted,
    /// The batch went to an epoch that is over, whose inbox no system reads. This is the lease now.
    WrongEpoch(LeaseRecord),
    /// The batch was given to the connection for this lease's epoch, and no reply came.
    ConnectionLost(LeaseRecord),
    Failed(AskError),
}

impl SendOutcome {
    /// True if the batch is to be sent once more.
    pub(super) fn needs_retry(&self) -> bool {
        matches!(self, Self::WrongEpoch(_) | Self::ConnectionLost(_))
    }
}

/// A batch under way. Dropping it lets the queue give out the next one.
pub(super) struct BatchSend {
    shared: Arc<ClientShared>,
    link: Arc<NodeLink>,
    batch: Batch,
}

impl Drop for BatchSend {
    fn drop(&mut self) {
        // A driver that is about to end waits also for the batches of askers.
        let wake = if self.shared.closed.is_cancelled() {
            WakeDriver::Always
        } else {
            WakeDriver::IfQueued
        };
        self.link.queue.end_batch(wake);
    }
}

impl BatchSend {
    /// Owns a batch that the queue has given out.
    pub(super) fn new(shared: &Arc<ClientShared>, link: &Arc<NodeLink>, batch: Batch) -> Self {
        Self {
            shared: shared.clone(),
            link: link.clone(),
            batch,
        }
    }

    /// The first attempt to send the batch, to the owner of the lease as far as that is known.
    pub(super) async fn attempt(mut self, known: Option<LeaseRecord>) -> (Self, SendOutcome) {
        let lease =
            match known {
                Some(lease) => Ok(Some(lease)),
                None => self.shared.read_lease(&self.link).await.map_err(|error| {
                    AskError::Unavailable {
                        reason: error.to_string(),
                    }
                }),
            };
        let outcome = match lease.and_then(|lease| lease.ok_or(AskError::NoResponder)) {
            Ok(lease) => enqueue(&self.shared, &self.link, &lease, &mut self.batch).await,
            Err(error) => SendOutcome::Failed(error),
        };
        (self, outcome)
    }

    /// Completes the batch after its first attempt: after a second one if another epoch has begun
    /// since the lease was read, or the connection broke. Then every request in the batch is accepted
    /// or ended.
    pub(super) async fn complete(mut self, mut outcome: SendOutcome) {
        if let SendOutcome::WrongEpoch(lease) = outcome {
            // Set only now, since batches behind this one would have been sent there first.
            self.shared.set_lease(&self.link, Some(lease.clone()));
            outcome = enqueue(&self.shared, &self.link, &lease, &mut self.batch).await;
        }
        if let SendOutcome::ConnectionLost(lease) = outcome {
            outcome = self.send_again(&lease).await;
        }
        let error = match outcome {
            SendOutcome::Accepted => {
                let told = self.shared.pending().accepted(&self.batch.ids);
                for reply in told {
                    reply.send(Bytes::new());
                }
                return;
            }
            SendOutcome::WrongEpoch(lease) => {
                self.shared.set_lease(&self.link, Some(lease));
                AskError::NoResponder
            }
            SendOutcome::ConnectionLost(_) => UNKNOWN,
            SendOutcome::Failed(error) => error,
        };
        let ended = self.shared.pending().fail_all(&self.batch.ids, &error);
        for reply in ended {
            reply.refuse(error.clone());
        }
    }

    /// Sends the batch again until the bus has it, after it may have been lost with its connection: to
    /// the same epoch only, whose owner recognizes duplicates.
    async fn send_again(&self, lease: &LeaseRecord) -> SendOutcome {
        let attempts = async {
            for attempt in 0.. {
                self.shared.health.connected().await;
                if let Some(outcome) = self.try_again(lease).await {
                    return outcome;
                }
                sleep(RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())).await;
            }
            SendOutcome::Failed(UNKNOWN)
        };
        tokio::select! {
            outcome = attempts => outcome,
            () = sleep(RECONNECT_TIMEOUT) => SendOutcome::Failed(UNKNOWN),
            () = self.shared.closed.cancelled() => SendOutcome::Failed(UNKNOWN),
        }
    }

    /// One more attempt; `None` if another one may succeed.
    async fn try_again(&self, lease: &LeaseRecord) -> Option<SendOutcome> {
        let is_over = || {
            // All frames, also of requests that have ended.
            take_back(&self.shared, &self.link, lease.epoch, &self.batch);
            Some(SendOutcome::Failed(UNKNOWN))
        };
        let now = self.shared.read_lease(&self.link).await.ok()?;
        if now.is_none_or(|now| now.epoch != lease.epoch) {
            return is_over();
        }
        let mut rest = self.shared.pending().unaccepted(&self.batch.ids);
        match enqueue(&self.shared, &self.link, lease, &mut rest).await {
            SendOutcome::Accepted => Some(SendOutcome::Accepted),
            // This copy went to an inbox that no system reads; the first one may not have.
            SendOutcome::WrongEpoch(_) | SendOutcome::Failed(AskError::NoResponder) => is_over(),
            SendOutcome::ConnectionLost(_) | SendOutcome::Failed(_) => None,
        }
    }
}

/// Appends the requests of a batch that have not ended to the inbox of the lease's epoch.
async fn enqueue(
    shared: &ClientShared,
    link: &Arc<NodeLink>,
    lease: &LeaseRecord,
    batch: &mut Batch,
) -> SendOutcome {
    if let Err(error) = lease.check_version() {
        return SendOutcome::Failed(error);
    }
    let sent = Instant::now();
    let losses = shared.health.losses();
    shared.pending().give(batch, lease.epoch, losses);
    if batch.frames.is_empty() {
        return SendOutcome::Accepted;
    }
    let transport = &shared.transport;
    let enqueued = transport.enqueue(&link.keys, lease.epoch, batch.frames.clone());
    let enqueued = match enqueued.await {
        Ok(enqueued) => enqueued,
        Err(TransportError::NotDone(reason) | TransportError::NotPermitted(reason)) => {
            return SendOutcome::Failed(AskError::Unavailable { reason });
        }
        Err(TransportError::Unknown(reason)) => {
            debug!(
                reason,
                "no reply to a batch: it may have been lost, and is sent again"
            );
            return SendOutcome::ConnectionLost(lease.clone());
        }
    };
    let received = Instant::now();
    link.backpressure.record(enqueued.length);
    link.queue.record(received, received.duration_since(sent));
    if let Some(now) = enqueued.now {
        link.clock.record(sent, received, now);
    }
    match enqueued.lease {
        Some(now) if now.epoch == lease.epoch => {
            link.confirm_lease();
            SendOutcome::Accepted
        }
        other => {
            take_back(shared, link, lease.epoch, batch);
            let Some(now) = other else {
                shared.set_lease(link, None);
                return SendOutcome::Failed(AskError::NoResponder);
            };
            SendOutcome::WrongEpoch(now)
        }
    }
}

/// Has a batch removed from an inbox that no system reads, in a task of its own.
fn take_back(shared: &ClientShared, link: &Arc<NodeLink>, epoch: Epoch, batch: &Batch) {
    let (transport, link) = (shared.transport.clone(), link.clone());
    let frames = batch.frames.clone();
    let taken_back = async move {
        let taken = transport.take_back(&link.keys, epoch, frames, Copies::Any);
        if let Err(error) = taken.await {
            debug!(%error, "could not take requests back from an inbox that is read no more");
        }
    };
    drop(shared.runtime.spawn(taken_back));
}

/// The batch of an asker that is alone, polled by the asker. The driver can adopt it; when the asker
/// drops it before its end, a task continues with it.
pub(super) struct InlineBatch {
    slot: InlineSlot,
    shared: Arc<ClientShared>,
    link: Arc<NodeLink>,
    /// The batch was polled, so that the driver can adopt it.
    is_begun: bool,
}

impl InlineBatch {
    /// Owns a batch that [`SendQueue::push`](crate::bus::client::send_queue::SendQueue::push) has given
    /// to the asker.
    pub(super) fn new(
        shared: &Arc<ClientShared>,
        link: &Arc<NodeLink>,
        (batch, slot): (Batch, InlineSlot),
    ) -> Self {
        let send = BatchSend::new(shared, link, batch);
        let lease = link.known_lease();
        let future = async move {
            let (send, outcome) = send.attempt(lease).await;
            send.complete(outcome).await;
        };
        *slot.lock() = Some(Box::pin(future));
        Self {
            slot,
            shared: shared.clone(),
            link: link.clone(),
            is_begun: false,
        }
    }

    /// Ready when the batch has ended, or the driver has adopted it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = self.slot.lock();
        let Some(future) = &mut *slot else {
            return Poll::Ready(());
        };
        // The asker may be of another runtime, which may end before the batch does. The batch's
        // timers belong to the client's runtime.
        let entered = self.shared.runtime.enter();
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            *slot = None;
        }
        drop((entered, slot));
        // A request that came before the first poll has woken the driver in vain.
        if !std::mem::replace(&mut self.is_begun, true) && self.link.queue.has_waiting() {
            self.link.queue.wake_driver();
        }
        polled
    }
}

impl Drop for InlineBatch {
    fn drop(&mut self) {
        let unfinished = self.slot.lock().take();
        if let Some(future) = unfinished {
            drop(self.shared.runtime.spawn(future)); // it completes its requests itself
        }
    }
}
