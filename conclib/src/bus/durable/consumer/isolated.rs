//! Isolated last deliveries of messages whose processes have ended, and their dead letters.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::consumer::Consumer;
use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::decode::{decode, quarantined};
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::consumer::prefetcher::Prefetcher;
use crate::bus::durable::prefetch::DeliveryTicket;
use crate::bus::durable::quarantine::{Quarantined, RegularLoad};
use crate::bus::durable::redelivery::process_end_reason;
use crate::bus::transport::stream::{Attempts, EntryId};
use crate::error::AskError;
use crate::urn::Urn;

impl Fetcher {
    /// Quarantines messages for isolated deliveries. They stay in the stream as they are.
    pub(super) async fn quarantine(
        &mut self,
        prefetch: &mut Prefetcher,
        ack: &mut Acknowledger,
        mut entries: Vec<(EntryId, Attempts)>,
    ) {
        entries.truncate(prefetch.quarantine.room());
        let ids: Vec<_> = entries.iter().map(|(id, _)| *id).collect();
        let mut unreadable = Vec::new();
        let mut rest = &ids[..];
        while !rest.is_empty() {
            let (found, behind) = match self.read_batch(rest).await {
                Ok(found) => found,
                Err(error) => return debug!(%error, "cannot read due durable messages"),
            };
            let now = Instant::now();
            for entry in found {
                let attempts = entries.iter().find(|(id, _)| *id == entry.id);
                let Some((id, attempts)) = attempts.copied() else {
                    continue; // a bus that returns other entries than those asked for
                };
                match decode(&self.link, &entry, attempts.next(), now) {
                    Ok(message) => prefetch.quarantine.add(quarantined(&message, now)),
                    Err(_) => unreadable.push((id, attempts)),
                }
            }
            rest = behind;
        }
        // No actor can have had these: they become dead letters at once.
        let idle = self.link.limits.visibility;
        self.claim_messages(prefetch, ack, &unreadable, idle).await;
    }

    /// Claims a quarantined message and its duplicates for a delivery. `None` if they have a cached
    /// result, or could not be claimed and are quarantined again.
    pub(super) async fn claim_quarantined(
        &mut self,
        prefetch: &mut Prefetcher,
        ack: &mut Acknowledger,
        messages: Vec<Quarantined>,
    ) -> Option<DeliveryTicket> {
        let entries: Vec<_> = messages.iter().map(|one| (one.id, one.attempts)).collect();
        let claimed = self
            .claim_all(&entries, Duration::ZERO, Attempts::next)
            .await;
        if let Some(claimed) = claimed {
            let (fresh, conflicts) = prefetch.admit_isolated(ack, claimed);
            let results = prefetch.look_up(ack, fresh.clone()).await;
            let now = Instant::now();
            let undecided = prefetch.judge_conflicts(ack, conflicts, results.as_ref(), now);
            if results.is_some() {
                let undecided = undecided.iter();
                let undecided =
                    undecided.map(|message| (message.id, message.attempts.undelivered()));
                prefetch.set_own_attempts(undecided.collect()).await;
                let mut tickets = fresh.into_iter().map(|(ticket, _)| ticket);
                return tickets.find(|ticket| prefetch.messages.get(*ticket).is_some());
            }
            for (ticket, _) in fresh {
                prefetch.messages.remove(ticket);
            }
        }
        // No actor had them, even if the bus counts a delivery by now.
        prefetch.set_own_attempts(entries).await;
        let now = Instant::now();
        for message in messages {
            prefetch.quarantine.add(message.later(now));
        }
        None
    }

    /// Turns messages into dead letters that were delivered as often as is allowed, and whose processes
    /// ended before they could report the outcome; unless they have a cached result.
    pub(super) async fn dead_letter_process_ends(
        &mut self,
        prefetch: &mut Prefetcher,
        ack: &mut Acknowledger,
        entries: Vec<(EntryId, Attempts)>,
    ) {
        let idle = self.link.limits.visibility;
        let unchanged = |attempts| attempts;
        let Some(mut claimed) = self.claim_all(&entries, idle, unchanged).await else {
            return; // they are due again
        };
        let mut duplicates = Vec::new();
        for (entry, attempts) in &claimed {
            if let Ok(message) = decode(&self.link, entry, *attempts, Instant::now()) {
                let quarantined = prefetch.quarantine.remove(&message.dedup_key).into_iter();
                duplicates.extend(quarantined.map(|one| (one.id, one.attempts)));
            }
        }
        let duplicates = self.claim_all(&duplicates, idle, unchanged).await;
        claimed.extend(duplicates.unwrap_or_default());
        let (fresh, conflicts) = prefetch.admit_isolated(ack, claimed);
        let results = prefetch.look_up(ack, fresh.clone()).await;
        prefetch.judge_conflicts(ack, conflicts, results.as_ref(), Instant::now());
        for (ticket, dedup_key) in fresh {
            let Some(delivery) = prefetch.messages.remove(ticket) else {
                continue; // acknowledged, since it has a cached result
            };
            // Otherwise they are due again.
            if results.is_some() && !prefetch.foreign.has_key(&dedup_key) {
                let reason = process_end_reason(delivery.message.attempts);
                ack.dead_letter(delivery, &AskError::ActorStopped, reason);
            }
        }
    }
}

impl Consumer {
    /// Begins the next isolated delivery, if it may begin now.
    pub(super) async fn deliver_isolated(&mut self) {
        if self.prefetch.quarantine.is_idle() || !self.deliver.may_deliver() {
            return;
        }
        let Some(messages) = self.next_isolated() else {
            return;
        };
        let claimed = self
            .fetch
            .claim_quarantined(&mut self.prefetch, &mut self.ack, messages);
        let begun = match claimed.await {
            Some(ticket)
                if self
                    .deliver
                    .deliver_isolated(&self.prefetch.messages, ticket) =>
            {
                Some(ticket)
            }
            Some(ticket) => {
                self.prefetch.quarantine_again(ticket).await;
                None
            }
            None => None,
        };
        match begun {
            Some(ticket) => self.prefetch.quarantine.has_begun(ticket, Instant::now()),
            None => self.prefetch.quarantine.has_not_begun(Instant::now()),
        }
    }

    /// The quarantined message to be delivered now, with its duplicates.
    fn next_isolated(&mut self) -> Option<Vec<Quarantined>> {
        let Prefetcher {
            messages,
            quarantine,
            foreign,
            ..
        } = &mut self.prefetch;
        let load = RegularLoad {
            with_actors: &messages.with_actors(),
            has_waiting: messages.has_waiting(),
        };
        let shared = &self.link.shared;
        let can_deliver = |one: &Quarantined| {
            let is_free = !messages.has_key(&one.dedup_key) && !foreign.has_key(&one.dedup_key);
            is_free && shared.has_actor(&one.urn)
        };
        let max_wait = self.link.limits.visibility;
        quarantine.next(Instant::now(), &load, max_wait, can_deliver)
    }

    /// Ends the wait of quarantined messages whose actors have been missing for the visibility time.
    pub(super) async fn fail_missing_actors(&mut self) {
        let Some(then) = Instant::now().checked_sub(self.link.limits.visibility) else {
            return;
        };
        let shared = self.link.shared.clone();
        let is_missing = |urn: &str| !shared.has_actor(urn);
        for message in self.prefetch.quarantine.remove_missing(then, is_missing) {
            let urn = Urn::unchecked(&message.urn);
            let claimed =
                self.fetch
                    .claim_quarantined(&mut self.prefetch, &mut self.ack, vec![message]);
            if let Some(ticket) = claimed.await {
                let outcome = Err(AskError::ActorNotFound { urn });
                let messages = &mut self.prefetch.messages;
                self.deliver
                    .complete(messages, &mut self.ack, ticket, outcome);
            }
        }
    }
}

impl Prefetcher {
    /// Quarantines a claimed message again that its actor has not accepted.
    async fn quarantine_again(&mut self, ticket: DeliveryTicket) {
        let Some(delivery) = self.messages.remove(ticket) else {
            return;
        };
        let entries = delivery.undelivered();
        self.set_own_attempts(entries.clone()).await;
        let now = Instant::now();
        let message = quarantined(&delivery.message, now);
        for (id, attempts) in entries {
            let one = Quarantined {
                id,
                attempts,
                ..message.clone()
            };
            self.quarantine.add(one.later(now));
        }
    }
}
