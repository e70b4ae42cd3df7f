//! The cells of actors on demand, which end so that others may start in their places.

use std::sync::Arc;

use super::{ActorCell, Lifetime};
use crate::actor::Handlers;
use crate::actor::any::AnyActor;
use crate::error::AskError;

impl<A: Handlers> ActorCell<A> {
    pub(crate) fn is_on_demand(&self) -> bool {
        self.options().lifetime == Lifetime::OnDemand
    }

    /// True if the actor was on demand and has ended so that the next message starts another. Its URN
    /// is free then.
    ///
    /// Reads the mailbox under its lock, after the caller has counted its reference: either the actor's
    /// decision to end sees the reference, or this sees the decision.
    pub(crate) fn has_retired(&self) -> bool {
        self.is_on_demand() && self.mailbox.is_closed() && self.control.has_retired()
    }

    /// Finds or starts the actor that follows this one at its URN; `None` unless this one
    /// [has retired](Self::has_retired).
    pub(in crate::actor) fn successor(&self) -> Option<Result<Arc<dyn AnyActor>, AskError>> {
        if !self.has_retired() {
            return None;
        }
        let system = self.extras()?.system.as_ref()?;
        Some(system.find(self.urn().as_str()))
    }
}
