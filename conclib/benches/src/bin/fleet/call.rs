//! The process that asks: `fleet call <port> <callers> <members>`.
//!
//! It asks until so many members have answered, and for the warm-up after that. Then it prints `ready`,
//! measures until its input ends, and prints one line of JSON.

use std::collections::BTreeMap;
use std::io::stdin;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use conclib::ProxyClient;
use conclib_benches::children::{READY, say};
use conclib_benches::process::cpu_seconds;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actors::config;
use crate::load::Load;
use crate::{Problem, float};

/// The longest wait for the first answer of each member.
const FIRST_ANSWERS: Duration = Duration::from_secs(20);

/// The longest wait for the last replies: longer than the timeout of a request.
const LAST_REPLIES: Duration = Duration::from_secs(15);

/// The task of a calling process.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// Leads to Redis.
    port: u16,
    /// Tasks that ask.
    callers: usize,
    /// Members that have to answer before anything counts.
    members: usize,
    /// Milliseconds of asking after that, before anything counts.
    #[arg(long, default_value_t = 300)]
    warm_up: u64,
    /// Bytes of a reply beside its numbers.
    #[arg(long, default_value_t = 0)]
    reply: usize,
    /// Asks without a fleet.
    #[arg(long)]
    plain: bool,
    /// A process whose processor time is looked at; this one's always is.
    #[arg(long)]
    watch: Vec<u32>,
}

/// The results of one measurement.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The measured time.
    pub(crate) seconds: f64,
    /// Times of replies in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// Replies by member.
    pub(crate) by_member: BTreeMap<u32, u64>,
    /// Failed requests by error.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Processor time of all processes in seconds, where it is known.
    pub(crate) cpu: Option<f64>,
}

impl Sample {
    pub(crate) fn asks(&self) -> u64 {
        self.by_member.values().sum()
    }

    pub(crate) fn per_second(&self) -> f64 {
        float(self.asks()) / self.seconds
    }

    /// Microseconds of processor time per ask.
    pub(crate) fn cpu_per_ask(&self) -> f64 {
        self.cpu.unwrap_or(f64::NAN) * 1e6 / float(self.asks())
    }

    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The distance from an even share of the member that is farthest from it, as a part of that share.
    pub(crate) fn unevenness(&self) -> f64 {
        let even = float(self.asks()) / float(self.by_member.len() as u64);
        let distances = self.by_member.values();
        distances
            .map(|replies| (float(*replies) / even - 1.0).abs())
            .fold(0.0, f64::max)
    }
}

pub(crate) fn main(order: &Order) -> Result<(), Problem> {
    let runtime = Runtime::new()?;
    let config = config(order.port, order.plain)?;
    let client = runtime.block_on(ProxyClient::connect(&config))?;
    let load = Load::new();
    let tasks = {
        let _inside = runtime.enter();
        load.start(&client, order.callers, order.reply)
    };
    wait_for_members(&load, order)?;
    let mut sample = measure(&load, order)?;
    runtime.block_on(finish(tasks))?;
    sample.by_member = load.by_member();
    sample.errors.clone_from(&load.errors());
    say(&serde_json::to_string(&sample)?);
    Ok(())
}

fn wait_for_members(load: &Load, order: &Order) -> Result<(), Problem> {
    let bound = Instant::now() + FIRST_ANSWERS;
    while load.members() < order.members {
        if Instant::now() > bound {
            let (there, wanted) = (load.members(), order.members);
            return Err(format!("{there} of {wanted} members have answered").into());
        }
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(order.warm_up));
    Ok(())
}

/// The figures of the measured time, except those that the last replies change.
fn measure(load: &Arc<Load>, order: &Order) -> Result<Sample, Problem> {
    let before = cpu(order);
    let began = Instant::now();
    load.measure();
    say(READY);
    stdin().read_line(&mut String::new())?;
    load.end();
    let seconds = began.elapsed().as_secs_f64();
    Ok(Sample {
        seconds,
        cpu: cpu(order).zip(before).map(|(after, before)| after - before),
        p50: load.times.percentile(0.5),
        p99: load.times.percentile(0.99),
        max: load.times.percentile(1.0),
        ..Sample::default()
    })
}

/// Processor time of this process and the others. Unknown if one of them has ended.
fn cpu(order: &Order) -> Option<f64> {
    let others = order.watch.iter().copied();
    others.chain([std::process::id()]).map(cpu_seconds).sum()
}

/// Waits for the last replies.
async fn finish(mut tasks: JoinSet<()>) -> Result<(), Problem> {
    let last = async { while tasks.join_next().await.is_some() {} };
    let ended = timeout(LAST_REPLIES, last).await;
    ended.map_err(|_| "a request has neither a reply nor an error".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unevenness_is_that_of_the_farthest_member() {
        let by_member = BTreeMap::from([(0, 100), (1, 120), (2, 80)]);
        let sample = Sample {
            by_member,
            ..Sample::default()
        };
        assert!((sample.unevenness() - 0.2).abs() < 1e-9);
        assert_eq!(sample.asks(), 300);
    }
}
