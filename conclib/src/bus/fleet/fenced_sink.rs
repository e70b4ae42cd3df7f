//! Requests for listed names, which are begun only while the member speaks for its names.

use std::sync::{Arc, Weak};

use tokio::time::Instant;

use crate::bus::fleet::membership::Membership;
use crate::error::AskError;
use crate::message::{CodecError, MessageSchema};
use crate::reply::RequestId;
use crate::reply::remote::{Origin, Outcome, Responder, ResponseSink};
use crate::trace::Propagate;

/// Takes the replies to requests for listed names to the sink of all requests. Those that wait in a mailbox
/// when the member's fence closes are refused: another member may have listed the name since.
pub(crate) struct FencedSink {
    inner: Arc<dyn ResponseSink>,
    membership: Arc<Membership>,
}

impl FencedSink {
    pub(crate) fn new(inner: Arc<dyn ResponseSink>, membership: Arc<Membership>) -> Self {
        Self { inner, membership }
    }
}

impl ResponseSink for FencedSink {
    fn is_revoked(&self) -> bool {
        self.inner.is_revoked() || !self.membership.speaks_for_names()
    }

    fn respond(&self, origin: Origin, deadline: Option<Instant>, outcome: Outcome) {
        self.inner.respond(origin, deadline, outcome);
    }

    fn respond_begun(&self, origin: Origin, deadline: Option<Instant>, error: AskError) {
        self.inner.respond_begun(origin, deadline, error);
    }

    fn tell_lost(&self, error: &AskError) {
        self.inner.tell_lost(error);
    }

    fn undecoded(&self, message: &'static str, error: &CodecError, schema: Option<MessageSchema>) {
        self.inner.undecoded(message, error, schema);
    }

    fn is_given_up(&self, origin: Origin) -> bool {
        self.inner.is_given_up(origin)
    }

    fn request_id(&self, origin: Origin) -> Option<RequestId> {
        self.inner.request_id(origin)
    }

    fn propagator(&self) -> Option<&dyn Propagate> {
        self.inner.propagator()
    }

    fn forget(&self, origin: Origin) {
        self.inner.forget(origin);
    }

    fn watch(&self, origin: Origin, responder: Weak<Responder>) {
        self.inner.watch(origin, responder);
    }

    fn unwatch(&self, origin: Origin) {
        self.inner.unwatch(origin);
    }
}
