//! The backlog of a node on the bus, for its counters: read by a task of its own, and only while it is asked for.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::bus::link::server_clock::ServerClock;
use crate::bus::server::ProxyShared;
use crate::bus::transport::Backlog;

/// The shortest time between two reads.
const PAUSE: Duration = Duration::from_secs(1);

/// The backlog of a node on the bus, in [`ProxyStats`](super::counters::ProxyStats). A number is `None` if the bus does not permit
/// its read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BacklogStats {
    /// Requests in the inbox, which the proxy has not taken yet.
    pub inbox: Option<u64>,
    /// Durable messages that are stored, those under way included.
    pub stored: Option<u64>,
    /// The age of the oldest of them. During an outage it goes on rising.
    pub oldest: Option<Duration>,
    /// Durable messages that wait for their due times.
    pub delayed: Option<u64>,
    /// Dead letters.
    pub dead_letters: Option<u64>,
    /// The time since these numbers were read.
    pub age: Duration,
}

/// The backlog as it was last read.
#[derive(Default)]
pub(super) struct BacklogReader {
    last: Mutex<Option<(Instant, Backlog)>>,
    /// Notified when it is asked for.
    wanted: Notify,
}

impl BacklogReader {
    /// The backlog as it was last read; has it read again.
    pub(super) fn stats(&self, clock: &ServerClock) -> Option<BacklogStats> {
        self.wanted.notify_one();
        let (read, backlog) = (*self.last.lock())?;
        let now = clock.to_bus(Instant::now());
        let age = |arrival: u64| Some(Duration::from_millis(now?.0.saturating_sub(arrival)));
        Some(BacklogStats {
            inbox: backlog.inbox,
            stored: backlog.stored,
            oldest: backlog.oldest.and_then(|id| age(id.0)),
            delayed: backlog.delayed,
            dead_letters: backlog.dead_letters,
            age: read.elapsed(),
        })
    }
}

/// Reads the backlog of the node while it is asked for and the system has the lease, until the token is cancelled. In an
/// outage the last one stays.
pub(crate) async fn read_backlog(shared: Arc<ProxyShared>, end: CancellationToken) {
    let reader = &shared.backlog;
    while end
        .run_until_cancelled(reader.wanted.notified())
        .await
        .is_some()
    {
        let Some(epoch) = shared.epoch() else {
            *reader.last.lock() = None;
            continue;
        };
        match shared.transport.backlog(epoch).await {
            Ok(backlog) => *reader.last.lock() = Some((Instant::now(), backlog)),
            Err(error) => {
                debug!(node = %shared.node, %error, "cannot read the backlog of the node");
            }
        }
        if end.run_until_cancelled(sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}
