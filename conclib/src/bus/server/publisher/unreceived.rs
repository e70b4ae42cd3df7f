//! Replies that no client received: they are published again, since the client may be reconnecting.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::log_once::Anomaly;
use crate::bus::server::publisher::{ReplyFrame, ReplyPublisher};
use crate::core::spawn_task;

/// Time for which a frame is published again: a client reconnects sooner.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes the frame again until a client has received it, in a task of its own, so that the other
/// clients do not wait. A frame that arrives twice does no harm: a client takes one answer per
/// request.
pub(super) fn repeat_unreceived(publisher: Arc<ReplyPublisher>, frame: ReplyFrame) {
    let Some(permit) = publisher.repeats.acquire(frame.client, frame.encoded.len()) else {
        publisher.record_unreceived(&frame);
        return;
    };
    let end = frame.deadline.min(Instant::now() + RETRY_TIMEOUT);
    spawn_task(async move {
        for attempt in 0.. {
            sleep(RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())).await;
            if publisher.queue.lock().closed || end <= Instant::now() {
                publisher.record_unreceived(&frame);
                break;
            }
            if publisher.try_publish(&frame).await == Ok(true) {
                break;
            }
        }
        drop(permit);
    });
}

impl ReplyPublisher {
    fn record_unreceived(&self, frame: &ReplyFrame) {
        let bytes = frame.encoded.len();
        self.log
            .record(Anomaly::UnreceivedReply, &format_args!("{bytes} bytes"));
    }
}
