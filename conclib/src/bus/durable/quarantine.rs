//! Messages that had been given out when processes ended, and have one delivery left. No I/O.
//!
//! A message that ends its process takes all others along that actors of that process have. The bus
//! counts a delivery for each of them, since it cannot tell which was the cause. So the last
//! delivery is made one at a time, while no actor has another durable message: if the process ends
//! once more, the blame is certain, and the others still have their last delivery.
//!
//! A slow or stuck handler does not hold up the others for ever. A message that has been with its
//! actor for the visibility time is waited for no longer, before and during a delivery alone. And
//! after each of these the others have as much time for themselves.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::transport::stream::{Attempts, EntryId};

/// Most messages that wait here; more stay in the stream, and are found later.
const MOST: usize = 1024;

/// Pause before the next look, if none of them can be delivered now.
const LOOK: Duration = Duration::from_millis(100);

/// Pause before a message is tried again that its actor had no room for, or that the bus
/// has not given out.
const PAUSE: Duration = Duration::from_millis(500);

/// A message that waits to be delivered alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) id: EntryId,
    /// Its deliveries before this one.
    pub(crate) attempts: Attempts,
    pub(crate) urn: String,
    pub(crate) dedup_key: String,
    /// Since when it waits.
    pub(crate) since: Instant,
    /// It is not tried before.
    pub(crate) not_before: Instant,
}

impl Quarantined {
    /// The same, to be tried again after a while.
    pub(crate) fn later(self, now: Instant) -> Self {
        let not_before = now + PAUSE;
        Self { not_before, ..self }
    }
}

/// The messages that actors and lanes hold at a moment.
pub(crate) struct Load<'a> {
    /// The numbers of the messages that actors have.
    pub(crate) in_progress: &'a HashSet<u64>,
    /// Others wait to be given to actors.
    pub(crate) others_wait: bool,
}

/// The messages that may be delivered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// All others, until then.
    Others { until: Instant },
    /// One from here, as soon as actors have nothing else.
    Draining { since: Instant },
    /// The one with this number.
    Alone {
        ticket: u64,
        from: Instant,
        /// Since when the others have waited for that.
        since: Instant,
    },
}

pub(crate) struct Quarantine {
    /// In the order in which they are tried.
    waiting: VecDeque<Quarantined>,
    ids: HashSet<EntryId>,
    /// The number of messages in each scope.
    dedup_keys: HashMap<String, usize>,
    phase: Phase,
    /// Messages with actors that are waited for no longer.
    outlasted: HashSet<u64>,
}

impl Quarantine {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            ids: HashSet::new(),
            dedup_keys: HashMap::new(),
            phase: Phase::Others { until: now },
            outlasted: HashSet::new(),
        }
    }

    /// Puts a message behind those that wait; not if it is there, or there is no room.
    pub(crate) fn add(&mut self, message: Quarantined) {
        if self.waiting.len() < MOST && self.ids.insert(message.id) {
            *self
                .dedup_keys
                .entry(message.dedup_key.clone())
                .or_default() += 1;
            self.waiting.push_back(message);
        }
    }

    /// True if this message waits here.
    pub(crate) fn knows(&self, id: EntryId) -> bool {
        self.ids.contains(&id)
    }

    /// True if a message of this scope waits here: a repetition has to wait with it.
    pub(crate) fn has(&self, dedup_key: &str) -> bool {
        self.dedup_keys.contains_key(dedup_key)
    }

    /// True if nothing waits here, nor is delivered alone.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.admits_others()
    }

    /// The number of messages for which there is room.
    pub(crate) fn room(&self) -> usize {
        MOST - self.waiting.len()
    }

    /// Forgets all that waits: another may have had it meanwhile. It is still in the stream.
    pub(crate) fn clear(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Takes the messages of this scope out.
    pub(crate) fn remove(&mut self, dedup_key: &str) -> Vec<Quarantined> {
        if self.dedup_keys.remove(dedup_key).is_none() {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (taken, rest): (Vec<_>, Vec<_>) = waiting.partition(|one| one.dedup_key == dedup_key);
        self.waiting = rest.into();
        for one in &taken {
            self.ids.remove(&one.id);
        }
        taken
    }

    /// Takes those out that have waited since `then` for an actor that is not there.
    pub(crate) fn remove_missing(
        &mut self,
        then: Instant,
        is_missing: impl Fn(&str) -> bool,
    ) -> Vec<Quarantined> {
        let waiting = self.waiting.iter();
        let missing = waiting.filter(|one| one.since <= then && is_missing(&one.urn));
        let dedup_keys: HashSet<_> = missing.map(|one| one.dedup_key.clone()).collect();
        dedup_keys
            .iter()
            .flat_map(|dedup_key| self.remove(dedup_key))
            .collect()
    }

    /// True while other messages may be given to actors.
    pub(crate) fn admits_others(&self) -> bool {
        matches!(self.phase, Phase::Others { .. })
    }

    /// The messages to be delivered alone now: one and its repetitions. `may` says which of them
    /// can be; `bound` is how long the others wait for one message at most.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        load: &Load<'_>,
        bound: Duration,
        may: impl Fn(&Quarantined) -> bool,
    ) -> Option<Vec<Quarantined>> {
        if let Phase::Alone {
            ticket,
            from,
            since,
        } = self.phase
        {
            let is_over = !load.in_progress.contains(&ticket);
            if !is_over && now < from + bound {
                return None;
            }
            if !is_over {
                self.outlasted.insert(ticket);
            }
            self.phase = Phase::Others {
                until: now + (now - since),
            };
        }
        if let Phase::Others { until } = self.phase {
            let is_free = now >= until || !load.others_wait;
            if self.waiting.is_empty() || !is_free {
                return None;
            }
            self.phase = Phase::Draining { since: now };
        }
        let can = |one: &Quarantined| one.not_before <= now && may(one);
        let Some(dedup_key) = self.waiting.iter().find(|one| can(one)) else {
            self.phase = Phase::Others { until: now + LOOK };
            return None;
        };
        let dedup_key = dedup_key.dedup_key.clone();
        let Phase::Draining { since } = self.phase else {
            return None;
        };
        self.outlasted.retain(|one| load.in_progress.contains(one));
        if now < since + bound && load.in_progress.len() > self.outlasted.len() {
            return None;
        }
        self.outlasted.extend(load.in_progress);
        Some(self.remove(&dedup_key))
    }

    /// Notes that the message that [`next`](Self::next) gave out is with its actor under this number.
    pub(crate) fn has_begun(&mut self, ticket: u64, now: Instant) {
        if let Phase::Draining { since } = self.phase {
            self.phase = Phase::Alone {
                ticket,
                from: now,
                since,
            };
        }
    }

    /// It is over already, or could not be given to its actor.
    pub(crate) fn has_not_begun(&mut self, now: Instant) {
        if let Phase::Draining { since } = self.phase {
            let until = now + (now - since);
            self.phase = Phase::Others { until };
        }
    }

    /// The moment at which there is something to do, whatever happens.
    pub(crate) fn wakes_at(&self, bound: Duration) -> Option<Instant> {
        match self.phase {
            Phase::Others { until } => (!self.waiting.is_empty()).then_some(until),
            Phase::Draining { since } => Some(since + bound),
            Phase::Alone { from, .. } => Some(from + bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn quarantined(number: u64, urn: &str, now: Instant) -> Quarantined {
        Quarantined {
            id: EntryId(number, 0),
            attempts: Attempts::new(2),
            urn: urn.to_owned(),
            dedup_key: format!("dedup_key of {urn}"),
            since: now,
            not_before: now,
        }
    }

    fn with(urns: &[&str]) -> (Quarantine, Instant) {
        let now = Instant::now();
        let mut quarantine = Quarantine::new(now);
        for (number, urn) in (1..).zip(urns) {
            quarantine.add(quarantined(number, urn, now));
        }
        (quarantine, now)
    }

    /// Gives out the next while actors have these, and others wait.
    fn next(quarantine: &mut Quarantine, now: Instant, in_progress: &[u64]) -> Vec<u64> {
        let load = Load {
            in_progress: &in_progress.iter().copied().collect(),
            others_wait: true,
        };
        let next = quarantine.next(now, &load, BOUND, |_| true);
        next.into_iter().flatten().map(|one| one.id.0).collect()
    }

    #[test]
    fn one_is_delivered_at_a_time_while_actors_have_nothing_else() {
        let (mut quarantine, now) = with(&["a", "b"]);
        assert!(quarantine.admits_others() && !quarantine.is_idle());
        assert!(next(&mut quarantine, now, &[7, 8]).is_empty());
        assert!(!quarantine.admits_others());
        assert!(next(&mut quarantine, now + SECOND, &[8]).is_empty());
        assert_eq!(next(&mut quarantine, now + 2 * SECOND, &[]), [1]);
        quarantine.has_begun(9, now + 2 * SECOND);
        assert!(next(&mut quarantine, now + 3 * SECOND, &[9]).is_empty());
        assert!(!quarantine.admits_others());
        // The others have as long as they have waited.
        let over = now + 4 * SECOND;
        assert!(next(&mut quarantine, over, &[]).is_empty());
        assert!(quarantine.admits_others());
        assert_eq!(quarantine.wakes_at(BOUND), Some(over + 4 * SECOND));
        assert!(next(&mut quarantine, over + 3 * SECOND, &[]).is_empty());
        assert_eq!(next(&mut quarantine, over + 4 * SECOND, &[]), [2]);
        quarantine.has_begun(10, over + 4 * SECOND);
        assert!(next(&mut quarantine, over + 4 * SECOND, &[]).is_empty());
        assert!(quarantine.is_idle());
    }

    #[test]
    fn others_do_not_wait_longer_than_the_bound() {
        let (mut quarantine, now) = with(&["a", "b"]);
        assert!(next(&mut quarantine, now, &[7]).is_empty());
        assert_eq!(quarantine.wakes_at(BOUND), Some(now + BOUND));
        // One that is stuck is waited for once, …
        let begun = now + BOUND;
        assert_eq!(next(&mut quarantine, begun, &[7]), [1]);
        quarantine.has_begun(9, begun);
        assert_eq!(quarantine.wakes_at(BOUND), Some(begun + BOUND));
        // … and so is one that is stuck alone.
        let over = begun + BOUND;
        assert!(next(&mut quarantine, over, &[7, 9]).is_empty());
        assert!(quarantine.admits_others());
        let again = over + 2 * BOUND;
        assert!(next(&mut quarantine, again, &[7, 9, 10]).is_empty());
        assert_eq!(next(&mut quarantine, again, &[7, 9]), [2]);
    }

    #[test]
    fn nothing_is_kept_waiting_for_what_cannot_be_delivered() {
        let (mut quarantine, now) = with(&["a", "b", "c"]);
        let in_progress = HashSet::new();
        let load = Load {
            in_progress: &in_progress,
            others_wait: false,
        };
        assert_eq!(quarantine.next(now, &load, BOUND, |_| false), None);
        assert!(quarantine.admits_others());
        let taken = quarantine.next(now, &load, BOUND, |one| one.urn == "b");
        let [taken] = &taken.unwrap()[..] else {
            panic!("one")
        };
        assert_eq!(taken.id, EntryId(2, 0));
        // Its actor has no room.
        quarantine.has_not_begun(now);
        quarantine.add(taken.clone().later(now));
        assert!(quarantine.knows(taken.id) && quarantine.admits_others());
        assert_eq!(next(&mut quarantine, now, &[]), [1]);
        quarantine.has_not_begun(now);
        assert_eq!(next(&mut quarantine, now, &[]), [3]);
        quarantine.has_not_begun(now);
        assert!(next(&mut quarantine, now, &[]).is_empty());
        assert_eq!(next(&mut quarantine, now + PAUSE, &[]), [2]);
    }

    #[test]
    fn repetitions_go_together() {
        let (mut quarantine, now) = with(&["a", "b", "a"]);
        quarantine.add(quarantined(3, "a", now)); // it is there already
        assert!(quarantine.has("dedup_key of a"));
        assert_eq!(next(&mut quarantine, now, &[]), [1, 3]);
        assert!(!quarantine.has("dedup_key of a") && !quarantine.knows(EntryId(3, 0)));
        assert!(quarantine.has("dedup_key of b"));
        quarantine.clear(now);
        assert!(quarantine.is_idle() && quarantine.room() == MOST);
    }

    #[test]
    fn what_waits_for_an_actor_that_never_comes_is_taken_out() {
        let (mut quarantine, now) = with(&["a", "b"]);
        let missing = |quarantine: &mut Quarantine, then| {
            let missing = quarantine.remove_missing(then, |urn| urn == "b");
            missing.iter().map(|one| one.id.0).collect::<Vec<_>>()
        };
        let before = now.checked_sub(SECOND).unwrap();
        assert!(missing(&mut quarantine, before).is_empty());
        assert_eq!(missing(&mut quarantine, now), [2]);
        assert!(missing(&mut quarantine, now).is_empty());
    }

    #[test]
    fn room_is_bounded() {
        let now = Instant::now();
        let mut quarantine = Quarantine::new(now);
        for number in 0..2 * MOST as u64 {
            quarantine.add(quarantined(number, &number.to_string(), now));
        }
        assert_eq!((quarantine.ids.len(), quarantine.room()), (MOST, 0));
        assert_eq!(quarantine.dedup_keys.len(), MOST);
    }
}
