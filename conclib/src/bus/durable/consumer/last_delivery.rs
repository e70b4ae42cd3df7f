//! Messages whose processes have ended: one at a time at their last delivery, and then buried.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::consumer::deliver::deliver;
use crate::bus::durable::consumer::{BATCH_BYTES, Consumer};
use crate::bus::durable::prefetch::{Admission, Delivery, EntrySource, ReceivedMessage};
use crate::bus::durable::quarantine::{Load, Quarantined};
use crate::bus::durable::redelivery::process_end_reason;
use crate::bus::transport::stream::{Attempts, EntryId, StreamEntry};
use crate::error::AskError;
use crate::urn::Urn;

impl Consumer {
    /// Notes messages that are to be delivered alone. They stay in the stream as they are.
    pub(super) async fn put_into_quarantine(&mut self, mut places: Vec<(EntryId, Attempts)>) {
        places.truncate(self.quarantine.room());
        let mut unreadable = Vec::new();
        let mut rest = &places[..];
        while !rest.is_empty() {
            let count = self.mean.frames(BATCH_BYTES, rest.len());
            let (some, behind) = rest.split_at(count);
            let ids: Vec<_> = some.iter().map(|(id, _)| *id).collect();
            let found = match self.transport.read_entries(&ids).await {
                Ok(found) => found,
                Err(why) => return debug!(%why, "what is due cannot be read"),
            };
            let now = Instant::now();
            for kept in found {
                self.mean.learn(kept.frame.len());
                let Some((id, attempts)) = some.iter().find(|(id, _)| *id == kept.id).copied()
                else {
                    continue; // not reached: it was asked for
                };
                match self.read(&kept, attempts.next(), now) {
                    Ok(taken) => self.quarantine.add(quarantined(&taken, now)),
                    Err(_) => unreadable.push((id, attempts)),
                }
            }
            rest = behind;
        }
        // No actor can have had them.
        let idle = self.limits.visibility;
        self.take(&unreadable, idle, EntrySource::Stream).await;
    }

    /// Gives the next message that is to be delivered alone to its actor, when it is its turn.
    pub(super) async fn deliver_alone(&mut self) {
        if self.quarantine.is_idle() || !self.may_offer() {
            return;
        }
        let load = Load {
            in_progress: &self.prefetch.in_progress(),
            others_wait: self.prefetch.has_waiting(),
        };
        let (prefetch, foreign, shared) = (&self.prefetch, &self.foreign, &self.shared);
        let may = |one: &Quarantined| {
            let is_free = !prefetch.has(&one.dedup_key) && !foreign.has(&one.dedup_key);
            is_free && shared.has_actor(&one.urn)
        };
        let bound = self.limits.visibility;
        let next = self.quarantine.next(Instant::now(), &load, bound, may);
        let Some(messages) = next else { return };
        let begun = match self.take_alone(messages).await {
            Some(ticket) => self.offer_alone(ticket).await,
            None => None,
        };
        match begun {
            Some(ticket) => self.quarantine.has_begun(ticket, Instant::now()),
            None => self.quarantine.has_not_begun(Instant::now()),
        }
    }

    /// Ends the waiting of messages whose actors have not come within the visibility time.
    pub(super) async fn give_up_missing_actors(&mut self) {
        let Some(then) = Instant::now().checked_sub(self.limits.visibility) else {
            return;
        };
        let shared = self.shared.clone();
        let is_missing = |urn: &str| !shared.has_actor(urn);
        for message in self.quarantine.remove_missing(then, is_missing) {
            let urn = Urn::unchecked(&message.urn);
            if let Some(ticket) = self.take_alone(vec![message]).await {
                self.answered(ticket, Err(AskError::ActorNotFound { urn }));
            }
        }
    }

    /// Takes a message and its repetitions for a delivery; none if they are over, or have to be tried
    /// again.
    async fn take_alone(&mut self, messages: Vec<Quarantined>) -> Option<u64> {
        let places: Vec<_> = messages.iter().map(|one| (one.id, one.attempts)).collect();
        let taken = self
            .claim_all(&places, Duration::ZERO, Attempts::next)
            .await;
        if let Some(taken) = taken {
            let (fresh, conflicts) = self.take_in(taken);
            let records = self.look_up(fresh.clone()).await;
            let undecided = self.judge_conflicts(conflicts, records.as_ref(), Instant::now());
            if records.is_some() {
                let undecided = undecided.iter();
                let undecided = undecided.map(|taken| (taken.id, taken.attempts.before()));
                self.lay_aside_own(undecided.collect(), Duration::ZERO)
                    .await;
                let mut tickets = fresh.into_iter().map(|(ticket, _)| ticket);
                return tickets.find(|ticket| self.prefetch.delivery(*ticket).is_some());
            }
            for (ticket, _) in fresh {
                if let Some(delivery) = self.prefetch.settle(ticket) {
                    self.prefetch.release(&delivery.ids());
                }
            }
        }
        // No actor had them, whatever the bus may count now.
        self.lay_aside_own(places, Duration::ZERO).await;
        let now = Instant::now();
        for message in messages {
            self.quarantine.add(message.later(now));
        }
        None
    }

    /// Offers a message that was taken to its actor. If that has no room, it waits for its next turn.
    async fn offer_alone(&mut self, ticket: u64) -> Option<u64> {
        let delivery = self.prefetch.delivery(ticket)?;
        if self.may_offer()
            && deliver(&self.shared.registry, &self.ack_channel, ticket, delivery).is_ok()
        {
            return Some(ticket);
        }
        let delivery = self.prefetch.settle(ticket)?;
        self.prefetch.release(&delivery.ids());
        let places = delivery.attempts().into_iter();
        let places: Vec<_> = places.map(|(id, one)| (id, one.before())).collect();
        self.lay_aside_own(places.clone(), Duration::ZERO).await;
        let now = Instant::now();
        let message = quarantined(&delivery.message, now);
        for (id, attempts) in places {
            let one = Quarantined {
                id,
                attempts,
                ..message.clone()
            };
            self.quarantine.add(one.later(now));
        }
        None
    }

    /// Buries messages that were delivered as often as is allowed, and whose processes have not lived
    /// to say how that ended; unless they are over, as their records say.
    pub(super) async fn bury_what_ended_processes(&mut self, places: Vec<(EntryId, Attempts)>) {
        let idle = self.limits.visibility;
        let Some(mut taken) = self.claim_all(&places, idle, |attempts| attempts).await else {
            return; // they are due again
        };
        let mut repetitions = Vec::new();
        for (kept, attempts) in &taken {
            if let Ok(message) = self.read(kept, *attempts, Instant::now()) {
                let waiting = self.quarantine.remove(&message.dedup_key).into_iter();
                repetitions.extend(waiting.map(|one| (one.id, one.attempts)));
            }
        }
        let repetitions = self.claim_all(&repetitions, idle, |attempts| attempts);
        taken.extend(repetitions.await.unwrap_or_default());
        let (fresh, conflicts) = self.take_in(taken);
        let records = self.look_up(fresh.clone()).await;
        self.judge_conflicts(conflicts, records.as_ref(), Instant::now());
        for (ticket, dedup_key) in fresh {
            let Some(delivery) = self.prefetch.settle(ticket) else {
                continue; // it is over
            };
            if records.is_some() && !self.foreign.has(&dedup_key) {
                self.bury_card(delivery);
            } else {
                self.prefetch.release(&delivery.ids()); // they are due again
            }
        }
    }

    fn bury_card(&mut self, delivery: Delivery) {
        let reason = process_end_reason(delivery.message.attempts);
        self.acks.dead(delivery, &AskError::ActorStopped, reason);
    }

    /// Takes messages into the hand, beside the lanes. Returns the numbers and scopes of those that
    /// are not repetitions of others, and the messages that conflict with others.
    fn take_in(
        &mut self,
        taken: Vec<(StreamEntry, Attempts)>,
    ) -> (Vec<(u64, String)>, Vec<ReceivedMessage>) {
        let now = Instant::now();
        let (mut fresh, mut conflicts) = (Vec::new(), Vec::new());
        for (kept, attempts) in taken {
            self.foreign.forget(kept.id);
            let Some(message) = self.read_or_bury(kept, attempts, now) else {
                continue;
            };
            let dedup_key = message.dedup_key.clone();
            match self.prefetch.admit(message, EntrySource::Alone, now) {
                Admission::ActorQueue(ticket) => fresh.push((ticket, dedup_key)),
                Admission::Conflicts(message) => conflicts.push(*message),
                Admission::Duplicate | Admission::Deferred => {}
            }
        }
        (fresh, conflicts)
    }

    /// Takes messages over; none if the bus has not answered.
    async fn claim_all(
        &mut self,
        places: &[(EntryId, Attempts)],
        idle: Duration,
        count: impl Fn(Attempts) -> Attempts,
    ) -> Option<Vec<(StreamEntry, Attempts)>> {
        let mut taken = Vec::new();
        let mut rest = places;
        while !rest.is_empty() {
            let some = self.some_of(rest);
            taken.extend(self.claim(some, idle, &count).await?);
            rest = &rest[some.len()..];
        }
        Some(taken)
    }
}

/// A message that was taken and is to wait for a delivery of its own.
pub(super) fn quarantined(taken: &ReceivedMessage, now: Instant) -> Quarantined {
    Quarantined {
        id: taken.id,
        attempts: taken.attempts.before(),
        urn: taken.urn.clone(),
        dedup_key: taken.dedup_key.clone(),
        since: now,
        not_before: now,
    }
}
