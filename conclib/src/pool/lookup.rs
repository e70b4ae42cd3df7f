//! Lookup of an actor by a message that it handles: the actor itself, or a pool of such actors.

use super::Pool;
use crate::actor::cell::ActorCell;
use crate::actor::{Handler, Recipient, RecipientQuery};
use crate::message::ActorMessage;

impl RecipientQuery<'_> {
    /// Offers the actor that was found as a recipient of `M`: an `A`, or a [`Pool`] of `A`.
    pub fn accept<A: Handler<M>, M: ActorMessage>(&mut self) {
        let found = self.found();
        let Some(slot) = self.slot::<M>() else {
            return;
        };
        *slot = match found.downcast::<ActorCell<A>>() {
            Ok(actor) => Some(Recipient::new(actor)),
            Err(found) => {
                let pool = found.downcast::<ActorCell<Pool<A>>>().ok();
                pool.map(|pool| Recipient::new(pool))
            }
        };
    }
}
