//! Redis itself: its version, role, memory and persistence.

use conclib::monitor::ServerStatus;

use crate::command::doctor::Findings;
use crate::output;

/// Checks the version, the role, the memory and the persistence of Redis.
pub(super) fn examine(server: &ServerStatus, findings: &mut Findings) {
    let version = format!("{} {}", server.kind, server.version);
    let major = server
        .version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 7) {
        findings.warn(
            "version",
            format!("{version} is old"),
            "use Redis 7 or Valkey: the rules of `conclib acl` need selectors",
        );
    } else {
        findings.ok("version", version);
    }
    if !server.is_primary {
        findings.error(
            "role",
            "this Redis is a replica, and takes no writes",
            "connect to the primary, or by Sentinels: redis-sentinel://…",
        );
    }
    examine_memory(server, findings);
    match (server.append_only, server.snapshots) {
        (true, _) => findings.ok("persistence", "appendonly yes"),
        (false, Some(true)) => findings.warn(
            "persistence",
            "snapshots only: durable messages since the last one are lost when Redis ends",
            "set `appendonly yes`, if durable messages are used",
        ),
        (false, Some(false)) => findings.warn(
            "persistence",
            "none: durable messages are lost when Redis ends",
            "set `appendonly yes`, if durable messages are used",
        ),
        (false, None) => findings.warn(
            "persistence",
            "appendonly no: durable messages may be lost when Redis ends",
            "set `appendonly yes`, if durable messages are used",
        ),
    }
    if server.write_failed {
        findings.error(
            "persistence",
            "the last write to the disk has failed",
            "read the log of Redis; it may refuse writes until one succeeds",
        );
    }
    findings.ok("replicas", server.replicas.to_string());
}

fn examine_memory(server: &ServerStatus, findings: &mut Findings) {
    let used = output::bytes(server.used_memory);
    if server.max_memory == 0 {
        return findings.ok("memory", format!("{used}, without a bound"));
    }
    let text = format!("{used} of {}", output::bytes(server.max_memory));
    if server.eviction_policy != "noeviction" {
        findings.warn(
            "eviction",
            format!(
                "Redis may evict leases and durable messages when its memory is full ({})",
                server.eviction_policy
            ),
            "set `maxmemory-policy noeviction`",
        );
    }
    if server.used_memory / 9 >= server.max_memory / 10 {
        findings.warn(
            "memory",
            text,
            "raise `maxmemory`: a full Redis refuses requests",
        );
    } else {
        findings.ok("memory", text);
    }
}
