//! The registry: a map from URNs to actors.

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

/// The actors of a system by URN.
#[derive(Default)]
pub(crate) struct Registry {
    /// An actor is its own key: its URN need not be stored a second time, which counts with a
    /// million actors.
    actors: DashMap<RegistryKey, ()>,
    /// Actors that failed and will not start again.
    failed: FailedActors,
}

/// An actor, compared and hashed by its URN.
struct RegistryKey(Arc<dyn AnyActor>);

impl Borrow<str> for RegistryKey {
    fn borrow(&self) -> &str {
        self.0.urn().as_str()
    }
}

// Equal to the hash of the `str`, as `Borrow` demands.
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
    /// Registers an actor under its URN; false if the URN is taken.
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

    /// Removes the actor with this id, and so frees its URN.
    pub(crate) fn release(&self, urn: &str, id: ActorId) {
        // Bound to a name, so that the actor is dropped after the lock of the map.
        let _released = self
            .actors
            .remove_if(urn, |RegistryKey(actor), ()| actor.id() == id);
    }

    pub(crate) fn get(&self, urn: &str) -> Option<Arc<dyn AnyActor>> {
        self.actors.get(urn).map(|entry| entry.key().0.clone())
    }

    /// Records that an actor failed and will not start again, before its URN is freed. A private
    /// actor is not reported to the bus.
    pub(crate) fn note_failed(&self, actor: FailedActor, private: bool) {
        self.failed.add(actor, private);
    }

    /// Actors that failed and whose URNs are still free, the oldest first.
    pub(crate) fn failed(&self) -> Vec<FailedActor> {
        self.failed.all()
    }

    /// The error of a lookup that found no actor, for lookups within the process.
    pub(crate) fn absence(&self, urn: &str) -> LookupError {
        absence(urn, self.failed.has(urn))
    }

    /// The error of a lookup that found no actor, for requests from the bus.
    pub(crate) fn absence_on_bus(&self, urn: &str) -> LookupError {
        absence(urn, self.failed.has_public(urn))
    }

    /// All actors, the newest first.
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
