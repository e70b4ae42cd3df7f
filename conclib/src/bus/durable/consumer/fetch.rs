//! How messages come into the hand.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::durable::MAX_KEY;
use crate::bus::durable::consumer::last_delivery::quarantined;
use crate::bus::durable::consumer::{BYTES, Consumer, PAGE};
use crate::bus::durable::prefetch::{Admitted, Asker, Card, Source, Taken};
use crate::bus::durable::redelivery::{Course, course};
use crate::bus::durable::result_cache as record;
use crate::bus::durable::result_cache::{Fingerprint, Record};
use crate::bus::protocol as frame;
use crate::bus::protocol::{Kind, Received};
use crate::bus::server::receiver::HORIZON;
use crate::bus::transport::stream::{Attempts, EntryId, Kept, Pending};
use crate::error::AskError;

/// Which share of the time is for looking for what is due: there may be many messages that are only
/// parked here, and those have to be passed by.
const SHARE: u32 = 10;

/// Records of messages that are over, by their scopes.
pub(super) type Records = HashMap<String, Record>;

/// Messages that are due, by their course, with their deliveries so far.
#[derive(Default)]
struct Due {
    again: Vec<(EntryId, Attempts)>,
    alone: Vec<(EntryId, Attempts)>,
    dead: Vec<(EntryId, Attempts)>,
}

impl Consumer {
    /// Takes messages in, and looks up which of them are over already. False if that cannot be
    /// looked up: then they are parked.
    pub(super) async fn admit(&mut self, messages: Vec<(Kept, Attempts)>, source: Source) -> bool {
        let now = Instant::now();
        let mut fresh = Vec::new();
        let mut aside = Vec::new();
        let mut conflicts = Vec::new();
        for (message, attempts) in messages {
            self.mean.learn(message.frame.len());
            self.elsewhere.forget(message.id);
            let Some(taken) = self.read_or_bury(message, attempts, now) else {
                continue;
            };
            let (id, scope) = (taken.id, taken.scope.clone());
            if source != Source::Alone && self.quarantine.has(&scope) {
                let waiting = quarantined(&taken, now);
                aside.push((id, waiting.attempts));
                self.quarantine.add(waiting);
                continue;
            }
            match self.hand.admit(taken, source, now) {
                Admitted::Lane(ticket) => fresh.push((ticket, scope)),
                Admitted::Joined => {}
                Admitted::Conflicts(taken) => conflicts.push(*taken),
                Admitted::Parked => aside.push((id, attempts.before())),
            }
        }
        let (here, elsewhere): (Vec<_>, Vec<_>) = fresh
            .into_iter()
            .partition(|(_, scope)| !self.elsewhere.has(scope));
        for (ticket, _) in elsewhere {
            aside.extend(self.withhold(ticket, now));
        }
        let tickets: Vec<_> = here.iter().map(|(ticket, _)| *ticket).collect();
        let records = self.look_up(here).await;
        for taken in self.judge_conflicts(conflicts, records.as_ref(), now) {
            let before = taken.attempts.before();
            self.hand.rest(taken.id, before);
            aside.push((taken.id, before));
        }
        let is_known = records.is_some();
        if !is_known {
            self.hand.park_again(&tickets);
            self.unparking.has_failed(Instant::now());
        }
        self.lay_aside(aside, Duration::ZERO).await;
        is_known
    }

    /// Judges messages with the scope of one in hand and other contents. The one in hand was there
    /// first, unless both came together and a record shows that the scope belongs to a third. Returns
    /// the messages that cannot be judged yet: they are due again.
    pub(super) fn judge_conflicts(
        &mut self,
        conflicts: Vec<Taken>,
        records: Option<&Records>,
        now: Instant,
    ) -> Vec<Taken> {
        let mut undecided = Vec::new();
        for taken in conflicts {
            let record = records.and_then(|records| records.get(&taken.scope));
            if let Some(record) = record {
                self.over(Card::new(taken, now), record);
            } else if records.is_some() && !self.elsewhere.has(&taken.scope) {
                self.endings.refused(Card::new(taken, now));
            } else {
                self.hand.release(&[taken.id]);
                undecided.push(taken);
            }
        }
        undecided
    }

    /// Reads a message. One that cannot be handled becomes a dead letter.
    pub(super) fn read_or_bury(
        &mut self,
        kept: Kept,
        attempts: Attempts,
        now: Instant,
    ) -> Option<Taken> {
        match self.read(&kept, attempts, now) {
            Ok(taken) => Some(taken),
            Err(error) => {
                self.noise.hear("an unreadable durable message", &error);
                self.hand.hold(kept.id);
                self.endings.unreadable(kept, attempts, &error);
                None
            }
        }
    }

    /// What a message says, or why it cannot be handled.
    pub(super) fn read(
        &self,
        kept: &Kept,
        attempts: Attempts,
        now: Instant,
    ) -> Result<Taken, AskError> {
        let rejected = |reason: &str| AskError::BadRequest {
            reason: reason.to_owned(),
        };
        let request = Received::decode(&kept.frame).map_err(|error| error.as_ask_error())?;
        if kept.key.is_empty() || kept.key.len() > MAX_KEY {
            return Err(rejected("it has no idempotency key"));
        }
        let size = frame::size(&request.contents, &request.attributes);
        let limit = self.bounds.max_frame;
        if size > limit {
            return Err(AskError::TooLarge { size, limit });
        }
        let asker = match request.kind {
            Kind::Tell => None,
            Kind::Ask => Some(Asker {
                origin: request.origin,
                deadline: self.shared.clock.to_local(request.deadline, now, HORIZON),
            }),
            Kind::Cancel | Kind::Wake => return Err(rejected("it is neither ask nor tell")),
        };
        Ok(Taken {
            id: kept.id,
            key: kept.key.clone(),
            frame: kept.frame.clone(),
            attempts,
            urn: request.urn.to_owned(),
            scope: record::scope(request.urn, request.message, &kept.key),
            fingerprint: Fingerprint::of(&request.contents),
            asker,
        })
    }

    /// Ends messages that are over, and returns the records that say so; none if the bus has not
    /// answered.
    pub(super) async fn look_up(&mut self, fresh: Vec<(u64, String)>) -> Option<Records> {
        let mut known = Records::new();
        let mut unknown = Vec::new();
        for (ticket, scope) in fresh {
            match self.endings.record_of(&scope) {
                Some(record) => {
                    self.known(ticket, &record);
                    known.insert(scope, record);
                }
                None => unknown.push((ticket, scope)),
            }
        }
        if unknown.is_empty() {
            return Some(known);
        }
        let scopes = unknown.iter().map(|(_, scope)| scope.clone()).collect();
        let records = match self.transport.records(scopes).await {
            Ok(records) => records,
            Err(why) => {
                debug!(%why, "records of handled messages cannot be read");
                return None;
            }
        };
        for ((ticket, scope), found) in unknown.into_iter().zip(records) {
            let record = found.and_then(|found| match record::read(&found) {
                Ok(record) => Some(record),
                Err(problem) => {
                    self.noise.hear("an unreadable record", &problem);
                    None
                }
            });
            if let Some(record) = record {
                self.known(ticket, &record);
                known.insert(scope, record);
            }
        }
        Some(known)
    }

    fn known(&mut self, ticket: u64, record: &Record) {
        if let Some(card) = self.hand.settle(ticket) {
            self.over(card, record);
        }
    }

    /// Ends a message whose scope has a record: it is a repetition, or uses the key of another.
    fn over(&mut self, card: Card, record: &Record) {
        if record.is_of(card.message.fingerprint) {
            self.endings.known(&card, &record.answer);
        } else {
            self.endings.refused(card);
        }
    }

    /// Takes over what nobody has shown a sign of life for.
    pub(super) async fn take_due(&mut self) {
        let idle = self.bounds.visibility;
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let end = Instant::now() + self.bounds.beat() / SHARE;
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
            let Due { again, alone, dead } = self.judge(&due);
            let is_fruitful = !again.is_empty() || !dead.is_empty();
            self.put_into_quarantine(alone).await;
            self.bury_what_ended_processes(dead).await;
            if self.take(&again, idle, Source::Stream).await < again.len() {
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

    /// Decides the course of messages that are due and not known here.
    fn judge(&self, due: &[Pending]) -> Due {
        let mut judged = Due::default();
        let is_known = |id| self.hand.knows(id) || self.quarantine.knows(id);
        for pending in due.iter().filter(|due| !is_known(due.id)) {
            let rested = self.hand.rested(pending.id);
            let id = pending.id;
            match course(pending, rested, self.bounds.max_deliveries) {
                Course::Deliver(attempts) => judged.again.push((id, attempts)),
                Course::DeliverAlone(attempts) => judged.alone.push((id, attempts)),
                Course::Bury(attempts) => judged.dead.push((id, attempts)),
            }
        }
        judged
    }

    /// Asks the bus for parked messages whose turn has come.
    pub(super) async fn unpark(&mut self) {
        if !self.unparking.begins(Instant::now()) {
            return;
        }
        let mut wanted = self.hand.wanted();
        wanted.retain(|one| {
            let is_here = !self.elsewhere.has_message(one.id);
            if !is_here {
                self.hand.unparked(one); // it comes when nobody else gives signs of life for it
            }
            is_here
        });
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let places: Vec<_> = rest.iter().map(|one| (one.id, one.attempts)).collect();
            let some = self.some_of(&places);
            // What is not taken stays where it is, in front of what comes later.
            let Some(taken) = self.claim(some, Duration::ZERO, Attempts::next).await else {
                return self.unparking.has_failed(Instant::now());
            };
            let (asked, behind) = rest.split_at(some.len());
            for one in asked {
                self.hand.unparked(one);
            }
            if !self.admit(taken, Source::Parked).await {
                return;
            }
            self.unparking.has_succeeded();
            rest = behind;
        }
    }

    /// Takes messages that were delivered so often before; how many of them were dealt with.
    pub(super) async fn take(
        &mut self,
        wanted: &[(EntryId, Attempts)],
        idle: Duration,
        source: Source,
    ) -> usize {
        let mut done = 0;
        while done < wanted.len() {
            let some = self.some_of(&wanted[done..]);
            let Some(taken) = self.claim(some, idle, Attempts::next).await else {
                // If it was done all the same, the bus counts deliveries that were none.
                let unknown = some.iter().filter(|(id, _)| !self.hand.knows(*id));
                let unknown: Vec<_> = unknown.copied().collect();
                for (id, attempts) in unknown {
                    self.hand.rest(id, attempts);
                }
                return done;
            };
            done += some.len();
            let ids: Vec<_> = some.iter().map(|(id, _)| *id).collect();
            self.hand.release(&ids);
            self.hand.wake(&ids);
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
        wanted: &'a [(EntryId, Attempts)],
    ) -> &'a [(EntryId, Attempts)] {
        let most = self.mean.frames(BYTES, self.claim);
        let first = wanted.first().map(|(_, attempts)| *attempts);
        let alike = wanted.iter().take(most);
        let alike = alike.take_while(|(_, attempts)| Some(*attempts) == first);
        &wanted[..alike.count()]
    }

    /// Takes messages over that were all delivered equally often, and has the bus count what
    /// `count` makes of that; none if the bus has not answered.
    pub(super) async fn claim(
        &mut self,
        places: &[(EntryId, Attempts)],
        idle: Duration,
        count: impl Fn(Attempts) -> Attempts,
    ) -> Option<Vec<(Kept, Attempts)>> {
        let attempts = places.first().map_or(Attempts::default(), |(_, one)| *one);
        let attempts = count(attempts);
        let ids: Vec<_> = places.iter().map(|(id, _)| *id).collect();
        match self.transport.take(&ids, attempts, idle).await {
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
        for ids in self.hand.held().chunks(PAGE) {
            if let Err(why) = self.transport.touch(ids).await {
                return debug!(%why, "no sign of life can be given");
            }
        }
    }

    /// Lays messages aside with so many deliveries each.
    pub(super) async fn lay_aside(&mut self, messages: Vec<(EntryId, Attempts)>, idle: Duration) {
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
                if let Err(why) = self.transport.lay_aside(ids, attempts, idle).await {
                    return debug!(%why, "messages cannot be laid aside");
                }
            }
        }
    }
}
