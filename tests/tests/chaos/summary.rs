//! What happened, as tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use conclib_tests::chaos::{Asked, Begun, Manner};

use crate::Injected;
use crate::stage::Snapshot;
use crate::verdict::{Durable, Verdict};

/// What happened, as tables.
pub(crate) fn of(
    seed: u64,
    injected: &[Injected],
    asked: &[Asked],
    begun: &[Begun],
    verdict: &Verdict,
    (before, after): (&Snapshot, &Snapshot),
) -> String {
    let mut text = format!(
        "\nseed {seed}\n\n| fault | times | answered again after ms (median, worst) |\n|---|---:|---:|\n"
    );
    let mut faults = BTreeMap::new();
    for injected in injected {
        *faults.entry(injected.fault).or_insert(0) += 1;
    }
    for (fault, times) in &faults {
        let mut recoveries = verdict.recoveries.get(fault).cloned().unwrap_or_default();
        recoveries.sort_unstable();
        let median = recoveries.get(recoveries.len() / 2);
        let times_ms = match (median, recoveries.last()) {
            (Some(median), Some(worst)) => format!("{median}, {worst}"),
            _ => String::new(), // each time another fault came before
        };
        writeln!(text, "| {fault:?} | {times} | {times_ms} |").unwrap();
    }
    writeln!(text, "| all | {} | |", injected.len()).unwrap();
    text.push_str(
        "\n| end | delivered | asks | tells | durable tells |\n|---|---|---:|---:|---:|\n",
    );
    let mut ends: BTreeMap<_, (u32, u32, u32)> = BTreeMap::new();
    for asked in asked {
        let count = ends.entry((&*asked.end, &*asked.delivered)).or_default();
        match asked.manner {
            Manner::Ask => count.0 += 1,
            Manner::Tell => count.1 += 1,
            Manner::Durable | Manner::Poison => count.2 += 1,
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
    } = verdict.durable;
    writeln!(
        text,
        "\ndurable messages: {kept} kept, {handled} handled, {doubled} of them more than once, \
         {lost_by_redis} lost with Redis' data; of {poison} more that always fail, {dead} became dead \
         letters, {poison_lost} were lost with Redis' data"
    )
    .unwrap();
    let memory = |snapshot: &Snapshot| -> Vec<_> {
        let all = snapshot.clients.iter().chain(&snapshot.actors);
        all.map(|holdings| holdings.memory / 1024).collect()
    };
    write!(
        text,
        "\n{} requests recorded, {} handlers begun; worst overrun of a deadline {} ms; latest begin after a \
         deadline {} ms; memory of the clients and the actors in MiB: {:?}, then {:?}",
        asked.len(),
        begun.len(),
        verdict.worst_overrun,
        verdict.latest_begin,
        memory(before),
        memory(after),
    )
    .unwrap();
    text
}
