//! The replicas of the server that a client of a fleet is connected to.
//!
//! A request that was taken back was certainly not executed, unless a replica has a copy of it, has become
//! the primary of others, and a member has taken the copy there. A replica that confirms the removal has none.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::redis::COMMAND;
use crate::bus::redis::resp::{Link, RedisReply, ReplyTimeout};
use crate::bus::transport::TransportError;

/// Time for which a replica counts that is not connected any more: it may have become a primary.
const MEMORY: Duration = Duration::from_secs(60);

/// Time for the replicas to confirm a write. Other commands of the link wait meanwhile.
const CONFIRMATION: Duration = Duration::from_millis(100);

/// The number of replicas that the server has had lately.
#[derive(Default)]
pub(super) struct ReplicaWatch {
    /// The number, and the moment at which there were as many last.
    most: Mutex<Option<(u64, Instant)>>,
}

impl ReplicaWatch {
    fn record(&self, connected: u64, now: Instant) {
        let mut most = self.most.lock();
        let is_recent = |(_, seen): &(u64, Instant)| now.saturating_duration_since(*seen) < MEMORY;
        let known = most.filter(is_recent).map_or(0, |(count, _)| count);
        if connected >= known {
            *most = Some((connected, now));
        }
    }

    fn most(&self) -> u64 {
        self.most.lock().map_or(0, |(count, _)| count)
    }

    /// Counts the replicas that are connected to the server.
    pub(super) async fn count(&self, link: &Link) -> Result<(), TransportError> {
        let replies = link.exchange(ReplyTimeout::at_once(COMMAND), |commands| {
            commands.begin("INFO", 1).text("replication");
        });
        let reply = replies.await?.pop().ok_or_else(|| link.unexpected())?;
        let text = reply.accepted()?.into_bytes().unwrap_or_default();
        let connected = connected(&String::from_utf8_lossy(&text)).ok_or_else(|| {
            TransportError::NotDone("`INFO replication` does not show the replicas".to_owned())
        })?;
        self.record(connected, Instant::now());
        Ok(())
    }

    /// True if all replicas that the server has had lately confirm what was written over the link.
    pub(super) async fn confirm(&self, link: &Link) -> Result<bool, TransportError> {
        self.count(link).await?;
        let expected = self.most();
        if expected == 0 {
            return Ok(true);
        }
        let timeout = ReplyTimeout {
            block: CONFIRMATION,
            grace: COMMAND,
        };
        let replies = link.exchange(timeout, |commands| {
            let millis = CONFIRMATION.as_millis().try_into().unwrap_or(u64::MAX);
            commands.begin("WAIT", 2).number(expected).number(millis);
        });
        let reply = replies.await?.pop().ok_or_else(|| link.unexpected())?;
        let confirmed = reply.accepted()?.as_u64();
        Ok(confirmed.ok_or_else(|| link.unexpected())? >= expected)
    }

    /// Checks that the user may count replicas and wait for them.
    pub(super) async fn prove(&self, link: &Link) -> Result<(), TransportError> {
        self.count(link).await?;
        let replies = link.exchange(ReplyTimeout::at_once(COMMAND), |commands| {
            commands.begin("WAIT", 2).number(0).number(1);
        });
        replies
            .await?
            .into_iter()
            .try_for_each(|reply: RedisReply| reply.accepted().map(drop))
    }
}

/// The number of connected replicas, of any state, in a text of `INFO`.
fn connected(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("connected_slaves:"));
    count?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn replica_that_has_gone_counts_for_a_minute() {
        let start = Instant::now();
        let watch = ReplicaWatch::default();
        assert_eq!(watch.most(), 0);
        watch.record(2, start);
        watch.record(1, start + SECOND);
        watch.record(2, start + 2 * SECOND);
        watch.record(1, start + 61 * SECOND);
        assert_eq!(watch.most(), 2);
        watch.record(1, start + 62 * SECOND);
        assert_eq!(watch.most(), 1);
        watch.record(3, start + 63 * SECOND);
        assert_eq!(watch.most(), 3);
    }

    #[test]
    fn replicas_are_counted_in_the_text_of_redis() {
        let text = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=::1\r\n";
        assert_eq!(connected(text), Some(2));
        assert_eq!(connected("role:slave\r\nconnected_slaves:many\r\n"), None);
        assert_eq!(connected(""), None);
    }
}
