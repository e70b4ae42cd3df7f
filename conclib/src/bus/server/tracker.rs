//! The requests of one lease term: their replies go to the publisher, unless they are cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use crate::bus::link::request_id::request_id;
use crate::bus::protocol::Kind;
use crate::bus::server::ProxyShared;
use crate::bus::server::cancellations::CancelledRequests;
use crate::bus::server::counters::{ProxyCounters, count};
use crate::bus::server::publisher::ReplyPublisher;
use crate::bus::server::skew_log::SkewLog;
use crate::error::AskError;
use crate::message::{CodecError, MessageSchema};
use crate::reply::RequestId;
use crate::reply::remote::{Origin, Outcome, Responder, ResponseSink};
use crate::trace::{Propagate, SharedPropagator};

/// Tracks the requests that were taken in one term until they are answered or cancelled.
pub(crate) struct RequestTracker {
    publisher: Arc<ReplyPublisher>,
    /// The requests whose askers no longer wait for a reply.
    cancelled: CancelledRequests,
    /// Another system serves the node: requests that no handler has begun are refused.
    is_revoked: Arc<AtomicBool>,
    counters: Arc<ProxyCounters>,
    /// This process knows all requests of the epoch that were taken: none that it refuses was executed.
    knows_all: AtomicBool,
    /// Reads the trace contexts of requests.
    propagator: Option<SharedPropagator>,
    /// The messages that do not decode.
    skew_log: Arc<SkewLog>,
}

impl RequestTracker {
    pub(super) fn new(publisher: Arc<ReplyPublisher>, shared: &ProxyShared) -> Self {
        Self {
            publisher,
            cancelled: CancelledRequests::default(),
            is_revoked: shared.is_revoked.clone(),
            counters: shared.counters.clone(),
            knows_all: AtomicBool::new(true),
            propagator: shared.config.propagator.clone(),
            skew_log: shared.skew_log.clone(),
        }
    }

    /// The same for an epoch of which another process may have executed requests.
    pub(super) fn of_another_process(self) -> Self {
        Self {
            knows_all: AtomicBool::new(false),
            ..self
        }
    }

    /// Notes that requests were taken that are not known any more.
    pub(super) fn note_forgotten(&self) {
        self.knows_all.store(false, Ordering::Relaxed);
    }

    pub(super) fn publisher(&self) -> &Arc<ReplyPublisher> {
        &self.publisher
    }

    /// Notes that an ask was taken: a reply will follow.
    pub(crate) fn begin_reply(&self) {
        self.publisher.begin_reply();
    }

    /// The responder of a request that is about to be delivered.
    pub(super) fn responder(
        self: Arc<Self>,
        kind: Kind,
        origin: Origin,
        deadline: Instant,
    ) -> Responder {
        let is_ask = kind == Kind::Ask;
        if is_ask {
            self.begin_reply();
        }
        let responder = Responder::new(self, origin, is_ask, Some(deadline));
        if is_ask {
            responder
        } else {
            responder.reporting_loss()
        }
    }

    /// Answers a request that cannot be read.
    pub(super) fn refuse(&self, origin: Origin, error: AskError) {
        self.begin_reply();
        if self.is_wanted(origin) {
            count(&self.counters.unread);
            self.publish(origin, None, Err(error));
        }
    }

    /// Publishes the outcome of a request that is taken by this process only.
    fn publish(&self, origin: Origin, deadline: Option<Instant>, outcome: Outcome) {
        if self.knows_all.load(Ordering::Relaxed) && outcome == Err(AskError::NoResponder) {
            self.publisher.publish_unexecuted(origin, deadline);
        } else {
            self.publisher.publish(origin, deadline, outcome);
        }
    }

    /// Sends the outcome of a durable message to a caller that waits for it.
    pub(crate) fn respond_durable(&self, origin: Origin, deadline: Instant, outcome: Outcome) {
        self.begin_reply();
        if self.is_wanted(origin) {
            self.publisher.publish(origin, Some(deadline), outcome);
        }
    }

    /// Sends the outcome of a request that went to no actor, and whose reply was begun.
    pub(super) fn respond_operator(&self, origin: Origin, deadline: Instant, outcome: Outcome) {
        if self.is_wanted(origin) {
            self.publisher.publish(origin, Some(deadline), outcome);
        }
    }

    /// True if the answer to a request is to be published; otherwise the request ends here.
    fn is_wanted(&self, origin: Origin) -> bool {
        let is_cancelled = self.cancelled.remove(origin);
        if is_cancelled {
            self.counters.record_abandoned();
            self.publisher.end_reply();
        }
        !is_cancelled
    }

    /// Cancels a request for its client.
    pub(super) fn cancel(&self, origin: Origin, deadline: Instant, now: Instant) {
        if let Some(responder) = self.cancelled.insert(origin, deadline, now) {
            responder.give_up(); // outside the lock: it wakes a handler
        }
    }
}

impl ResponseSink for RequestTracker {
    fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    fn request_id(&self, origin: Origin) -> Option<RequestId> {
        Some(request_id(origin))
    }

    fn propagator(&self) -> Option<&dyn Propagate> {
        self.propagator.as_deref()
    }

    fn is_given_up(&self, origin: Origin) -> bool {
        self.cancelled.contains(origin)
    }

    fn forget(&self, origin: Origin) {
        self.cancelled.remove(origin);
        self.counters.record_abandoned();
        self.publisher.end_reply();
    }

    fn tell_lost(&self, error: &AskError) {
        self.counters.lost_tells().record_error(error);
    }

    fn undecoded(&self, message: &'static str, error: &CodecError, schema: Option<MessageSchema>) {
        self.skew_log.record(message, error, schema);
    }

    fn watch(&self, origin: Origin, responder: Weak<Responder>) {
        self.cancelled.watch(origin, responder);
    }

    fn unwatch(&self, origin: Origin) {
        self.cancelled.unwatch(origin);
    }

    fn respond(&self, origin: Origin, deadline: Option<Instant>, outcome: Outcome) {
        if self.is_wanted(origin) {
            let outcome = self.publisher.permitted(outcome);
            self.counters.asks().record(&outcome);
            self.publish(origin, deadline, outcome);
        }
    }

    fn respond_begun(&self, origin: Origin, deadline: Option<Instant>, error: AskError) {
        if self.is_wanted(origin) {
            self.counters.asks().record_error(&error);
            self.publisher.publish_begun(origin, deadline, error);
        }
    }
}
