//! Sends batches: by a task, or by an asker that is alone.
//!
//! What was given to the connection runs to its end, whoever gives up waiting: only so it is known
//! what became of a batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::bus::client::Shared;
use crate::bus::client::pending::Batch;
use crate::bus::client::send_queue::Shift;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::ordered::InOrder;
use crate::bus::transport::{Epoch, Lease, TransportError};
use crate::error::{AskError, Delivered};

/// How long to wait for another connection before what was lost with the last one is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of an attempt to send a batch.
enum Verdict {
    Accepted,
    /// It went to an epoch that is over, and nobody will take it from there. This is the lease now.
    TooLate(Lease),
    /// It was given to the connection for this lease's epoch, and nobody knows what became of it.
    Lost(Lease),
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
    /// Sends a batch that [`Outbox::push`](crate::bus::client::send_queue::Outbox::push) gave to the asker.
    pub(super) fn new(shared: &Arc<Shared>, (batch, shift): (Batch, Shift)) -> Self {
        let turn = Turn {
            shared: shared.clone(),
        };
        let lease = shared.known_lease();
        let future = async move {
            let tried = try_first(turn, lease, batch).await;
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
        let lease = shared.known_lease();
        let most = if lease.is_some() { usize::MAX } else { 1 };
        let batch = shared.outbox.next(&shared.in_flight(), most);
        if let Some(batch) = batch {
            let turn = Turn {
                shared: shared.clone(),
            };
            under_way
                .begin(Box::pin(try_first(turn, lease, batch)))
                .await;
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
async fn try_first(turn: Turn, known: Option<Lease>, mut batch: Batch) -> Tried {
    let shared = &turn.shared;
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
        Ok(lease) => enqueue(shared, &lease, &mut batch).await,
        Err(error) => Verdict::Failed(error),
    };
    Tried {
        batch,
        verdict,
        turn,
    }
}

/// Ends an attempt. If it was for an epoch that is over, or on a connection that broke, so were those
/// behind it: they are waited for, and then all are sent once more in their order.
async fn settle_in_order(first: Tried, under_way: &mut InOrder<'_, Tried>) {
    if !matches!(first.verdict, Verdict::TooLate(_) | Verdict::Lost(_)) {
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
/// looked, or the connection broke. Every request in the batch is accepted or ended.
async fn settle(tried: Tried) {
    let Tried {
        mut batch,
        mut verdict,
        turn,
    } = tried;
    let shared = &turn.shared;
    if let Verdict::TooLate(lease) = verdict {
        // Not known before, lest what follows is sent there first.
        shared.know_lease(Some(lease.clone()));
        verdict = enqueue(shared, &lease, &mut batch).await;
    }
    if let Verdict::Lost(lease) = verdict {
        verdict = send_again(shared, &lease, &batch).await;
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
        Verdict::Lost(_) => UNKNOWN,
        Verdict::Failed(error) => error,
    };
    let ended = shared.in_flight().end_all(&batch.ids);
    for reply in ended {
        reply.refuse(error.clone());
    }
}

/// Whether it was executed is not known.
const UNKNOWN: AskError = AskError::Disconnected {
    delivered: Delivered::Unknown,
};

/// Sends again what may have been lost with its connection, until the bus has it: to the same
/// epoch only, whose owner knows what it has seen.
async fn send_again(shared: &Shared, lease: &Lease, batch: &Batch) -> Verdict {
    let attempts = async {
        for attempt in 0.. {
            shared.health.is_back().await;
            if let Some(verdict) = try_again(shared, lease, batch).await {
                return verdict;
            }
            sleep(RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())).await;
        }
        Verdict::Failed(UNKNOWN)
    };
    tokio::select! {
        verdict = attempts => verdict,
        () = sleep(PATIENCE) => Verdict::Failed(UNKNOWN),
        () = shared.closed.cancelled() => Verdict::Failed(UNKNOWN),
    }
}

/// `None` if it is worth another attempt.
async fn try_again(shared: &Shared, lease: &Lease, batch: &Batch) -> Option<Verdict> {
    let is_over = || {
        // Also what nobody waits for any more.
        take_back(shared, lease.epoch, batch);
        Some(Verdict::Failed(UNKNOWN))
    };
    let now = shared.look_for_lease().await.ok()?;
    if now.is_none_or(|now| now.epoch != lease.epoch) {
        return is_over();
    }
    let mut rest = shared.in_flight().batch(&batch.ids);
    match enqueue(shared, lease, &mut rest).await {
        Verdict::Accepted => Some(Verdict::Accepted),
        // It went where nobody takes it from; but the first time it may not have.
        Verdict::TooLate(_) | Verdict::Failed(AskError::NoResponder) => is_over(),
        Verdict::Lost(_) | Verdict::Failed(_) => None,
    }
}

/// Puts those of a batch that are still waited for into the inbox of that lease's epoch.
async fn enqueue(shared: &Shared, lease: &Lease, batch: &mut Batch) -> Verdict {
    if let Err(error) = lease.check_version() {
        return Verdict::Failed(error);
    }
    let sent = Instant::now();
    shared.in_flight().give(batch, lease.epoch);
    if batch.frames.is_empty() {
        return Verdict::Accepted;
    }
    let enqueued = shared.transport.enqueue(lease.epoch, batch.frames.clone());
    let enqueued = match enqueued.await {
        Ok(enqueued) => enqueued,
        Err(TransportError::NotDone(reason) | TransportError::NotPermitted(reason)) => {
            return Verdict::Failed(AskError::Unavailable { reason });
        }
        Err(TransportError::Unknown(reason)) => {
            debug!(reason, "what became of a batch is not known");
            return Verdict::Lost(lease.clone());
        }
    };
    let received = Instant::now();
    shared.crowd.learn(enqueued.length);
    shared.outbox.learn(received, received.duration_since(sent));
    if let Some(now) = enqueued.now {
        shared.clock.learn(sent, received, now);
    }
    match enqueued.lease {
        Some(now) if now.epoch == lease.epoch => {
            shared.see_lease();
            Verdict::Accepted
        }
        other => {
            take_back(shared, lease.epoch, batch);
            let Some(now) = other else {
                shared.know_lease(None);
                return Verdict::Failed(AskError::NoResponder);
            };
            Verdict::TooLate(now)
        }
    }
}

/// Has a batch taken out of an inbox that nobody takes it from. Nobody waits for that.
fn take_back(shared: &Shared, epoch: Epoch, batch: &Batch) {
    let (transport, frames) = (shared.transport.clone(), batch.frames.clone());
    let taken_back = async move { transport.take_back(epoch, frames).await };
    drop(shared.runtime.spawn(taken_back));
}
