//! The registry: a map from URNs to actors.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::actor::FailedActor;
use crate::actor::any::{AnyActor, Undelivered, Unless};
use crate::core::LookupError;
use crate::envelope::RequestEnvelope;
use crate::error::AskError;
use crate::urn::{NameKey, Urn};

pub(crate) use starters::{Starter, Starters};

use failed::FailedActors;

mod failed;
mod starters;

/// The most tries of a lookup whose actors end between two steps of it. Each of them was started anew, so
/// that a second try is already rare.
pub(crate) const LOOKUP_TRIES: usize = 8;

/// The actors of a system by URN.
#[derive(Default)]
pub(crate) struct Registry {
    /// An actor is its own key: its URN need not be stored a second time, which counts with a
    /// million actors.
    actors: DashMap<RegistryKey, ()>,
    /// Actors that failed and will not start again.
    failed: FailedActors,
    /// Starters of actors on demand.
    pub(crate) starters: Starters,
}

/// The side from which an actor is looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The process itself.
    Process,
    /// Another process: private actors are hidden from it.
    Bus,
}

/// An actor, compared and hashed by its URN.
struct RegistryKey(Arc<dyn AnyActor>);

/// A value with the key of a name, by which actors are found.
trait Named {
    fn key(&self) -> NameKey<'_>;
}

impl Named for RegistryKey {
    fn key(&self) -> NameKey<'_> {
        self.0.name().key()
    }
}

impl Named for NameKey<'_> {
    fn key(&self) -> NameKey<'_> {
        *self
    }
}

impl<'a> Borrow<dyn Named + 'a> for RegistryKey {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

impl Hash for dyn Named + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn Named + '_ {}

// The same as for `dyn Named`, as `Borrow` demands.
impl Hash for RegistryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for RegistryKey {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
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
                self.failed.forget(actor.name());
                true
            }
        }
    }

    /// Removes an actor, and so frees its URN.
    pub(crate) fn release(&self, actor: &dyn AnyActor) {
        let (name, id) = (actor.name().key(), actor.id());
        // Bound to a name, so that the actor is dropped after the lock of the map.
        let _released = self
            .actors
            .remove_if(&name as &dyn Named, |RegistryKey(actor), ()| {
                actor.id() == id
            });
    }

    fn get(&self, urn: &str) -> Option<Arc<dyn AnyActor>> {
        let actor = self.actors.get(&NameKey::of(urn) as &dyn Named);
        actor.map(|entry| entry.key().0.clone())
    }

    /// Finds the actor with this URN, and starts none.
    #[cfg(feature = "bus")]
    pub(crate) fn existing(&self, urn: &str) -> Option<Arc<dyn AnyActor>> {
        self.get(urn)
    }

    /// Finds the actor with this URN, or starts it if it is on demand, for lookups within the process.
    ///
    /// # Errors
    ///
    /// The reason that there is no such actor.
    #[inline]
    pub(crate) fn find(&self, urn: &str) -> Result<Arc<dyn AnyActor>, LookupError> {
        self.get(urn)
            .map_or_else(|| self.start(urn, Side::Process), Ok)
    }

    /// Finds the actor with this URN, or starts it if it is on demand, for requests from the bus.
    ///
    /// # Errors
    ///
    /// The reason that there is no such actor, or none that other processes may ask.
    #[inline]
    pub(crate) fn find_on_bus(&self, urn: &str) -> Result<Arc<dyn AnyActor>, LookupError> {
        match self.get(urn) {
            Some(actor) if !actor.is_private() => Ok(actor),
            Some(_) => Err(self.absence(urn, Side::Bus)),
            None => self.start(urn, Side::Bus),
        }
    }

    /// True if a request from the bus would find an actor with this URN, or probably start one.
    pub(crate) fn accepts_on_bus(&self, urn: &str) -> bool {
        match self.get(urn) {
            Some(actor) => !actor.is_private(),
            None => match self.starters.of(urn) {
                Ok(starter) => starter.is_some_and(|starter| !starter.is_private()),
                Err(_) => false,
            },
        }
    }

    /// Starts the actor with this URN, if it is on demand.
    #[cold]
    fn start(&self, urn: &str, side: Side) -> Result<Arc<dyn AnyActor>, LookupError> {
        let is_visible = |is_private: bool| side == Side::Process || !is_private;
        let starter = self.starters.of(urn)?;
        let starter = starter.filter(|starter| is_visible(starter.is_private()));
        let (Some(starter), Ok(name)) = (starter, Urn::new(urn)) else {
            return Err(self.absence(urn, side));
        };
        for _ in 0..LOOKUP_TRIES {
            if let Some(started) = starter.clone().start(&name)? {
                return Ok(started);
            }
            // Another lookup has started it, or it was spawned.
            if let Some(actor) = self.get(urn) {
                return if is_visible(actor.is_private()) {
                    Ok(actor)
                } else {
                    Err(self.absence(urn, side))
                };
            }
        }
        Err(LookupError::overloaded(name))
    }

    /// Puts a request from the bus into the mailbox of the actor that was found for it; into that of the
    /// next one at its URN, if the actor was on demand and has ended since.
    pub(crate) fn deliver(
        &self,
        actor: &Arc<dyn AnyActor>,
        envelope: Box<RequestEnvelope>,
    ) -> Result<(), Undelivered> {
        match actor.deliver(envelope) {
            Err(Undelivered::Stopped(envelope, _)) if actor.has_retired() => {
                self.deliver_to_next(actor.urn().as_str(), envelope)
            }
            delivered => delivered,
        }
    }

    /// Delivers a request whose actor has ended between its lookup and the delivery.
    #[cold]
    fn deliver_to_next(
        &self,
        urn: &str,
        mut envelope: Box<RequestEnvelope>,
    ) -> Result<(), Undelivered> {
        for _ in 0..LOOKUP_TRIES {
            let actor = match self.find_on_bus(urn) {
                Ok(actor) => actor,
                Err(error) => return Err(Undelivered::Refused(envelope, error.on_bus())),
            };
            envelope = match actor.deliver(envelope) {
                Err(Undelivered::Stopped(envelope, _)) if actor.has_retired() => envelope,
                delivered => return delivered,
            };
        }
        Err(Undelivered::Refused(envelope, AskError::overloaded()))
    }

    /// Ends the actor on demand with this URN, whose incarnation has ended, unless a message waits or
    /// `unless` holds: its mailbox closes and its URN is freed in one step. True if it ends.
    ///
    /// A lookup comes before this, and then its reference or its message keeps the actor; or after it,
    /// and then it finds no entry.
    pub(crate) fn retire(&self, urn: &str, unless: Unless) -> bool {
        let retired = self
            .actors
            .remove_if(&NameKey::of(urn) as &dyn Named, |RegistryKey(actor), ()| {
                actor.retire(unless)
            });
        retired.is_some()
    }

    /// The actor with this URN, weakly. Starts none.
    pub(crate) fn get_weak(&self, urn: &str) -> Option<Weak<dyn AnyActor>> {
        self.get(urn).map(|actor| Arc::downgrade(&actor))
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

    /// The error of a lookup that found no actor.
    fn absence(&self, urn: &str, side: Side) -> LookupError {
        let failed = match side {
            Side::Process => self.failed.has(urn),
            Side::Bus => self.failed.has_public(urn),
        };
        let urn = Urn::unchecked(urn);
        if failed {
            LookupError::Failed { urn }
        } else {
            LookupError::NotFound { urn }
        }
    }

    /// The error of a request from the bus for an actor that has been absent.
    pub(crate) fn absence_on_bus(&self, urn: &str) -> LookupError {
        self.absence(urn, Side::Bus)
    }

    /// All actors, the newest first. Those on demand of one pattern have one place, without an order.
    pub(crate) fn newest_first(&self) -> Vec<Arc<dyn AnyActor>> {
        let mut actors: Vec<_> = self
            .actors
            .iter()
            .map(|entry| entry.key().0.clone())
            .collect();
        actors.sort_unstable_by_key(|actor| std::cmp::Reverse(actor.sequence()));
        actors
    }

    /// True if an actor is left that has no thread of its own.
    pub(crate) fn has_actors_on_runtime(&self) -> bool {
        let mut actors = self.actors.iter();
        actors.any(|entry| !entry.key().0.has_thread())
    }

    pub(crate) fn len(&self) -> usize {
        self.actors.len()
    }
}
