//! Requests of a client in a fleet: given to a member, held until there is one, or given to another one.
//!
//! A request that is given to another member gets a new id: a member takes a request that is not newer than
//! the newest of its client for a copy.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use super::{PendingRequest, PendingRequests};
use crate::bus::client::fleet::{Destination, Route, Router};
use crate::bus::client::node_link::NodeLink;
use crate::bus::link::request_id::request_id;
use crate::bus::protocol::{Kind, Request};
use crate::bus::transport::fleet::MemberId;
use crate::bus::transport::{Epoch, Frame};
use crate::error::{AskError, Delivered};
use crate::reply::remote::{ClientId, Origin};
use crate::reply::{Reply, ReplyReceiver};
use crate::urn::Urn;

impl PendingRequests {
    /// Has the requests of a client go to the members of a fleet.
    pub(in crate::bus::client) fn route_by(&mut self, client: ClientId, router: Router) {
        self.client = client;
        self.router = Some(Box::new(router));
    }

    /// The routes of requests, if the client is in a fleet.
    pub(in crate::bus::client) fn router(&mut self) -> Option<&mut Router> {
        self.router.as_deref_mut()
    }

    /// Enters a request for a name, with its frame and size; returns the receiver of its answer, and the
    /// link to the member that it goes to, if it does not wait for one. Fails if that does not keep up.
    pub(in crate::bus::client) fn insert_routed(
        &mut self,
        id: u64,
        urn: &Urn,
        (frame, bytes): (Frame, usize),
        kind: Kind,
    ) -> Result<(ReplyReceiver<Bytes>, Option<Arc<NodeLink>>), AskError> {
        let (reply, receiver) = Reply::local();
        let mut entry = PendingRequest::new(id, reply, (frame, bytes), kind);
        let mut route = Box::new(Route::new(urn.clone()));
        let destination = self
            .router
            .as_mut()
            .map(|router| router.route(&mut route, id, Instant::now()));
        match destination {
            Some(Destination::To(link)) => {
                link.begin_request();
                entry.link = Some(link);
            }
            Some(Destination::Fail(error)) => return Err(error),
            Some(Destination::Hold) | None => {}
        }
        entry.route = Some(route);
        let link = entry.link.clone();
        self.bytes += bytes;
        self.requests.insert(id, entry);
        Ok((receiver, link))
    }

    /// True if a request waits for a member.
    pub(in crate::bus::client) fn is_held(&self, original: u64) -> bool {
        let entry = self.requests.get(&self.current_id(original));
        entry.is_some_and(|entry| entry.route.is_some() && entry.link.is_none())
    }

    /// Records an answer. True if it refuses the request, and that goes on to another member: it stays pending.
    pub(super) fn heard(&mut self, id: u64, error: Option<&AskError>) -> bool {
        let entry = self.requests.get(&id);
        if let Some(route) = entry.and_then(|entry| entry.route.as_ref())
            && let Some(router) = &mut self.router
        {
            router.heard(route, Instant::now());
        }
        error.is_some_and(|error| self.reroute(id, error))
    }

    /// Gives a request that was certainly not executed, as its error says, to another member; false if it
    /// is to end.
    pub(in crate::bus::client) fn reroute(&mut self, id: u64, error: &AskError) -> bool {
        let Some(entry) = self.requests.get_mut(&id) else {
            return false;
        };
        let Some(mut route) = entry.route.take() else {
            return false;
        };
        let (Some(rejection), Some(router)) = (route.rejection(error), &mut self.router) else {
            entry.route = Some(route);
            return false;
        };
        if let Some(link) = entry.link.take() {
            link.end_request();
        }
        entry.delivered = Delivered::No;
        entry.epoch = None;
        let refusal = (rejection, error.clone());
        let next = router.rejected(&mut route, entry.original, refusal, Instant::now());
        entry.route = Some(route);
        self.rerouted += u64::from(!matches!(next, Destination::Fail(_)));
        match next {
            Destination::To(link) => self.send_to(id, &link),
            // A batch that has its former id may still be sent, or fail.
            Destination::Hold => drop(self.renew_id(id)),
            Destination::Fail(error) => self.refuse(id, error),
        }
        true
    }

    /// Has the requests for a name leave that have waited for its place.
    pub(in crate::bus::client) fn release(&mut self, urn: &Urn) {
        let now = Instant::now();
        let Some(router) = &mut self.router else {
            return;
        };
        for (original, is_newest) in router.take_released(urn) {
            let id = self.current_id(original);
            let (Some(entry), Some(router)) = (self.requests.get_mut(&id), &mut self.router) else {
                continue;
            };
            let Some(mut route) = entry.route.take() else {
                continue;
            };
            let next = if is_newest {
                router.route_held(&mut route, original, now)
            } else {
                // A later request may have been executed: this one would come out of its order.
                Destination::Fail(AskError::NoResponder)
            };
            entry.route = Some(route);
            match next {
                Destination::To(link) => self.send_to(id, &link),
                Destination::Hold => {}
                Destination::Fail(error) => self.refuse(id, error),
            }
        }
    }

    /// Ends the requests that wait for a name, with this error or that of their last refusal.
    pub(in crate::bus::client) fn refuse_held(&mut self, urn: &Urn, error: &AskError) {
        let Some(router) = &mut self.router else {
            return;
        };
        for original in router.take_held(urn) {
            let id = self.current_id(original);
            let entry = self.requests.get(&id);
            let route = entry.and_then(|entry| entry.route.as_ref());
            let refusal = route.and_then(|route| route.refusal());
            self.refuse(id, refusal.unwrap_or_else(|| error.clone()));
        }
    }

    /// Gives a request to a member, under a new id.
    fn send_to(&mut self, former: u64, link: &Arc<NodeLink>) {
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
        let origin = |id| Origin {
            client: self.client,
            id,
        };
        debug!(
            target: "conclib::request",
            request = %request_id(origin(entry.original)),
            next_request = %request_id(origin(id)),
            "a request goes on under another id"
        );
        entry.was_looked_for = false;
        entry.is_repeated = false;
        entry.delivered = Delivered::No;
        entry.epoch = None;
        self.current_ids.insert(entry.original, id);
        Some((id, self.requests.entry(id).insert_entry(entry).into_mut()))
    }

    /// Removes a request, to be ended with an error outside the lock.
    pub(in crate::bus::client) fn refuse(&mut self, id: u64, error: AskError) {
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
    pub(super) fn removed(&mut self, id: u64, entry: &PendingRequest) {
        if entry.original != id {
            self.current_ids.remove(&entry.original);
        }
        let (Some(route), Some(router)) = (&entry.route, &mut self.router) else {
            return;
        };
        if router.ended(route, entry.original) {
            let urn = route.urn().clone();
            self.release(&urn);
        }
    }

    /// Notes that a member is gone; false if some of its requests are still to be looked for in its inbox. Those
    /// that were not found there may have been executed.
    pub(in crate::bus::client) fn member_is_gone(&mut self, member: MemberId, losses: u32) -> bool {
        let its = || self.requests.values().filter(|entry| entry.is_with(member));
        // Another one was sent again, or before a connection was lost: it is not looked for.
        let is_unsure = |entry: &PendingRequest| entry.is_repeated || entry.losses != losses;
        if !its().all(|entry| entry.was_looked_for || is_unsure(entry)) {
            return false;
        }
        if let Some(router) = &mut self.router {
            for entry in its() {
                if let Some(route) = &entry.route {
                    router.may_be_executed(route, entry.original);
                }
            }
        }
        true
    }

    /// Has requests looked for once more, after a call that did nothing.
    pub(in crate::bus::client) fn look_for_again(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(entry) = self.requests.get_mut(id) {
                entry.was_looked_for = false;
            }
        }
    }

    /// Requests that the bus has accepted for a member in an epoch, with their frames, up to `count`, in the order
    /// in which they were sent: those that were sent once, over connections of which none was lost since, and
    /// each in one call only.
    pub(in crate::bus::client) fn accepted_by(
        &mut self,
        member: MemberId,
        losses: u32,
        count: usize,
    ) -> (Option<Epoch>, Vec<(u64, Frame)>) {
        let is_there = |entry: &PendingRequest| {
            let is_whole = !entry.is_repeated && !entry.was_looked_for;
            is_whole
                && entry.losses == losses
                && entry.delivered == Delivered::Accepted
                && entry.is_with(member)
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
        requests.sort_unstable_by_key(|(id, _)| *id);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::client::pending::Batch;
    use crate::bus::transport::fleet::{MapVersion, Member, MemberProfile, MemberState};

    const MEMBER: MemberId = MemberId(1);
    const EPOCH: Epoch = Epoch(7);

    fn name() -> Urn {
        Urn::unchecked("desk")
    }

    /// The requests of a client of one member.
    fn pending() -> (PendingRequests, Arc<NodeLink>) {
        let link = NodeLink::to("a");
        let profile = MemberProfile {
            node: "a".to_owned(),
            process: [0; 6],
            state: MemberState::Serving,
            shared: Vec::new(),
        };
        let member = Member {
            id: MEMBER,
            profile,
        };
        let mut router = Router::default();
        router.set_members(MapVersion(1), vec![(member, link.clone())]);
        let mut pending = PendingRequests::new(0);
        pending.route_by(ClientId::default(), router);
        (pending, link)
    }

    /// Enters a request; returns its id.
    fn enter(pending: &mut PendingRequests) -> Result<u64, AskError> {
        let id = pending.reserve_id(1)?;
        let frame = (Frame::default(), 1);
        drop(pending.insert_routed(id, &name(), frame, Kind::Ask)?);
        Ok(id)
    }

    fn batch(ids: &[u64]) -> Batch {
        Batch {
            ids: ids.to_vec(),
            frames: vec![Frame::default(); ids.len()],
        }
    }

    #[test]
    fn request_is_taken_back_once_and_not_after_a_lost_connection() {
        let (mut pending, _link) = pending();
        let ids = [enter(&mut pending).unwrap(), enter(&mut pending).unwrap()];
        pending.give(&mut batch(&ids), EPOCH, 0);
        assert!(pending.accepted(&ids).is_empty());
        assert!(pending.accepted_by(MEMBER, 1, 9).1.is_empty());
        assert!(pending.accepted_by(MemberId(2), 0, 9).1.is_empty());
        assert!(!pending.member_is_gone(MEMBER, 0));
        let (epoch, requests) = pending.accepted_by(MEMBER, 0, 9);
        let taken: Vec<_> = requests.into_iter().map(|(id, _)| id).collect();
        assert_eq!((epoch, &taken[..]), (Some(EPOCH), &ids[..]));
        assert!(pending.accepted_by(MEMBER, 0, 9).1.is_empty());
        assert!(pending.member_is_gone(MEMBER, 0));
        pending.look_for_again(&ids[..1]);
        assert_eq!(pending.accepted_by(MEMBER, 0, 9).1.len(), 1);
    }

    #[test]
    fn bounced_request_leaves_its_batch() {
        let (mut pending, _link) = pending();
        let id = enter(&mut pending).unwrap();
        let mut first = batch(&[id]);
        pending.give(&mut first, EPOCH, 0);
        assert!(pending.reroute(id, &AskError::NoResponder));
        assert!(pending.is_held(id));
        // The batch is sent once more, and fails.
        pending.give(&mut first, EPOCH, 0);
        assert!(first.frames.is_empty());
        assert!(pending.fail_all(&[id], &AskError::NoResponder).is_empty());
        assert!(pending.accepted(&[id]).is_empty());
        assert_eq!(pending.give_up(id), Some(Delivered::No));
        assert_eq!(pending.len(), 0);
        assert!(pending.current_ids.is_empty());
    }

    #[test]
    fn member_that_does_not_keep_up_gets_no_request() {
        let (mut pending, link) = pending();
        assert!(enter(&mut pending).is_ok());
        link.backpressure.record(u64::MAX);
        assert!(matches!(
            enter(&mut pending),
            Err(AskError::Overloaded { .. })
        ));
        assert_eq!(pending.len(), 1);
    }
}
