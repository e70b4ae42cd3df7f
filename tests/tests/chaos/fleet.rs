//! The promises of a fleet beyond those of one actor process.

use std::collections::HashMap;
use std::time::Duration;

use conclib_tests::chaos::{ExecutionRecord, RequestRecord, series_of};
use tokio::time::{Instant, sleep};

use crate::InjectedFault;
use crate::checks::Findings;
use crate::fixture::{ChaosFixture, Records};
use crate::processes::node;

/// The time after the last fault from which on every request is answered.
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// The shortest timeout of a request that must not fail: on a busy machine, shorter ones may.
const LEAST_TIMEOUT: u64 = 1_000;

/// The state of a member in the map that serves, and has listed its names.
const SERVING: char = '1';

impl ChaosFixture {
    /// The members in the map that should not be there, and those that are missing, after the time in which
    /// members that are gone are removed.
    pub(crate) async fn wrong_members(&self) -> Vec<String> {
        let expected: Vec<_> = (0..self.actors.len())
            .map(|place| format!("{SERVING}{}", node(place)))
            .collect();
        let start = Instant::now();
        loop {
            let members = self.members().await;
            if members == expected {
                return Vec::new();
            }
            if start.elapsed() > RECOVERY {
                return vec![format!("the map has the members {members:?}")];
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The members in the map, each with its state before its node, sorted by them.
    async fn members(&self) -> Vec<String> {
        const MAP: &str = "conclib:{map}:fleet";
        let mut members = Vec::new();
        let fields = self.redis.command(&["HKEYS", MAP]).await;
        for field in fields.lines().filter(|field| field.starts_with("s:")) {
            members.push(self.redis.command(&["HGET", MAP, field]).await);
        }
        members.sort_unstable();
        members
    }
}

/// Checks a fleet's records, given the end of the last fault. Returns the time of the last failure after it,
/// in ms.
pub(crate) fn check(
    findings: &mut Findings,
    records: &Records,
    injected: &[InjectedFault],
    end: u64,
) -> u64 {
    check_order(findings, records, injected);
    check_service(findings, &records.asked, injected, end)
}

/// The requests of a client for a listed name are executed in their order.
fn check_order(findings: &mut Findings, records: &Records, injected: &[InjectedFault]) {
    let asked: HashMap<_, _> = records
        .asked
        .iter()
        .map(|asked| (asked.number, asked))
        .collect();
    let describe = |execution: &ExecutionRecord| {
        let asked = asked.get(&execution.number).map(ToString::to_string);
        let asked = asked.unwrap_or_default();
        format!(
            "{:x} in process {} ({asked})",
            execution.number, execution.process
        )
    };
    let mut newest: HashMap<_, ExecutionRecord> = HashMap::new();
    for execution in &records.executions {
        let Some(series) = series_of(execution.number) else {
            continue;
        };
        let newest = newest.entry(series).or_insert(*execution);
        if execution.number < newest.number {
            let violation = format!(
                "{} was executed {} ms after {}, which was made later",
                describe(execution),
                execution.at.cast_signed() - newest.at.cast_signed(),
                describe(newest)
            );
            findings.report(&violation, execution.at, injected);
        } else {
            *newest = *execution;
        }
    }
}

/// Everything is answered again soon after the last fault.
fn check_service(
    findings: &mut Findings,
    asked: &[RequestRecord],
    injected: &[InjectedFault],
    end: u64,
) -> u64 {
    let bound = u64::try_from(RECOVERY.as_millis()).unwrap_or(u64::MAX);
    let fails = |asked: &&RequestRecord| {
        let has_time = asked.timeout >= LEAST_TIMEOUT && asked.start > end;
        has_time && asked.end != "Ok" && asked.end != "Failed"
    };
    let mut last = 0;
    for asked in asked.iter().filter(fails) {
        last = last.max(asked.start + asked.took - end);
        if asked.start > end + bound {
            let late = asked.start - end;
            let violation = format!("not served {late} ms after the last fault: {asked}");
            findings.report(&violation, asked.start, injected);
        }
    }
    last
}
