//! Requests of a client in a fleet: given to a member, held until there is one, or given to another one.
//!
//! A request that is given to another member gets a new id: a member takes a request that is not newer than
//! the newest of its client for a copy.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{PendingRequest, PendingRequests};
use crate::bus::client::fleet::{Destination, Route, Router};
use crate::bus::client::node_link::NodeLink;
use crate::bus::protocol::{Kind, Request};
use crate::bus::transport::fleet::MemberId;
use crate::bus::transport::{Epoch, Frame};
use crate::error::{AskError, Delivered};
use crate::reply::{Reply, ReplyReceiver};
use crate::urn::Urn;

impl PendingRequests {
    /// Has requests go to the members of a fleet.
    pub(in crate::bus::client) fn route_by(&mut self, router: Router) {
        self.router = Some(Box::new(router));
    }

    /// The routes of requests, if the client is in a fleet.
    pub(in crate::bus::client) fn router(&mut self) -> Option<&mut Router> {
        self.router.as_deref_mut()
    }

    /// Enters a request for a name, with its frame and size; returns the receiver of its answer, and the
    /// link to the member that it goes to, if it does not wait for one.
    pub(in crate::bus::client) fn insert_routed(
        &mut self,
        id: u64,
        urn: &Urn,
        (frame, bytes): (Frame, usize),
        kind: Kind,
    ) -> (ReplyReceiver<Bytes>, Option<Arc<NodeLink>>) {
        let (reply, receiver) = Reply::local();
        let mut entry = PendingRequest::new(id, reply, (frame, bytes), kind);
        let mut route = Box::new(Route::new(urn.clone()));
        let destination = self
            .router
            .as_mut()
            .map(|router| router.place(&mut route, id, Instant::now()));
        if let Some(Destination::To(link)) = destination {
            link.begin_request();
            entry.link = Some(link);
        }
        entry.route = Some(route);
        let link = entry.link.clone();
        self.bytes += bytes;
        self.requests.insert(id, entry);
        (receiver, link)
    }

    /// True if a request waits for a member.
    pub(in crate::bus::client) fn is_held(&self, ticket: u64) -> bool {
        let entry = self.requests.get(&self.key(ticket));
        entry.is_some_and(|entry| entry.route.is_some() && entry.link.is_none())
    }

    /// Takes note of an answer; true if it was a bounce, and the request stays.
    pub(super) fn heard(&mut self, id: u64, error: Option<&AskError>) -> bool {
        let entry = self.requests.get(&id);
        if let Some(route) = entry.and_then(|entry| entry.route.as_ref())
            && let Some(router) = &mut self.router
        {
            router.heard(route, Instant::now());
        }
        error.is_some_and(|error| self.bounces(id, error))
    }

    /// Gives a request that was certainly not executed, as its error says, to another member; false if it
    /// is to end.
    pub(in crate::bus::client) fn bounces(&mut self, id: u64, error: &AskError) -> bool {
        let Some(entry) = self.requests.get_mut(&id) else {
            return false;
        };
        let Some(mut route) = entry.route.take() else {
            return false;
        };
        let (Some(bounce), Some(router)) = (route.bounce(error), &mut self.router) else {
            entry.route = Some(route);
            return false;
        };
        if let Some(link) = entry.link.take() {
            link.end_request();
        }
        entry.delivered = Delivered::No;
        entry.epoch = None;
        let refusal = (bounce, error.clone());
        let next = router.bounced(&mut route, entry.ticket, refusal, Instant::now());
        entry.route = Some(route);
        match next {
            Destination::To(link) => self.give_to(id, &link),
            // A batch that has its former id may still be sent, or fail.
            Destination::Hold => drop(self.renew_id(id)),
            Destination::Refuse(error) => self.refuse(id, error),
        }
        true
    }

    /// Has the requests for a name leave that have waited for its place.
    pub(in crate::bus::client) fn release(&mut self, urn: &Urn) {
        let now = Instant::now();
        let Some(router) = &mut self.router else {
            return;
        };
        for (ticket, is_newest) in router.take_released(urn) {
            let id = self.key(ticket);
            let (Some(entry), Some(router)) = (self.requests.get_mut(&id), &mut self.router) else {
                continue;
            };
            let Some(mut route) = entry.route.take() else {
                continue;
            };
            let next = if is_newest {
                router.place_held(&mut route, ticket, now)
            } else {
                // A later request may have been executed: this one would come out of its order.
                let urn = urn.clone();
                let refusal = route.refusal().unwrap_or(AskError::ActorNotFound { urn });
                Destination::Refuse(refusal)
            };
            entry.route = Some(route);
            match next {
                Destination::To(link) => self.give_to(id, &link),
                Destination::Hold => {}
                Destination::Refuse(error) => self.refuse(id, error),
            }
        }
    }

    /// Ends the requests that wait for a name, with this error or that of their last refusal.
    pub(in crate::bus::client) fn refuse_held(&mut self, urn: &Urn, error: &AskError) {
        let Some(router) = &mut self.router else {
            return;
        };
        for ticket in router.take_held(urn) {
            let id = self.key(ticket);
            let entry = self.requests.get(&id);
            let route = entry.and_then(|entry| entry.route.as_ref());
            let refusal = route.and_then(|route| route.refusal());
            self.refuse(id, refusal.unwrap_or_else(|| error.clone()));
        }
    }

    /// Gives a request to a member, under a new id.
    fn give_to(&mut self, former: u64, link: &Arc<NodeLink>) {
        let Some((id, entry)) = self.renew_id(former) else {
            return;
        };
        entry.frame = Request::with_id(std::mem::take(&mut entry.frame), id);
        entry.link = Some(link.clone());
        link.begin_request();
        drop(link.queue.push(id, false, self)); // none comes back, since it is not alone
    }

    /// Enters a request under a new id, as one that was not sent.
    fn renew_id(&mut self, former: u64) -> Option<(u64, &mut PendingRequest)> {
        let mut entry = self.requests.remove(&former)?;
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        entry.was_looked_for = false;
        entry.is_repeated = false;
        entry.delivered = Delivered::No;
        entry.epoch = None;
        self.keys.insert(entry.ticket, id);
        Some((id, self.requests.entry(id).insert_entry(entry).into_mut()))
    }

    /// Removes a request, to be ended with an error outside the lock.
    fn refuse(&mut self, id: u64, error: AskError) {
        if let Some(entry) = self.remove(id) {
            self.refused.push((entry.reply, error));
            if let Some(router) = &mut self.router {
                router.note_refusal();
            }
        }
    }

    /// Takes requests that have ended while others were looked at, with their errors.
    pub(in crate::bus::client) fn take_refused(&mut self) -> Vec<(Reply<Bytes>, AskError)> {
        std::mem::take(&mut self.refused)
    }

    /// Notes that a request was removed.
    pub(super) fn left(&mut self, id: u64, entry: &PendingRequest) {
        if entry.ticket != id {
            self.keys.remove(&entry.ticket);
        }
        let (Some(route), Some(router)) = (&entry.route, &mut self.router) else {
            return;
        };
        if router.ended(route, entry.ticket) {
            let urn = route.urn().clone();
            self.release(&urn);
        }
    }

    /// Notes that a member is gone; false if some of its requests are still to be looked for in its inbox. Those
    /// that were not found there may have been executed.
    pub(in crate::bus::client) fn member_is_gone(&mut self, member: MemberId) -> bool {
        let its = || self.requests.values().filter(|entry| entry.is_with(member));
        if !its().all(|entry| entry.was_looked_for || entry.is_repeated) {
            return false;
        }
        if let Some(router) = &mut self.router {
            for entry in its() {
                if let Some(route) = &entry.route {
                    router.may_be_executed(route, entry.ticket);
                }
            }
        }
        true
    }

    /// Requests that the bus has accepted for a member in an epoch, with their frames, up to `count`: those that
    /// were sent once, and each in one call only.
    pub(in crate::bus::client) fn accepted_by(
        &mut self,
        member: MemberId,
        count: usize,
    ) -> (Option<Epoch>, Vec<(u64, Frame)>) {
        let is_there = |entry: &PendingRequest| {
            let is_whole = !entry.is_repeated && !entry.was_looked_for;
            is_whole && entry.delivered == Delivered::Accepted && entry.is_with(member)
        };
        let mut epoch = None;
        let mut requests = Vec::new();
        for (id, entry) in &mut self.requests {
            if !is_there(entry) || (epoch.is_some() && epoch != entry.epoch) {
                continue;
            }
            epoch = entry.epoch;
            entry.was_looked_for = true;
            requests.push((*id, entry.frame.clone()));
            if requests.len() == count {
                break;
            }
        }
        (epoch, requests)
    }
}

impl PendingRequest {
    /// True if the request was given to that member last.
    fn is_with(&self, member: MemberId) -> bool {
        let route = self.route.as_ref();
        route.is_some_and(|route| route.member() == Some(member))
    }
}
