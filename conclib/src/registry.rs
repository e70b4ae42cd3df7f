//! URN to actor.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::actor::cell::{ActorId, AnyActor};
use crate::urn::Urn;

/// Who lives where. One per system.
#[derive(Default)]
pub(crate) struct Registry {
    actors: DashMap<Urn, Arc<dyn AnyActor>>,
}

impl Registry {
    /// Takes a URN for an actor; false if somebody has it.
    pub(crate) fn claim(&self, actor: Arc<dyn AnyActor>) -> bool {
        match self.actors.entry(actor.urn().clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(actor);
                true
            }
        }
    }

    /// Frees the URN of an actor, if it is still that actor's.
    pub(crate) fn release(&self, urn: &Urn, id: ActorId) {
        // The actor is dropped here, after the map's lock.
        let _released = self
            .actors
            .remove_if(urn.as_str(), |_, actor| actor.id() == id);
    }

    pub(crate) fn get(&self, urn: &str) -> Option<Arc<dyn AnyActor>> {
        self.actors.get(urn).map(|actor| actor.clone())
    }

    /// Everybody, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Arc<dyn AnyActor>> {
        let mut actors: Vec<_> = self
            .actors
            .iter()
            .map(|entry| entry.value().clone())
            .collect();
        actors.sort_unstable_by_key(|actor| std::cmp::Reverse(actor.sequence()));
        actors
    }

    pub(crate) fn len(&self) -> usize {
        self.actors.len()
    }
}
