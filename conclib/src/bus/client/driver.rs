//! The driver of a client: a task that sends batches, and runs an asker's own batch to its end when
//! that asker may no longer be polled.

use std::sync::Arc;

use crate::bus::client::batch::{BatchSend, SendOutcome};
use crate::bus::client::shared::ClientShared;
use crate::bus::link::ordered::OrderedFutures;

/// The driver's hold on the client: closes it when the driver ends, at the latest with its runtime.
/// No batch is sent without a driver.
pub(super) struct CloseOnDrop(pub(super) Arc<ClientShared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Sends batch after batch, in the order in which their requests were made, until the client is
/// closed.
pub(super) async fn drive(client: CloseOnDrop) {
    let shared = &client.0;
    let mut under_way = OrderedFutures::new();
    while !shared.closed.is_cancelled() {
        // Askers that were woken together ask again together: this lets them run.
        tokio::task::yield_now().await;
        // While the lease is unknown, the batch that reads it is alone: another could overtake it.
        let lease = shared.known_lease();
        let most = if lease.is_some() { usize::MAX } else { 1 };
        let batch = shared.queue.next(&shared.pending(), most);
        if let Some(batch) = batch {
            let send = BatchSend::new(shared, batch);
            under_way.begin(Box::pin(send.attempt(lease))).await;
            continue;
        }
        if shared.queue.has_waiting()
            && let Some(inline) = shared.queue.adopt()
        {
            inline.await;
            continue;
        }
        tokio::select! {
            biased;
            Some(sent) = under_way.oldest() => complete_in_order(sent, &mut under_way).await,
            () = shared.queue.ready() => {}
            () = shared.closed.cancelled() => {}
        }
    }
    while let Some(sent) = under_way.oldest().await {
        complete_in_order(sent, &mut under_way).await;
    }
    while !shared.queue.is_idle() {
        match shared.queue.adopt() {
            Some(inline) => inline.await,
            None => shared.queue.ready().await,
        }
    }
    shared.transport.close().await;
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
