//! The drivers of a client: one task for each link, which sends its batches, and runs an asker's own
//! batch to its end when that asker may no longer be polled.
//!
//! Batches of several links that are made at a time leave in one or two writes: the first is written at
//! once, and the connection gathers what comes before its turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::bus::client::batch::{BatchSend, SendOutcome};
use crate::bus::client::node_link::NodeLink;
use crate::bus::client::shared::ClientShared;
use crate::bus::link::ordered::OrderedFutures;

/// Interval at which links that are not used are looked for. Such a link lives up to two intervals.
const IDLE: Duration = Duration::from_secs(10);

/// The first driver's hold on the client: closes it when the driver ends, at the latest with its runtime.
/// No batch is sent without a driver.
pub(super) struct CloseOnDrop(pub(super) Arc<ClientShared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Drives the link to the client's own node until the client is closed, and then closes its connections.
pub(super) async fn drive_client(client: CloseOnDrop) {
    let shared = &client.0;
    drive(shared, &shared.link, None).await;
    shared.drivers.close();
    shared.drivers.wait().await;
    shared.transport.close().await;
}

/// Drives a link to another node until the client is closed, or the link is not used any more.
pub(super) async fn drive_link(shared: Arc<ClientShared>, link: Arc<NodeLink>) {
    let mut idle = interval_at(Instant::now() + IDLE, IDLE);
    idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    drive(&shared, &link, Some(idle)).await;
}

/// Sends batch after batch, in the order in which their requests were made.
async fn drive(shared: &Arc<ClientShared>, link: &Arc<NodeLink>, mut idle: Option<Interval>) {
    let mut under_way = OrderedFutures::new();
    let mut is_used = true;
    while !shared.closed.is_cancelled() {
        // Askers that were woken together ask again together: this lets them run.
        tokio::task::yield_now().await;
        // While the lease is unknown, the batch that reads it is alone: another could overtake it.
        let lease = link.known_lease();
        let most = if lease.is_some() { usize::MAX } else { 1 };
        let batch = link.queue.next(&shared.pending(), most);
        if let Some(batch) = batch {
            let send = BatchSend::new(shared, link, batch);
            under_way.begin(Box::pin(send.attempt(lease))).await;
            is_used = true;
            continue;
        }
        if link.queue.has_waiting()
            && let Some(inline) = link.queue.adopt()
        {
            inline.await;
            is_used = true;
            continue;
        }
        tokio::select! {
            biased;
            Some(sent) = under_way.oldest() => complete_in_order(sent, &mut under_way).await,
            () = link.queue.ready() => is_used = true,
            () = shared.closed.cancelled() => {}
            () = tick(&mut idle) => {
                let was_used = std::mem::take(&mut is_used);
                if !was_used && under_way.len() == 0 && shared.links.forget_unused(link) {
                    return;
                }
            }
        }
    }
    while let Some(sent) = under_way.oldest().await {
        complete_in_order(sent, &mut under_way).await;
    }
    while !link.queue.is_idle() {
        match link.queue.adopt() {
            Some(inline) => inline.await,
            None => link.queue.ready().await,
        }
    }
}

/// The next tick; none comes without an interval.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Completes a batch. If its attempt was for an epoch that is over, or on a connection that broke, so
/// were the attempts behind it: they are awaited, and then all batches are sent once more in their
/// order.
async fn complete_in_order(
    (first, outcome): (BatchSend, SendOutcome),
    under_way: &mut OrderedFutures<'_, (BatchSend, SendOutcome)>,
) {
    if !outcome.needs_retry() {
        return first.complete(outcome).await;
    }
    let mut all = vec![(first, outcome)];
    while let Some(sent) = under_way.oldest().await {
        all.push(sent);
    }
    for (send, outcome) in all {
        send.complete(outcome).await;
    }
}
