//! URN to actor.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::actor::FailedActor;
use crate::actor::any::AnyActor;
use crate::core::LookupError;
use crate::deadlock::ActorId;
use crate::urn::Urn;

use failed::FailedActors;

mod failed;

/// Who lives where. One per system.
#[derive(Default)]
pub(crate) struct Registry {
    /// An actor is its own key: it knows its URN, and a million actors need no second word for it.
    actors: DashMap<RegistryKey, ()>,
    /// Actors that will not start again.
    failed: FailedActors,
}

/// An actor, known by its URN.
struct RegistryKey(Arc<dyn AnyActor>);

impl Borrow<str> for RegistryKey {
    fn borrow(&self) -> &str {
        self.0.urn().as_str()
    }
}

// Like a `str`, as `Borrow` demands.
impl Hash for RegistryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.urn().as_str().hash(state);
    }
}

impl PartialEq for RegistryKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.urn() == other.0.urn()
    }
}

impl Eq for RegistryKey {}

impl Registry {
    /// Takes a URN for an actor; false if somebody has it.
    pub(crate) fn claim(&self, actor: Arc<dyn AnyActor>) -> bool {
        match self.actors.entry(RegistryKey(actor)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                let entry = place.insert(());
                let RegistryKey(actor) = entry.key();
                self.failed.forget(actor.urn().as_str());
                true
            }
        }
    }

    /// Frees the URN of an actor, if it is still that actor's.
    pub(crate) fn release(&self, urn: &str, id: ActorId) {
        // The actor is dropped here, after the map's lock.
        let _released = self
            .actors
            .remove_if(urn, |RegistryKey(actor), ()| actor.id() == id);
    }

    pub(crate) fn get(&self, urn: &str) -> Option<Arc<dyn AnyActor>> {
        self.actors.get(urn).map(|entry| entry.key().0.clone())
    }

    /// Notes that an actor failed and will not start again, before its URN is free. One that is
    /// private is not named to the bus.
    pub(crate) fn note_failed(&self, actor: FailedActor, private: bool) {
        self.failed.add(actor, private);
    }

    /// Actors that failed, and whose URNs are free since, the oldest first.
    pub(crate) fn failed(&self) -> Vec<FailedActor> {
        self.failed.all()
    }

    /// The reason that no actor is there, for lookups within the process.
    pub(crate) fn absence(&self, urn: &str) -> LookupError {
        absence(urn, self.failed.has(urn))
    }

    /// The reason that no actor is there, for requests from the bus.
    pub(crate) fn absence_on_bus(&self, urn: &str) -> LookupError {
        absence(urn, self.failed.has_public(urn))
    }

    /// Everybody, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Arc<dyn AnyActor>> {
        let mut actors: Vec<_> = self
            .actors
            .iter()
            .map(|entry| entry.key().0.clone())
            .collect();
        actors.sort_unstable_by_key(|actor| std::cmp::Reverse(actor.sequence()));
        actors
    }

    pub(crate) fn len(&self) -> usize {
        self.actors.len()
    }
}

fn absence(urn: &str, failed: bool) -> LookupError {
    let urn = Urn::unchecked(urn);
    if failed {
        LookupError::Failed { urn }
    } else {
        LookupError::NotFound { urn }
    }
}
