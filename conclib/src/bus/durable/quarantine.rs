//! Messages with one delivery left, after processes ended during earlier ones. No I/O.
//!
//! A message that ends its process also ends the deliveries of all other messages that actors of that
//! process have. The bus counts a delivery for each of them, since it cannot tell which was the
//! cause. So last deliveries are isolated: made one at a time, while no actor has another durable
//! message. If the process ends once more, the cause is certain, and the others still have their last
//! delivery.
//!
//! A slow or stuck handler does not block other messages for ever. An isolated delivery, and the
//! deliveries that it waits for, are waited for no longer than the visibility time. After each
//! isolated delivery, regular deliveries have as much time as they have waited.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::durable::prefetch::DeliveryTicket;
use crate::bus::transport::stream::{Attempts, EntryId};

/// The maximum number of quarantined messages; others stay in the stream, and are found later.
const MAX_MESSAGES: usize = 1024;

/// The pause before the next check, if no message can be delivered now.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The pause before the next attempt with a message that its actor had no room for, or that could not
/// be claimed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A message that waits for an isolated delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) id: EntryId,
    /// The deliveries before the next one.
    pub(crate) attempts: Attempts,
    pub(crate) urn: String,
    pub(crate) dedup_key: String,
    /// The earliest time of the next attempt.
    pub(crate) not_before: Instant,
}

impl Quarantined {
    /// The same message, with a pause before the next attempt.
    pub(crate) fn later(self, now: Instant) -> Self {
        let not_before = now + RETRY_PAUSE;
        Self { not_before, ..self }
    }
}

/// The regular deliveries at a moment.
pub(crate) struct RegularLoad<'a> {
    /// The messages that actors have.
    pub(crate) with_actors: &'a HashSet<DeliveryTicket>,
    /// Messages wait for actors, or for room.
    pub(crate) has_waiting: bool,
}

/// The deliveries that may begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QuarantinePhase {
    /// Regular deliveries; isolated ones not before `until`, unless no regular one waits.
    Regular { until: Instant },
    /// An isolated delivery, as soon as actors have no other message. Regular ones wait since then.
    Draining { since: Instant },
    /// None: an isolated delivery is in progress.
    Isolated {
        ticket: DeliveryTicket,
        from: Instant,
        /// Since when regular deliveries wait.
        since: Instant,
    },
}

pub(crate) struct Quarantine {
    /// The messages in the order of their attempts.
    waiting: VecDeque<Quarantined>,
    ids: HashSet<EntryId>,
    /// The number of messages with each dedup key.
    dedup_keys: HashMap<String, usize>,
    phase: QuarantinePhase,
    /// Deliveries that have taken too long, and are waited for no longer.
    outlasted: HashSet<DeliveryTicket>,
}

impl Quarantine {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            ids: HashSet::new(),
            dedup_keys: HashMap::new(),
            phase: QuarantinePhase::Regular { until: now },
            outlasted: HashSet::new(),
        }
    }

    /// Appends a message, unless it is present or there is no room.
    pub(crate) fn add(&mut self, message: Quarantined) {
        if self.waiting.len() < MAX_MESSAGES && self.ids.insert(message.id) {
            *self
                .dedup_keys
                .entry(message.dedup_key.clone())
                .or_default() += 1;
            self.waiting.push_back(message);
        }
    }

    /// True if this entry is quarantined.
    pub(crate) fn knows(&self, id: EntryId) -> bool {
        self.ids.contains(&id)
    }

    /// True if a message with this dedup key is quarantined: duplicates have to wait with it.
    pub(crate) fn has_key(&self, dedup_key: &str) -> bool {
        self.dedup_keys.contains_key(dedup_key)
    }

    /// True if no message is quarantined, and no isolated delivery is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.allows_regular()
    }

    /// The number of messages that can be added.
    pub(crate) fn room(&self) -> usize {
        MAX_MESSAGES - self.waiting.len()
    }

    /// Removes all messages: another consumer may have claimed them since. They are still in the stream.
    pub(crate) fn clear(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Removes the messages with this dedup key.
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

    /// Removes the messages whose actors are absent.
    pub(crate) fn remove_absent(&mut self, is_absent: impl Fn(&str) -> bool) -> Vec<Quarantined> {
        let waiting = self.waiting.iter();
        let absent = waiting.filter(|one| is_absent(&one.urn));
        let dedup_keys: HashSet<_> = absent.map(|one| one.dedup_key.clone()).collect();
        dedup_keys
            .iter()
            .flat_map(|dedup_key| self.remove(dedup_key))
            .collect()
    }

    /// True while regular deliveries may begin.
    pub(crate) fn allows_regular(&self) -> bool {
        matches!(self.phase, QuarantinePhase::Regular { .. })
    }

    /// Removes the message whose isolated delivery is to begin now, and its duplicates. `can_deliver`
    /// decides which messages are considered; `max_wait` bounds the wait for one delivery.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        load: &RegularLoad<'_>,
        max_wait: Duration,
        can_deliver: impl Fn(&Quarantined) -> bool,
    ) -> Option<Vec<Quarantined>> {
        if let QuarantinePhase::Isolated {
            ticket,
            from,
            since,
        } = self.phase
        {
            let is_over = !load.with_actors.contains(&ticket);
            if !is_over && now < from + max_wait {
                return None;
            }
            if !is_over {
                self.outlasted.insert(ticket);
            }
            self.phase = QuarantinePhase::Regular {
                until: now + (now - since),
            };
        }
        if let QuarantinePhase::Regular { until } = self.phase {
            let is_free = now >= until || !load.has_waiting;
            if self.waiting.is_empty() || !is_free {
                return None;
            }
            self.phase = QuarantinePhase::Draining { since: now };
        }
        let can = |one: &Quarantined| one.not_before <= now && can_deliver(one);
        let Some(dedup_key) = self.waiting.iter().find(|one| can(one)) else {
            self.phase = QuarantinePhase::Regular {
                until: now + CHECK_INTERVAL,
            };
            return None;
        };
        let dedup_key = dedup_key.dedup_key.clone();
        let QuarantinePhase::Draining { since } = self.phase else {
            return None;
        };
        self.outlasted.retain(|one| load.with_actors.contains(one));
        if now < since + max_wait && load.with_actors.len() > self.outlasted.len() {
            return None;
        }
        self.outlasted.extend(load.with_actors);
        Some(self.remove(&dedup_key))
    }

    /// The actor has accepted the message that [`next`](Self::next) returned, under this ticket.
    pub(crate) fn has_begun(&mut self, ticket: DeliveryTicket, now: Instant) {
        if let QuarantinePhase::Draining { since } = self.phase {
            self.phase = QuarantinePhase::Isolated {
                ticket,
                from: now,
                since,
            };
        }
    }

    /// The message that [`next`](Self::next) returned could not be delivered, or need not be.
    pub(crate) fn has_not_begun(&mut self, now: Instant) {
        if let QuarantinePhase::Draining { since } = self.phase {
            let until = now + (now - since);
            self.phase = QuarantinePhase::Regular { until };
        }
    }

    /// The time at which [`next`](Self::next) is to be called again, whatever else happens.
    pub(crate) fn wakes_at(&self, max_wait: Duration) -> Option<Instant> {
        match self.phase {
            QuarantinePhase::Regular { until } => (!self.waiting.is_empty()).then_some(until),
            QuarantinePhase::Draining { since } => Some(since + max_wait),
            QuarantinePhase::Isolated { from, .. } => Some(from + max_wait),
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
            dedup_key: format!("key of {urn}"),
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

    /// The next isolated delivery, while actors have these messages and regular ones wait.
    fn next(quarantine: &mut Quarantine, now: Instant, with_actors: &[u64]) -> Vec<u64> {
        let load = RegularLoad {
            with_actors: &with_actors.iter().copied().map(DeliveryTicket).collect(),
            has_waiting: true,
        };
        let next = quarantine.next(now, &load, BOUND, |_| true);
        next.into_iter().flatten().map(|one| one.id.0).collect()
    }

    #[test]
    fn isolated_deliveries_begin_while_actors_have_no_other_message() {
        let (mut quarantine, now) = with(&["a", "b"]);
        assert!(quarantine.allows_regular() && !quarantine.is_idle());
        assert!(next(&mut quarantine, now, &[7, 8]).is_empty());
        assert!(!quarantine.allows_regular());
        assert!(next(&mut quarantine, now + SECOND, &[8]).is_empty());
        assert_eq!(next(&mut quarantine, now + 2 * SECOND, &[]), [1]);
        quarantine.has_begun(DeliveryTicket(9), now + 2 * SECOND);
        assert!(next(&mut quarantine, now + 3 * SECOND, &[9]).is_empty());
        assert!(!quarantine.allows_regular());
        // Regular deliveries have as long as they have waited.
        let over = now + 4 * SECOND;
        assert!(next(&mut quarantine, over, &[]).is_empty());
        assert!(quarantine.allows_regular());
        assert_eq!(quarantine.wakes_at(BOUND), Some(over + 4 * SECOND));
        assert!(next(&mut quarantine, over + 3 * SECOND, &[]).is_empty());
        assert_eq!(next(&mut quarantine, over + 4 * SECOND, &[]), [2]);
        quarantine.has_begun(DeliveryTicket(10), over + 4 * SECOND);
        assert!(next(&mut quarantine, over + 4 * SECOND, &[]).is_empty());
        assert!(quarantine.is_idle());
    }

    #[test]
    fn regular_deliveries_wait_no_longer_than_the_bound() {
        let (mut quarantine, now) = with(&["a", "b"]);
        assert!(next(&mut quarantine, now, &[7]).is_empty());
        assert_eq!(quarantine.wakes_at(BOUND), Some(now + BOUND));
        // A stuck delivery is waited for once, …
        let begun = now + BOUND;
        assert_eq!(next(&mut quarantine, begun, &[7]), [1]);
        quarantine.has_begun(DeliveryTicket(9), begun);
        assert_eq!(quarantine.wakes_at(BOUND), Some(begun + BOUND));
        // … and so is a stuck isolated one.
        let over = begun + BOUND;
        assert!(next(&mut quarantine, over, &[7, 9]).is_empty());
        assert!(quarantine.allows_regular());
        let again = over + 2 * BOUND;
        assert!(next(&mut quarantine, again, &[7, 9, 10]).is_empty());
        assert_eq!(next(&mut quarantine, again, &[7, 9]), [2]);
    }

    #[test]
    fn undeliverable_messages_block_no_regular_delivery() {
        let (mut quarantine, now) = with(&["a", "b", "c"]);
        let with_actors = HashSet::new();
        let load = RegularLoad {
            with_actors: &with_actors,
            has_waiting: false,
        };
        assert_eq!(quarantine.next(now, &load, BOUND, |_| false), None);
        assert!(quarantine.allows_regular());
        let taken = quarantine.next(now, &load, BOUND, |one| one.urn == "b");
        let [taken] = &taken.unwrap()[..] else {
            panic!("one message")
        };
        assert_eq!(taken.id, EntryId(2, 0));
        // The actor has no room.
        quarantine.has_not_begun(now);
        quarantine.add(taken.clone().later(now));
        assert!(quarantine.knows(taken.id) && quarantine.allows_regular());
        assert_eq!(next(&mut quarantine, now, &[]), [1]);
        quarantine.has_not_begun(now);
        assert_eq!(next(&mut quarantine, now, &[]), [3]);
        quarantine.has_not_begun(now);
        assert!(next(&mut quarantine, now, &[]).is_empty());
        assert_eq!(next(&mut quarantine, now + RETRY_PAUSE, &[]), [2]);
    }

    #[test]
    fn duplicates_are_taken_together() {
        let (mut quarantine, now) = with(&["a", "b", "a"]);
        quarantine.add(quarantined(3, "a", now)); // present already
        assert!(quarantine.has_key("key of a"));
        assert_eq!(next(&mut quarantine, now, &[]), [1, 3]);
        assert!(!quarantine.has_key("key of a") && !quarantine.knows(EntryId(3, 0)));
        assert!(quarantine.has_key("key of b"));
        quarantine.clear(now);
        assert!(quarantine.is_idle() && quarantine.room() == MAX_MESSAGES);
    }

    #[test]
    fn messages_for_absent_actors_are_removed() {
        let (mut quarantine, now) = with(&["a", "b"]);
        let absent = |quarantine: &mut Quarantine| {
            let absent = quarantine.remove_absent(|urn| urn == "b");
            absent.iter().map(|one| one.id.0).collect::<Vec<_>>()
        };
        assert_eq!(absent(&mut quarantine), [2]);
        assert!(absent(&mut quarantine).is_empty());
        assert_eq!(next(&mut quarantine, now, &[]), [1]);
    }

    #[test]
    fn number_of_messages_is_bounded() {
        let now = Instant::now();
        let mut quarantine = Quarantine::new(now);
        for number in 0..2 * MAX_MESSAGES as u64 {
            quarantine.add(quarantined(number, &number.to_string(), now));
        }
        assert_eq!((quarantine.ids.len(), quarantine.room()), (MAX_MESSAGES, 0));
        assert_eq!(quarantine.dedup_keys.len(), MAX_MESSAGES);
    }
}
