//! How messages come from the hand to their actors.

use std::sync::Arc;

use tokio::time::Instant;

use crate::actor::any::Undelivered;
use crate::bus::durable::consumer::{AckChannel, Consumer};
use crate::bus::durable::prefetch::Delivery;
use crate::bus::protocol::Received;
use crate::core::registry::Registry;
use crate::envelope::RequestEnvelope;
use crate::reply::remote::{Origin, Responder};

impl Consumer {
    /// Offers actors what waits for them.
    pub(super) fn offer(&mut self) {
        let now = Instant::now();
        for urn in self.prefetch.due(now) {
            while self.may_offer()
                && let Some((ticket, delivery)) = self.prefetch.first(&urn)
            {
                match deliver(&self.shared.registry, &self.ack_channel, ticket, delivery) {
                    Ok(()) => self.prefetch.delivered(&urn),
                    // It may be about to start, but not for ever.
                    Err(Refused::Missing) if delivery.since + self.limits.visibility <= now => {
                        let absence = self.shared.registry.absence_on_bus(&urn);
                        self.answered(ticket, Err(absence.into()));
                    }
                    Err(_) => {
                        self.prefetch.refused(&urn, now);
                        break;
                    }
                }
            }
        }
    }

    /// Not when it is to stop, although the fence stays open then: the next owner may have looked
    /// already what this one has.
    pub(super) fn may_offer(&self) -> bool {
        self.is_serving() && !self.shared.stop.is_cancelled()
    }
}

/// Why an actor has not taken a message.
pub(super) enum Refused {
    Full,
    Missing,
}

/// Puts a message into its actor's mailbox.
pub(super) fn deliver(
    registry: &Registry,
    ack_channel: &Arc<AckChannel>,
    ticket: u64,
    delivery: &Delivery,
) -> Result<(), Refused> {
    let message = &delivery.message;
    let actor = registry.get(&message.urn);
    let actor = actor.filter(|actor| !actor.is_private());
    let actor = actor.ok_or(Refused::Missing)?;
    let Ok(request) = Received::decode(&message.frame) else {
        return Err(Refused::Full); // it was read when it was taken
    };
    let origin = Origin {
        id: ticket,
        ..Origin::default()
    };
    let envelope = RequestEnvelope {
        urn: actor.urn().clone(),
        message: request.message.to_owned(),
        contents: request.contents,
        attributes: request.attributes,
        deadline: None,
        responder: Arc::new(Responder::new(ack_channel.clone(), origin, true, None)),
        held: None,
    };
    match actor.deliver(Box::new(envelope)) {
        Ok(()) => Ok(()),
        Err(Undelivered::Full(envelope)) => {
            envelope.responder.forget();
            Err(Refused::Full)
        }
        Err(Undelivered::Stopped(envelope)) => {
            envelope.responder.forget();
            Err(Refused::Missing)
        }
    }
}
