//! Delivery: prefetched messages are put into the mailboxes of their actors, and the outcomes are
//! passed on to the acknowledgement. A message whose mailbox is full or whose actor is absent waits.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use crate::actor::any::Undelivered;
use crate::bus::durable::consumer::ack::Acknowledger;
use crate::bus::durable::consumer::link::ConsumerLink;
use crate::bus::durable::prefetch::{Delivery, DeliveryTicket, FailurePause, Prefetch};
use crate::bus::durable::redelivery::{RetryDecision, decide_retry, retry_pause};
use crate::bus::link::request_id::request_id;
use crate::bus::server::ProxyShared;
use crate::bus::server::counters::count;
use crate::bus::server::fence::Fence;
use crate::bus::server::publisher::too_large;
use crate::envelope::RequestEnvelope;
use crate::error::AskError;
use crate::message::{CodecError, MessageSchema};
use crate::reply::RequestId;
use crate::reply::remote::{Origin, Outcome, Responder, ResponseSink};
use crate::trace::Propagate;

/// Delivers messages while its lease term lasts.
pub(super) struct Deliverer {
    link: Arc<ConsumerLink>,
    /// The fence of the lease term in which messages are delivered; `None` before the first.
    fence: Option<Arc<Fence>>,
    /// The sending end of `outcomes`.
    sender: mpsc::UnboundedSender<(DeliveryTicket, Outcome)>,
    outcomes: mpsc::UnboundedReceiver<(DeliveryTicket, Outcome)>,
    after_failure: AfterFailure,
}

/// The way of a failed message that is to be delivered again.
enum AfterFailure {
    /// It is delivered here after a pause.
    Schedule,
    /// This consumer stops: others may claim the message at once.
    Release,
}

/// Takes the outcome of one delivery from its actor.
struct AckChannel {
    shared: Arc<ProxyShared>,
    ticket: DeliveryTicket,
    outcomes: mpsc::UnboundedSender<(DeliveryTicket, Outcome)>,
}

impl ResponseSink for AckChannel {
    fn respond(&self, _: Origin, _: Option<Instant>, outcome: Outcome) {
        // Without a receiver the consumer has ended, and another one claims the message.
        drop(self.outcomes.send((self.ticket, outcome)));
    }

    fn is_revoked(&self) -> bool {
        self.shared.is_revoked()
    }

    fn request_id(&self, origin: Origin) -> Option<RequestId> {
        Some(request_id(origin))
    }

    fn propagator(&self) -> Option<&dyn Propagate> {
        self.shared.config.propagator.as_deref()
    }

    fn undecoded(&self, message: &'static str, error: &CodecError, schema: Option<MessageSchema>) {
        self.shared.skew_log.record(message, error, schema);
    }
}

/// The reason why an actor has not accepted a message.
enum DeliveryRefused {
    Full,
    Absent,
}

/// The refusal of a message for which no actor was found. One for which there is no room waits as long
/// as for room in a mailbox.
fn refused(error: &AskError) -> DeliveryRefused {
    match error {
        AskError::Overloaded { .. } => DeliveryRefused::Full,
        _ => DeliveryRefused::Absent,
    }
}

impl Deliverer {
    pub(super) fn new(link: Arc<ConsumerLink>) -> Self {
        let (sender, outcomes) = mpsc::unbounded_channel();
        Self {
            link,
            fence: None,
            sender,
            outcomes,
            after_failure: AfterFailure::Schedule,
        }
    }

    /// Begins to deliver in the lease term of this fence. False if that term has begun before.
    pub(super) fn begin_term(&mut self, fence: Arc<Fence>) -> bool {
        let before = self.fence.as_ref();
        let is_new = before.is_none_or(|before| !Arc::ptr_eq(before, &fence));
        self.fence = Some(fence);
        is_new
    }

    /// True while the lease term lasts.
    pub(super) fn is_in_term(&self) -> bool {
        self.fence.as_ref().is_some_and(|fence| fence.is_open())
    }

    /// False once the proxy is to stop, although the fence stays open then: the actors are stopped next, and
    /// after a shutdown that was cut the next owner of the lease may have listed the claims already.
    pub(super) fn may_deliver(&self) -> bool {
        self.is_in_term() && !self.link.shared.stop.is_cancelled()
    }

    /// Releases the messages of failed deliveries from now on.
    pub(super) fn release_failed(&mut self) {
        self.after_failure = AfterFailure::Release;
    }

    /// Offers waiting messages to their actors.
    pub(super) fn deliver_due(&mut self, prefetch: &mut Prefetch, ack: &mut Acknowledger) {
        let now = Instant::now();
        for urn in prefetch.due(now) {
            while self.may_deliver()
                && let Some((ticket, delivery)) = prefetch.front(&urn)
            {
                match self.offer(ticket, delivery) {
                    Ok(()) => prefetch.accepted(&urn),
                    Err(DeliveryRefused::Full) => {
                        prefetch.refused(&urn, now);
                        break;
                    }
                    Err(DeliveryRefused::Absent) => {
                        ack.write_attempts(prefetch.found_no_actor(&urn, now));
                        break;
                    }
                }
            }
        }
    }

    /// Offers a message that waits in no queue to its actor. False if that has not accepted it.
    pub(super) fn deliver_isolated(&self, prefetch: &Prefetch, ticket: DeliveryTicket) -> bool {
        let delivery = prefetch.get(ticket).filter(|_| self.may_deliver());
        delivery.is_some_and(|delivery| self.offer(ticket, delivery).is_ok())
    }

    /// Puts a message into its actor's mailbox.
    fn offer(&self, ticket: DeliveryTicket, delivery: &Delivery) -> Result<(), DeliveryRefused> {
        let message = &delivery.message;
        let registry = &self.link.shared.registry;
        let actor = registry.find_on_bus(&message.urn);
        let actor = actor.map_err(|error| refused(&error.on_bus()))?;
        let sink = Arc::new(AckChannel {
            shared: self.link.shared.clone(),
            ticket,
            outcomes: self.sender.clone(),
        });
        let responder = Responder::new(sink, message.origin, true, None)
            .with_attributes(message.attributes.clone(), None)
            .with_trace(message.is_left_out)
            .durable();
        let envelope = RequestEnvelope {
            urn: actor.urn().clone(),
            message: message.name.clone(),
            contents: message.contents.clone(),
            deadline: None,
            received_at: Some(Instant::now()),
            responder: Arc::new(responder),
            held: None,
        };
        let (envelope, refused) = match registry.deliver(&actor, Box::new(envelope)) {
            Ok(()) => return Ok(()),
            Err(Undelivered::Full(envelope)) => (envelope, DeliveryRefused::Full),
            Err(Undelivered::Stopped(envelope, _)) => (envelope, DeliveryRefused::Absent),
            Err(Undelivered::Refused(envelope, error)) => (envelope, refused(&error)),
        };
        envelope.responder.forget();
        Err(refused)
    }

    /// Waits for the outcome of a delivery.
    pub(super) async fn outcome(&mut self) -> (DeliveryTicket, Outcome) {
        let outcome = self.outcomes.recv().await;
        outcome.expect("the channel is open: its sender is a field of the same struct")
    }

    /// Passes on the outcomes that have come in.
    pub(super) fn complete_finished(&mut self, prefetch: &mut Prefetch, ack: &mut Acknowledger) {
        while let Ok((ticket, outcome)) = self.outcomes.try_recv() {
            self.complete(prefetch, ack, ticket, outcome);
        }
    }

    /// Passes a message with its outcome on to the acknowledgement.
    pub(super) fn complete(
        &self,
        prefetch: &mut Prefetch,
        ack: &mut Acknowledger,
        ticket: DeliveryTicket,
        outcome: Outcome,
    ) {
        let Some(delivery) = prefetch.remove(ticket) else {
            return;
        };
        let limit = self.link.limits.max_message;
        match outcome {
            Ok(response) if response.len() > limit => {
                let error = too_large(response.len(), limit);
                self.fail(prefetch, ack, delivery, &error);
            }
            Ok(response) => ack.handled(&delivery, response),
            // No handler has begun it: the process that serves claims it.
            Err(AskError::NoResponder) if self.link.shared.is_revoked() => {}
            Err(error) => self.fail(prefetch, ack, delivery, &error),
        }
    }

    fn fail(
        &self,
        prefetch: &mut Prefetch,
        ack: &mut Acknowledger,
        delivery: Delivery,
        error: &AskError,
    ) {
        let message = &delivery.message;
        let max_deliveries = self.link.limits.max_deliveries;
        if decide_retry(error, message.attempts.deliveries, max_deliveries)
            == RetryDecision::DeadLetter
        {
            return ack.dead_letter(delivery, error, error.to_string());
        }
        count(&self.link.counters().failed_deliveries);
        debug!(urn = message.urn, %error, "a delivery has failed; the durable message is delivered again");
        let attempts = delivery.failed();
        match self.after_failure {
            AfterFailure::Release => ack.release(attempts),
            AfterFailure::Schedule => {
                let failed = message.attempts.failed();
                let backoff = message.retry.unwrap_or(self.link.limits.retry);
                let pause = retry_pause(backoff, failed, fastrand::f64());
                let due = Instant::now() + pause;
                let pause = FailurePause {
                    attempts: failed,
                    due,
                };
                for id in delivery.ids() {
                    let redeliveries = &mut prefetch.redeliveries;
                    redeliveries.schedule_failed(id, pause, &message.dedup_key);
                }
                ack.write_attempts(attempts);
            }
        }
    }
}
