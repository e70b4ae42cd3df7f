//! The cells of actors on demand: their references are counted, and they end so that others may start.

use std::sync::atomic::Ordering;

use super::{ActorCell, Lifetime};
use crate::actor::Handlers;

impl<A: Handlers> ActorCell<A> {
    pub(crate) fn is_on_demand(&self) -> bool {
        self.options().lifetime == Lifetime::OnDemand
    }

    /// True while a reference to the actor exists, if they are counted.
    pub(in crate::actor) fn is_referenced(&self) -> bool {
        let references = self.references();
        references.is_some_and(|references| references.load(Ordering::Acquire) > 0)
    }

    /// True if the actor was on demand and has ended so that the next message starts another. Its URN
    /// is free then.
    ///
    /// Reads the mailbox under its lock, after the caller has counted its reference: either the actor's
    /// decision to end sees the reference, or this sees the decision.
    pub(crate) fn has_retired(&self) -> bool {
        self.is_on_demand() && self.mailbox.is_closed() && self.control.has_retired()
    }
}
