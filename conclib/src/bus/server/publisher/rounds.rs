//! Rounds of replies: published side by side, and through outages of the bus.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::bus::server::publisher::unreceived::repeat_unreceived;
use crate::bus::server::publisher::{ReplyFrame, ReplyPublisher, Round};
use crate::bus::transport::TransportError;

/// Number of frames that are published at a time. The connection takes a few thousand.
const MAX_CONCURRENT_FRAMES: usize = 256;

/// Time for which a frame is tried while the bus takes no replies: a connection comes back sooner.
const OUTAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two of those attempts. Further answers gather meanwhile.
const OUTAGE_PAUSE: Duration = Duration::from_millis(25);

type RunningRound = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Publishes replies, round after round, until the publisher is closed.
pub(in crate::bus::server) async fn run(publisher: Arc<ReplyPublisher>) {
    let mut rounds: Vec<RunningRound> = Vec::new();
    loop {
        let allowed = publisher.concurrency();
        if rounds.len() < allowed {
            match publisher.gather() {
                None => break,
                Some(round) if round.frames.is_empty() => {}
                Some(round) => rounds.push(Box::pin(publish_round(publisher.clone(), round))),
            }
        }
        let has_room = rounds.len() < allowed;
        tokio::select! {
            biased;
            () = one_ends(&mut rounds) => {}
            () = publisher.filled.notified(), if has_room => {}
            () = until(publisher.next_release()), if has_room => {}
        }
    }
    while !rounds.is_empty() {
        one_ends(&mut rounds).await;
    }
}

/// Waits for that moment, if there is one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Polls all rounds until one of them has ended; never ends if there is none. (A `FuturesUnordered`
/// would wake its own task after each poll, and the runtime then another thread.)
async fn one_ends(rounds: &mut Vec<RunningRound>) {
    poll_fn(|cx| {
        let before = rounds.len();
        rounds.retain_mut(|round| round.as_mut().poll(cx).is_pending());
        if rounds.len() < before {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Publishes frames side by side.
async fn publish_round(publisher: Arc<ReplyPublisher>, round: Round) {
    let Round { mut frames, bytes } = round;
    if frames.len() == 1
        && let Some(frame) = frames.pop()
    {
        publish_frame(&publisher, frame).await;
    } else {
        stream::iter(frames)
            .for_each_concurrent(MAX_CONCURRENT_FRAMES, |frame| {
                publish_frame(&publisher, frame)
            })
            .await;
    }
    let mut queue = publisher.queue.lock();
    queue.publishing -= 1;
    queue.publishing_bytes -= bytes;
    if queue.is_idle() {
        publisher.emptied.notify_waiters();
    }
}

/// Publishes a frame; see [`repeat_unreceived`] for one that no client received.
async fn publish_frame(publisher: &Arc<ReplyPublisher>, frame: ReplyFrame) {
    if !publisher.publish_through_outage(&frame).await {
        repeat_unreceived(publisher.clone(), frame);
    }
}

impl ReplyPublisher {
    /// False if no client received the frame, and it is to be published again.
    async fn publish_through_outage(&self, frame: &ReplyFrame) -> bool {
        let end = frame.deadline.min(Instant::now() + OUTAGE_TIMEOUT);
        loop {
            if let Ok(received) = self.try_publish(frame).await {
                return received;
            }
            if self.queue.lock().closed || end <= Instant::now() {
                return true;
            }
            sleep(OUTAGE_PAUSE).await;
        }
    }

    /// True if a client received the frame, as far as the bus can tell.
    pub(super) async fn try_publish(&self, frame: &ReplyFrame) -> Result<bool, TransportError> {
        let sent = Instant::now();
        let published = self.transport.publish(frame.client, frame.encoded.clone());
        match published.await {
            Ok(receivers) => {
                let now = Instant::now();
                let mut queue = self.queue.lock();
                queue.concurrency.record(now, now.duration_since(sent));
                drop(queue);
                if self.outage.record_success() {
                    info!("replies are published again");
                }
                let is_received = receivers != Some(0);
                if is_received {
                    self.repeats.received(frame.client);
                }
                Ok(is_received)
            }
            Err(error) => {
                if let TransportError::NotPermitted(reason) = &error {
                    // Another system may be allowed to.
                    let why = format!("replies cannot be published: {reason}");
                    self.fence.lose(&why);
                }
                if self.outage.record_failure() {
                    warn!(%error, "cannot publish replies: they wait until their deadlines");
                }
                Err(error)
            }
        }
    }
}
