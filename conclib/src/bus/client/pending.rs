//! The pending requests of a client: sent or to be sent, and not answered yet. Incoming replies find
//! their askers here, by id and epoch. No I/O.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::bus::client::fleet::{Route, Router};
use crate::bus::client::node_link::NodeLink;
use crate::bus::protocol::{Kind, MAX_REQUESTS};
use crate::bus::transport::{Epoch, Frame};
use crate::error::{AskError, Delivered};
use crate::reply::remote::ClientId;
use crate::reply::{Reply, ReplyReceiver};

pub(crate) use answers::Answered;
use id_hasher::IdHasher;

/// Total size of a client's pending requests, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Advice when there are too many pending requests.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The pending requests of a client.
pub(crate) struct PendingRequests {
    requests: HashMap<u64, PendingRequest, BuildHasherDefault<IdHasher>>,
    /// Total size of the requests.
    bytes: usize,
    /// The number of those for the client's own node: counted here, since they are nearly all of a client without a
    /// fleet, and share no counter.
    own_node: usize,
    /// Memory for the frames of small requests.
    buffer: BytesMut,
    /// Starts at random, so that the ids of two clients are unrelated.
    next_id: u64,
    /// The keys of requests that were given new ids, by the ids with which their askers know them.
    current_ids: HashMap<u64, u64>,
    /// The routes of requests, if the client is in a fleet.
    router: Option<Box<Router>>,
    /// The client, for the log; of one in a fleet.
    client: ClientId,
    /// Requests that have ended while others were looked at, with their errors: to be ended outside the
    /// lock.
    refused: Vec<(Reply<Bytes>, AskError)>,
    closed: bool,
    /// The number of answers that came after their requests had ended.
    late_answers: u64,
    /// The number of requests that went on to another member of the fleet, or waited for one.
    rerouted: u64,
}

/// Requests that are sent together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) ids: Vec<u64>,
    /// Control frames, and behind them the frames of the requests.
    pub(crate) frames: Vec<Frame>,
}

struct PendingRequest {
    reply: Reply<Bytes>,
    /// The id with which its asker knows it: that of its first frame.
    original: u64,
    /// The node that it goes to. `None` is the client's own, or none yet if it has a route.
    link: Option<Arc<NodeLink>>,
    /// Its way through a fleet.
    route: Option<Box<Route>>,
    /// The encoded request; empty once the bus has accepted it, unless it may go to another member.
    frame: Frame,
    bytes: usize,
    /// The epoch whose inbox it was last given to: only answers from that epoch count.
    epoch: Option<Epoch>,
    delivered: Delivered,
    /// A tell ends when the bus has accepted it.
    kind: Kind,
    /// It is stored until it is handled, and in no inbox: any later epoch may answer.
    is_durable: bool,
    /// The number of connections that the client had lost when the request was given to that epoch.
    losses: u32,
    /// It was given to that epoch more than once.
    is_repeated: bool,
    /// It was looked for in the inbox, in which its member may have left it.
    was_looked_for: bool,
}

impl PendingRequests {
    pub(crate) fn new(first_id: u64) -> Self {
        Self {
            requests: HashMap::default(),
            bytes: 0,
            own_node: 0,
            buffer: BytesMut::new(),
            next_id: first_id,
            current_ids: HashMap::new(),
            router: None,
            client: ClientId::default(),
            refused: Vec::new(),
            closed: false,
            late_answers: 0,
            rerouted: 0,
        }
    }

    /// The id for the next request of that size, if the limits allow one.
    pub(crate) fn reserve_id(&mut self, bytes: usize) -> Result<u64, AskError> {
        if self.closed {
            return Err(AskError::Closed);
        }
        // A request that is larger than the limit goes alone.
        let is_heavy = self.bytes > 0 && self.bytes + bytes > MAX_BYTES;
        if self.requests.len() >= MAX_REQUESTS || is_heavy {
            return Err(AskError::Overloaded {
                retry_after: RETRY_AFTER,
            });
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        Ok(id)
    }

    /// Memory for the next frame.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Enters a request for a node, or the client's own one, with its frame and size; returns the receiver of its
    /// answer.
    pub(super) fn insert(
        &mut self,
        id: u64,
        link: Option<&Arc<NodeLink>>,
        (frame, bytes): (Frame, usize),
        kind: Kind,
    ) -> ReplyReceiver<Bytes> {
        let (reply, receiver) = Reply::local();
        let mut request = PendingRequest::new(id, reply, (frame, bytes), kind);
        match link {
            Some(link) => link.begin_request(),
            None => self.own_node += 1,
        }
        request.link = link.cloned();
        self.bytes += bytes;
        self.requests.insert(id, request);
        receiver
    }

    /// Enters a durable request; its frame waits to be stored.
    pub(super) fn insert_durable(
        &mut self,
        id: u64,
        frame: (Frame, usize),
        kind: Kind,
    ) -> ReplyReceiver<Bytes> {
        let receiver = self.insert(id, None, frame, kind);
        if let Some(entry) = self.requests.get_mut(&id) {
            entry.is_durable = true;
        }
        receiver
    }

    /// The frame of a request, if it has not ended; empty for a durable one.
    pub(crate) fn frame(&self, id: u64) -> Option<&Frame> {
        self.requests.get(&id).map(|entry| &entry.frame)
    }

    /// The link to the node that a request was given to, if it has not ended. `own` is that to the client's own node.
    pub(super) fn link_of(&self, id: u64, own: &Arc<NodeLink>) -> Option<Arc<NodeLink>> {
        self.requests.get(&id)?.link(own).cloned()
    }

    /// The number of requests for the client's own node, beside those of a fleet.
    pub(super) fn own_node(&self) -> usize {
        self.own_node
    }

    /// The requests among `ids` that have not ended, and that the bus has not accepted, to be sent
    /// once more.
    pub(crate) fn unaccepted(&self, ids: &[u64]) -> Batch {
        let mut batch = Batch::default();
        for id in ids {
            if let Some(entry) = self.requests.get(id)
                && entry.delivered != Delivered::Accepted
            {
                batch.ids.push(*id);
                batch.frames.push(entry.frame.clone());
            }
        }
        batch
    }

    /// Notes that a batch is given to the connection, for the inbox of `epoch`: its requests may have
    /// been executed from now on. Requests that have ended meanwhile are removed from the batch: their
    /// askers were told that they were not executed. `losses` counts the connections that were lost so
    /// far.
    pub(crate) fn give(&mut self, batch: &mut Batch, epoch: Epoch, losses: u32) {
        let mut have_ended = false;
        for id in &batch.ids {
            match self.requests.get_mut(id) {
                Some(entry) => {
                    entry.is_repeated = entry.epoch == Some(epoch);
                    if !entry.is_repeated {
                        entry.losses = losses;
                    }
                    entry.epoch = Some(epoch);
                    entry.delivered = Delivered::Unknown;
                }
                None => have_ended = true,
            }
        }
        if have_ended {
            let controls = batch.frames.len() - batch.ids.len();
            let mut ids = batch.ids.iter();
            let mut place = 0;
            batch.frames.retain(|_| {
                place += 1;
                let id = if place > controls { ids.next() } else { None };
                id.is_none_or(|id| self.requests.contains_key(id))
            });
            batch.ids.retain(|id| self.requests.contains_key(id));
        }
    }

    /// Notes that durable requests are given to the connection.
    pub(crate) fn durable_sent(&mut self, ids: &[u64]) {
        self.mark(ids, Delivered::Unknown);
    }

    /// True if the bus has stored the message of a durable request that has not ended.
    pub(crate) fn is_stored(&self, original: u64) -> bool {
        let entry = self.requests.get(&self.current_id(original));
        entry.is_some_and(|entry| entry.delivered == Delivered::Stored)
    }

    /// Notes that durable requests were certainly not stored.
    pub(crate) fn durable_not_stored(&mut self, ids: &[u64]) {
        self.mark(ids, Delivered::No);
    }

    fn mark(&mut self, ids: &[u64], delivered: Delivered) {
        for id in ids {
            if let Some(entry) = self.requests.get_mut(id) {
                entry.delivered = delivered;
            }
        }
    }

    /// Notes that the bus has accepted requests. The tells among them end; their replies are returned,
    /// to be sent outside the lock.
    pub(crate) fn accepted(&mut self, ids: &[u64]) -> Vec<Reply<Bytes>> {
        let mut done = Vec::new();
        for id in ids {
            match self.requests.get_mut(id) {
                Some(entry) if entry.kind == Kind::Tell => done.extend(self.end(*id)),
                Some(entry) => {
                    entry.delivered = if entry.is_durable {
                        Delivered::Stored
                    } else {
                        Delivered::Accepted
                    };
                    if entry.route.is_none() {
                        entry.frame = Frame::default();
                    }
                }
                None => {}
            }
        }
        done
    }

    /// Removes a request, to end it.
    pub(crate) fn end(&mut self, id: u64) -> Option<Reply<Bytes>> {
        self.remove(id).map(|entry| entry.reply)
    }

    /// Removes requests that have failed with an error, to end them. In a fleet, those that were certainly
    /// not executed go to other members instead.
    pub(super) fn fail_all(&mut self, ids: &[u64], error: &AskError) -> Vec<Reply<Bytes>> {
        let mut failed = Vec::new();
        for id in ids {
            if !self.reroute(*id, error) {
                failed.extend(self.end(*id));
            }
        }
        failed
    }

    /// Removes requests, to end them.
    #[cfg(test)]
    pub(crate) fn end_all(&mut self, ids: &[u64]) -> Vec<Reply<Bytes>> {
        ids.iter().filter_map(|id| self.end(*id)).collect()
    }

    /// Removes a request at its deadline; returns its progress.
    pub(crate) fn give_up(&mut self, original: u64) -> Option<Delivered> {
        self.remove(self.current_id(original)).map(|entry| {
            entry.reply.forget();
            entry.delivered
        })
    }

    /// Removes a request whose asker has gone; returns its id and the node at which it is to be
    /// cancelled, if it is an ask that was given to the connection. `own` is the link to the client's own node.
    pub(super) fn abandon(
        &mut self,
        original: u64,
        own: &Arc<NodeLink>,
    ) -> Option<(u64, Arc<NodeLink>)> {
        let id = self.current_id(original);
        let entry = self.remove(id)?;
        let is_cancelled = entry.kind == Kind::Ask && entry.delivered != Delivered::No;
        let link = entry.link(own).filter(|_| is_cancelled).cloned();
        entry.reply.forget();
        Some((id, link?))
    }

    /// Removes all requests, and refuses further ones.
    pub(crate) fn close(&mut self) -> Vec<Reply<Bytes>> {
        self.closed = true;
        self.bytes = 0;
        self.own_node = 0;
        let end = |(_, entry): (u64, PendingRequest)| {
            if let Some(link) = &entry.link {
                link.end_request();
            }
            entry.reply
        };
        let refused = self.refused.drain(..).map(|(reply, _)| reply);
        let ended = self.requests.drain().map(end);
        ended.chain(refused).collect()
    }

    /// Total size of the pending requests, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of answers that came after their requests had ended.
    pub(super) fn late_answers(&self) -> u64 {
        self.late_answers
    }

    /// The number of requests that went on to another member of the fleet, or waited for one.
    pub(super) fn rerouted(&self) -> u64 {
        self.rerouted
    }

    /// Number of pending requests.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The key of a request that its asker knows by this id.
    fn current_id(&self, original: u64) -> u64 {
        if self.current_ids.is_empty() {
            return original;
        }
        self.current_ids.get(&original).copied().unwrap_or(original)
    }

    fn remove(&mut self, id: u64) -> Option<PendingRequest> {
        let entry = self.requests.remove(&id)?;
        self.bytes -= entry.bytes;
        match &entry.link {
            Some(link) => link.end_request(),
            None if entry.route.is_none() => self.own_node -= 1,
            None => {}
        }
        if entry.route.is_some() {
            self.removed(id, &entry);
        }
        Some(entry)
    }
}

impl PendingRequest {
    /// A request that goes to no node yet, with its frame and size.
    fn new(id: u64, reply: Reply<Bytes>, (frame, bytes): (Frame, usize), kind: Kind) -> Self {
        Self {
            reply,
            original: id,
            link: None,
            route: None,
            frame,
            bytes,
            epoch: None,
            delivered: Delivered::No,
            kind,
            is_durable: false,
            losses: 0,
            is_repeated: false,
            was_looked_for: false,
        }
    }

    /// The link to the node that it goes to, if there is one. `own` is that to the client's own node.
    fn link<'a>(&'a self, own: &'a Arc<NodeLink>) -> Option<&'a Arc<NodeLink>> {
        match &self.link {
            None if self.route.is_none() => Some(own),
            link => link.as_ref(),
        }
    }
}

mod answers;
mod id_hasher;
mod routed;
#[cfg(test)]
mod tests;
