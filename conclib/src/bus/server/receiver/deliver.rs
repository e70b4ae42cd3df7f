//! Delivers popped requests to their actors, or refuses them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, field, warn};

use crate::actor::any::{AnyActor, Undelivered};
use crate::actor::listing::Listing;
use crate::bus::fleet::FencedSink;
use crate::bus::link::log_once::{Anomaly, printable};
use crate::bus::protocol::{Kind, Received, payload_size};
use crate::bus::server::counters::count;
use crate::bus::server::receiver::{Intake, MAX_DEADLINE, RequestReceiver};
use crate::bus::transport::CutFrame;
use crate::core::LookupError;
use crate::envelope::RequestEnvelope;
use crate::error::{AskError, Delivered};
use crate::reply::held::HeldBytes;
use crate::reply::remote::Responder;

/// Contents below this size are copied when they wait for their actor: they would keep the memory of the
/// whole read that they came in with, and count as their own size only.
const COPIED_CONTENTS: usize = 16 * 1024;

/// Size of a request beside its contents and attributes, in bytes; at most.
const MAX_REQUEST_OVERHEAD: usize = 2 * 1024;

/// The kind, URN and message name of a request: for the log of its refusal.
type Head<'a> = (Kind, &'a str, &'a str);

impl RequestReceiver {
    /// Handles frames in the order in which they were popped; true if a wake among them says that the
    /// lease was closed. The requests behind the wake are refused.
    pub(super) fn handle_all(
        &mut self,
        frames: Vec<Bytes>,
        cut: Vec<CutFrame>,
        mut intake: Intake,
    ) -> bool {
        let now = Instant::now();
        let mut is_woken = false;
        let mut cut = cut.into_iter().peekable();
        for (position, frame) in frames.into_iter().enumerate() {
            while let Some(cut) = cut.next_if(|cut| cut.position <= position) {
                self.refuse_cut(&cut, intake, now);
            }
            self.frame_size.record(frame.len());
            if self.handle(&frame, intake, now) {
                is_woken = true;
                intake = Intake::Reject;
            }
        }
        for cut in cut {
            self.refuse_cut(&cut, intake, now);
        }
        is_woken
    }

    /// Refuses a request for which there was no room in the pop.
    fn refuse_cut(&mut self, frame: &CutFrame, intake: Intake, now: Instant) {
        self.frame_size.record(frame.length);
        let Some(origin) = Received::origin_of(&frame.head) else {
            return self
                .log
                .record(Anomaly::UnreadableRequest, &"it is too large");
        };
        if self.dedup.is_duplicate(origin) {
            return;
        }
        self.dedup.record(origin, now, now);
        let limit = self.shared.config.max_message_size;
        let refusal = if intake == Intake::Reject {
            AskError::NoResponder // the only error by which the client asks for copies
        } else if frame.length > limit + MAX_REQUEST_OVERHEAD {
            let size = frame.length;
            AskError::TooLarge { size, limit }
        } else {
            AskError::overloaded()
        };
        self.requests.refuse(origin, refusal);
    }

    /// Handles a frame; true if it is the wake of a lease that was closed.
    fn handle(&mut self, frame: &Bytes, intake: Intake, now: Instant) -> bool {
        let request = match Received::decode(frame) {
            Ok(request) => request,
            Err(unreadable) => {
                self.log
                    .record(Anomaly::UnreadableRequest, &unreadable.problem);
                if let Some(origin) = unreadable.origin {
                    let refusal = match intake {
                        Intake::Accept => unreadable.as_ask_error(),
                        Intake::Reject => AskError::NoResponder,
                    };
                    self.requests.refuse(origin, refusal);
                }
                return false;
            }
        };
        match request.kind {
            // Any peer can write a wake; it counts only when this proxy is to stop.
            Kind::Wake => return self.shared.stop.is_cancelled(),
            // A client sends a request before its cancel: what was never seen is not remembered.
            Kind::Cancel if !self.dedup.is_duplicate(request.origin) => {}
            Kind::Cancel => {
                let deadline = self
                    .shared
                    .clock
                    .to_local(request.deadline, now, MAX_DEADLINE);
                self.requests.cancel(request.origin, deadline, now);
            }
            Kind::Confirm => {
                let bytes = usize::try_from(request.origin.id).unwrap_or(usize::MAX);
                self.requests
                    .publisher()
                    .confirm(request.origin.client, bytes);
            }
            Kind::Ask | Kind::Tell => {
                let counters = &self.shared.counters;
                count(if request.kind == Kind::Ask {
                    &counters.received_asks
                } else {
                    &counters.received_tells
                });
                self.deliver(frame.len(), request, intake, now);
            }
        }
        false
    }

    /// Delivers a request to its actor, or refuses it.
    fn deliver(&mut self, size: usize, request: Received<'_>, intake: Intake, now: Instant) {
        if self.dedup.is_duplicate(request.origin) {
            // The first one has its answer, or will have it.
            return self.log.record(Anomaly::DuplicateRequest, &request.message);
        }
        let deadline = self
            .shared
            .clock
            .to_local(request.deadline, now, MAX_DEADLINE);
        let request_head = (request.kind, request.urn, request.message);
        let requests = self.requests.clone();
        let responder = requests.responder(request.kind, request.origin, deadline);
        let (actor, mut held) = match self.admit(size, &request, intake, deadline, now) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                // Refused requests are recorded too: sent again, they would be executed after all.
                self.dedup.record(request.origin, now, now);
                return self.refuse(request_head, &responder, refusal);
            }
        };
        self.dedup.record(request.origin, deadline, now);
        if self.dedup.has_forgotten() {
            self.requests.note_forgotten();
        }
        let responder = responder
            .with_attributes(request.attributes, Some(&mut held))
            .with_trace(request.is_left_out);
        let responder = match self.fenced_sink(&*actor, request.is_direct) {
            Some(listed) => responder.with_sink(listed.clone()),
            None => responder,
        };
        let envelope = RequestEnvelope {
            urn: actor.urn().clone(),
            message: request.message.to_owned(),
            contents: if request.contents.len() < COPIED_CONTENTS {
                Bytes::copy_from_slice(&request.contents)
            } else {
                request.contents
            },
            deadline: Some(deadline),
            received_at: Some(now),
            responder: Arc::new(responder),
            held: Some(held),
        };
        match self.shared.registry.deliver(&actor, Box::new(envelope)) {
            Ok(()) => {}
            Err(Undelivered::Full(envelope)) => {
                let retry_after = self.retry_advisor.retry_after(&*actor, now);
                let refusal = AskError::Overloaded { retry_after };
                actor.count_lost(refusal.kind());
                self.refuse(request_head, &envelope.responder, refusal);
            }
            Err(Undelivered::Stopped(envelope, error) | Undelivered::Refused(envelope, error)) => {
                actor.count_lost(error.kind());
                self.refuse(request_head, &envelope.responder, error);
            }
        }
    }

    /// The sink of a request for the only actor of a name in a fleet.
    fn fenced_sink(&self, actor: &dyn AnyActor, is_direct: bool) -> Option<&Arc<FencedSink>> {
        let listed = self.fenced_sink.as_ref().filter(|_| !is_direct)?;
        let is_listed = |listing: &Listing| *listing == Listing::Listed;
        actor.listing()?.is(is_listed).then_some(listed)
    }

    fn refuse(&self, (kind, urn, message): Head<'_>, responder: &Responder, error: AskError) {
        if kind == Kind::Tell
            && let Some(omitted) = self.dropped_tells.admit(urn, Instant::now())
        {
            let (urn, message_name) = (printable(urn), printable(message));
            let error = printable(&error.to_string());
            warn!(
                %urn, %message_name, %error, omitted,
                "dropped a tell: further ones to its URN are counted for a minute, and not logged"
            );
        }
        debug!(
            target: "conclib::request",
            request = responder.request_id().map(field::display),
            %error,
            "refused a request"
        );
        responder.refuse(error);
    }

    /// The actor of a request, and the request's share of the bound on waiting ones; or its refusal.
    fn admit(
        &mut self,
        size: usize,
        request: &Received<'_>,
        intake: Intake,
        deadline: Instant,
        now: Instant,
    ) -> Result<(Arc<dyn AnyActor>, HeldBytes), AskError> {
        if intake == Intake::Reject {
            return Err(AskError::NoResponder);
        }
        if let Some(refusal) = self.refusal(request, deadline, now) {
            return Err(refusal);
        }
        let actor = self.shared.registry.find_on_bus(request.urn);
        let actor = actor.map_err(LookupError::on_bus)?;
        if let Some(fleet) = &self.shared.fleet
            && !fleet.admits(&*actor, request.is_direct)
        {
            fleet.count_bounce();
            let urn = actor.urn().clone();
            return Err(AskError::ActorNotFound { urn });
        }
        let held = self.held.acquire(actor.urn(), size);
        Ok((actor, held.ok_or_else(AskError::overloaded)?))
    }

    /// The refusal of a request that no actor may handle.
    fn refusal(&self, request: &Received<'_>, deadline: Instant, now: Instant) -> Option<AskError> {
        if deadline <= now {
            let delivered = Delivered::No;
            return Some(AskError::Timeout { delivered });
        }
        let limit = self.shared.config.max_message_size;
        let size = payload_size(&request.contents, &request.attributes);
        (size > limit).then_some(AskError::TooLarge { size, limit })
    }
}
