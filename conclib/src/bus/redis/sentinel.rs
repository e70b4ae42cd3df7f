//! Sentinels: they know the address of the primary of a Redis.
//!
//! Clients of Sentinel: <https://redis.io/docs/latest/develop/reference/sentinel-clients/>. A Sentinel
//! that has not heard of a failover yet names the former primary. That one refuses writes, and is left
//! then (see [`endpoint`](crate::bus::redis::endpoint)).

use std::time::Duration;

use crate::bus::config::{Access, HostPort, RedisAddress, Sentinels, ServerLocation};
use crate::bus::redis::resp::{RedisReply, ask};
use crate::bus::transport::LEASE;

/// The primary, as a Sentinel describes it.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) node: HostPort,
    /// Time without an answer after which the Sentinels take it for down.
    down_after: Duration,
}

impl Primary {
    /// The advice about settings that do not fit the lease.
    pub(super) fn warning(&self) -> Option<String> {
        (self.down_after >= LEASE).then(|| {
            format!(
                "Sentinel waits for {:?} (`down-after-milliseconds`) before it replaces a primary, and \
                 the lease lasts {LEASE:?}: no requests are executed in between",
                self.down_after
            )
        })
    }
}

/// Asks one Sentinel after the other for the primary; returns the problems in words if none knows it.
pub(super) async fn primary(
    sentinels: &Sentinels,
    tls: bool,
    access: &Access,
) -> Result<Primary, String> {
    let mut problems = Vec::new();
    for node in &sentinels.nodes {
        let sentinel = RedisAddress {
            tls,
            location: ServerLocation::Tcp(node.clone()),
            username: sentinels.username.clone(),
            password: sentinels.password.clone(),
            database: 0,
        };
        match ask_one(&sentinel, &sentinels.service, access).await {
            Ok(primary) => return Ok(primary),
            Err(problem) => problems.push(format!("{node}: {problem}")),
        }
    }
    Err(format!(
        "no Sentinel names a primary: {}",
        problems.join("; ")
    ))
}

async fn ask_one(
    sentinel: &RedisAddress,
    service: &str,
    access: &Access,
) -> Result<Primary, String> {
    let mut replies = ask(sentinel, access, |commands| {
        commands.begin("SENTINEL", 2).text("MASTER").text(service);
    })
    .await?;
    match replies.pop() {
        Some(RedisReply::Error(line)) => Err(String::from_utf8_lossy(&line).into_owned()),
        Some(reply) => parse(reply).ok_or_else(|| "an unexpected reply".to_owned()),
        None => Err("no reply".to_owned()),
    }
}

/// Reads the facts about a primary, which are names and values by turns.
fn parse(reply: RedisReply) -> Option<Primary> {
    let mut facts = reply.into_array()?.into_iter();
    let (mut host, mut port, mut down_after) = (None, None, Duration::ZERO);
    while let (Some(name), Some(value)) = (facts.next(), facts.next()) {
        let (name, value) = (name.into_bytes()?, value.into_bytes()?);
        let value = std::str::from_utf8(&value).ok()?;
        match &name[..] {
            b"ip" => host = Some(value.to_owned()),
            b"port" => port = Some(value.parse().ok()?),
            b"down-after-milliseconds" => down_after = Duration::from_millis(value.parse().ok()?),
            _ => {}
        }
    }
    let node = HostPort {
        host: host?,
        port: port?,
    };
    Some(Primary { node, down_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(facts: &[&'static str]) -> RedisReply {
        RedisReply::Array(
            facts
                .iter()
                .map(|fact| RedisReply::Bulk((*fact).into()))
                .collect(),
        )
    }

    #[test]
    fn primary_is_read_among_other_facts() {
        let facts = ["name", "main", "ip", "::1", "port", "7", "flags", "master"];
        let slow = ["down-after-milliseconds", "30000"];
        let primary = parse(reply(&facts)).unwrap();
        assert_eq!(primary.node.to_string(), "[::1]:7");
        assert_eq!(primary.warning(), None);
        let primary = parse(reply(&[&facts[..], &slow].concat())).unwrap();
        assert!(primary.warning().unwrap().contains("30s"));
        assert!(parse(reply(&facts[..4])).is_none());
        assert!(parse(RedisReply::Null).is_none());
    }
}
