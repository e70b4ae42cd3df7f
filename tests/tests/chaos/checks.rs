//! Checks of the records against the promises of the library. No I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use conclib_tests::chaos::{
    DELIVERIES, ExecutionRecord, RequestKind, RequestRecord, ResourceUsage,
};

use crate::InjectedFault;
use crate::faults::Fault;
use crate::fixture::{DeadRecord, Records, Snapshot};

/// The largest accepted overrun of an ask's deadline, in ms.
const OVERRUN: u64 = 1_000;

/// The accepted difference between the clocks of Redis and of the processes, with the time from the
/// library's check of the deadline to the handler's own, in ms.
const SKEW: u64 = 250;

/// The results of all checks.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Broken promises.
    pub(crate) violations: Vec<String>,
    /// The largest overrun of a deadline, in ms.
    pub(crate) worst_overrun: u64,
    /// The latest start of a handler after its deadline, in ms.
    pub(crate) latest_begin: u64,
    /// The times from the end of each fault to the next answered ask, in ms.
    pub(crate) recoveries: BTreeMap<Fault, Vec<u64>>,
    /// The requests that ended with an error during each kind of fault, and all that ended meanwhile.
    pub(crate) failed: BTreeMap<Fault, (u32, u32)>,
    /// Counts of durable messages.
    pub(crate) durable: Durable,
}

/// Counts of durable messages.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Messages whose tell succeeded.
    pub(crate) kept: u32,
    /// Stored messages that were handled.
    pub(crate) handled: u32,
    /// Stored messages that were handled more than once.
    pub(crate) doubled: u32,
    /// Stored messages that Redis lost with its data.
    pub(crate) lost_by_redis: u32,
    /// Messages that always fail and whose tell succeeded.
    pub(crate) poison: u32,
    /// Failing messages that became dead letters.
    pub(crate) dead: u32,
    /// Failing messages that Redis lost with its data.
    pub(crate) poison_lost: u32,
    /// Entries of a hostile peer that became dead letters.
    pub(crate) unreadable: u32,
    /// Entries of a hostile peer that Redis lost with its data.
    pub(crate) unreadable_lost: u32,
}

/// Checks requests, executions and dead letters, given the faults, the last of which ended at `end`.
pub(crate) fn check(records: &Records, injected: &[InjectedFault], end: u64) -> Findings {
    let Records {
        asked,
        executions,
        dead,
        ..
    } = records;
    let mut findings = Findings::default();
    let mut begun: HashMap<u64, Vec<&ExecutionRecord>> = HashMap::new();
    let survives =
        |asked: &&RequestRecord| matches!(asked.kind, RequestKind::Durable | RequestKind::Poison);
    let durable: HashSet<_> = asked.iter().filter(survives).map(|a| a.number).collect();
    for execution in executions {
        begun.entry(execution.number).or_default().push(execution);
        // A durable message has a deadline for its storing, and none for its handling.
        if !durable.contains(&execution.number) {
            findings.check_begin(execution, injected);
        }
    }
    findings.check_dead(asked, dead, injected);
    for asked in asked {
        findings.check_end(asked, injected);
        let begun = begun.get(&asked.number).map_or(&[][..], Vec::as_slice);
        findings.check_times(asked, begun, injected);
    }
    // Requests whose asker was dropped have no record.
    let recorded: HashSet<_> = asked.iter().map(|asked| asked.number).collect();
    for (number, begun) in begun.iter().filter(|(_, begun)| begun.len() > 1) {
        if !recorded.contains(number) {
            let violation = format!("{number:x} was abandoned and executed {}", list(begun));
            findings.report(&violation, begun[0].at, injected);
        }
    }
    findings.check_unreadable(records, injected);
    findings.check_stuck(asked, injected);
    findings.check_recovery(asked, injected, end);
    findings.count_failed(asked, injected);
    findings
}

impl Findings {
    pub(crate) fn report(&mut self, what: &str, at: u64, injected: &[InjectedFault]) {
        let around: Vec<_> = injected
            .iter()
            .filter(|fault| at != 0 && fault.from < at + 5_000 && at < fault.to + 8_000)
            .map(|fault| {
                let (from, to) = (fault.from.cast_signed(), fault.to.cast_signed());
                let at = at.cast_signed();
                format!("{:?} {:+}..{:+} ms", fault.fault, from - at, to - at)
            })
            .collect();
        self.violations
            .push(format!("{what} [{}]", around.join(", ")));
    }

    /// No request is executed after its deadline.
    fn check_begin(&mut self, execution: &ExecutionRecord, injected: &[InjectedFault]) {
        let late = execution.at.saturating_sub(execution.deadline);
        if late == 0
            || was_suspended(
                injected,
                execution.deadline.saturating_sub(3_000),
                execution.at,
            )
        {
            return;
        }
        self.latest_begin = self.latest_begin.max(late);
        if late > SKEW {
            let what = format!(
                "{:x} was executed {late} ms after its deadline",
                execution.number
            );
            self.report(&what, execution.at, injected);
        }
    }

    /// Every ask ends by its deadline, with the right answer or an error.
    fn check_end(&mut self, asked: &RequestRecord, injected: &[InjectedFault]) {
        if asked.end == "Wrong" {
            self.report(&format!("a wrong answer: {asked}"), asked.start, injected);
        }
        let over = asked.took.saturating_sub(asked.timeout);
        if was_suspended(injected, asked.start, asked.start + asked.took) {
            return;
        }
        self.worst_overrun = self.worst_overrun.max(over);
        if over > OVERRUN {
            self.report(
                &format!("{over} ms too late: {asked}"),
                asked.start,
                injected,
            );
        }
    }

    /// An answered request was executed once, an undelivered one never, and none twice.
    fn check_times(
        &mut self,
        asked: &RequestRecord,
        begun: &[&ExecutionRecord],
        injected: &[InjectedFault],
    ) {
        let times = u32::try_from(begun.len()).unwrap_or(u32::MAX);
        let (least, most) = match (asked.kind, &*asked.end, &*asked.delivered) {
            (RequestKind::Durable, "Ok", _) => return self.check_durable(asked, times, injected),
            (RequestKind::Durable | RequestKind::Poison, _, "No") => (0, 0),
            (RequestKind::Durable | RequestKind::Poison, ..) => return,
            (RequestKind::Ask, "Ok", _) | (_, "Failed" | "NoReply" | "BadResponse", _) => (1, 1),
            (_, _, "No") => (0, 0),
            _ => (0, 1),
        };
        if times < least || times > most {
            let what = format!(
                "executed {}, not {least} to {most} times: {asked}",
                list(begun)
            );
            self.report(&what, asked.start, injected);
        }
    }

    /// Exactly the messages that always fail become dead letters after their deliveries, unless Redis
    /// has lost them.
    fn check_dead(
        &mut self,
        asked: &[RequestRecord],
        dead: &[DeadRecord],
        injected: &[InjectedFault],
    ) {
        let poison = asked
            .iter()
            .filter(|asked| asked.kind == RequestKind::Poison);
        let poison: HashMap<_, _> = poison.map(|asked| (asked.number, asked)).collect();
        for dead in dead {
            // A message whose tell failed may have been stored, too.
            if !poison.contains_key(&dead.number) || dead.deliveries < DELIVERIES {
                self.report(&format!("{dead:?} is dead"), 0, injected);
            }
        }
        let dead: HashSet<_> = dead.iter().map(|dead| dead.number).collect();
        for asked in poison.values().filter(|asked| asked.end == "Ok") {
            let is_dead = dead.contains(&asked.number);
            let is_lost = !is_dead && may_be_lost(asked.start..=asked.start + asked.took, injected);
            self.durable.poison += 1;
            self.durable.dead += u32::from(is_dead);
            self.durable.poison_lost += u32::from(is_lost);
            if !is_dead && !is_lost {
                let what = format!("kept, always failed, and is not dead: {asked}");
                self.report(&what, asked.start, injected);
            }
        }
    }

    /// Every stored message is handled, unless Redis has lost it.
    fn check_durable(&mut self, asked: &RequestRecord, times: u32, injected: &[InjectedFault]) {
        self.durable.kept += 1;
        self.durable.handled += u32::from(times > 0);
        self.durable.doubled += u32::from(times > 1);
        if times == 0 && may_be_lost(asked.start..=asked.start + asked.took, injected) {
            self.durable.lost_by_redis += 1;
        } else if times == 0 {
            self.report(
                &format!("kept, and never handled: {asked}"),
                asked.start,
                injected,
            );
        }
    }

    /// Every entry that cannot be read becomes a dead letter, unless Redis has lost it.
    fn check_unreadable(&mut self, records: &Records, injected: &[InjectedFault]) {
        for entry in &records.unreadable {
            let is_dead = records.unreadable_dead.contains(&entry.number);
            let is_lost = !is_dead && may_be_lost(entry.at..=entry.at, injected);
            self.durable.unreadable += u32::from(is_dead);
            self.durable.unreadable_lost += u32::from(is_lost);
            if !is_dead && !is_lost {
                self.report(&format!("{entry:?} is not dead"), entry.at, injected);
            }
        }
    }

    /// A stuck actor leaves room for the others: in its last second each client is answered, and
    /// hardly a request is refused.
    fn check_stuck(&mut self, asked: &[RequestRecord], injected: &[InjectedFault]) {
        let clients: HashSet<_> = asked.iter().map(|asked| asked.number >> 40).collect();
        let stuck = |fault: &&InjectedFault| fault.fault == Fault::ActorStuck;
        for fault in injected.iter().filter(stuck) {
            let within = fault.to.saturating_sub(1_000)..fault.to;
            let asks: Vec<_> = asked
                .iter()
                .filter(|asked| asked.kind == RequestKind::Ask && within.contains(&asked.start))
                .collect();
            let with_end = |end| asks.iter().filter(move |asked| asked.end == end);
            let answered: HashSet<_> = with_end("Ok").map(|asked| asked.number >> 40).collect();
            let refused = with_end("Overloaded").count();
            if answered != clients || refused * 20 > asks.len() {
                let what = format!(
                    "beside a stuck actor {answered:?} of {clients:?} were answered, and {refused} of \
                     {} asks refused",
                    asks.len()
                );
                self.report(&what, fault.from, injected);
            }
        }
    }

    /// Counts what went wrong during each kind of fault: a fault without an effect is none.
    fn count_failed(&mut self, asked: &[RequestRecord], injected: &[InjectedFault]) {
        for fault in injected {
            let during = fault.from..=fault.to + 100;
            let (failed, all) = self.failed.entry(fault.fault).or_default();
            for asked in asked {
                if during.contains(&(asked.start + asked.took)) {
                    *all += 1;
                    *failed += u32::from(asked.end != "Ok" && asked.end != "Failed");
                }
            }
        }
    }

    /// Every client is answered again; measures how soon after each fault.
    fn check_recovery(&mut self, asked: &[RequestRecord], injected: &[InjectedFault], end: u64) {
        let answered = asked
            .iter()
            .filter(|asked| asked.kind == RequestKind::Ask && asked.end == "Ok");
        let mut ends: Vec<_> = answered
            .clone()
            .map(|a| (a.start, a.start + a.took))
            .collect();
        ends.sort_unstable();
        for (place, fault) in injected.iter().enumerate() {
            let first = ends.partition_point(|(start, _)| *start < fault.to);
            let next = injected.get(place + 1).map_or(u64::MAX, |next| next.from);
            // An answer delayed by the next fault does not count for this one.
            if let Some((_, answered)) = ends.get(first)
                && *answered < next
            {
                let recoveries = self.recoveries.entry(fault.fault).or_default();
                recoveries.push(answered - fault.to);
            }
        }
        let mut by_client = BTreeMap::new();
        for asked in answered {
            *by_client.entry(asked.number >> 40).or_insert(0) += u32::from(asked.start > end);
        }
        for (client, count) in by_client {
            if count == 0 {
                self.report(
                    &format!("client {client} was not answered again"),
                    end,
                    injected,
                );
            }
        }
    }
}

/// The number of executions, with their times and processes.
fn list(begun: &[&ExecutionRecord]) -> String {
    let each = |execution: &&ExecutionRecord| format!("{} by {}", execution.at, execution.process);
    let all: Vec<_> = begun.iter().map(each).collect();
    format!("{} times ({})", all.len(), all.join(", "))
}

/// True if Redis may have lost what was stored in that time. A failover loses nothing that was stored
/// before it: the replica has that.
fn may_be_lost(stored: RangeInclusive<u64>, injected: &[InjectedFault]) -> bool {
    injected.iter().any(|fault| {
        let InjectedFault { fault, from, to } = fault;
        fault.loses_data() && to >= stored.start() && (from <= stored.end() || !fault.is_failover())
    })
}

/// True if a process was suspended in that time: a suspended process can neither end an ask nor read
/// a clock.
fn was_suspended(injected: &[InjectedFault], from: u64, to: u64) -> bool {
    let suspends = [
        Fault::ClientSuspended,
        Fault::ActorsSuspended,
        Fault::RedisSetBack,
    ];
    injected
        .iter()
        .any(|fault| suspends.contains(&fault.fault) && fault.from <= to && from <= fault.to + 50)
}

/// The resources that are more than before.
pub(crate) fn compare(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut violations = Vec::new();
    let mut compare = |process: &str, before: ResourceUsage, after: ResourceUsage| {
        let most = before.memory + before.memory / 2 + 24 * 1024;
        if after.in_flight > 0 || after.tasks > before.tasks + 3 || after.memory > most {
            violations.push(format!("{process} had {before:?} and has {after:?}"));
        }
    };
    // The standby process may serve now.
    let serving = before.actors.iter().max_by_key(|actors| actors.tasks);
    for after in &after.actors {
        compare("actors", serving.copied().unwrap_or_default(), *after);
    }
    for (before, after) in before.clients.iter().zip(&after.clients) {
        compare("a client", *before, *after);
    }
    if after.kept > 0 || after.claims > 0 {
        violations.push(format!(
            "{} durable messages are not handled, and {} are claimed",
            after.kept, after.claims
        ));
    }
    if (before.connections, before.channels) != (after.connections, after.channels) {
        violations.push(format!(
            "{} connections and {} channels became {} and {}",
            before.connections, before.channels, after.connections, after.channels
        ));
    }
    violations
}
