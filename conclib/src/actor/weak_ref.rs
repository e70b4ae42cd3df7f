//! References that do not keep their actor alive.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::actor::cell::ActorCell;
use crate::actor::{ActorRef, Handlers};

/// A weak reference to an actor: it does not count for
/// [`while_referenced`](crate::system::Spawn::while_referenced).
///
/// ```
/// # use conclib::prelude::*;
/// # #[derive(Actor)]
/// # struct Worker;
/// # #[handlers]
/// # impl Worker {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// let worker = system.spawn(Worker).while_referenced().await?;
/// let weak = worker.downgrade();
/// assert!(weak.upgrade().is_some());
///
/// let last = worker.clone();
/// drop(worker);
/// drop(last);                                        // the last reference: the actor stops
/// while weak.upgrade().is_some() { tokio::task::yield_now().await; }
/// # Ok(()) }
/// ```
pub struct WeakActorRef<A: Handlers> {
    cell: Weak<ActorCell<A>>,
}

impl<A: Handlers> WeakActorRef<A> {
    pub(super) fn new(cell: &Arc<ActorCell<A>>) -> Self {
        Self {
            cell: Arc::downgrade(cell),
        }
    }

    /// Returns a reference; `None` if the actor has stopped.
    pub fn upgrade(&self) -> Option<ActorRef<A>> {
        self.cell
            .upgrade()
            .map(ActorRef::new)
            // Read after the reference is counted: an actor on demand may be about to end.
            .filter(|actor| !actor.is_stopped() && !actor.cell().has_retired())
    }
}

impl<A: Handlers> Clone for WeakActorRef<A> {
    fn clone(&self) -> Self {
        Self {
            cell: self.cell.clone(),
        }
    }
}

impl<A: Handlers> fmt::Debug for WeakActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.cell.upgrade().map(|cell| cell.name().clone());
        f.debug_tuple("WeakActorRef").field(&name).finish()
    }
}
