//! Whether everything was as it is promised. No I/O.

use std::collections::{BTreeMap, HashMap, HashSet};

use conclib_tests::chaos::{Asked, Begun, DELIVERIES, Holdings, Manner};

use crate::Injected;
use crate::faults::Fault;
use crate::stage::{Dead, Snapshot};

/// By how much an ask may miss its deadline, in ms.
const OVERRUN: u64 = 1_000;

/// By how much the clocks of Redis and of the processes may disagree, and how long the way from
/// the look at the clock to the handler's own may take, in ms.
const SKEW: u64 = 250;

/// What came of it all.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What was not as it is promised.
    pub(crate) complaints: Vec<String>,
    /// The largest overrun of a deadline, in ms.
    pub(crate) worst_overrun: u64,
    /// The latest begin after a deadline, in ms.
    pub(crate) latest_begin: u64,
    /// How long after each fault somebody was answered again, in ms.
    pub(crate) recoveries: BTreeMap<Fault, Vec<u64>>,
    /// What became of durable messages.
    pub(crate) durable: Durable,
}

/// What became of durable messages.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Those whose tell was told that they are kept.
    pub(crate) kept: u32,
    /// Those of them that were handled.
    pub(crate) handled: u32,
    /// Those that were handled more than once.
    pub(crate) doubled: u32,
    /// Those that Redis lost with its data.
    pub(crate) lost_by_redis: u32,
    /// Those that always fail, and whose tell was told that they are kept.
    pub(crate) poison: u32,
    /// Those of them that became dead letters.
    pub(crate) dead: u32,
    /// Those of them that Redis lost with its data.
    pub(crate) poison_lost: u32,
}

/// Judges what was asked, begun and given up, with the faults, the last of which ended at `end`.
pub(crate) fn judge(
    asked: &[Asked],
    begun: &[Begun],
    dead: &[Dead],
    injected: &[Injected],
    end: u64,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut times: HashMap<u64, u32> = HashMap::new();
    let survives = |asked: &&Asked| matches!(asked.manner, Manner::Durable | Manner::Poison);
    let durable: HashSet<_> = asked.iter().filter(survives).map(|a| a.number).collect();
    for begun in begun {
        *times.entry(begun.number).or_default() += 1;
        // A durable message has a deadline for its storing, and none for its handling.
        if !durable.contains(&begun.number) {
            verdict.check_begin(begun, injected);
        }
    }
    verdict.check_dead(asked, dead, injected);
    for asked in asked {
        verdict.check_end(asked, injected);
        let times = times.get(&asked.number).copied().unwrap_or(0);
        verdict.check_times(asked, times, injected);
    }
    // Also of those that were given up.
    let recorded: HashSet<_> = asked.iter().map(|asked| asked.number).collect();
    for (number, times) in times.iter().filter(|(_, times)| **times > 1) {
        if !recorded.contains(number) {
            verdict.complain(
                &format!("{number:x} was given up and begun {times} times"),
                0,
                injected,
            );
        }
    }
    verdict.check_recovery(asked, injected, end);
    verdict
}

impl Verdict {
    fn complain(&mut self, what: &str, at: u64, injected: &[Injected]) {
        let around: Vec<_> = injected
            .iter()
            .filter(|fault| at != 0 && fault.from < at + 5_000 && at < fault.to + 8_000)
            .map(|fault| {
                let (from, to) = (fault.from.cast_signed(), fault.to.cast_signed());
                let at = at.cast_signed();
                format!("{:?} {:+}..{:+} ms", fault.fault, from - at, to - at)
            })
            .collect();
        self.complaints
            .push(format!("{what} [{}]", around.join(", ")));
    }

    /// Nothing is begun after its deadline.
    fn check_begin(&mut self, begun: &Begun, injected: &[Injected]) {
        let late = begun.at.saturating_sub(begun.deadline);
        if late == 0 || was_suspended(injected, begun.deadline.saturating_sub(3_000), begun.at) {
            return;
        }
        self.latest_begin = self.latest_begin.max(late);
        if late > SKEW {
            let what = format!("{:x} was begun {late} ms after its deadline", begun.number);
            self.complain(&what, begun.at, injected);
        }
    }

    /// Every ask ends by its deadline, with the right answer or an error.
    fn check_end(&mut self, asked: &Asked, injected: &[Injected]) {
        if asked.end == "Wrong" {
            self.complain(&format!("a wrong answer: {asked}"), asked.start, injected);
        }
        let over = asked.took.saturating_sub(asked.patience);
        if was_suspended(injected, asked.start, asked.start + asked.took) {
            return;
        }
        self.worst_overrun = self.worst_overrun.max(over);
        if over > OVERRUN {
            self.complain(
                &format!("{over} ms too late: {asked}"),
                asked.start,
                injected,
            );
        }
    }

    /// What was answered was done once, what was not delivered never, and nothing twice.
    fn check_times(&mut self, asked: &Asked, times: u32, injected: &[Injected]) {
        let (least, most) = match (asked.manner, &*asked.end, &*asked.delivered) {
            (Manner::Durable, "Ok", _) => return self.check_durable(asked, times, injected),
            (Manner::Durable | Manner::Poison, _, "No") => (0, 0),
            (Manner::Durable | Manner::Poison, ..) => return,
            (Manner::Ask, "Ok", _) | (_, "Failed", _) => (1, 1),
            (_, _, "No") => (0, 0),
            _ => (0, 1),
        };
        if times < least || times > most {
            let what = format!("begun {times} times, not {least} to {most}: {asked}");
            self.complain(&what, asked.start, injected);
        }
    }

    /// What always fails becomes a dead letter after its deliveries, unless Redis has lost it, and
    /// nothing else does.
    fn check_dead(&mut self, asked: &[Asked], dead: &[Dead], injected: &[Injected]) {
        let poison = asked.iter().filter(|asked| asked.manner == Manner::Poison);
        let poison: HashMap<_, _> = poison.map(|asked| (asked.number, asked)).collect();
        for dead in dead {
            // One that nobody heard of counts too.
            if !poison.contains_key(&dead.number) || dead.deliveries < DELIVERIES {
                self.complain(&format!("{dead:?} is dead"), 0, injected);
            }
        }
        let dead: HashSet<_> = dead.iter().map(|dead| dead.number).collect();
        for asked in poison.values().filter(|asked| asked.end == "Ok") {
            let is_dead = dead.contains(&asked.number);
            let is_lost = !is_dead && may_be_lost(asked, injected);
            self.durable.poison += 1;
            self.durable.dead += u32::from(is_dead);
            self.durable.poison_lost += u32::from(is_lost);
            if !is_dead && !is_lost {
                let what = format!("kept, always failed, and is not dead: {asked}");
                self.complain(&what, asked.start, injected);
            }
        }
    }

    /// What was kept is handled, unless Redis has lost it.
    fn check_durable(&mut self, asked: &Asked, times: u32, injected: &[Injected]) {
        self.durable.kept += 1;
        self.durable.handled += u32::from(times > 0);
        self.durable.doubled += u32::from(times > 1);
        if times == 0 && may_be_lost(asked, injected) {
            self.durable.lost_by_redis += 1;
        } else if times == 0 {
            self.complain(
                &format!("kept, and never handled: {asked}"),
                asked.start,
                injected,
            );
        }
    }

    /// Every client is answered again, and how soon after each fault.
    fn check_recovery(&mut self, asked: &[Asked], injected: &[Injected], end: u64) {
        let answered = asked
            .iter()
            .filter(|asked| asked.manner == Manner::Ask && asked.end == "Ok");
        let mut ends: Vec<_> = answered
            .clone()
            .map(|a| (a.start, a.start + a.took))
            .collect();
        ends.sort_unstable();
        for (place, fault) in injected.iter().enumerate() {
            let first = ends.partition_point(|(start, _)| *start < fault.to);
            let next = injected.get(place + 1).map_or(u64::MAX, |next| next.from);
            // What another fault has delayed says nothing of this one.
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
                self.complain(
                    &format!("client {client} was not answered again"),
                    end,
                    injected,
                );
            }
        }
    }
}

/// True if Redis lost data after that.
fn may_be_lost(asked: &Asked, injected: &[Injected]) -> bool {
    let is_lost = |fault: &Injected| fault.fault.loses_data() && fault.to >= asked.start;
    injected.iter().any(is_lost)
}

/// True if a process was suspended in that time: it can neither end an ask nor look at a clock.
fn was_suspended(injected: &[Injected], from: u64, to: u64) -> bool {
    let suspends = [
        Fault::ClientSuspended,
        Fault::ActorsSuspended,
        Fault::RedisSetBack,
    ];
    injected
        .iter()
        .any(|fault| suspends.contains(&fault.fault) && fault.from <= to && from <= fault.to + 50)
}

/// What somebody has more of than before.
pub(crate) fn compare(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut compare = |who: &str, before: Holdings, after: Holdings| {
        let most = before.memory + before.memory / 2 + 24 * 1024;
        if after.in_flight > 0 || after.tasks > before.tasks + 3 || after.memory > most {
            complaints.push(format!("{who} had {before:?} and has {after:?}"));
        }
    };
    // Whoever stood by may serve now.
    let serving = before.actors.iter().max_by_key(|actors| actors.tasks);
    for after in &after.actors {
        compare("actors", serving.copied().unwrap_or_default(), *after);
    }
    for (before, after) in before.clients.iter().zip(&after.clients) {
        compare("a client", *before, *after);
    }
    if after.kept > 0 {
        complaints.push(format!("{} durable messages are not handled", after.kept));
    }
    if (before.connections, before.channels) != (after.connections, after.channels) {
        complaints.push(format!(
            "{} connections and {} channels became {} and {}",
            before.connections, before.channels, after.connections, after.channels
        ));
    }
    complaints
}
