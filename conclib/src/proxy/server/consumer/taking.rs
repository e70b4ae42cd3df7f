//! How messages come into the hand.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::{Consumer, LONG_AGO, PAGE};
use crate::error::AskError;
use crate::proxy::durable::MAX_KEY;
use crate::proxy::durable::hand::{Asker, From, Place, Taken};
use crate::proxy::durable::record;
use crate::proxy::frame::{self, Kind, Received};
use crate::proxy::server::popper::HORIZON;
use crate::proxy::transport::durable::{EntryId, Kept};

/// Which share of the time is for looking for what is due: there may be many messages that are only
/// parked here, and those have to be passed by.
const SHARE: u32 = 10;

impl Consumer {
    /// Takes messages in, and looks up which of them are over already.
    pub(super) async fn admit(&mut self, messages: Vec<(Kept, u32)>, from: From) {
        let now = Instant::now();
        let mut fresh = Vec::new();
        let mut aside = Vec::new();
        for (message, deliveries) in messages {
            let taken = match self.read(&message, deliveries, now) {
                Ok(taken) => taken,
                Err(error) => {
                    self.hand.hold(message.id);
                    self.endings.unreadable(message, deliveries, &error);
                    continue;
                }
            };
            let (id, scope) = (taken.id, taken.scope.clone());
            match self.hand.admit(taken, from, now) {
                Place::Lane(ticket) => fresh.push((ticket, scope)),
                Place::Joined => {}
                Place::Parked => aside.push((id, deliveries.saturating_sub(1))),
            }
        }
        self.look_up(fresh).await;
        self.lay_aside(aside, Duration::ZERO).await;
    }

    /// What a message says, or why it cannot be handled.
    fn read(&self, kept: &Kept, deliveries: u32, now: Instant) -> Result<Taken, AskError> {
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
            deliveries,
            urn: request.urn.to_owned(),
            scope: record::scope(request.urn, request.message, &kept.key),
            asker,
        })
    }

    /// Ends those that are over, and those that were delivered too often: whoever had them has died
    /// of them.
    async fn look_up(&mut self, fresh: Vec<(u64, String)>) {
        if fresh.is_empty() {
            return;
        }
        let mut unknown = Vec::new();
        for (ticket, scope) in fresh {
            match self.endings.answer_of(&scope) {
                Some(answer) => self.known(ticket, &answer),
                None => unknown.push((ticket, scope)),
            }
        }
        let (tickets, scopes): (Vec<_>, Vec<_>) = unknown.into_iter().unzip();
        let records = match self.transport.records(scopes).await {
            Ok(records) => records,
            Err(why) => {
                debug!(%why, "what is over cannot be looked up");
                return self.hand.park_again(&tickets);
            }
        };
        for (ticket, found) in tickets.into_iter().zip(records) {
            let answer = found.and_then(|found| match record::read(&found) {
                Ok(answer) => Some(answer),
                Err(problem) => {
                    self.noise.hear("an unreadable record", &problem);
                    None
                }
            });
            if let Some(answer) = answer {
                self.known(ticket, &answer);
                continue;
            }
            let deliveries = self.hand.deliveries(ticket);
            if deliveries.is_some_and(|deliveries| deliveries > self.bounds.max_deliveries)
                && let Some(card) = self.hand.settle(ticket)
            {
                self.endings.dead(card, &AskError::NoReply);
            }
        }
    }

    fn known(&mut self, ticket: u64, answer: &Bytes) {
        if let Some(card) = self.hand.settle(ticket) {
            self.endings.known(&card, answer);
        }
    }

    /// Takes over what nobody has shown a sign of life for.
    pub(super) async fn take_due(&mut self) {
        let idle = self.bounds.visibility;
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        let end = Instant::now() + self.bounds.beat() / SHARE;
        loop {
            self.has_more_due = false;
            if self.hand.parked() >= self.bounds.max_parked || self.endings.is_full() {
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
            let unknown: BTreeMap<_, _> = due
                .iter()
                .filter(|due| !self.hand.knows(due.id))
                .map(|due| (due.id, due.deliveries))
                .collect();
            let is_fruitful = !unknown.is_empty();
            self.take(unknown, idle, From::Stream).await;
            if is_last {
                return;
            }
            if Instant::now() >= end {
                self.has_more_due = is_fruitful;
                return;
            }
        }
    }

    /// Asks the bus for parked messages whose turn has come.
    pub(super) async fn unpark(&mut self) {
        let wanted = self.hand.unpark();
        let wanted = wanted
            .into_iter()
            .map(|parked| (parked.id, parked.deliveries));
        self.take(wanted.collect(), Duration::ZERO, From::Parked)
            .await;
    }

    /// Takes messages that were delivered so often.
    async fn take(&mut self, wanted: BTreeMap<EntryId, u32>, idle: Duration, from: From) {
        if wanted.is_empty() {
            return;
        }
        let ids: Vec<_> = wanted.keys().copied().collect();
        match self.transport.take(&ids, idle).await {
            Ok(taken) => {
                let deliveries = |id| wanted.get(&id).map_or(1, |before| before.saturating_add(1));
                let taken = taken.into_iter().map(|kept| (deliveries(kept.id), kept));
                let taken = taken.map(|(deliveries, kept)| (kept, deliveries));
                self.admit(taken.collect(), from).await;
            }
            // What was parked is due in the visibility time.
            Err(why) => debug!(%why, "messages cannot be taken"),
        }
    }

    /// Gives back what a read may have taken whose reply has not come in. What waits for its next
    /// delivery is given back as well.
    pub(super) async fn give_back_what_was_not_heard_of(&mut self) {
        let mut after = EntryId::default();
        let page = u32::try_from(PAGE).unwrap_or(u32::MAX);
        loop {
            let own = match self.transport.own(after, page).await {
                Ok(own) => own,
                Err(why) => return debug!(%why, "what was read last cannot be found"),
            };
            let Some(last) = own.last() else { return };
            after = last.id;
            let unknown = own.iter().filter(|due| !self.hand.knows(due.id));
            let unknown = unknown.map(|due| (due.id, due.deliveries)).collect();
            self.lay_aside(unknown, LONG_AGO).await;
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
    pub(super) async fn lay_aside(&mut self, messages: Vec<(EntryId, u32)>, idle: Duration) {
        if !self.shared.is_reigning() {
            return; // they may be another's now
        }
        let mut by_deliveries = BTreeMap::<u32, Vec<EntryId>>::new();
        for (id, deliveries) in messages {
            by_deliveries.entry(deliveries).or_default().push(id);
        }
        for (deliveries, ids) in by_deliveries {
            for ids in ids.chunks(PAGE) {
                if let Err(why) = self.transport.lay_aside(ids, deliveries, idle).await {
                    return debug!(%why, "messages cannot be laid aside");
                }
            }
        }
    }
}
