//! The references of actors whose lifetime depends on them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ActorCell, Lifetime};
use crate::actor::Handlers;
use crate::actor::control::StopCause;

impl<A: Handlers> ActorCell<A> {
    pub(crate) fn add_reference(&self) {
        if let Some(references) = self.references() {
            references.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn drop_reference(&self) {
        if let Some(references) = self.references()
            && references.fetch_sub(1, Ordering::AcqRel) == 1
            && self.options().lifetime == Lifetime::WhileReferenced
        {
            self.stop(StopCause::Unreferenced);
        }
    }

    /// True while a reference to the actor exists, if they are counted.
    pub(in crate::actor) fn is_referenced(&self) -> bool {
        let references = self.references();
        references.is_some_and(|references| references.load(Ordering::Acquire) > 0)
    }

    /// The number of references, if they are counted.
    fn references(&self) -> Option<&AtomicUsize> {
        let extras = self.extras()?;
        match extras.options.lifetime {
            Lifetime::WhileReferenced | Lifetime::OnDemand => Some(&extras.references),
            Lifetime::UntilStopped | Lifetime::Test => None,
        }
    }
}
