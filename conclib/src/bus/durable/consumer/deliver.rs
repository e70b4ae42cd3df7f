//! How messages come from the hand to their actors.

use std::sync::Arc;

use tokio::time::Instant;

use crate::actor::any::Undelivered;
use crate::bus::durable::consumer::{Consumer, Desk};
use crate::bus::durable::prefetch::Card;
use crate::bus::protocol::Received;
use crate::core::registry::Registry;
use crate::envelope::RequestEnvelope;
use crate::reply::remote::{Origin, Responder};

impl Consumer {
    /// Offers actors what waits for them.
    pub(super) fn offer(&mut self) {
        let now = Instant::now();
        for urn in self.hand.due(now) {
            while self.may_offer()
                && let Some((ticket, card)) = self.hand.first(&urn)
            {
                match deliver(&self.shared.registry, &self.desk, ticket, card) {
                    Ok(()) => self.hand.delivered(&urn),
                    // It may be about to start, but not for ever.
                    Err(Refused::Missing) if card.since + self.bounds.visibility <= now => {
                        let absence = self.shared.registry.absence_on_bus(&urn);
                        self.answered(ticket, Err(absence.into()));
                    }
                    Err(_) => {
                        self.hand.refused(&urn, now);
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
    desk: &Arc<Desk>,
    ticket: u64,
    card: &Card,
) -> Result<(), Refused> {
    let message = &card.message;
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
        responder: Arc::new(Responder::new(desk.clone(), origin, true, None)),
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
