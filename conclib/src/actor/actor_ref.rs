//! References to an actor of a known type.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::actor::cell::ActorCell;
use crate::actor::control::StopCause;
use crate::actor::stopped;
use crate::actor::{Ask, Forward, Handler, Handlers, Listing, Recipient, Tell, WeakActorRef};
use crate::error::TellError;
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// A reference to an actor of type `A`, to send it messages.
///
/// Cheap to clone. A reference may outlive its actor: a send to a stopped actor returns the message.
///
/// ```
/// use conclib::prelude::*;
///
/// # #[derive(ActorMessage, Serialize, Deserialize)]
/// # #[message(response = u32)]
/// # struct Double { n: u32 }
/// # #[derive(Actor)]
/// # struct Doubler;
/// # #[handlers]
/// # impl Doubler {
/// #     #[handler]
/// #     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// let actor: ActorRef<Doubler> = system.spawn(Doubler).await?;
/// assert_eq!(actor.ask(Double { n: 21 }).await?, 42);
///
/// actor.stop();
/// actor.stopped().await;
/// let back = actor.tell(Double { n: 1 }).await.unwrap_err();
/// assert_eq!(back.reason(), &AskError::ActorStopped);
/// assert_eq!(back.into_message().n, 1);
/// # Ok(()) }
/// ```
pub struct ActorRef<A: Handlers> {
    cell: Arc<ActorCell<A>>,
}

impl<A: Handlers> ActorRef<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>) -> Self {
        cell.add_reference();
        Self { cell }
    }

    pub(crate) fn cell(&self) -> &Arc<ActorCell<A>> {
        &self.cell
    }

    /// The URN of the actor.
    pub fn urn(&self) -> &Urn {
        self.cell.urn()
    }

    /// The place of the actor's name in a fleet: listed, shared, standing by for another member's, or
    /// [`Local`](Listing::Local) if the system is in none. It may change at any time: a name that stands by is listed
    /// here once its member frees it.
    pub fn listing(&self) -> Listing {
        let listing = self.cell.listing();
        listing.map_or(Listing::Local, |listing| listing.get())
    }

    /// Sends a message. Awaited, the tell waits for room in the mailbox, but not for a reply.
    ///
    /// Messages of one sender arrive in the order in which it sent them. An actor that sends to itself
    /// does not wait for room. [`timeout`](Tell::timeout) limits the wait;
    /// [`try_tell`](Self::try_tell) never waits.
    ///
    /// Actors that tell each other in cycles should handle
    /// [`AskCycle`](crate::AskError::AskCycle): see [`Tell`](Tell#actors-that-tell-each-other).
    ///
    /// # Errors
    ///
    /// [`TellError`] with the message, if the actor has stopped, if a [`timeout`](Tell::timeout) has
    /// passed, or if the wait for room would never end.
    ///
    /// # Cancel safety
    ///
    /// A tell that is dropped before it completes has sent nothing, with one exception; see [`Tell`].
    pub fn tell<M: ActorMessage>(&self, message: M) -> Tell<M>
    where
        A: Handler<M>,
    {
        Tell::new(self.recipient(), message)
    }

    /// Sends a message if there is room for it now and no other sender waits for room. An actor that
    /// sends to itself needs no room.
    ///
    /// # Errors
    ///
    /// [`TellError`] with the message: [`Overloaded`](crate::AskError::Overloaded) if the mailbox is
    /// full, [`ActorStopped`](crate::AskError::ActorStopped) if the actor has stopped.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// struct Sample(f64);
    ///
    /// # #[derive(Actor)]
    /// # struct Meter;
    /// # #[handlers]
    /// # impl Meter {
    /// #     #[handler]
    /// #     fn sample(&mut self, _: Sample) {}
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let meter = system.spawn(Meter).mailbox(1).await?;
    /// assert!(meter.try_tell(Sample(0.5)).is_ok());
    /// let full = meter.try_tell(Sample(0.7)).unwrap_err();
    /// assert!(matches!(full.reason(), AskError::Overloaded { .. }));
    /// assert_eq!(full.into_message().0, 0.7);
    /// # Ok(()) }
    /// ```
    pub fn try_tell<M: ActorMessage>(&self, message: M) -> Result<(), TellError<M>>
    where
        A: Handler<M>,
    {
        self.cell.try_tell(message)
    }

    /// Sends a message with the reply that its asker waits for: this actor replies to that asker.
    /// Awaited, the forward waits for room like [`tell`](Self::tell), but not for the reply.
    ///
    /// # Errors
    ///
    /// [`ForwardError`](crate::actor::ForwardError) with message and reply, if the actor has stopped, if a
    /// [`timeout`](Forward::timeout) has passed, or if the actor waits for the asker
    /// ([`AskCycle`](crate::AskError::AskCycle)). The asker still waits: forward the message to
    /// another actor, or send the reply. Dropping the error ends the ask with its reason.
    ///
    /// # Cancel safety
    ///
    /// Like [`tell`](Self::tell). If a dropped forward has sent nothing, the asker gets
    /// [`NoReply`](crate::AskError::NoReply).
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Double { n: u32 }
    ///
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// # #[handlers]
    /// # impl Worker {
    /// #     #[handler]
    /// #     fn double(&mut self, message: Double) -> u32 { message.n * 2 }
    /// # }
    /// /// Forwards each message to the next worker that has not stopped.
    /// #[derive(Actor)]
    /// struct Router { workers: Vec<ActorRef<Worker>>, next: usize }
    ///
    /// #[handlers]
    /// impl Router {
    ///     #[handler]
    ///     async fn double(&mut self, mut message: Double, mut reply: Reply<u32>) {
    ///         for _ in 0..self.workers.len() {
    ///             self.next = (self.next + 1) % self.workers.len();
    ///             match self.workers[self.next].forward(message, reply).await {
    ///                 Ok(()) => return,
    ///                 // This worker has stopped: try the next one.
    ///                 Err(back) => (message, reply) = back.into_parts(),
    ///             }
    ///         }
    ///         // The reply is dropped here: the asker gets `NoReply`.
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let workers = vec![system.spawn(Worker).await?, system.spawn(Worker).await?];
    /// let router = system.spawn(Router { workers: workers.clone(), next: 0 }).await?;
    /// assert_eq!(router.ask(Double { n: 21 }).await?, 42);
    ///
    /// workers[0].stop();
    /// assert_eq!(router.ask(Double { n: 1 }).await?, 2);
    /// workers[1].stop();
    /// assert_eq!(router.ask(Double { n: 1 }).await, Err(AskError::NoReply));
    /// # Ok(()) }
    /// ```
    pub fn forward<M: ActorMessage>(&self, message: M, reply: Reply<M::Response>) -> Forward<M>
    where
        A: Handler<M>,
    {
        Forward::new(self.recipient(), message, reply)
    }

    /// Sends a message. Awaited, the ask waits for the reply.
    ///
    /// It has no deadline unless [`timeout`](Ask::timeout) sets one. Within a handler it ends, at the
    /// latest, by the deadline of the current message's asker.
    ///
    /// # Errors
    ///
    /// [`AskError`](crate::AskError), if there is no reply: the actor has stopped or failed, a
    /// deadline has passed, or the ask would wait for itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping the ask gives the reply up. The message may be handled all the same; see [`Ask`].
    pub fn ask<M: ActorMessage>(&self, message: M) -> Ask<M>
    where
        A: Handler<M>,
    {
        Ask::new(self.recipient(), message)
    }

    /// A reference to the same actor by one message that it handles, without the actor's type.
    pub fn recipient<M: ActorMessage>(&self) -> Recipient<M>
    where
        A: Handler<M>,
    {
        Recipient::new(self.cell.clone())
    }

    /// Asks the actor to stop, and returns at once. The mailbox closes, queued messages are handled,
    /// and then `on_stop` runs. See [`stopped`](Self::stopped).
    pub fn stop(&self) {
        self.cell.stop(StopCause::Requested);
    }

    /// Kills the actor, and returns at once. The running handler is dropped at its next await, queued
    /// messages are refused, and no hook runs.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// # #[handlers]
    /// # impl Worker {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let worker = system.spawn(Worker).await?;
    /// worker.kill();
    /// assert!(matches!(worker.stopped().await, StopReason::Killed));
    /// # Ok(()) }
    /// ```
    pub fn kill(&self) {
        self.cell.kill();
    }

    /// Waits until the actor has stopped, and returns the reason. Its URN is free by then.
    ///
    /// An actor that is never asked to stop may live for ever: limit the wait with
    /// [`tokio::time::timeout`].
    ///
    /// # Within handlers and hooks
    ///
    /// An actor stops only after its handler has returned and its children have stopped. A handler or
    /// hook may therefore wait for itself: when it awaits the end of its own actor, of its parent, or
    /// of an actor that waits for its own. Such a wait does not hang. As soon as the awaited actor is
    /// about to stop and waits, perhaps through other actors, for the actor whose code this is, the
    /// wait ends early with the reason for which the awaited actor is about to stop. That actor stops
    /// after this code has returned; until then, [`is_stopped`](Self::is_stopped) is false and its
    /// URN is taken.
    ///
    /// If the cycle includes an ask or a tell, that wait ends instead: the ask with
    /// [`AskCycle`](crate::AskError::AskCycle), the tell by exceeding the mailbox's capacity. A cycle
    /// of actors that wait for each other's end, none of which was asked to stop, lasts until one is;
    /// it is logged as a warning.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the future may be dropped, and the method called again.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct CloseAll;
    ///
    /// /// A connection of a session; the session is its parent.
    /// #[derive(Actor)]
    /// struct Connection { session: ActorRef<Session> }
    ///
    /// #[handlers]
    /// impl Connection {
    ///     #[handler]
    ///     async fn close_all(&mut self, _: CloseAll) {
    ///         self.session.stop();
    ///         // Returns once the session waits for nothing but this connection.
    ///         let reason = self.session.stopped().await;
    ///         assert!(matches!(reason, StopReason::Requested));
    ///         // Both actors run their `on_stop` after this handler has returned.
    ///     }
    /// }
    /// # #[derive(Actor)]
    /// # #[actor(urn = "session")]
    /// # struct Session;
    /// # #[handlers]
    /// # impl Session {
    /// #     async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
    /// #         ctx.spawn(Connection { session: ctx.actor_ref() }).urn("connection").await?;
    /// #         Ok(())
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// # let session = system.spawn(Session).await?;
    /// # system.ask("connection", CloseAll).await?;
    /// # assert!(matches!(session.stopped().await, StopReason::Requested));
    /// # Ok(()) }
    /// ```
    pub async fn stopped(&self) -> StopReason {
        stopped::stopped(self.cell.clone()).await
    }

    /// True if the actor has stopped.
    pub fn is_stopped(&self) -> bool {
        self.cell.links().has_ended()
    }

    /// Returns a weak reference, which does not count for
    /// [`while_referenced`](crate::system::Spawn::while_referenced).
    pub fn downgrade(&self) -> WeakActorRef<A> {
        WeakActorRef::new(&self.cell)
    }
}

impl<A: Handlers> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self::new(self.cell.clone())
    }
}

impl<A: Handlers> Drop for ActorRef<A> {
    fn drop(&mut self) {
        self.cell.drop_reference();
    }
}

impl<A: Handlers> PartialEq for ActorRef<A> {
    /// True if both refer to the same actor.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }
}

impl<A: Handlers> Eq for ActorRef<A> {}

impl<A: Handlers> Hash for ActorRef<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.cell).hash(state);
    }
}

impl<A: Handlers> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActorRef").field(self.cell.name()).finish()
    }
}
