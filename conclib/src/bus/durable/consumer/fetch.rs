//! How messages come into the hand.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::MAX_KEY;
use crate::bus::durable::consumer::last_delivery::quarantined;
use crate::bus::durable::consumer::{BATCH_BYTES, Consumer, PAGE};
use crate::bus::durable::prefetch::{Admission, Caller, Delivery, EntrySource, ReceivedMessage};
use crate::bus::durable::redelivery::{Redelivery, decide_redelivery};
use crate::bus::durable::result_cache as record;
use crate::bus::durable::result_cache::{CachedResult, Fingerprint};
use crate::bus::protocol as frame;
use crate::bus::protocol::{Kind, Received};
use crate::bus::server::receiver::HORIZON;
use crate::bus::transport::stream::{Attempts, EntryId, PendingEntry, StreamEntry};
use crate::error::AskError;

/// Which share of the time is for looking for what is due: there may be many messages that are only
/// parked here, and those have to be passed by.
const SHARE: u32 = 10;

/// Records of messages that are over, by their scopes.
pub(super) type Records = HashMap<String, CachedResult>;

/// Messages that are due, by their decide_redelivery, with their deliveries so far.
#[derive(Default)]
struct Due {
    again: Vec<(EntryId, Attempts)>,
    alone: Vec<(EntryId, Attempts)>,
    dead: Vec<(EntryId, Attempts)>,
}

impl Consumer {
    /// Takes messages in, and looks up which of them are over already. False if that cannot be
    /// looked up: then they are parked.
    pub(super) async fn admit(
        &mut self,
        messages: Vec<(StreamEntry, Attempts)>,
        source: EntrySource,
    ) -> bool {
        let now = Instant::now();
        let mut fresh = Vec::new();
        let mut aside = Vec::new();
        let mut conflicts = Vec::new();
        for (message, attempts) in messages {
            self.mean.learn(message.frame.len());
            self.foreign.forget(message.id);
            let Some(taken) = self.read_or_bury(message, attempts, now) else {
                continue;
            };
            let (id, dedup_key) = (taken.id, taken.dedup_key.clone());
            if source != EntrySource::Alone && self.quarantine.has(&dedup_key) {
                let waiting = quarantined(&taken, now);
                aside.push((id, waiting.attempts));
                self.quarantine.add(waiting);
                continue;
            }
            match self.prefetch.admit(taken, source, now) {
                Admission::ActorQueue(ticket) => fresh.push((ticket, dedup_key)),
                Admission::Duplicate => {}
                Admission::Conflicts(taken) => conflicts.push(*taken),
                Admission::Deferred => aside.push((id, attempts.before())),
            }
        }
        let (here, foreign): (Vec<_>, Vec<_>) = fresh
            .into_iter()
            .partition(|(_, dedup_key)| !self.foreign.has(dedup_key));
        for (ticket, _) in foreign {
            aside.extend(self.hold_for_other_consumer(ticket, now));
        }
        let tickets: Vec<_> = here.iter().map(|(ticket, _)| *ticket).collect();
        let records = self.look_up(here).await;
        for taken in self.judge_conflicts(conflicts, records.as_ref(), now) {
            let before = taken.attempts.before();
            self.prefetch.rest(taken.id, before);
            aside.push((taken.id, before));
        }
        let is_known = records.is_some();
        if !is_known {
            self.prefetch.defer_again(&tickets);
            self.resume_retry.has_failed(Instant::now());
        }
        self.release(aside, Duration::ZERO).await;
        is_known
    }

    /// Judges messages with the scope of one in hand and other contents. The one in hand was there
    /// first, unless both came together and a record shows that the scope belongs to a third. Returns
    /// the messages that cannot be judged yet: they are due again.
    pub(super) fn judge_conflicts(
        &mut self,
        conflicts: Vec<ReceivedMessage>,
        records: Option<&Records>,
        now: Instant,
    ) -> Vec<ReceivedMessage> {
        let mut undecided = Vec::new();
        for taken in conflicts {
            let record = records.and_then(|records| records.get(&taken.dedup_key));
            if let Some(record) = record {
                self.over(Delivery::new(taken, now), record);
            } else if records.is_some() && !self.foreign.has(&taken.dedup_key) {
                self.acks.refused(Delivery::new(taken, now));
            } else {
                self.prefetch.release(&[taken.id]);
                undecided.push(taken);
            }
        }
        undecided
    }

    /// Reads a message. One that cannot be handled becomes a dead letter.
    pub(super) fn read_or_bury(
        &mut self,
        kept: StreamEntry,
        attempts: Attempts,
        now: Instant,
    ) -> Option<ReceivedMessage> {
        match self.read(&kept, attempts, now) {
            Ok(taken) => Some(taken),
            Err(error) => {
                self.noise.hear("an unreadable durable message", &error);
                self.prefetch.hold(kept.id);
                self.acks.unreadable(kept, attempts, &error);
                None
            }
        }
    }

    /// What a message says, or why it cannot be handled.
    pub(super) fn read(
        &self,
        kept: &StreamEntry,
        attempts: Attempts,
        now: Instant,
    ) -> Result<ReceivedMessage, AskError> {
        let rejected = |reason: &str| AskError::BadRequest {
            reason: reason.to_owned(),
        };
        let request = Received::decode(&kept.frame).map_err(|error| error.as_ask_error())?;
        if kept.key.is_empty() || kept.key.len() > MAX_KEY {
            return Err(rejected("it has no idempotency key"));
        }
        let size = frame::size(&request.contents, &request.attributes);
        let limit = self.limits.max_frame;
        if size > limit {
            return Err(AskError::TooLarge { size, limit });
        }
        let caller = match request.kind {
            Kind::Tell => None,
            Kind::Ask => Some(Caller {
                origin: request.origin,
                deadline: self.shared.clock.to_local(request.deadline, now, HORIZON),
            }),
            Kind::Cancel | Kind::Wake => return Err(rejected("it is neither ask nor tell")),
        };
        Ok(ReceivedMessage {
            id: kept.id,
            key: kept.key.clone(),
            frame: kept.frame.clone(),
            attempts,
            urn: request.urn.to_owned(),
            dedup_key: record::dedup_key(request.urn, request.message, &kept.key),
            fingerprint: Fingerprint::of(&request.contents),
            caller,
        })
    }

    /// Ends messages that are over, and returns the records that say so; none if the bus has not
    /// answered.
    pub(super) async fn look_up(&mut self, fresh: Vec<(u64, String)>) -> Option<Records> {
        let mut known = Records::new();
        let mut unknown = Vec::new();
        for (ticket, dedup_key) in fresh {
            match self.acks.result_of(&dedup_key) {
                Some(record) => {
                    self.known(ticket, &record);
                    known.insert(dedup_key, record);
                }
                None => unknown.push((ticket, dedup_key)),
            }
        }
        if unknown.is_empty() {
            return Some(known);
        }
        let dedup_keys = unknown
            .iter()
            .map(|(_, dedup_key)| dedup_key.clone())
            .collect();
        let records = match self.transport.cached_results(dedup_keys).await {
            Ok(records) => records,
            Err(why) => {
                debug!(%why, "records of handled messages cannot be read");
                return None;
            }
        };
        for ((ticket, dedup_key), found) in unknown.into_iter().zip(records) {
            let record = found.and_then(|found| match record::read(&found) {
                Ok(record) => Some(record),
                Err(problem) => {
                    self.noise.hear("an unreadable record", &problem);
                    None
                }
            });
            if let Some(record) = record {
                self.known(ticket, &record);
                known.insert(dedup_key, record);
            }
        }
        Some(known)
    }

    fn known(&mut self, ticket: u64, record: &CachedResult) {
        if let Some(delivery) = self.prefetch.settle(ticket) {
            self.over(delivery, record);
        }
    }

    /// Ends a message whose scope has a record: it is a repetition, or uses the key of another.
    fn over(&mut self, delivery: Delivery, record: &CachedResult) {
        if record.is_of(delivery.message.fingerprint) {
            self.acks.known(&delivery, &record.answer);
        } else {
            self.acks.refused(delivery);
        }
    }

    /// Takes over what nobody has shown a sign of life for.
    pub(super) async fn take_due(&mut self) {
        let idle = self.limits.visibility;
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let end = Instant::now() + self.limits.heartbeat() / SHARE;
        loop {
            self.has_more_due = false;
            if !self.may_take() {
                return;
            }
            let due = match self.transport.due(self.cursor, idle, page).await {
                Ok(due) => due,
                Err(why) => return debug!(%why, "what is due cannot be found"),
            };
            let is_last = due.len() < PAGE;
            let Some(last) = due.last() else {
                self.cursor = EntryId::default();
                return;
            };
            self.cursor = if is_last { EntryId::default() } else { last.id };
            let Due { again, alone, dead } = self.decide_retry(&due);
            let is_fruitful = !again.is_empty() || !dead.is_empty();
            self.put_into_quarantine(alone).await;
            self.bury_what_ended_processes(dead).await;
            if self.take(&again, idle, EntrySource::Stream).await < again.len() {
                return;
            }
            if is_last {
                return;
            }
            if Instant::now() >= end {
                self.has_more_due = is_fruitful;
                return;
            }
        }
    }

    /// Decides the decide_redelivery of messages that are due and not known here.
    fn decide_retry(&self, due: &[PendingEntry]) -> Due {
        let mut judged = Due::default();
        let is_known = |id| self.prefetch.knows(id) || self.quarantine.knows(id);
        for pending in due.iter().filter(|due| !is_known(due.id)) {
            let redelivery = self.prefetch.redelivery(pending.id);
            let id = pending.id;
            match decide_redelivery(pending, redelivery, self.limits.max_deliveries) {
                Redelivery::Deliver(attempts) => judged.again.push((id, attempts)),
                Redelivery::DeliverAlone(attempts) => judged.alone.push((id, attempts)),
                Redelivery::DeadLetter(attempts) => judged.dead.push((id, attempts)),
            }
        }
        judged
    }

    /// Asks the bus for parked messages whose turn has come.
    pub(super) async fn resume(&mut self) {
        if !self.resume_retry.begins(Instant::now()) {
            return;
        }
        let mut resumable = self.prefetch.resumable();
        resumable.retain(|one| {
            let is_here = !self.foreign.has_message(one.id);
            if !is_here {
                self.prefetch.resumed(one); // it comes when nobody else gives signs of life for it
            }
            is_here
        });
        let mut rest = &resumable[..];
        while !rest.is_empty() {
            let places: Vec<_> = rest.iter().map(|one| (one.id, one.attempts)).collect();
            let some = self.some_of(&places);
            // What is not taken stays where it is, in front of what comes later.
            let Some(taken) = self.claim(some, Duration::ZERO, Attempts::next).await else {
                return self.resume_retry.has_failed(Instant::now());
            };
            let (asked, behind) = rest.split_at(some.len());
            for one in asked {
                self.prefetch.resumed(one);
            }
            if !self.admit(taken, EntrySource::Deferred).await {
                return;
            }
            self.resume_retry.has_succeeded();
            rest = behind;
        }
    }

    /// Takes messages that were delivered so often before; how many of them were dealt with.
    pub(super) async fn take(
        &mut self,
        resumable: &[(EntryId, Attempts)],
        idle: Duration,
        source: EntrySource,
    ) -> usize {
        let mut done = 0;
        while done < resumable.len() {
            let some = self.some_of(&resumable[done..]);
            let Some(taken) = self.claim(some, idle, Attempts::next).await else {
                // If it was done all the same, the bus counts deliveries that were none.
                let unknown = some.iter().filter(|(id, _)| !self.prefetch.knows(*id));
                let unknown: Vec<_> = unknown.copied().collect();
                for (id, attempts) in unknown {
                    self.prefetch.rest(id, attempts);
                }
                return done;
            };
            done += some.len();
            let ids: Vec<_> = some.iter().map(|(id, _)| *id).collect();
            self.prefetch.release(&ids);
            self.prefetch.wake(&ids);
            if !self.admit(taken, source).await {
                return done;
            }
        }
        done
    }

    /// As many of the first as are to be taken at a time: about a megabyte, and all delivered
    /// equally often.
    pub(super) fn some_of<'a>(
        &self,
        resumable: &'a [(EntryId, Attempts)],
    ) -> &'a [(EntryId, Attempts)] {
        let most = self.mean.frames(BATCH_BYTES, self.claim);
        let first = resumable.first().map(|(_, attempts)| *attempts);
        let alike = resumable.iter().take(most);
        let alike = alike.take_while(|(_, attempts)| Some(*attempts) == first);
        &resumable[..alike.count()]
    }

    /// Takes messages over that were all delivered equally often, and has the bus count what
    /// `count` makes of that; none if the bus has not answered.
    pub(super) async fn claim(
        &mut self,
        places: &[(EntryId, Attempts)],
        idle: Duration,
        count: impl Fn(Attempts) -> Attempts,
    ) -> Option<Vec<(StreamEntry, Attempts)>> {
        let attempts = places.first().map_or(Attempts::default(), |(_, one)| *one);
        let attempts = count(attempts);
        let ids: Vec<_> = places.iter().map(|(id, _)| *id).collect();
        match self.transport.claim(&ids, attempts, idle).await {
            Ok(taken) => {
                self.claim = (self.claim + self.claim / 4 + 1).min(PAGE);
                Some(taken.into_iter().map(|kept| (kept, attempts)).collect())
            }
            Err(why) => {
                debug!(%why, "messages cannot be taken");
                // They may be larger than those that came last.
                self.claim = (ids.len() / 2).max(1);
                None
            }
        }
    }

    /// Gives a sign of life for what is in hand.
    pub(super) async fn touch(&mut self) {
        if !self.shared.is_reigning() {
            return; // another may have it now
        }
        for ids in self.prefetch.held().chunks(PAGE) {
            if let Err(why) = self.transport.extend_claims(ids).await {
                return debug!(%why, "no sign of life can be given");
            }
        }
    }

    /// Lays messages aside with so many deliveries each.
    pub(super) async fn release(&mut self, messages: Vec<(EntryId, Attempts)>, idle: Duration) {
        if !self.shared.is_reigning() {
            return; // they may be another's now
        }
        self.lay_aside_own(messages, idle).await;
    }

    /// The same for messages that are certainly this consumer's.
    pub(super) async fn lay_aside_own(
        &mut self,
        messages: Vec<(EntryId, Attempts)>,
        idle: Duration,
    ) {
        let mut by_attempts = BTreeMap::<Attempts, Vec<EntryId>>::new();
        for (id, attempts) in messages {
            by_attempts.entry(attempts).or_default().push(id);
        }
        for (attempts, ids) in by_attempts {
            for ids in ids.chunks(PAGE) {
                if let Err(why) = self.transport.release(ids, attempts, idle).await {
                    return debug!(%why, "messages cannot be laid aside");
                }
            }
        }
    }
}
