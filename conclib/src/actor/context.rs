//! What a handler may know and do about its own actor.

use std::fmt;
use std::sync::{Arc, Weak};

use super::cell::{ActorCell, StopCause};
use super::{ActorRef, Handlers};
use crate::system::{ActorSystem, SystemHandle};
use crate::urn::Urn;

/// An actor's view of itself: its URN, a reference to itself, its system, and how to stop.
///
/// Handlers and hooks that want it take `ctx: &mut Context<Self>`.
pub struct Context<A: Handlers> {
    cell: Arc<ActorCell<A>>,
    /// Weak: an actor does not keep its system alive.
    system: Weak<SystemHandle>,
}

impl<A: Handlers> Context<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, system: Weak<SystemHandle>) -> Self {
        Self { cell, system }
    }

    /// A context without a system or a running actor, for unit tests of handlers.
    ///
    /// What the actor sends to itself stays in a mailbox that nobody empties.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// struct Quit;
    ///
    /// #[derive(Actor)]
    /// struct Worker;
    ///
    /// #[handlers]
    /// impl Worker {
    ///     #[handler]
    ///     fn quit(&mut self, _: Quit, ctx: &mut Context<Self>) { ctx.stop(); }
    /// }
    ///
    /// let mut ctx = Context::test();
    /// Worker.quit(Quit, &mut ctx);
    /// assert!(ctx.is_stopping());
    /// ```
    pub fn test() -> Self {
        let cell = ActorCell::new(Urn::generate(), 0, usize::MAX, false);
        Self::new(Arc::new(cell), Weak::new())
    }

    /// The actor's address.
    pub fn urn(&self) -> &Urn {
        &self.cell.urn
    }

    /// A reference to the actor itself.
    pub fn actor_ref(&self) -> ActorRef<A> {
        ActorRef::new(self.cell.clone())
    }

    /// The system that the actor lives in; `None` once that is dropped, and in tests.
    pub fn system(&self) -> Option<ActorSystem> {
        self.system.upgrade().map(ActorSystem::from_handle)
    }

    /// Stops the actor after what is queued: like [`ActorRef::stop`].
    pub fn stop(&self) {
        self.cell.stop(StopCause::Requested);
    }

    /// True once the actor is to stop.
    pub fn is_stopping(&self) -> bool {
        self.cell.mailbox.is_closed()
    }
}

impl<A: Handlers> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("urn", self.urn())
            .finish_non_exhaustive()
    }
}
