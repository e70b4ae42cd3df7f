//! Isolated last deliveries of messages during whose earlier ones processes ended, and their dead
//! letters.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::consumer::Consumer;
use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::decode::{decode, quarantined};
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::due::{DueTime, judge_due};
use crate::bus::durable::prefetch::{DeliveryTicket, ReceivedMessage};
use crate::bus::durable::quarantine::{Quarantined, RegularLoad};
use crate::bus::durable::redelivery::process_end_reason;
use crate::bus::transport::stream::{Attempts, EntryId, StreamEntry};
use crate::error::AskError;

impl Fetcher {
    /// Quarantines messages for isolated deliveries. They stay in the stream as they are. Those that are
    /// claimed, since they are unreadable, have had no heartbeat for `idle`.
    pub(super) async fn quarantine(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        mut entries: Vec<(EntryId, Attempts)>,
        idle: Duration,
    ) {
        entries.truncate(backlog.quarantine.room());
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
                let due = judge_due(entry.options.due, self.link.bus_time(now));
                if let DueTime::Later(due) = due {
                    let due = self.link.due_moment(due, now);
                    backlog.prefetch.redeliveries.schedule(id, attempts, due);
                    continue;
                }
                match decode(&self.link, &entry, attempts.next(), now) {
                    Ok(message) if !self.link.shared.has_actor(&message.urn) => {
                        let prefetch = &mut backlog.prefetch;
                        prefetch.defer_without_actor(&message.urn, id, attempts, now);
                    }
                    Ok(message) => backlog.quarantine.add(quarantined(&message, now)),
                    Err(_) => unreadable.push((id, attempts)),
                }
            }
            rest = behind;
        }
        // No actor can have had these: they become dead letters at once.
        self.claim_messages(backlog, ack, &unreadable, idle).await;
    }

    /// Claims a quarantined message and its duplicates for a delivery. `None` if they have a cached
    /// result, or could not be claimed and are quarantined again.
    pub(super) async fn claim_quarantined(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        messages: Vec<Quarantined>,
    ) -> Option<DeliveryTicket> {
        let entries: Vec<_> = messages.iter().map(|one| (one.id, one.attempts)).collect();
        let claimed = self
            .claim_all(&entries, Duration::ZERO, Attempts::next)
            .await;
        if let Some(claimed) = claimed {
            let (fresh, conflicts) = backlog.admit_isolated(ack, claimed);
            let results = backlog.look_up(ack, fresh.clone()).await;
            let undecided = backlog.judge_conflicts(ack, conflicts, results.as_ref());
            if results.is_some() {
                let undecided = undecided.iter();
                let undecided =
                    undecided.map(|message| (message.id, message.attempts.undelivered()));
                backlog.set_own_attempts(undecided.collect()).await;
                let mut tickets = fresh.into_iter().map(|(ticket, _)| ticket);
                return tickets.find(|ticket| backlog.prefetch.get(*ticket).is_some());
            }
            for (ticket, _) in fresh {
                backlog.prefetch.remove(ticket);
            }
        }
        // No actor had them, even if the bus counts a delivery by now.
        backlog.set_own_attempts(entries).await;
        let now = Instant::now();
        for message in messages {
            backlog.quarantine.add(message.later(now));
        }
        None
    }

    /// Turns messages into dead letters that were delivered as often as is allowed, and whose processes
    /// ended before they could report the outcome; unless they have a cached result, or a heartbeat within
    /// `idle`.
    pub(super) async fn dead_letter_process_ends(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        entries: Vec<(EntryId, Attempts)>,
        idle: Duration,
    ) {
        let unchanged = |attempts| attempts;
        let Some(mut claimed) = self.claim_all(&entries, idle, unchanged).await else {
            return; // they are due again
        };
        let mut duplicates = Vec::new();
        for (entry, attempts) in &claimed {
            if let Ok(message) = decode(&self.link, entry, *attempts, Instant::now()) {
                let quarantined = backlog.quarantine.remove(&message.dedup_key).into_iter();
                duplicates.extend(quarantined.map(|one| (one.id, one.attempts)));
            }
        }
        let duplicates = self.claim_all(&duplicates, idle, unchanged).await;
        claimed.extend(duplicates.unwrap_or_default());
        let reason = |message: &ReceivedMessage| {
            let reason = process_end_reason(message.attempts);
            (AskError::ActorStopped, reason)
        };
        self.dead_letter_claimed(backlog, ack, claimed, reason)
            .await;
    }

    /// Turns claimed messages into dead letters, unless they have a cached result. `reason` returns the
    /// error for the callers of a message, and the reason of its dead letter.
    pub(super) async fn dead_letter_claimed(
        &mut self,
        backlog: &mut Backlog,
        ack: &mut Acknowledger,
        claimed: Vec<(StreamEntry, Attempts)>,
        reason: impl Fn(&ReceivedMessage) -> (AskError, String),
    ) {
        let (fresh, conflicts) = backlog.admit_isolated(ack, claimed);
        let results = backlog.look_up(ack, fresh.clone()).await;
        backlog.judge_conflicts(ack, conflicts, results.as_ref());
        for (ticket, dedup_key) in fresh {
            let Some(delivery) = backlog.prefetch.remove(ticket) else {
                continue; // acknowledged, since it has a cached result
            };
            // Otherwise they are due again.
            if results.is_some() && !backlog.foreign.has_key(&dedup_key) {
                let (error, reason) = reason(&delivery.message);
                ack.dead_letter(delivery, &error, reason);
            }
        }
    }
}

impl Consumer {
    /// Begins the next isolated delivery, if it may begin now.
    pub(super) async fn deliver_isolated(&mut self) {
        if self.backlog.quarantine.is_idle() || !self.deliver.may_deliver() {
            return;
        }
        let Some(messages) = self.next_isolated() else {
            return;
        };
        let claimed = self
            .fetch
            .claim_quarantined(&mut self.backlog, &mut self.ack, messages);
        let begun = match claimed.await {
            Some(ticket)
                if self
                    .deliver
                    .deliver_isolated(&self.backlog.prefetch, ticket) =>
            {
                Some(ticket)
            }
            Some(ticket) => {
                self.backlog.quarantine_again(ticket).await;
                None
            }
            None => None,
        };
        match begun {
            Some(ticket) => self.backlog.quarantine.has_begun(ticket, Instant::now()),
            None => self.backlog.quarantine.has_not_begun(Instant::now()),
        }
    }

    /// The quarantined message to be delivered now, with its duplicates.
    fn next_isolated(&mut self) -> Option<Vec<Quarantined>> {
        let Backlog {
            prefetch,
            quarantine,
            foreign,
            ..
        } = &mut self.backlog;
        let load = RegularLoad {
            with_actors: &prefetch.with_actors(),
            has_waiting: prefetch.has_waiting(),
        };
        let shared = &self.link.shared;
        let can_deliver = |one: &Quarantined| {
            let is_free = !prefetch.has_key(&one.dedup_key) && !foreign.has_key(&one.dedup_key);
            is_free && shared.has_actor(&one.urn)
        };
        let max_wait = self.link.limits.visibility;
        quarantine.next(Instant::now(), &load, max_wait, can_deliver)
    }

    /// Defers quarantined messages whose actors are absent: these may come late, and take no room from
    /// others until then.
    pub(super) fn defer_absent_actors(&mut self) {
        let now = Instant::now();
        let shared = self.link.shared.clone();
        let is_absent = |urn: &str| !shared.has_actor(urn);
        for message in self.backlog.quarantine.remove_absent(is_absent) {
            let Quarantined {
                id, attempts, urn, ..
            } = message;
            let prefetch = &mut self.backlog.prefetch;
            prefetch.defer_without_actor(&urn, id, attempts, now);
        }
    }
}

impl Backlog {
    /// Quarantines a claimed message again that its actor has not accepted.
    async fn quarantine_again(&mut self, ticket: DeliveryTicket) {
        let Some(delivery) = self.prefetch.remove(ticket) else {
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
