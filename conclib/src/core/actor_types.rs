//! The actor types of a system, with their counters.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::actor::Handlers;
use crate::actor::type_counters::{TypeCounters, TypeNumber};

/// The actor types that a system has spawned.
pub(super) struct ActorTypes {
    /// Names the system in [`LAST`]: no two in a process have the same.
    system: u64,
    all: RwLock<HashMap<TypeId, Arc<TypeCounters>>>,
}

thread_local! {
    /// The system and the type of the actor that this thread has spawned last. Threads that spawn many actors of
    /// one type share nothing then.
    static LAST: Cell<Option<(u64, TypeId, TypeNumber)>> = const { Cell::new(None) };
}

impl Default for ActorTypes {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            system: NEXT.fetch_add(1, Ordering::Relaxed),
            all: RwLock::default(),
        }
    }
}

impl ActorTypes {
    /// The number of an actor type.
    pub(super) fn number<A: Handlers>(&self) -> TypeNumber {
        let id = TypeId::of::<A>();
        if let Some((system, last, number)) = LAST.get()
            && (system, last) == (self.system, id)
        {
            return number;
        }
        let known = self.all.read().get(&id).map(|counters| counters.number());
        let number = known.unwrap_or_else(|| {
            let mut all = self.all.write();
            let counters = all.entry(id);
            counters.or_insert_with(TypeCounters::new::<A>).number()
        });
        LAST.set(Some((self.system, id, number)));
        number
    }

    pub(super) fn all(&self) -> Vec<Arc<TypeCounters>> {
        self.all.read().values().cloned().collect()
    }
}
