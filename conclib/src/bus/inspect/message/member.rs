//! Answers about a member: a process that serves a node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::server::counters::ProxyStats;
use crate::core::FailureRecord;
use crate::system::metrics::SystemMetrics;

/// The longest time for which a filter of the log is changed.
pub const MAX_LOG_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemberStatus {
    /// The version of these messages that it speaks: [`VERSION`](super::VERSION).
    pub version: u16,
    /// The version of conclib.
    pub conclib: String,
    /// The number of its process.
    pub pid: u32,
    /// The namespace.
    pub namespace: String,
    /// The node that it serves.
    pub node: String,
    /// The name of its process among those of the node; empty if it has none.
    pub instance: String,
    /// The number of its lease, while it has one.
    pub epoch: Option<u64>,
    /// The time until its lease expires if it is not renewed.
    pub lease_left: Option<Duration>,
    /// It takes requests, and is not about to stop.
    pub is_serving: bool,
    /// It is a member of a fleet.
    pub in_fleet: bool,
    /// The state of its connections and lease, in words.
    pub connection: String,
    /// The time since it began to serve, or to wait for its lease.
    pub uptime: Duration,
    /// The number of its actors.
    pub actors: usize,
    /// It executes actions of operators.
    pub allows_admin: bool,
    /// Its settings.
    pub config: MemberConfig,
    /// Its counters.
    pub stats: ProxyStats,
}

/// The settings of a member that matter to others. It has no addresses and no credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemberConfig {
    /// Time that its lease lasts after the last renewal.
    pub lease_duration: Duration,
    /// The largest request or response, in bytes.
    pub max_message_size: usize,
    /// The most durable messages that may wait.
    pub max_stream_len: u64,
    /// Time after its last heartbeat at which durable messages are taken over.
    pub visibility_timeout: Duration,
    /// Time after which a durable message without an actor becomes a dead letter.
    pub missing_timeout: Duration,
    /// Deliveries of a durable message before it becomes a dead letter.
    pub max_deliveries: u32,
    /// Time for which the results of durable messages are stored.
    pub result_ttl: Duration,
    /// Clients receive the causes of failures.
    pub exposes_failures: bool,
}

/// Failures of a member's actors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FailurePage {
    /// The failures, the oldest first. A page may be shorter although others follow.
    pub failures: Vec<FailureRecord>,
    /// The number to ask for next: one more than that of the last failure here.
    pub next: u64,
    /// The number of failures that were asked for and are not kept any more.
    pub lost: u64,
}

/// The counters of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MemberMetrics {
    /// Counters of its actors, by type: up to [`MAX_PAGE`](super::MAX_PAGE) types, and fewer if their counters are longer
    /// than half of [`max_message_size`](MemberConfig::max_message_size).
    pub system: SystemMetrics,
    /// The number of further types.
    pub omitted_types: usize,
    /// Those of its requests.
    pub proxy: ProxyStats,
    /// The age of the counters: the member reads them about twice a second at most.
    pub age: Duration,
}

/// The filter of a member's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LogState {
    /// The filter can be changed: the program has given a [`LogControl`](crate::inspect::LogControl).
    pub is_controllable: bool,
    /// The filter now.
    pub filter: Option<String>,
    /// The time after which the filter before it is set again, if it was changed.
    pub reverts_in: Option<Duration>,
}
