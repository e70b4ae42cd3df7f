//! The replicas of the server that a client of a fleet is connected to.
//!
//! A request that was taken back was certainly not executed, unless a replica has a copy of it, has become
//! the primary of others, and a member has taken the copy there. A replica that confirms the removal has none.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::debug;

use crate::bus::redis::COMMAND;
use crate::bus::redis::resp::{Link, RedisReply, ReplyTimeout};
use crate::bus::transport::TransportError;

/// Time for which a replica counts that is not connected any more: it may have become a primary.
const MEMORY: Duration = Duration::from_secs(60);

/// Time for the replicas to confirm a write. Other commands of the link wait meanwhile.
const CONFIRMATION: Duration = Duration::from_millis(100);

/// The replicas that the server has had lately.
#[derive(Default)]
pub(super) struct ReplicaWatch {
    /// The moments at which each was connected last, by address.
    seen: Mutex<HashMap<String, Instant>>,
}

impl ReplicaWatch {
    /// Records the replicas that are connected; true if none is missing that was lately.
    fn record(&self, connected: &[String], now: Instant) -> bool {
        let mut seen = self.seen.lock();
        seen.retain(|_, last| now.saturating_duration_since(*last) < MEMORY);
        seen.extend(connected.iter().map(|address| (address.clone(), now)));
        seen.len() == connected.len()
    }

    /// Looks at the replicas that are connected to the server.
    pub(super) async fn refresh(&self, link: &Link) {
        match self.count(link).await {
            Ok(_) => {}
            // Requests that are taken back are uncertain then.
            Err(reason) => debug!(%reason, "cannot see the replicas of Redis"),
        }
    }

    /// The number of replicas that are connected; `None` if one is missing that was lately, or the server is a
    /// replica itself.
    async fn count(&self, link: &Link) -> Result<Option<u64>, TransportError> {
        let replies = link.exchange(ReplyTimeout::at_once(COMMAND), |commands| {
            commands.begin("INFO", 1).text("replication");
        });
        let reply = replies.await?.pop().ok_or_else(|| link.unexpected())?;
        let text = reply.accepted()?.into_bytes().unwrap_or_default();
        let connected = connected(&String::from_utf8_lossy(&text));
        let are_all = match &connected {
            Some(connected) => self.record(connected, Instant::now()),
            None => false,
        };
        let count = connected.map(|connected| connected.len() as u64);
        Ok(count.filter(|_| are_all))
    }

    /// True if all replicas that the server has had lately confirm what was written over the link.
    pub(super) async fn confirm(&self, link: &Link) -> Result<bool, TransportError> {
        let Some(expected) = self.count(link).await? else {
            return Ok(false);
        };
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

    /// Checks that the user may see replicas and wait for them.
    pub(super) async fn prove(&self, link: &Link) -> Result<(), TransportError> {
        let context = |error: TransportError| error.in_context("the replicas cannot be seen");
        self.count(link).await.map_err(context)?;
        let replies = link.exchange(ReplyTimeout::at_once(COMMAND), |commands| {
            commands.begin("WAIT", 2).number(0).number(1);
        });
        let mut replies = replies.await?.into_iter();
        replies
            .try_for_each(|reply: RedisReply| reply.accepted().map(drop))
            .map_err(context)
    }
}

/// The addresses of the connected replicas, of any state, in a text of `INFO`; `None` if the server is a replica.
fn connected(text: &str) -> Option<Vec<String>> {
    let mut lines = text.lines();
    lines.clone().find(|line| *line == "role:master")?;
    let count = lines.find_map(|line| line.strip_prefix("connected_slaves:"))?;
    let count: usize = count.parse().ok()?;
    let address = |line: &str| {
        let (key, fields) = line.split_once(':')?;
        key.strip_prefix("slave")?.parse::<u32>().ok()?;
        let mut fields = fields.split(',');
        let (ip, port) = (fields.next()?, fields.next()?);
        Some(format!("{ip},{port}"))
    };
    let addresses: Vec<_> = lines.filter_map(address).collect();
    (addresses.len() == count).then_some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn replicas<const COUNT: usize>(names: [&str; COUNT]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    #[test]
    fn replica_that_has_gone_is_missing_for_a_minute() {
        let start = Instant::now();
        let watch = ReplicaWatch::default();
        assert!(watch.record(&[], start));
        assert!(watch.record(&replicas(["a", "b"]), start));
        assert!(!watch.record(&replicas(["a"]), start + SECOND));
        assert!(watch.record(&replicas(["a", "b"]), start + 2 * SECOND));
        // Another one does not take its place.
        assert!(!watch.record(&replicas(["a", "c"]), start + 61 * SECOND));
        assert!(watch.record(&replicas(["a", "c"]), start + 62 * SECOND));
    }

    #[test]
    fn replicas_are_read_from_the_text_of_redis() {
        let text = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=::1,port=6380,state=online,offset=14,lag=1\r\n\
                    slave1:ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
                    master_replid:ab\r\n";
        let both = replicas(["ip=::1,port=6380", "ip=10.0.0.2,port=6379"]);
        assert_eq!(connected(text), Some(both));
        assert_eq!(
            connected("role:master\r\nconnected_slaves:0\r\n"),
            Some(Vec::new())
        );
        for unusable in [
            "",
            "role:master\r\nconnected_slaves:many\r\n",
            "role:master\r\nconnected_slaves:1\r\n",
            "role:slave\r\nconnected_slaves:0\r\n",
        ] {
            assert_eq!(connected(unusable), None, "{unusable}");
        }
    }
}
