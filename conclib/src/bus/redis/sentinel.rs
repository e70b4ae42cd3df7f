//! Sentinels: they know the address of the primary of a Redis.
//!
//! Clients of Sentinel: <https://redis.io/docs/latest/develop/reference/sentinel-clients/>. A Sentinel
//! that has not heard of a failover names the former primary, with the lower `config-epoch`. If none has
//! heard of it yet, that primary refuses writes and is left (see
//! [`endpoint`](crate::bus::redis::endpoint)).

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use crate::bus::config::{Access, HostPort, RedisAddress, Sentinels, ServerLocation};
use crate::bus::redis::resp::{RedisReply, query};

/// Time for further Sentinels to answer, as long as no more than half have.
const MAJORITY_WAIT: Duration = Duration::from_millis(500);

/// The primary, as a Sentinel describes it.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) node: HostPort,
    /// Time without an answer after which the Sentinels take it for down.
    down_after: Duration,
    /// The `config-epoch`: greater after each failover.
    failovers: u64,
}

impl Primary {
    /// The advice about settings that do not fit the lease.
    pub(super) fn warning(&self, lease: Duration) -> Option<String> {
        (self.down_after >= lease).then(|| {
            format!(
                "Sentinel waits for {:?} (`down-after-milliseconds`) before it replaces a primary, and \
                 the lease lasts {lease:?}: no requests are executed in between",
                self.down_after
            )
        })
    }
}

/// Asks all Sentinels at once for the primary, and believes the one that knows of the latest failover
/// once more than half have answered; returns the problems in words if none knows a primary.
pub(super) async fn primary(
    sentinels: &Sentinels,
    tls: bool,
    access: &Access,
) -> Result<Primary, String> {
    let asked = sentinels.nodes.iter().map(|node| async move {
        let sentinel = RedisAddress {
            tls,
            location: ServerLocation::Tcp(node.clone()),
            username: sentinels.username.clone(),
            password: sentinels.password.clone(),
            database: 0,
        };
        let answer = ask_one(&sentinel, &sentinels.service, access).await;
        answer.map_err(|problem| format!("{node}: {problem}"))
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let (mut named, mut problems) = (Vec::new(), Vec::new());
    let mut end = None;
    while let Some(answer) = next_until(&mut asked, end).await {
        match answer {
            Ok(primary) => named.push(primary),
            Err(problem) => problems.push(problem),
        }
        if 2 * named.len() > sentinels.nodes.len() {
            break;
        }
        if !named.is_empty() {
            end.get_or_insert_with(|| Instant::now() + MAJORITY_WAIT);
        }
    }
    latest(named).ok_or_else(|| {
        let problems = problems.join("; ");
        format!("no Sentinel names a primary: {problems}")
    })
}

/// The next answer; `None` if there is none, or not by that moment.
async fn next_until<F: Future>(
    asked: &mut FuturesUnordered<F>,
    end: Option<Instant>,
) -> Option<F::Output> {
    match end {
        Some(end) => timeout_at(end, asked.next()).await.ok().flatten(),
        None => asked.next().await,
    }
}

/// The primary after the latest failover.
fn latest(named: Vec<Primary>) -> Option<Primary> {
    named.into_iter().max_by_key(|primary| primary.failovers)
}

async fn ask_one(
    sentinel: &RedisAddress,
    service: &str,
    access: &Access,
) -> Result<Primary, String> {
    let mut replies = query(sentinel, access, |commands| {
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
    let (mut host, mut port) = (None, None);
    let (mut down_after, mut failovers) = (Duration::ZERO, 0);
    while let (Some(name), Some(value)) = (facts.next(), facts.next()) {
        let (name, value) = (name.into_bytes()?, value.into_bytes()?);
        let value = std::str::from_utf8(&value).ok()?;
        match &name[..] {
            b"ip" => host = Some(value.to_owned()),
            b"port" => port = Some(value.parse().ok()?),
            b"down-after-milliseconds" => down_after = Duration::from_millis(value.parse().ok()?),
            b"config-epoch" => failovers = value.parse().ok()?,
            _ => {}
        }
    }
    let node = HostPort {
        host: host?,
        port: port?,
    };
    Some(Primary {
        node,
        down_after,
        failovers,
    })
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
        assert_eq!(primary.warning(Duration::from_secs(6)), None);
        let primary = parse(reply(&[&facts[..], &slow].concat())).unwrap();
        assert!(
            primary
                .warning(Duration::from_secs(6))
                .unwrap()
                .contains("30s")
        );
        assert!(parse(reply(&facts[..4])).is_none());
        let after = |epoch| parse(reply(&[&facts[..], &["config-epoch", epoch]].concat())).unwrap();
        let named = vec![after("0"), after("12"), after("9")];
        assert_eq!(latest(named).map(|primary| primary.failovers), Some(12));
        assert!(parse(RedisReply::Null).is_none());
    }
}
