//! Sends batches: by a task, or by an asker that is alone.
//!
//! What was given to the connection runs to its end, whoever gives up waiting: only so it is known
//! what became of a batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use super::Shared;
use super::outbox::{Batch, Shift};
use crate::error::{AskError, Delivered};
use crate::proxy::in_order::InOrder;
use crate::proxy::transport::{Epoch, Lease, TransportError};

/// What became of an attempt to send a batch.
enum Verdict {
    Accepted,
    /// It went to an epoch that is over, and nobody will take it from there. This is the lease now.
    TooLate(Lease),
    Failed(AskError),
}

/// A batch that was sent.
struct Tried {
    batch: Batch,
    verdict: Verdict,
    turn: Turn,
}

/// The right to have a batch under way; given back on drop.
struct Turn {
    shared: Arc<Shared>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // In its end the driver waits for the askers too.
        self.shared.outbox.done(self.shared.closed.is_cancelled());
    }
}

/// An asker's own request on its way. Dropped before its end, it goes on as a task.
pub(super) struct Sending {
    shift: Shift,
    shared: Arc<Shared>,
    /// It was polled, so that the driver can go on with it.
    begun: bool,
}

impl Sending {
    /// Sends a batch that [`Outbox::push`](super::outbox::Outbox::push) gave to the asker.
    pub(super) fn new(shared: &Arc<Shared>, (batch, shift): (Batch, Shift)) -> Self {
        let turn = Turn {
            shared: shared.clone(),
        };
        let future = async move {
            let tried = try_first(turn, batch).await;
            settle(tried).await;
        };
        *lock(&shift) = Some(Box::pin(future));
        Self {
            shift,
            shared: shared.clone(),
            begun: false,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shift = lock(&self.shift);
        let Some(future) = &mut *shift else {
            return Poll::Ready(()); // the driver goes on with it
        };
        // The asker may be of another runtime, which may end before the batch does. Its timers are
        // to be of this one.
        let entered = self.shared.runtime.enter();
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            *shift = None;
        }
        drop((entered, shift));
        // Who came before it was begun has woken the driver in vain.
        if !std::mem::replace(&mut self.begun, true) && self.shared.outbox.is_waited_for() {
            self.shared.outbox.look();
        }
        polled
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let unfinished = lock(&self.shift).take();
        if let Some(future) = unfinished {
            drop(self.shared.runtime.spawn(future)); // it reports its own end
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the driver holds: nothing is sent without one.
pub(super) struct EndsWithRuntime(pub(super) Arc<Shared>);

impl Drop for EndsWithRuntime {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Sends batch after batch, in the order in which their requests were made, until the client is
/// closed. If the runtime ends before, so does the client.
pub(super) async fn drive(client: EndsWithRuntime) {
    let shared = &client.0;
    let mut under_way = InOrder::new();
    while !shared.closed.is_cancelled() {
        // Askers that were woken together ask again together: this lets them.
        tokio::task::yield_now().await;
        // To find out where to send to, nothing may be under way: it could come behind.
        let most = if shared.lease().is_some() {
            usize::MAX
        } else {
            1
        };
        let batch = shared.outbox.next(&shared.in_flight(), most);
        if let Some(batch) = batch {
            let turn = Turn {
                shared: shared.clone(),
            };
            under_way.begin(Box::pin(try_first(turn, batch))).await;
            continue;
        }
        if shared.outbox.is_waited_for()
            && let Some(asker) = shared.outbox.take_over()
        {
            asker.await;
            continue;
        }
        tokio::select! {
            biased;
            Some(tried) = under_way.oldest() => settle_in_order(tried, &mut under_way).await,
            () = shared.outbox.ready() => {}
            () = shared.closed.cancelled() => {}
        }
    }
    while let Some(tried) = under_way.oldest().await {
        settle_in_order(tried, &mut under_way).await;
    }
    while !shared.outbox.is_idle() {
        match shared.outbox.take_over() {
            Some(asker) => asker.await,
            None => shared.outbox.ready().await,
        }
    }
    shared.transport.close().await;
}

/// The first attempt to send a batch, to whoever serves as far as is known.
async fn try_first(turn: Turn, batch: Batch) -> Tried {
    let shared = &turn.shared;
    let known = shared.lease().clone();
    let lease = match known {
        Some(lease) => Ok(Some(lease)),
        None => shared
            .look_for_lease()
            .await
            .map_err(|error| AskError::Unavailable {
                reason: error.to_string(),
            }),
    };
    let verdict = match lease.and_then(|lease| lease.ok_or(AskError::NoResponder)) {
        Ok(lease) => enqueue(shared, &lease, &batch).await,
        Err(error) => Verdict::Failed(error),
    };
    Tried {
        batch,
        verdict,
        turn,
    }
}

/// Ends an attempt. If it was for an epoch that is over, those behind it were too: they are waited
/// for, and then all are sent once more in their order.
async fn settle_in_order(first: Tried, under_way: &mut InOrder<'_, Tried>) {
    if !matches!(first.verdict, Verdict::TooLate(_)) {
        return settle(first).await;
    }
    let mut all = vec![first];
    while let Some(tried) = under_way.oldest().await {
        all.push(tried);
    }
    for tried in all {
        settle(tried).await;
    }
}

/// Books the end of an attempt, after a second one if another epoch has begun since we last
/// looked. Every request in the batch is accepted or ended.
async fn settle(tried: Tried) {
    let Tried {
        batch,
        mut verdict,
        turn,
    } = tried;
    let shared = &turn.shared;
    if let Verdict::TooLate(lease) = verdict {
        // Not known before, lest what follows is sent there first.
        shared.know_lease(Some(lease.clone()));
        verdict = enqueue(shared, &lease, &batch).await;
    }
    let error = match verdict {
        Verdict::Accepted => {
            let told = shared.in_flight().accepted(&batch.ids);
            for reply in told {
                reply.send(Bytes::new());
            }
            return;
        }
        Verdict::TooLate(lease) => {
            shared.know_lease(Some(lease));
            AskError::NoResponder
        }
        Verdict::Failed(error) => error,
    };
    let ended = shared.in_flight().end_all(&batch.ids);
    for reply in ended {
        reply.refuse(error.clone());
    }
}

/// Puts a batch into the inbox of that lease's epoch.
async fn enqueue(shared: &Shared, lease: &Lease, batch: &Batch) -> Verdict {
    if let Err(error) = lease.check_version() {
        return Verdict::Failed(error);
    }
    let sent = Instant::now();
    let enqueued = match enqueue_once(shared, lease.epoch, batch).await {
        Ok(enqueued) => enqueued,
        Err(error) => return Verdict::Failed(error),
    };
    let received = Instant::now();
    shared.outbox.learn(received, received.duration_since(sent));
    if let Some(now) = enqueued.now {
        shared.clock.learn(sent, received, now);
    }
    match enqueued.lease {
        Some(now) if now.epoch == lease.epoch => Verdict::Accepted,
        Some(now) => Verdict::TooLate(now),
        None => {
            shared.know_lease(None);
            Verdict::Failed(AskError::NoResponder)
        }
    }
}

async fn enqueue_once(
    shared: &Shared,
    epoch: Epoch,
    batch: &Batch,
) -> Result<crate::proxy::transport::Enqueued, AskError> {
    shared.in_flight().given(&batch.ids, epoch);
    shared
        .transport
        .enqueue(epoch, batch.frames.clone())
        .await
        .map_err(|error| match error {
            TransportError::NotDone(reason) => AskError::Unavailable { reason },
            TransportError::Unknown(_) => AskError::Disconnected {
                delivered: Delivered::Unknown,
            },
        })
}
