//! A replica of a Redis, and its promotion.

use conclib_tests::eventually;

use crate::redis::Redis;

impl Redis {
    /// Makes this server a replica, which drops its own data.
    pub(crate) async fn replicate(&self, primary: &Self) {
        let port = primary.address.port().to_string();
        self.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    }

    /// Makes this replica take writes.
    pub(crate) async fn promote(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]).await;
    }

    /// Waits until this replica is connected, and has all on its disk that it got at first.
    pub(crate) async fn is_replica(&self) {
        eventually("the replica has the data", async || {
            self.info("replication", "master_link_status").await == "up"
        })
        .await;
        self.has_written_log().await;
    }

    /// Waits until this replica has everything that the primary has now.
    pub(crate) async fn catches_up(&self, primary: &Self) {
        let written = primary.offset().await;
        eventually("the replica catches up", async || {
            self.offset().await >= written
        })
        .await;
    }

    /// The number of bytes written to the primary, as far as this server knows them.
    async fn offset(&self) -> u64 {
        let offset = self.info("replication", "master_repl_offset").await;
        offset.parse().unwrap()
    }

    /// Has writes wait, until the time is over at the latest.
    pub(crate) async fn pause_writes(&self) {
        self.command(&["CLIENT", "PAUSE", "20000", "WRITE"]).await;
    }

    /// Lets writes go on.
    pub(crate) async fn resume_writes(&self) {
        self.command(&["CLIENT", "UNPAUSE"]).await;
    }

    /// Replaces the log of commands by one of the data.
    pub(crate) async fn rewrite_log(&self) {
        self.has_written_log().await;
        self.command(&["BGREWRITEAOF"]).await;
        self.has_written_log().await;
    }

    /// Waits until no new log is being written.
    pub(crate) async fn has_written_log(&self) {
        eventually("the log is written", async || {
            let mut states = Vec::new();
            for name in ["aof_rewrite_in_progress", "aof_rewrite_scheduled"] {
                states.push(self.info("persistence", name).await);
            }
            states.iter().all(|state| state == "0")
        })
        .await;
    }

    /// A value that the server tells about itself.
    async fn info(&self, section: &str, name: &str) -> String {
        let text = self.command(&["INFO", section]).await;
        let mut values = text.lines().filter_map(|line| {
            let (is, value) = line.split_once(':')?;
            (is == name).then(|| value.trim().to_owned())
        });
        values.next().unwrap_or_default()
    }
}
