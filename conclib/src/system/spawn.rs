//! Spawning: a builder that starts an actor when it is awaited.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::task::coop::poll_proceed;

use crate::actor::any::AnyActor;
use crate::actor::cell::{Escalation, Lifetime, SpawnOptions, Thread, Visibility};
use crate::actor::{Actor, ActorRef, IntoActor};
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::{Lifecycle, Supervised, Unsupervised};
use crate::system::ActorSystem;
use crate::urn::{Urn, UrnError};

use listing::ListingWait;
use starting::Starting;

pub use error::SpawnError;

mod begin;
mod error;
mod listing;
mod restarts;
mod starting;

/// A builder of an actor, made by [`ActorSystem::spawn`] and its like: its methods configure the
/// actor, and awaiting it starts the actor.
///
/// ```
/// # use conclib::prelude::*;
/// # #[derive(Actor)]
/// # struct Worker;
/// # #[handlers]
/// # impl Worker {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// let worker = system.spawn(Worker).urn("worker/1").mailbox(16).while_referenced().await?;
/// # drop(worker);
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// If it is awaited outside a tokio runtime, or polled after completion.
///
/// # Cancel safety
///
/// Dropped before its first poll, it starts no actor. Dropped later, it leaves the actor running.
#[must_use = "an actor is started when its spawn is awaited"]
pub struct Spawn<A: Actor, S = Unsupervised> {
    state: SpawnState<A, S>,
    /// `None` if the system is gone.
    system: Option<ActorSystem>,
    /// The parent of the new actor.
    parent: Option<Arc<dyn AnyActor>>,
    urn: Result<Option<Urn>, UrnError>,
    mailbox: usize,
    kind: SpawnOptions,
    /// The spawn is complete once the name is listed.
    waits_for_listing: bool,
}

enum SpawnState<A: Actor, S> {
    /// The first state, unless the lifecycle makes it, and the lifecycle.
    New(Option<A>, S),
    Starting(ActorRef<A>, Starting),
    /// The actor has started, and waits until its name is listed.
    AwaitsListing(ActorRef<A>, ListingWait),
    Complete,
}

impl<A: Actor> Spawn<A, Unsupervised> {
    /// A builder of an actor from its state.
    pub(crate) fn value(
        system: Option<ActorSystem>,
        parent: Option<Arc<dyn AnyActor>>,
        actor: A,
    ) -> Self {
        Self::new(system, parent, Some(actor), Unsupervised)
    }
}

impl<A: Actor, F> Spawn<A, Supervised<F>> {
    /// A builder of an actor with a factory for its states.
    pub(crate) fn factory<Fut>(
        system: Option<ActorSystem>,
        parent: Option<Arc<dyn AnyActor>>,
        factory: F,
    ) -> Self
    where
        F: FnMut() -> Fut,
        Fut: Future<Output: IntoActor<Actor = A>>,
    {
        Self::new(system, parent, None, Supervised::new(factory))
    }
}

impl<A: Actor, S> Spawn<A, S> {
    pub(crate) fn new(
        system: Option<ActorSystem>,
        parent: Option<Arc<dyn AnyActor>>,
        actor: Option<A>,
        source: S,
    ) -> Self {
        Self {
            state: SpawnState::New(actor, source),
            system,
            parent,
            urn: A::URN.map(Urn::new).transpose(),
            mailbox: A::MAILBOX,
            kind: SpawnOptions {
                visibility: visibility_of::<A>(),
                thread: Thread::of::<A>(),
                ..SpawnOptions::default()
            },
            waits_for_listing: false,
        }
    }

    /// Sets the URN of the actor, instead of the one of its type.
    pub fn urn<U>(mut self, urn: U) -> Self
    where
        U: TryInto<Urn>,
        U::Error: Into<UrnError>,
    {
        self.urn = urn.try_into().map(Some).map_err(Into::into);
        self
    }

    /// Sets the capacity of the actor's mailbox in messages (at least one), instead of the one of
    /// its type.
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages;
        self
    }

    /// Stops the actor when its last [`ActorRef`] or [`Recipient`](crate::Recipient) is dropped,
    /// instead of keeping it until its system is shut down.
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
    /// drop(worker);
    /// while !system.is_empty() {
    ///     tokio::task::yield_now().await;      // the worker stops
    /// }
    /// # Ok(()) }
    /// ```
    pub fn while_referenced(mut self) -> Self {
        self.kind.lifetime = Lifetime::WhileReferenced;
        self
    }

    /// Shares the name of the actor in a [fleet](crate::Config::fleet): each member may have an actor of
    /// the name, and a request goes to one of them, by load. The requests of a client have no order then,
    /// and each goes to one actor at most.
    ///
    /// Without it, one member of the fleet has the name, and actors of the same name in others stand by.
    /// Without a fleet, it changes nothing; nor does it for a child, and for an actor that is private or has
    /// a generated URN. `#[actor(shared)]` says so for all actors of a type.
    ///
    /// ```
    /// use conclib::actor::Listing;
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Double { n: u32 }
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "doubler")]
    /// struct Doubler;
    ///
    /// #[handlers]
    /// impl Doubler {
    ///     #[handler]
    ///     fn double(&mut self, message: Double) -> u32 { message.n * 2 }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::memory().fleet();
    /// let members = [ActorSystem::new(), ActorSystem::new()]; // mostly one per process
    /// for system in &members {
    ///     let doubler = system.spawn(Doubler).shared().await?;
    ///     start_proxy(system, &config).await?;
    ///     assert_eq!(doubler.listing(), Listing::Shared);
    /// }
    /// let client = ProxyClient::connect(&config).await?;
    /// assert_eq!(client.ask("doubler", Double { n: 21 }).await?, 42);
    /// # Ok(()) }
    /// ```
    pub fn shared(mut self) -> Self {
        if self.kind.visibility == Visibility::Public {
            self.kind.visibility = Visibility::Shared;
        }
        self
    }

    /// Completes the spawn once the name of the actor is listed in the [fleet](crate::Config::fleet) of its
    /// system. If another member keeps the name for 7 s, longer than it takes to remove a member that was killed,
    /// the actor is stopped, and the spawn fails with [`UrnTaken`](SpawnError::UrnTaken), which names that
    /// member's node.
    ///
    /// Without it, the name is listed in the background, and an actor whose name is taken stands by: see
    /// [`ActorRef::listing`]. Without a fleet, and before the system serves, as in the `start` of [`run`](crate::service::run), it changes
    /// nothing.
    pub fn listed(mut self) -> Self {
        self.waits_for_listing = true;
        self
    }

    /// Escalates the final failure of the actor (also while it starts): its parent fails as well,
    /// after its current message. The failure of an actor without a parent is returned by
    /// [`ActorSystem::failed`], unless the actor was asked to stop.
    pub fn escalate(mut self) -> Self {
        self.kind.escalation = Escalation::Always;
        self
    }

    /// Declares that the program cannot do without the actor: if it ends for any reason but a shutdown
    /// of the system, [`ActorSystem::failed`] returns its end, also if it was asked to stop or was killed.
    /// A restart is no end.
    ///
    /// A child may be essential too. If it ends because its parent does, that is reported when the
    /// parent has ended; if the parent starts again, the end of the child is not reported: the parent
    /// starts it anew.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(Actor)]
    /// # #[actor(urn = "shop")]
    /// # struct Shop;
    /// # #[handlers]
    /// # impl Shop {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let shop = system.supervise(|| async { Shop }).essential().await?;
    /// shop.stop();
    /// let end = system.failed().await;
    /// assert_eq!(end.to_string(), "the actor `shop`, which is essential, has ended: stop was requested");
    /// # Ok(()) }
    /// ```
    pub fn essential(mut self) -> Self {
        self.kind.essential = true;
        self
    }

    /// Like [`escalate`](Self::escalate), unless the actor has been asked to stop.
    pub(crate) fn escalate_until_stopped(mut self) -> Self {
        self.kind.escalation = Escalation::UntilAskedToStop;
        self
    }

    /// Declares that the actor is on demand: its references are counted, and after it has stopped itself
    /// or was idle, its lifecycle decides if it ends.
    pub(super) fn on_demand(mut self) -> Self {
        self.kind.lifetime = Lifetime::OnDemand;
        self.restarts_itself()
    }

    /// Declares that the actor starts again after it has stopped itself.
    pub(crate) fn restarts_itself(mut self) -> Self {
        self.kind.restarts_itself = true;
        self
    }
}

/// The visibility of an actor of that type, unless the spawn changes it.
fn visibility_of<A: Actor>() -> Visibility {
    if A::PRIVATE {
        Visibility::Private
    } else if A::SHARED {
        Visibility::Shared
    } else {
        Visibility::Public
    }
}

// No field is ever pinned.
impl<A: Actor, S> Unpin for Spawn<A, S> {}

impl<A: Actor, S: Lifecycle<A>> Future for Spawn<A, S> {
    type Output = Result<ActorRef<A>, SpawnError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let SpawnState::New(..) = self.state {
            // A task that spawns in a loop must yield to other tasks now and then.
            let budget = ready!(poll_proceed(cx));
            budget.made_progress();
            if let SpawnState::New(actor, source) =
                std::mem::replace(&mut self.state, SpawnState::Complete)
            {
                let (actor, starting) = self.begin(actor, source)?;
                match starting {
                    None => return self.started(actor, cx),
                    Some(starting) => self.state = SpawnState::Starting(actor, starting),
                }
            }
        }
        if let SpawnState::AwaitsListing(..) = self.state {
            return self.poll_listing(cx);
        }
        let SpawnState::Starting(actor, starting) = &mut self.state else {
            panic!("`Spawn` polled after completion");
        };
        let started = ready!(starting.poll(actor, cx));
        let SpawnState::Starting(actor, _) =
            std::mem::replace(&mut self.state, SpawnState::Complete)
        else {
            unreachable!("the state was just seen");
        };
        let end = match started {
            Ok(Ok(())) => return self.started(actor, cx),
            Ok(Err(end)) => end,
            Err(_) => StopReason::Killed, // the runtime was shut down
        };
        Poll::Ready(Err(SpawnError::of_end(actor.urn().clone(), end)))
    }
}

impl<A: Actor, S> Spawn<A, S> {
    /// Completes the spawn of an actor that has started, once its name is listed if that is waited for.
    fn started(
        &mut self,
        actor: ActorRef<A>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<ActorRef<A>, SpawnError>> {
        if self.waits_for_listing
            && let Some(listing) = self
                .system
                .as_ref()
                .and_then(|system| ListingWait::begin(system, &actor))
        {
            self.state = SpawnState::AwaitsListing(actor, listing);
            return self.poll_listing(cx);
        }
        Poll::Ready(Ok(actor))
    }

    fn poll_listing(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<ActorRef<A>, SpawnError>> {
        let SpawnState::AwaitsListing(_, listing) = &mut self.state else {
            unreachable!("the name is about to be listed");
        };
        let listed = ready!(listing.poll(cx));
        match std::mem::replace(&mut self.state, SpawnState::Complete) {
            SpawnState::AwaitsListing(actor, _) => Poll::Ready(listed.map(|()| actor)),
            _ => unreachable!("the state was just seen"),
        }
    }
}

impl<A: Actor, S> fmt::Debug for Spawn<A, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn")
            .field("urn", &self.urn)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    #[derive(Actor)]
    struct Idle;

    #[handlers]
    impl Idle {}

    #[tokio::test]
    #[should_panic(expected = "`Spawn` polled after completion")]
    async fn spawn_polled_after_completion_panics() {
        let system = ActorSystem::new();
        let mut spawn = system.spawn(Idle);
        assert!((&mut spawn).await.is_ok());
        drop(spawn.await);
    }
}
