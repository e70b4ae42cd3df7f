//! Lookup of an actor by a message that it handles: the actor itself, or a pool of such actors.

use std::any::Any;
use std::sync::Arc;

use super::Pool;
use crate::actor::cell::ActorCell;
use crate::actor::{Goal, Handler, Recipient, RecipientQuery};
use crate::message::ActorMessage;

impl RecipientQuery<'_> {
    /// Offers the actor as a recipient of `M`: an `A`, or a [`Pool`] of `A`.
    pub fn accept<A: Handler<M>, M: ActorMessage>(&mut self) {
        match &mut self.goal {
            Goal::Recipient { slot, found } => {
                if let Some(slot) = slot.downcast_mut() {
                    *slot = recipient::<A, M>(found.clone());
                }
            }
            Goal::Messages(messages) if M::WIRE.is_some() => messages.push((M::NAME, M::SCHEMA)),
            Goal::Messages(_) => {}
            Goal::Name { entry, name } => {
                let message = entry.downcast_ref().and_then(A::peek);
                let of_pool = || entry.downcast_ref().and_then(Pool::<A>::peek);
                if message.or_else(of_pool).is_some() {
                    **name = M::NAME;
                }
            }
        }
    }
}

/// The actor or pool with this cell.
fn recipient<A: Handler<M>, M: ActorMessage>(
    found: Arc<dyn Any + Send + Sync>,
) -> Option<Recipient<M>> {
    match found.downcast::<ActorCell<A>>() {
        Ok(actor) => Some(Recipient::new(actor)),
        Err(found) => {
            let pool = found.downcast::<ActorCell<Pool<A>>>().ok();
            pool.map(|pool| Recipient::new(pool))
        }
    }
}
