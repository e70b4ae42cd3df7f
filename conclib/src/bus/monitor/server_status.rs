//! The state of a Redis, read from its own words.

use serde::{Deserialize, Serialize};

use crate::bus::transport::monitor::ServerFacts;

/// The state of a Redis or Valkey, as it says itself. Fields are empty or 0 where it does not say them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its kind: `redis`, `valkey`.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// It is a primary, and takes writes.
    pub is_primary: bool,
    /// The replicas that are connected.
    pub replicas: u64,
    /// The memory that its data takes, in bytes.
    pub used_memory: u64,
    /// The bound of that; 0 if it has none.
    pub max_memory: u64,
    /// What it does when the memory is full: `noeviction` keeps all data.
    pub eviction_policy: String,
    /// It writes its changes to a log (`appendonly yes`).
    pub append_only: bool,
    /// It writes snapshots at times (`save`); `None` if the user may not read that.
    pub snapshots: Option<bool>,
    /// The last snapshot or the last write to the log has failed.
    pub write_failed: bool,
    /// Time since it was started, in seconds.
    pub uptime_seconds: u64,
    /// The name of the user of this connection; empty if it may not read that.
    pub user: String,
}

impl From<ServerFacts> for ServerStatus {
    fn from(facts: ServerFacts) -> Self {
        let fact = |name: &str| {
            let values = facts.info.lines().filter_map(|line| line.split_once(':'));
            let mut found = values.filter(|(field, _)| *field == name);
            found.next().map_or("", |(_, value)| value.trim())
        };
        let number = |name: &str| fact(name).parse().unwrap_or(0);
        let has_failed = |name: &str| !matches!(fact(name), "" | "ok");
        // Valkey gives a version of Redis as well, for clients that ask for that.
        let (kind, version) = match fact("valkey_version") {
            "" => ("redis", fact("redis_version")),
            version => ("valkey", version),
        };
        Self {
            kind: kind.to_owned(),
            version: version.to_owned(),
            is_primary: fact("role") == "master",
            replicas: number("connected_slaves"),
            used_memory: number("used_memory"),
            max_memory: number("maxmemory"),
            eviction_policy: fact("maxmemory_policy").to_owned(),
            append_only: fact("aof_enabled") == "1",
            snapshots: facts.save.as_ref().map(|save| !save.is_empty()),
            write_failed: has_failed("rdb_last_bgsave_status")
                || has_failed("aof_last_write_status"),
            uptime_seconds: number("uptime_in_seconds"),
            user: facts.user.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(info: &str) -> ServerStatus {
        ServerStatus::from(ServerFacts {
            info: info.replace('\n', "\r\n"),
            user: "ops".to_owned(),
            save: Some("3600 1".to_owned()),
        })
    }

    #[test]
    fn facts_are_read_by_their_names() {
        let redis = status(
            "# Server\nredis_version:7.0.15\nuptime_in_seconds:90\n# Memory\nused_memory:1000\n\
             used_memory_rss:9999\nmaxmemory:4000\nmaxmemory_policy:allkeys-lru\n# Persistence\n\
             rdb_last_bgsave_status:err\naof_enabled:1\nrole:master\nconnected_slaves:2\n",
        );
        let expected = ServerStatus {
            kind: "redis".to_owned(),
            version: "7.0.15".to_owned(),
            is_primary: true,
            replicas: 2,
            used_memory: 1000,
            max_memory: 4000,
            eviction_policy: "allkeys-lru".to_owned(),
            append_only: true,
            snapshots: Some(true),
            write_failed: true,
            uptime_seconds: 90,
            user: "ops".to_owned(),
        };
        assert_eq!(redis, expected);
    }

    #[test]
    fn valkey_is_known_by_its_own_version() {
        let valkey = status("redis_version:7.2.4\nvalkey_version:8.1.0\nrole:slave\n");
        let read = (&*valkey.kind, &*valkey.version, valkey.is_primary);
        assert_eq!(read, ("valkey", "8.1.0", false));
    }

    #[test]
    fn hidden_facts_are_empty() {
        let hidden = ServerStatus::from(ServerFacts::default());
        assert_eq!((hidden.snapshots, hidden.write_failed), (None, false));
        assert_eq!((&*hidden.version, hidden.replicas), ("", 0));
    }
}
