//! Proves at the start what each end needs, by doing it where it has no effect.

use std::time::Duration;

use crate::bus::config::{Config, Role};
use crate::bus::keys::{Keys, Right};
use crate::bus::redis::LEASE_COMMAND;
use crate::bus::redis::endpoint::Endpoint;
use crate::bus::redis::pops::{PopKeys, Pops};
use crate::bus::redis::resp::{Commands, Link, RedisReply, ReplyTimeout};
use crate::bus::transport::{Epoch, Lists, TransportError};
use crate::reply::remote::ClientId;

/// An epoch that no lease ever has: nothing is popped from its inbox.
const NO_EPOCH: Epoch = Epoch(0);

const TIMEOUT: ReplyTimeout = ReplyTimeout::at_once(LEASE_COMMAND);

/// The time for which a pop waits that finds nothing.
const SHORT_BLOCK: Duration = Duration::from_millis(1);

/// A text that is no frame.
const PROBE: &str = "conclib";

/// The settings of a server that matter to durable messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerFacts {
    /// Redis may lose data when it ends.
    pub(super) is_volatile: bool,
}

/// Pops from the lists beside an empty inbox. A user may lack the rights to these, and serve all the same.
pub(super) async fn try_operator_lists(pops: &Pops, keys: &Keys) -> Result<(), TransportError> {
    let lists = PopKeys::new(keys, NO_EPOCH);
    let popped = pops.pop(&lists, Lists::All, 1, SHORT_BLOCK).await;
    popped.map(drop)
}

/// Pops from empty lists, and publishes to a channel that has no subscribers.
pub(super) async fn prove_serving(
    pops: &Pops,
    publish: &Link,
    keys: &Keys,
) -> Result<(), TransportError> {
    let lists = PopKeys::new(keys, NO_EPOCH);
    let popped = pops.pop(&lists, Lists::Inbox, 1, SHORT_BLOCK);
    let popped = popped.await;
    popped.map_err(|error| error.in_context("requests cannot be popped"))?;
    let channel = keys.reply(ClientId::default());
    let replies = publish.exchange(TIMEOUT, |commands| {
        commands.begin("PUBLISH", 2).text(&channel).text(PROBE);
    });
    for reply in replies.await? {
        let published = reply.accepted();
        published.map_err(|error| error.in_context("replies cannot be published"))?;
    }
    Ok(())
}

/// Appends to an inbox that no system reads, and removes that again.
pub(super) async fn prove_asking(link: &Link, keys: &Keys) -> Result<(), TransportError> {
    let inbox = keys.inbox(NO_EPOCH);
    let remove = |commands: &mut Commands<'_>| {
        commands.begin("LREM", 3).text(&inbox).number(0).text(PROBE);
    };
    for reply in link.exchange(TIMEOUT, remove).await? {
        match reply.accepted() {
            Ok(_) => {}
            // Clients can do without, and then nothing is tried that would stay.
            Err(error @ TransportError::NotPermitted(_)) => {
                tracing::debug!(%error, "cannot take requests back from inboxes: they expire");
                return Ok(());
            }
            Err(error) => return Err(error.in_context("requests cannot be sent")),
        }
    }
    let append = |commands: &mut Commands<'_>| {
        commands.begin("RPUSH", 2).text(&inbox).text(PROBE);
        remove(commands);
    };
    for reply in link.exchange(TIMEOUT, append).await? {
        let done = reply.accepted();
        done.map_err(|error| error.in_context("requests cannot be sent"))?;
    }
    Ok(())
}

/// Appends to a list of operators that no system reads, and lets that expire.
pub(super) async fn prove_inspecting(link: &Link, keys: &Keys) -> Result<(), TransportError> {
    let list = keys.operator_list(Right::Inspect, NO_EPOCH);
    let replies = link.exchange(TIMEOUT, |commands| {
        commands.begin("RPUSH", 2).text(&list).text(PROBE);
        commands.begin("PEXPIRE", 2).text(&list).text("1");
    });
    for reply in replies.await? {
        let done = reply.accepted();
        done.map_err(|error| error.in_context("processes cannot be inspected"))?;
    }
    Ok(())
}

/// Reads from the map of a fleet.
pub(super) async fn prove_looking_up(link: &Link, keys: &Keys) -> Result<(), TransportError> {
    let replies = link.exchange(TIMEOUT, |commands| {
        let (fleet, names) = (keys.fleet(), keys.urns(0));
        commands.begin("HGET", 2).text(&fleet).text("version");
        commands.begin("HMGET", 2).text(&names).text(PROBE);
    });
    for reply in replies.await? {
        let read = reply.accepted();
        read.map_err(|error| error.in_context("the map of the fleet cannot be read"))?;
    }
    Ok(())
}

/// Reads the members of a fleet.
pub(super) async fn prove_reading_members(link: &Link, keys: &Keys) -> Result<(), TransportError> {
    let replies = link.exchange(TIMEOUT, |commands| {
        commands
            .begin("HGET", 2)
            .text(&keys.fleet())
            .text("version");
    });
    for reply in replies.await? {
        let read = reply.accepted();
        read.map_err(|error| error.in_context("the members of the fleet cannot be read"))?;
    }
    Ok(())
}

/// Removes from an inbox that no system reads: a server that is no primary refuses that.
pub(super) async fn prove_writable(link: &Link, keys: &Keys) -> Result<(), TransportError> {
    let inbox = keys.inbox(NO_EPOCH);
    let removed = link.exchange(TIMEOUT, |commands| {
        commands.begin("LREM", 3).text(&inbox).number(0).text(PROBE);
    });
    for reply in removed.await? {
        reply.accepted()?;
    }
    Ok(())
}

/// Reads the settings of the server, warns of those that put messages at risk, and fails if it is of a
/// kind that is not supported. A user that may not read them starts without.
pub(super) async fn read_facts(link: &Link) -> Result<ServerFacts, TransportError> {
    let replies = link.exchange(TIMEOUT, |commands| {
        for section in ["memory", "persistence", "cluster"] {
            commands.begin("INFO", 1).text(section);
        }
    });
    let mut text = String::new();
    for reply in replies.await? {
        match reply {
            RedisReply::Bulk(section) => text.push_str(&String::from_utf8_lossy(&section)),
            other => {
                tracing::debug!(reply = ?other, "cannot read the settings of Redis: the proxy's role has `+info`");
            }
        }
    }
    let fact = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    if fact("cluster_enabled:") == Some("1") {
        return Err(TransportError::NotDone(
            "it is a cluster, which is not supported yet: use a single Redis, or Sentinels"
                .to_owned(),
        ));
    }
    let policy = fact("maxmemory_policy:").unwrap_or("noeviction");
    if policy != "noeviction" && fact("maxmemory:") != Some("0") {
        tracing::warn!(
            policy,
            "Redis may evict the lease and durable messages when its memory is full: set \
             `maxmemory-policy noeviction`"
        );
    }
    Ok(ServerFacts {
        is_volatile: fact("aof_enabled:") == Some("0"),
    })
}

/// The reason of a failed start, with the line that mends it.
pub(super) fn explained(
    error: &TransportError,
    endpoint: &Endpoint,
    config: &Config,
    role: Role,
) -> String {
    match error {
        TransportError::NotPermitted(reason) if reason.contains("NOPERM") => {
            let user = endpoint.address.username.as_deref().unwrap_or("default");
            let rules = config.acl(role);
            format!("{reason}. The rules of its role mend that: ACL SETUSER {user} {rules}")
        }
        TransportError::NotPermitted(reason) => {
            format!("{reason}. Redis has no such command, or it was renamed: conclib needs it")
        }
        error => {
            let text = error.to_string();
            if text.contains("MOVED ") {
                return format!(
                    "{text}. It is a cluster, which is not supported yet: use a single Redis, or Sentinels"
                );
            }
            text
        }
    }
}
