//! The results of a run, as tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use conclib_tests::chaos::RequestKind;

use crate::InjectedFault;
use crate::checks::{Durable, Findings};
use crate::fixture::{Records, Snapshot};

/// The results of a run, as tables.
pub(crate) fn of(
    seed: u64,
    injected: &[InjectedFault],
    records: &Records,
    findings: &Findings,
    (before, after): (&Snapshot, &Snapshot),
) -> String {
    let mut text = format!(
        "\nseed {seed}\n\n| fault | times | requests that failed meanwhile | answered again after ms (median, worst) \
         |\n|---|---:|---:|---:|\n"
    );
    let mut faults = BTreeMap::new();
    for injected in injected {
        *faults.entry(injected.fault).or_insert(0) += 1;
    }
    for (fault, times) in &faults {
        let mut recoveries = findings.recoveries.get(fault).cloned().unwrap_or_default();
        recoveries.sort_unstable();
        let median = recoveries.get(recoveries.len() / 2);
        let times_ms = match (median, recoveries.last()) {
            (Some(median), Some(worst)) => format!("{median}, {worst}"),
            _ => String::new(), // every time, another fault came first
        };
        let (failed, all) = findings.failed.get(fault).copied().unwrap_or_default();
        writeln!(
            text,
            "| {fault:?} | {times} | {failed} of {all} | {times_ms} |"
        )
        .unwrap();
    }
    writeln!(text, "| all | {} | | |", injected.len()).unwrap();
    text.push_str(
        "\n| end | delivered | asks | tells | durable tells |\n|---|---|---:|---:|---:|\n",
    );
    let mut ends: BTreeMap<_, (u32, u32, u32)> = BTreeMap::new();
    for asked in &records.asked {
        let count = ends.entry((&*asked.end, &*asked.delivered)).or_default();
        match asked.kind {
            RequestKind::Ask => count.0 += 1,
            RequestKind::Tell => count.1 += 1,
            RequestKind::Durable | RequestKind::Poison => count.2 += 1,
        }
    }
    for ((end, delivered), (asks, tells, durable)) in ends {
        writeln!(
            text,
            "| {end} | {delivered} | {asks} | {tells} | {durable} |"
        )
        .unwrap();
    }
    let Durable {
        kept,
        handled,
        doubled,
        lost_by_redis,
        poison,
        dead,
        poison_lost,
        unreadable,
        unreadable_lost,
    } = findings.durable;
    writeln!(
        text,
        "\ndurable messages: {kept} kept, {handled} handled, {doubled} of them more than once, \
         {lost_by_redis} lost with Redis' data; of {poison} more that always fail, {dead} became dead \
         letters, {poison_lost} were lost with Redis' data; of {} unreadable ones {unreadable} became dead \
         letters, {unreadable_lost} were lost with Redis' data",
        records.unreadable.len(),
    )
    .unwrap();
    let memory = |snapshot: &Snapshot| -> Vec<_> {
        let all = snapshot.clients.iter().chain(&snapshot.actors);
        all.map(|usage| usage.memory / 1024).collect()
    };
    write!(
        text,
        "\n{} requests recorded, {} executions; worst overrun of a deadline {} ms; latest start after a \
         deadline {} ms; memory of the clients and the actors in MiB: {:?}, then {:?}",
        records.asked.len(),
        records.executions.len(),
        findings.worst_overrun,
        findings.latest_begin,
        memory(before),
        memory(after),
    )
    .unwrap();
    text
}
