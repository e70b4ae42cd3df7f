//! References to an actor of a known type.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::actor::cell::ActorCell;
use crate::actor::control::StopCause;
use crate::actor::wait_stopped;
use crate::actor::{Ask, Forward, Handler, Handlers, Recipient, Tell};
use crate::error::TellError;
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// Where to send messages to an actor of type `A`.
///
/// Cheap to clone. It outlives its actor: sends to a stopped one give the message back.
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
/// actor.wait_stopped().await;
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

    /// The actor's address.
    pub fn urn(&self) -> &Urn {
        &self.cell.urn
    }

    /// Sends a message and waits for room in the mailbox, not for an answer. An actor that sends to
    /// itself does not wait. [`timeout`](Tell::timeout) bounds the wait, and
    /// [`try_tell`](Self::try_tell) does without.
    ///
    /// Messages of one sender arrive in the order in which it sent them.
    ///
    /// # Actors that tell each other
    ///
    /// Two actors whose mailboxes are both full, each with a handler that tells the other, would wait
    /// for ever. The last that begins to wait hears [`AskCycle`](crate::AskError::AskCycle), and has
    /// its message back; so it may with longer circles, and where the other waits by an ask. It
    /// happens under load only: with `?` a handler that went well in every test fails there. Where
    /// messages go both ways, handle the error. A larger mailbox makes it rarer. A `try_tell`, and
    /// what it gives back kept for later, waits for nothing:
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use std::collections::VecDeque;
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// struct Work(u32);
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct Retry;
    ///
    /// /// Hands work to a peer that hands back what it has done.
    /// #[derive(Actor)]
    /// struct Stage { peer: Recipient<Work>, kept: VecDeque<Work> }
    ///
    /// #[handlers]
    /// impl Stage {
    ///     #[handler]
    ///     fn work(&mut self, work: Work, ctx: &mut Context<Self>) {
    ///         self.kept.push_back(work);
    ///         if self.kept.len() == 1 {
    ///             self.retry(Retry, ctx);       // else one is under way
    ///         }
    ///     }
    ///
    ///     /// Sends what there is room for, in order, and comes back to the rest.
    ///     #[handler]
    ///     fn retry(&mut self, _: Retry, ctx: &mut Context<Self>) {
    ///         while let Some(work) = self.kept.pop_front() {
    ///             let Err(back) = self.peer.try_tell(work) else { continue };
    ///             if matches!(back.reason(), AskError::Overloaded { .. }) {
    ///                 self.kept.push_front(back.into_message());
    ///                 ctx.after(Duration::from_millis(10), Retry);
    ///                 return;
    ///             }
    ///         }
    ///     }
    /// }
    /// # #[derive(ActorMessage)]
    /// # #[message(local, response = u32)]
    /// # struct Sum;
    /// # #[derive(Actor)]
    /// # #[actor(mailbox = 1)]
    /// # struct Peer(u32);
    /// # #[handlers]
    /// # impl Peer {
    /// #     #[handler]
    /// #     fn work(&mut self, Work(n): Work) { self.0 += n; }
    /// #     #[handler]
    /// #     fn sum(&mut self, _: Sum) -> u32 { self.0 }
    /// # }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// # let peer = system.spawn(Peer(0)).await?;
    /// # let stage = Stage { peer: peer.recipient(), kept: VecDeque::new() };
    /// # let stage = system.spawn(stage).await?;
    /// for n in 1..=4 {
    ///     stage.tell(Work(n)).await?;
    /// }
    /// # tokio::time::sleep(Duration::from_secs(1)).await;
    /// # assert_eq!(peer.ask(Sum).await?, 10);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TellError`] with the message, if the actor has stopped, or if the wait for room would never
    /// end.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before it is ready has sent nothing; unless it waited for room, and
    /// the mailbox let its message in at that very moment.
    pub fn tell<M: ActorMessage>(&self, message: M) -> Tell<M>
    where
        A: Handler<M>,
    {
        Tell::new(self.recipient(), message)
    }

    /// Sends a message if there is room for it now and nobody waits in line. An actor that sends to
    /// itself needs no room.
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

    /// Hands a message on, together with the reply that its asker waits for: the asker gets its
    /// answer from this actor. Awaited, it waits for room like [`tell`](Self::tell), not for the
    /// answer.
    ///
    /// # Errors
    ///
    /// [`ForwardError`](crate::ForwardError) with message and reply, if the actor has stopped, if a
    /// [`timeout`](Forward::timeout) has passed, or if the actor waits for the asker
    /// ([`AskCycle`](crate::AskError::AskCycle)). The asker still waits: the message may go to
    /// another, or the reply be sent. If the error is dropped, the asker hears its reason.
    ///
    /// # Cancel safety
    ///
    /// Like that of [`tell`](Self::tell). The asker of what was not sent hears
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
    /// /// Gives each message to the next worker that takes it.
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
    ///                 // It has stopped: the next one.
    ///                 Err(back) => (message, reply) = back.into_parts(),
    ///             }
    ///         }
    ///         // The reply is dropped: the asker hears `NoReply`.
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

    /// Sends a message and waits for its answer, without a deadline unless
    /// [`timeout`](Ask::timeout) sets one, or the asker of the message in hand has one: what a
    /// handler asks takes no longer than its own asker waits.
    ///
    /// # Errors
    ///
    /// [`AskError`](crate::AskError): the actor stopped, failed, or gave no answer.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped gives the answer up; what becomes of the message then, [`Ask`] says.
    pub fn ask<M: ActorMessage>(&self, message: M) -> Ask<M>
    where
        A: Handler<M>,
    {
        Ask::new(self.recipient(), message)
    }

    /// The same actor, known only by one message that it handles.
    pub fn recipient<M: ActorMessage>(&self) -> Recipient<M>
    where
        A: Handler<M>,
    {
        Recipient::new(self.cell.clone())
    }

    /// Asks the actor to stop: its mailbox takes nothing more, what is queued is handled, then
    /// `on_stop` runs. Does not wait.
    pub fn stop(&self) {
        self.cell.stop(StopCause::Requested);
    }

    /// Ends the actor: its running handler is dropped at its next await, what is queued is
    /// refused, and no hook runs. Does not wait.
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
    /// assert!(matches!(worker.wait_stopped().await, StopReason::Killed));
    /// # Ok(()) }
    /// ```
    pub fn kill(&self) {
        self.cell.kill();
    }

    /// Waits until the actor has stopped, and says why. Its URN is free then.
    ///
    /// Bound the wait with [`tokio::time::timeout`]. An actor that nothing has asked to stop may
    /// live for ever.
    ///
    /// # Within handlers and hooks
    ///
    /// An actor that stops waits for its handler, and for its children. A handler or a hook that
    /// waits for the end of such an actor would wait for itself: for its own end, for that of its
    /// parent, or for that of one which waits for its. No wait hangs for that. As soon as the other
    /// is about to stop, and waits (perhaps over others) for the actor whose code this is, the wait
    /// ends early, with the reason why the other is about to stop. The other stops when this code
    /// has returned; until then [`is_stopped`](Self::is_stopped) is false, and its URN is taken.
    ///
    /// If the other waits by an ask or by a tell, that ends instead, with
    /// [`AskCycle`](crate::AskError::AskCycle), or goes past the bound of the mailbox. Waits for
    /// ends that nothing has asked for last until something does; a cycle of them is logged as a
    /// warning.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct CloseAll;
    ///
    /// /// One of several connections of a session, which is their parent.
    /// #[derive(Actor)]
    /// struct Connection { session: ActorRef<Session> }
    ///
    /// #[handlers]
    /// impl Connection {
    ///     #[handler]
    ///     async fn close_all(&mut self, _: CloseAll) {
    ///         self.session.stop();
    ///         // Returns when the session has nothing left to wait for but this connection.
    ///         let reason = self.session.wait_stopped().await;
    ///         assert!(matches!(reason, StopReason::Requested));
    ///         // Both run their `on_stop` when this handler has returned.
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
    /// # assert!(matches!(session.wait_stopped().await, StopReason::Requested));
    /// # Ok(()) }
    /// ```
    pub async fn wait_stopped(&self) -> StopReason {
        wait_stopped::stopped(self.cell.clone()).await
    }

    /// True if the actor has stopped.
    pub fn is_stopped(&self) -> bool {
        self.cell.links.has_ended()
    }

    /// A reference that does not count for an actor that lives
    /// [while it is referenced](crate::Spawn::while_referenced).
    pub fn downgrade(&self) -> WeakActorRef<A> {
        WeakActorRef {
            cell: Arc::downgrade(&self.cell),
        }
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

impl<A: Handlers> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActorRef").field(self.urn()).finish()
    }
}

/// A reference that keeps nothing alive.
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
/// drop(last);                                        // and so it stops
/// while weak.upgrade().is_some() { tokio::task::yield_now().await; }
/// # Ok(()) }
/// ```
pub struct WeakActorRef<A: Handlers> {
    cell: Weak<ActorCell<A>>,
}

impl<A: Handlers> WeakActorRef<A> {
    /// The reference, unless the actor has stopped.
    pub fn upgrade(&self) -> Option<ActorRef<A>> {
        self.cell
            .upgrade()
            .filter(|cell| !cell.links.has_ended())
            .map(ActorRef::new)
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
        let urn = self.cell.upgrade().map(|cell| cell.urn.clone());
        f.debug_tuple("WeakActorRef").field(&urn).finish()
    }
}
