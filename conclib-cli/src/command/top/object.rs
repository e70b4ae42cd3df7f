//! A look as JSON.

use serde::Serialize;

use crate::command::failures::FailureObject;
use crate::command::inspection::Silent;
use crate::command::ls::TypeObject;
use crate::command::top::sample::Sample;

/// A look at all members.
#[derive(Serialize)]
pub(super) struct TopObject<'a> {
    round_trip_ms: Option<f64>,
    members: Vec<MemberObject<'a>>,
    silent: &'a [Silent],
    /// `null` in a fleet, or if it may not be read.
    durable_stored: Option<u64>,
    dead_letters: Option<u64>,
    types: &'a [TypeObject],
    failures: Vec<FailureObject>,
    waits: Vec<WaitObject<'a>>,
}

#[derive(Serialize)]
struct MemberObject<'a> {
    node: &'a str,
    instance: &'a str,
    conclib: &'a str,
    epoch: Option<u64>,
    serving: bool,
    uptime_seconds: u64,
    actors: usize,
    asks: u64,
    tells: u64,
    answers_ok: u64,
    answers_failed: u64,
    waiting_bytes: usize,
}

#[derive(Serialize)]
struct WaitObject<'a> {
    node: &'a str,
    from: &'a str,
    to: &'a str,
    kind: String,
    running_seconds: Option<f64>,
}

impl<'a> From<&'a Sample> for TopObject<'a> {
    fn from(sample: &'a Sample) -> Self {
        let members = sample.members.iter();
        let failures = sample.failures.iter();
        let waits = sample.waits.iter();
        Self {
            round_trip_ms: sample.round_trip.map(|trip| trip.as_secs_f64() * 1000.0),
            members: members
                .map(|(node, status)| MemberObject {
                    node,
                    instance: &status.instance,
                    conclib: &status.conclib,
                    epoch: status.epoch,
                    serving: status.is_serving,
                    uptime_seconds: status.uptime.as_secs(),
                    actors: status.actors,
                    asks: status.stats.received_asks,
                    tells: status.stats.received_tells,
                    answers_ok: status.stats.asks.ok,
                    answers_failed: status.stats.asks.failed(),
                    waiting_bytes: status.stats.waiting_bytes,
                })
                .collect(),
            silent: &sample.silent,
            durable_stored: sample.durable.as_ref().map(|durable| durable.stored),
            dead_letters: sample.dead.as_ref().map(|dead| dead.stored),
            types: &sample.types,
            failures: failures
                .map(|(node, failure)| FailureObject::new(node, failure))
                .collect(),
            waits: waits
                .map(|(node, edge)| WaitObject {
                    node,
                    from: edge.from.as_str(),
                    to: edge.to.as_str(),
                    kind: edge.kind.to_string(),
                    running_seconds: edge.running.map(|time| time.as_secs_f64()),
                })
                .collect(),
        }
    }
}
