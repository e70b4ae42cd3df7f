//! The backlog: claimed entries are decoded, compared with the cached results and with the messages of
//! other consumers, and then prefetched, held, or quarantined.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::decode::{decode, quarantined};
use crate::bus::durable::consumer::delayed::DelayedMessages;
use crate::bus::durable::consumer::link::{ConsumerLink, PAGE};
use crate::bus::durable::foreign_claims::{ForeignClaims, HeldMessage};
use crate::bus::durable::prefetch::{
    Admission, Delivery, DeliveryTicket, EntrySource, Prefetch, ReceivedMessage, Resumable,
};
use crate::bus::durable::quarantine::Quarantine;
use crate::bus::durable::redelivery::{RedeliveryDecision, decide_redelivery};
use crate::bus::durable::result_cache::CachedResult;
use crate::bus::durable::unconfirmed::UnconfirmedReads;
use crate::bus::link::log_once::Anomaly;
use crate::bus::link::retry::Retry;
use crate::bus::transport::stream::{Attempts, EntryId, PendingEntry, StreamEntry};

/// Cached results by dedup key.
pub(super) type Results = HashMap<String, CachedResult>;

/// The claimed messages of a consumer, and those that wait in the stream for a reason known here.
pub(super) struct Backlog {
    link: Arc<ConsumerLink>,
    pub(super) prefetch: Prefetch,
    pub(super) quarantine: Quarantine,
    pub(super) foreign: ForeignClaims,
    pub(super) delayed: DelayedMessages,
    pub(super) unconfirmed: UnconfirmedReads,
    /// The retry of claiming deferred and scheduled messages.
    pub(super) resume_retry: Retry,
    /// The time of the next look-up of missing actors, if messages wait for some.
    pub(super) next_lookup: Instant,
}

/// Due entries with their deliveries so far, by the decision about them.
#[derive(Default)]
pub(super) struct DueEntries {
    pub(super) deliver: Vec<(EntryId, Attempts)>,
    pub(super) isolate: Vec<(EntryId, Attempts)>,
    pub(super) dead_letter: Vec<(EntryId, Attempts)>,
}

impl Backlog {
    pub(super) fn new(link: Arc<ConsumerLink>) -> Self {
        Self {
            prefetch: Prefetch::default(),
            quarantine: Quarantine::new(Instant::now()),
            foreign: ForeignClaims::default(),
            delayed: DelayedMessages::new(link.clone()),
            unconfirmed: UnconfirmedReads::default(),
            resume_retry: Retry::default(),
            next_lookup: Instant::now(),
            link,
        }
    }

    // ---- entries that are known here

    /// True if more entries may be claimed.
    pub(super) fn has_room(&self, ack: &Acknowledger) -> bool {
        self.known_count(ack) < self.link.limits.max_known && !ack.is_full()
    }

    /// True if new entries may be read: those read before come first. Only new ones are bounded by the
    /// entries that await their redelivery, which are claimed again in any case.
    pub(super) fn has_room_for_new(&self, ack: &Acknowledger) -> bool {
        let known = self.known_count(ack) + self.prefetch.redeliveries.len();
        known < self.link.limits.max_known && !ack.is_full() && self.unconfirmed.is_empty()
    }

    fn known_count(&self, ack: &Acknowledger) -> usize {
        let unconfirmed = self.unconfirmed.len();
        self.prefetch.known_count() + self.foreign.held_count() + ack.claimed().len() + unconfirmed
    }

    /// The numbers of messages that are claimed here, and of those that wait in the stream for a reason known here.
    pub(super) fn counts(&self, ack: &Acknowledger) -> (usize, usize) {
        let deferred = self.prefetch.deferred_count();
        let claimed = self.known_count(ack).saturating_sub(deferred);
        (claimed, deferred + self.prefetch.redeliveries.len())
    }

    /// True if an entry must not be claimed again: it is prefetched, deferred, held for another
    /// consumer, not confirmed yet, or about to be removed.
    pub(super) fn knows(&self, ack: &Acknowledger, id: EntryId) -> bool {
        let is_claimed = self.prefetch.knows(id) || ack.claimed().contains(&id);
        is_claimed || self.foreign.holds(id) || self.unconfirmed.contains(id)
    }

    /// The entries whose claims are to be extended.
    pub(super) fn claimed_entries(&self, ack: &Acknowledger) -> Vec<EntryId> {
        let own = self.prefetch.claimed().chain(self.foreign.held_entries());
        let own = own.chain(self.unconfirmed.ids());
        own.chain(ack.claimed().iter().copied()).collect()
    }

    /// Forgets for what reason entries waited in the stream: they were claimed.
    pub(super) fn claimed(&mut self, entries: &[(EntryId, Attempts)]) {
        let ids: Vec<_> = entries.iter().map(|(id, _)| *id).collect();
        self.foreign.unhold(&ids);
        for id in ids {
            self.prefetch.redeliveries.forget(id);
        }
    }

    /// Decides about due entries that are not known here.
    pub(super) fn decide_redeliveries(
        &self,
        ack: &Acknowledger,
        due: &[PendingEntry],
    ) -> DueEntries {
        let mut decided = DueEntries::default();
        let redeliveries = &self.prefetch.redeliveries;
        let waits = |id| self.quarantine.knows(id) || redeliveries.is_scheduled(id);
        let is_known = |id| self.knows(ack, id) || waits(id);
        for pending in due.iter().filter(|due| !is_known(due.id)) {
            let id = pending.id;
            let known = redeliveries.attempts(id);
            match decide_redelivery(pending, known, self.link.limits.max_deliveries) {
                RedeliveryDecision::Deliver(attempts) => decided.deliver.push((id, attempts)),
                RedeliveryDecision::DeliverIsolated(attempts) => {
                    decided.isolate.push((id, attempts));
                }
                RedeliveryDecision::DeadLetter(attempts) => {
                    decided.dead_letter.push((id, attempts));
                }
            }
        }
        decided
    }

    /// Writes the deliveries of entries to the stream that were claimed just now.
    pub(super) async fn set_own_attempts(&self, entries: Vec<(EntryId, Attempts)>) {
        self.link.set_own_attempts(entries).await;
    }

    // ---- deferred messages

    /// The deferred messages to be claimed now. Other consumers' messages among them are no longer
    /// deferred: they are due when their consumers stop sending heartbeats.
    pub(super) fn resumable(&mut self) -> Vec<Resumable> {
        let resumable = self.prefetch.resumable();
        self.without_foreign(resumable)
    }

    pub(super) fn without_foreign(&mut self, mut messages: Vec<Resumable>) -> Vec<Resumable> {
        messages.retain(|message| {
            let is_foreign = self.foreign.has_entry(message.id);
            if is_foreign {
                self.prefetch.resumed(message);
            }
            !is_foreign
        });
        messages
    }

    /// The time of the next look-up of missing actors.
    pub(super) fn next_lookup(&self) -> Option<Instant> {
        self.prefetch.waits_for_actors().then_some(self.next_lookup)
    }

    pub(super) fn resumed(&mut self, messages: &[Resumable]) {
        for message in messages {
            self.prefetch.resumed(message);
        }
    }

    // ---- admission

    /// Admits claimed entries. False if their cached results cannot be read: then they are deferred.
    pub(super) async fn admit(
        &mut self,
        ack: &mut Acknowledger,
        entries: Vec<(StreamEntry, Attempts)>,
        source: EntrySource,
    ) -> bool {
        let now = Instant::now();
        let mut fresh = Vec::new();
        let mut undelivered = Vec::new();
        let mut conflicts = Vec::new();
        let (entries, delayed) = self.split_delayed(entries, now);
        undelivered.extend(self.delay(delayed, now).await);
        for (entry, attempts) in entries {
            let Some(message) = self.decode_claimed(ack, entry, attempts, now) else {
                continue;
            };
            let (id, dedup_key) = (message.id, message.dedup_key.clone());
            if self.quarantine.has_key(&dedup_key) {
                undelivered.push((id, attempts.undelivered()));
                self.quarantine.add(quarantined(&message, now));
                continue;
            }
            if let Some(attempts) = self.wait_with_earlier(&message) {
                undelivered.push((id, attempts));
                continue;
            }
            match self.prefetch.admit(message, source) {
                Admission::Prefetched(ticket) => fresh.push((ticket, dedup_key)),
                Admission::Duplicate => {}
                Admission::Conflict(message) => conflicts.push(*message),
                Admission::Deferred => undelivered.push((id, attempts.undelivered())),
            }
        }
        let (foreign, fresh): (Vec<_>, Vec<_>) = fresh
            .into_iter()
            .partition(|(_, dedup_key)| self.foreign.has_key(dedup_key));
        for (ticket, _) in foreign {
            undelivered.extend(self.hold_for_other_consumer(ticket, now));
        }
        let tickets: Vec<_> = fresh.iter().map(|(ticket, _)| *ticket).collect();
        let results = self.look_up(ack, fresh).await;
        for message in self.judge_conflicts(ack, conflicts, results.as_ref()) {
            let attempts = message.attempts.undelivered();
            self.prefetch.redeliveries.remember(message.id, attempts);
            undelivered.push((message.id, attempts));
        }
        if results.is_none() {
            self.prefetch.defer_again(&tickets);
            self.resume_retry.has_failed(Instant::now());
        }
        self.link.set_attempts(undelivered).await;
        results.is_some()
    }

    /// Admits claimed entries for isolated deliveries. Returns the messages that are neither duplicates
    /// nor in conflict with others, and those in conflict.
    pub(super) fn admit_isolated(
        &mut self,
        ack: &mut Acknowledger,
        entries: Vec<(StreamEntry, Attempts)>,
    ) -> (Vec<(DeliveryTicket, String)>, Vec<ReceivedMessage>) {
        let now = Instant::now();
        let (mut fresh, mut conflicts) = (Vec::new(), Vec::new());
        for (entry, attempts) in entries {
            let Some(message) = self.decode_claimed(ack, entry, attempts, now) else {
                continue;
            };
            let dedup_key = message.dedup_key.clone();
            match self.prefetch.admit(message, EntrySource::Isolated) {
                Admission::Prefetched(ticket) => fresh.push((ticket, dedup_key)),
                Admission::Conflict(message) => conflicts.push(*message),
                Admission::Duplicate | Admission::Deferred => {}
            }
        }
        (fresh, conflicts)
    }

    /// Judges messages that have the dedup key of a prefetched one and other contents. The prefetched
    /// message came first, unless both came together and a cached result shows that the key belongs to
    /// a third one. Returns the messages that cannot be judged yet: they are due again.
    pub(super) fn judge_conflicts(
        &mut self,
        ack: &mut Acknowledger,
        conflicts: Vec<ReceivedMessage>,
        results: Option<&Results>,
    ) -> Vec<ReceivedMessage> {
        let mut undecided = Vec::new();
        for message in conflicts {
            let result = results.and_then(|results| results.get(&message.dedup_key));
            if let Some(result) = result {
                ack.has_result(Delivery::new(message), result);
            } else if results.is_some() && !self.foreign.has_key(&message.dedup_key) {
                ack.key_conflict(Delivery::new(message));
            } else {
                undecided.push(message);
            }
        }
        undecided
    }

    /// Acknowledges messages that have a cached result, and returns those results; `None` if the bus
    /// has not answered.
    pub(super) async fn look_up(
        &mut self,
        ack: &mut Acknowledger,
        fresh: Vec<(DeliveryTicket, String)>,
    ) -> Option<Results> {
        let mut results = Results::new();
        let mut unknown = Vec::new();
        for (ticket, dedup_key) in fresh {
            match ack.result_of(&dedup_key) {
                Some(result) => {
                    self.has_result(ack, ticket, &result);
                    results.insert(dedup_key, result);
                }
                None => unknown.push((ticket, dedup_key)),
            }
        }
        if unknown.is_empty() {
            return Some(results);
        }
        let dedup_keys = unknown.iter().map(|(_, key)| key.clone()).collect();
        let cached = match self.link.transport.cached_results(dedup_keys).await {
            Ok(cached) => cached,
            Err(error) => {
                debug!(%error, "cannot read the cached results of durable messages");
                return None;
            }
        };
        for ((ticket, dedup_key), encoded) in unknown.into_iter().zip(cached) {
            let Some(encoded) = encoded else { continue };
            match CachedResult::decode(&encoded) {
                Ok(result) => {
                    self.has_result(ack, ticket, &result);
                    results.insert(dedup_key, result);
                }
                Err(problem) => self.link.log.record(Anomaly::UnreadableResult, &problem),
            }
        }
        Some(results)
    }

    fn has_result(
        &mut self,
        ack: &mut Acknowledger,
        ticket: DeliveryTicket,
        result: &CachedResult,
    ) {
        if let Some(delivery) = self.prefetch.remove(ticket) {
            ack.has_result(delivery, result);
        }
    }

    /// Holds a message until other consumers have acknowledged its duplicates. Its entries stay claimed
    /// meanwhile; returns them with the deliveries so far.
    fn hold_for_other_consumer(
        &mut self,
        ticket: DeliveryTicket,
        now: Instant,
    ) -> Vec<(EntryId, Attempts)> {
        let Some(delivery) = self.prefetch.remove(ticket) else {
            return Vec::new();
        };
        let entries = delivery.undelivered();
        for (id, attempts) in &entries {
            let held = HeldMessage {
                id: *id,
                attempts: *attempts,
                dedup_key: delivery.message.dedup_key.clone(),
            };
            self.foreign.hold(held, now);
        }
        entries
    }

    /// Removes the claims of other consumers that have ended, among these entries.
    pub(super) async fn refresh_foreign_claims(&mut self, ids: &[EntryId]) {
        let alive = self.link.alive_within();
        for ids in ids.chunks(PAGE) {
            match self.link.transport.still_foreign(ids, alive).await {
                Ok(still) => {
                    let ended = ids.iter().filter(|id| !still.contains(id));
                    ended.for_each(|id| self.foreign.remove(*id));
                }
                Err(error) => return debug!(%error, "cannot list other consumers' claims"),
            }
        }
    }

    /// Decodes a claimed entry. One that cannot be handled becomes a dead letter.
    fn decode_claimed(
        &mut self,
        ack: &mut Acknowledger,
        entry: StreamEntry,
        attempts: Attempts,
        now: Instant,
    ) -> Option<ReceivedMessage> {
        self.foreign.remove(entry.id);
        match decode(&self.link, &entry, attempts, now) {
            Ok(message) => Some(message),
            Err(error) => {
                self.link.log.record(Anomaly::UnreadableDurable, &error);
                self.prefetch.redeliveries.forget(entry.id);
                ack.unreadable(entry, attempts, &error);
                None
            }
        }
    }
}
