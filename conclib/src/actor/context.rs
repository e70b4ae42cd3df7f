//! What a handler may know and do about its own actor.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::actor::cell::{ActorCell, Kind};
use crate::actor::host::SystemLink;
use crate::actor::resources::ActorResources;
use crate::actor::{ActorRef, Handlers};
use crate::deadlock::PendingReply;
use crate::error::Failure;
use crate::reply::cancelled::Cancelled;
use crate::urn::Urn;

pub use tasks::Task;

mod tasks;
mod timers;
mod watching;

/// An actor's view of itself: its URN, a reference to itself, its system, how to stop; and what
/// belongs to it: children, timers, streams and tasks.
///
/// All of that ends with the actor, and also when it starts again after a failure.
///
/// Handlers and hooks that want it take `ctx: &mut Context<Self>`.
pub struct Context<A: Handlers> {
    /// Timers, tasks, watches; nothing until there is one. Dropped before the cell, by whose place
    /// those that are watched know the actor. Never locked: it makes a `&Context` something that a
    /// handler may hold while it waits, whatever the messages in it are.
    resources: Mutex<Option<Box<ActorResources<A>>>>,
    pub(crate) cell: Arc<ActorCell<A>>,
    system: Arc<SystemLink>,
    /// The next timer's number: not used again by the actor's next life.
    next_timer: u64,
    /// The message in hand, if somebody waits for its answer.
    pending: Option<Arc<dyn PendingReply>>,
}

impl<A: Handlers> Context<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, system: Arc<SystemLink>) -> Self {
        Self {
            resources: Mutex::default(),
            cell,
            system,
            next_timer: 0,
            pending: None,
        }
    }

    /// A context without a system or a running actor, for unit tests of handlers.
    ///
    /// What the actor sends to itself stays in a mailbox that nobody empties; timers never fire;
    /// nobody waits for an answer, so [`cancelled`](Self::cancelled) never completes.
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
        let cell = ActorCell::new(Urn::generate(), 0, usize::MAX, None, Kind::default());
        Self::new(Arc::new(cell), Arc::default())
    }

    /// The actor's address.
    pub fn urn(&self) -> &Urn {
        &self.cell.urn
    }

    /// A reference to the actor itself.
    pub fn actor_ref(&self) -> ActorRef<A> {
        ActorRef::new(self.cell.clone())
    }

    // ---- the message in hand

    /// Completes when nobody waits any more for the answer of the message in hand: its asker has
    /// gone (the future was dropped, or an HTTP client disconnected from the server that asked), or
    /// its deadline has passed. It is of the message that is in hand when this is called, borrows
    /// nothing, and may be moved into a task. It completes as well when the answer has been given.
    ///
    /// It never completes for a tell, a tick or within a hook, since nobody ever waits then, nor where
    /// [`dispatch`](Handlers::dispatch) was written by hand. An asker in another process sends word
    /// that it has gone; if that is lost, the deadline counts.
    ///
    /// A handler that does not use it runs to its end, and its answer is dropped.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// # async fn long_work() -> u64 { std::future::pending().await }
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = Option<u64>)]
    /// struct Report;
    ///
    /// #[derive(Actor)]
    /// struct Reporter { given_up: u32 }
    ///
    /// #[handlers]
    /// impl Reporter {
    ///     #[handler]
    ///     async fn report(&mut self, _: Report, ctx: &mut Context<Self>) -> Option<u64> {
    ///         tokio::select! {
    ///             report = long_work() => Some(report),
    ///             () = ctx.cancelled() => {
    ///                 self.given_up += 1;
    ///                 ctx.stop();
    ///                 None // nobody hears it
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let reporter = system.spawn(Reporter { given_up: 0 }).await?;
    /// let asker = tokio::spawn(reporter.ask(Report));
    /// # tokio::task::yield_now().await;
    /// # tokio::task::yield_now().await;
    /// asker.abort();
    /// reporter.wait_stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled::new(self.pending.clone())
    }

    // ---- its end

    /// Stops the actor after what is queued: like [`ActorRef::stop`].
    ///
    /// An actor that is supervised with [`Restart::Always`](crate::Restart::Always) ends its life
    /// after the message in hand instead, and starts again: what is queued waits for its next life.
    pub fn stop(&self) {
        self.cell.stop_itself();
    }

    /// True once the actor is to stop.
    pub fn is_stopping(&self) -> bool {
        self.cell.mailbox.is_closed()
    }

    // ---- for the system, dispatch and the runner

    /// The system that the actor lives in.
    pub(crate) fn system_link(&self) -> &SystemLink {
        &self.system
    }

    pub(crate) fn cell(&self) -> &Arc<ActorCell<A>> {
        &self.cell
    }

    /// A message is in hand, or none.
    #[inline]
    pub(crate) fn set_pending(&mut self, pending: Option<Arc<dyn PendingReply>>) {
        self.pending = pending;
    }

    /// Tells who observes the system's failures of one of this actor.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.system.actor_failed(self.urn(), failure);
    }

    /// What the actor has set up, to be looked at between messages.
    pub(crate) fn resources_mut(&mut self) -> Option<&mut ActorResources<A>> {
        self.place().as_deref_mut()
    }

    /// Ends what belongs to a life, children apart. It does not unwind, and may be dropped midway
    /// and called again.
    pub(crate) async fn end_incarnation(&mut self) {
        let Some(resources) = self.resources_mut() else {
            return;
        };
        resources.watches.clear();
        resources.timers.clear();
        resources.tasks.shutdown().await;
        *self.place() = None;
    }

    pub(crate) fn resources(&mut self) -> &mut ActorResources<A> {
        let me = self.cell.id();
        self.place()
            .get_or_insert_with(|| Box::new(ActorResources::new(me)))
    }

    fn place(&mut self) -> &mut Option<Box<ActorResources<A>>> {
        let place = self.resources.get_mut();
        place.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Handlers> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("urn", self.urn())
            .finish_non_exhaustive()
    }
}
