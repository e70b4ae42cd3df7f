//! The state that a client's handles, requests and tasks share.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::MutexGuard;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::bus::client::absence::MAX_ABSENCE;
use crate::bus::client::answer_watch::LeaseWatch;
use crate::bus::client::batch::UNKNOWN;
use crate::bus::client::counters::ClientCounters;
use crate::bus::client::dispatcher::ReplyDispatcher;
use crate::bus::client::driver::drive_link;
use crate::bus::client::fleet::{Router, refresh};
use crate::bus::client::links::Links;
use crate::bus::client::node_link::NodeLink;
use crate::bus::client::pending::PendingRequests;
use crate::bus::client::producer::ProducerQueue;
use crate::bus::config::Config;
use crate::bus::link::health::Health;
use crate::bus::protocol::{Kind, Request, check_limits, payload_size};
use crate::bus::transport::fleet::{Member, MemberState};
use crate::bus::transport::{ClientTransport, Frame, LeaseRecord, ServerTime, TransportError};
use crate::deadlock::current::Current;
use crate::envelope::Attributes;
use crate::error::{AskError, Delivered};
use crate::reply::remote::{ClientId, Origin};
use crate::time::deadline::Deadline;
use crate::trace::SharedPropagator;

/// The deadline in a frame that was made before the bus' clock was known. No such frame is sent: a
/// plain request is refused, and a durable one gets its deadline once a lazy client is connected.
pub(super) const UNDATED: ServerTime = ServerTime(u64::MAX);

/// The shared state of a client.
pub(super) struct ClientShared {
    pub(super) transport: Arc<dyn ClientTransport>,
    pub(super) id: ClientId,
    /// The deadline of a request that sets none.
    pub(super) timeout: Duration,
    max_frame: usize,
    /// Sends the contexts of traces along.
    pub(super) propagator: Option<SharedPropagator>,
    /// Requests for names go to the members of a fleet.
    pub(super) is_in_fleet: bool,
    pub(super) replies: Arc<ReplyDispatcher>,
    /// The link to the node of the config.
    pub(super) link: Arc<NodeLink>,
    /// The links to other nodes.
    pub(super) links: Links,
    /// The drivers of those links.
    pub(super) drivers: TaskTracker,
    /// The durable messages to be appended to the stream, and its maximum length.
    pub(super) producer: ProducerQueue,
    pub(super) max_stream_len: u64,
    /// The runtime of the client's tasks.
    pub(super) runtime: Handle,
    /// The lease terms that begin while durable requests wait for their answers.
    pub(super) lease_watch: Arc<LeaseWatch>,
    /// The state of the connections, for the public.
    pub(super) health: Arc<Health>,
    pub(super) counters: ClientCounters,
    pub(super) closed: CancellationToken,
}

/// A request that is ready to be encoded.
pub(super) struct Outgoing<'a> {
    pub(super) kind: Kind,
    pub(super) urn: &'a str,
    pub(super) message: &'a str,
    pub(super) deadline: Instant,
    pub(super) attributes: &'a Attributes,
    /// In a fleet: the request is for one node, whichever member has the URN.
    pub(super) is_direct: bool,
    pub(super) is_left_out: bool,
    pub(super) contents: Vec<u8>,
}

impl ClientShared {
    pub(super) fn new(
        transport: Arc<dyn ClientTransport>,
        config: &Config,
        id: ClientId,
        replies: Arc<ReplyDispatcher>,
        health: Arc<Health>,
    ) -> Self {
        if config.is_in_fleet() {
            replies.pending().route_by(id, Router::default());
        }
        Self {
            transport,
            id,
            timeout: config.timeout,
            max_frame: config.max_message_size,
            propagator: config.propagator.clone(),
            is_in_fleet: config.is_in_fleet(),
            replies,
            link: Arc::new(NodeLink::new(config.keys(), Arc::default())),
            links: Links::default(),
            drivers: TaskTracker::new(),
            producer: ProducerQueue::default(),
            max_stream_len: config.max_stream_len,
            runtime: Handle::current(),
            lease_watch: Arc::default(),
            health,
            counters: ClientCounters::default(),
            closed: CancellationToken::new(),
        }
    }

    /// The link to a node, which is made if there is none.
    pub(super) fn link_to(self: &Arc<Self>, node: &str) -> Arc<NodeLink> {
        if node == self.link.keys.node() {
            return self.link.clone();
        }
        let make = || {
            let link = NodeLink::new(self.link.keys.of(node), self.link.clock.clone());
            if self.is_in_fleet {
                link.of_member()
            } else {
                link
            }
        };
        let begin = |link| {
            let driving = drive_link(self.clone(), link);
            drop(self.drivers.spawn_on(driving, &self.runtime));
        };
        self.links.get(node, make, begin)
    }

    /// The largest request for a node, in bytes.
    pub(super) fn limit(&self, link: &NodeLink) -> usize {
        self.max_frame.min(link.known_limit())
    }

    /// The frame of a request, still without its id, and its size. Its deadline is [`UNDATED`] before
    /// the first connection.
    pub(super) fn frame<'a>(
        &self,
        link: &NodeLink,
        request: &Outgoing<'a>,
    ) -> Result<(Request<'a>, usize), AskError> {
        let Outgoing {
            kind,
            urn,
            message,
            deadline,
            attributes,
            is_direct,
            is_left_out,
            ref contents,
        } = *request;
        let frame = Request {
            kind,
            origin: Origin {
                client: self.id,
                id: 0,
            },
            urn,
            message,
            deadline: link.clock.to_bus(deadline).unwrap_or(UNDATED),
            attributes,
            is_direct,
            is_left_out,
        };
        check_limits(message, attributes)?;
        let limit = self.limit(link);
        let size = payload_size(contents, attributes);
        if size > limit {
            return Err(AskError::TooLarge { size, limit });
        }
        Ok((frame, size))
    }

    /// Removes a request whose asker has gone; cancels it if the bus may have it.
    pub(super) fn abandon(&self, id: u64, deadline: Instant) {
        let mut pending = self.pending();
        let Some((id, link)) = pending.abandon(id, &self.link) else {
            return;
        };
        // Under the lock, so that cancels are in the order in which their requests were abandoned.
        let deadline = link.clock.to_bus(deadline).unwrap_or(UNDATED);
        let frame = self.control(Kind::Cancel, id, deadline, pending.buffer());
        link.queue.push_control(frame);
    }

    /// Confirms the bytes of large reply frames to the node that has sent them.
    pub(super) fn confirm(&self, link: &NodeLink, bytes: usize) {
        let mut pending = self.pending();
        let frame = self.control(Kind::Confirm, bytes as u64, ServerTime(0), pending.buffer());
        link.queue.push_control(frame);
    }

    /// The frame of a request that is no message.
    fn control(&self, kind: Kind, id: u64, deadline: ServerTime, buffer: &mut BytesMut) -> Frame {
        let client = self.id;
        let request = Request {
            kind,
            origin: Origin { client, id },
            urn: "",
            message: "",
            deadline,
            attributes: &Attributes::new(),
            is_direct: false,
            is_left_out: false,
        };
        request.encode_into(Vec::new(), buffer)
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        self.replies.pending()
    }

    /// Does something with the routes of a client in a fleet.
    pub(super) fn with_router<T>(&self, act: impl FnOnce(&mut Router) -> T) -> Option<T> {
        self.pending().router().map(act)
    }

    /// Ends requests that no member takes.
    pub(super) fn end_refused_in_fleet(&self) {
        let refused = self.pending().take_refused();
        for (reply, error) in refused {
            reply.refuse(error);
        }
    }

    /// Notes the lease of a node as it was just seen.
    pub(super) fn set_lease(&self, link: &NodeLink, lease: Option<LeaseRecord>) {
        let is_absent = lease.is_none();
        link.set_lease(lease);
        if is_absent {
            self.note_absence(link);
        } else {
            link.absence.end();
        }
    }

    /// Notes that no actor system serves a node: after a while the connections are made anew. They may
    /// lead to a bus that has been replaced by another one, and does not know it.
    fn note_absence(&self, link: &NodeLink) {
        if self.is_in_fleet && !std::ptr::eq(&raw const *self.link, link) {
            return; // others may serve
        }
        let Some(advice) = link.absence.note() else {
            return;
        };
        let why = format!("no actor system has served there for {MAX_ABSENCE:?}");
        if !advice.is_news {
            return self.transport.reconnect(&why);
        }
        warn!(
            "{why}: connecting anew from time to time, since another Redis may have taken its place"
        );
        let (transport, is_in_fleet) = (self.transport.clone(), self.is_in_fleet);
        let node = self.link.keys.node().to_owned();
        drop(self.runtime.spawn(async move {
            if !is_in_fleet {
                look_for_fleet(&*transport, &node).await;
            }
            transport.reconnect(&why);
        }));
    }

    /// Reads what a client has to know before its first request.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<(), TransportError> {
        if !self.is_in_fleet {
            return self.read_lease(&self.link).await.map(drop);
        }
        self.read_clock(&self.link, &*self.transport).await?;
        refresh::read_members(self).await
    }

    /// Reads the lease of a node and the time from the bus.
    pub(super) async fn read_lease(
        &self,
        link: &NodeLink,
    ) -> Result<Option<LeaseRecord>, TransportError> {
        let lease = self.read_clock(link, &*self.transport).await?;
        self.set_lease(link, lease.clone());
        Ok(lease)
    }

    /// Reads the lease of a node and the time over a transport; records the time only.
    pub(super) async fn read_clock(
        &self,
        link: &NodeLink,
        transport: &dyn ClientTransport,
    ) -> Result<Option<LeaseRecord>, TransportError> {
        let sent = Instant::now();
        let (lease, now) = transport.lease(&link.keys).await?;
        link.clock.record(sent, Instant::now(), now);
        Ok(lease)
    }

    /// Checks that an actor system serves that this client can ask.
    pub(super) async fn responder(&self, link: &NodeLink) -> Result<(), AskError> {
        let mut deadline = Deadline::default();
        deadline.start(Some(self.timeout));
        deadline.cut(Current::deadline());
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(AskError::Closed),
            answer = self.read_responder(link) => answer,
            () = poll_fn(|cx| deadline.poll(cx)) => {
                let delivered = Delivered::No;
                Err(AskError::Timeout { delivered })
            }
        }
    }

    /// The known lease stays as it is: a request that was made now must not overtake a batch that has
    /// begun to read the lease.
    async fn read_responder(&self, link: &NodeLink) -> Result<(), AskError> {
        if let Some(reason) = self.health.problem() {
            return Err(AskError::Unavailable { reason });
        }
        if self.is_in_fleet && std::ptr::eq(&raw const *self.link, link) {
            return self.read_member().await;
        }
        let read = self.read_clock(link, &*self.transport).await;
        let lease = read.map_err(|error| AskError::Unavailable {
            reason: error.to_string(),
        })?;
        let Some(lease) = lease else {
            self.note_absence(link);
            return Err(AskError::NoResponder);
        };
        link.absence.end();
        lease.check_version()
    }

    /// Checks that a member of the fleet serves: one that was killed may still be on the map.
    async fn read_member(&self) -> Result<(), AskError> {
        let read = self.transport.members().await;
        let unavailable = |error: TransportError| AskError::Unavailable {
            reason: error.to_string(),
        };
        let serves = |member: &Member| {
            let state = member.profile.state;
            matches!(state, MemberState::Listing | MemberState::Serving)
        };
        let mut outcome = Err(AskError::NoResponder);
        for member in read.map_err(unavailable)?.all.into_iter().filter(serves) {
            let node = self.link.keys.of(&member.profile.node);
            let (lease, _) = self.transport.lease(&node).await.map_err(unavailable)?;
            if let Some(lease) = lease {
                outcome = lease.check_version();
                if outcome.is_ok() {
                    break;
                }
            }
        }
        outcome
    }

    /// Ends accepted requests that were refused, in a task: the refusal is certain if the bus that has
    /// accepted them still takes writes. Another bus that has taken its place may have refused a
    /// copy of a request that was executed.
    pub(super) fn end_refused(self: Arc<Self>, ids: Vec<u64>, losses: u32) {
        let runtime = self.runtime.clone();
        let proven = async move {
            let is_primary = self.transport.prove_writable().await.is_ok();
            let error = if is_primary && self.health.losses() == losses {
                AskError::NoResponder
            } else {
                UNKNOWN
            };
            let ended = self.pending().fail_all(&ids, &error);
            for reply in ended {
                reply.refuse(error.clone());
            }
        };
        drop(runtime.spawn(proven));
    }

    /// Ends every request; idempotent.
    pub(super) fn close(&self) {
        self.health.close();
        self.closed.cancel();
        let waiting = self.pending().close();
        for reply in waiting {
            reply.refuse(AskError::Closed);
        }
    }
}

/// Warns if the namespace has a fleet, which a client that asks one node does not ask.
async fn look_for_fleet(transport: &dyn ClientTransport, node: &str) {
    // A user without the rights of a fleet cannot see it.
    let members = transport.members().await.map(|members| members.all.len());
    if let Ok(members @ 1..) = members {
        warn!(
            node,
            members,
            "this client asks one node, and the namespace has a fleet: set `CONCLIB_FLEET=1` \
             (`Config::fleet`) to ask its members"
        );
    }
}
