//! Actors on demand: the first message to a URN starts its actor, which ends when it is idle.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;

use super::ActorSystem;
use crate::actor::MaybeActor;
use crate::supervision::{Backoff, Budget, Restart};
use crate::urn::Urn;
use closing::ClosingStarts;
use idle::{IdleQueue, IdleTime};
use pattern::Pattern;
use refusals::RecentRefusals;
use starter::{ActorSettings, DemandStarter, DemandState};

pub use pattern::OnDemandError;

mod closing;
mod idle;
mod pattern;
mod refusals;
mod starter;

/// The idle time of actors on demand, unless it is set.
const DEFAULT_IDLE: Duration = Duration::from_secs(5 * 60);

/// The most live actors of a pattern, unless it is set.
const DEFAULT_MAX: usize = 100_000;

impl ActorSystem {
    /// Has the system start actors when they are needed: the first message to a URN that matches the
    /// pattern starts its actor, whose state the factory makes or loads. It ends when no message has
    /// come for its idle time.
    ///
    /// The pattern is the beginning of a URN with a `*` behind it; of several that match, the longest
    /// counts. A message may come from inside ([`ask`](Self::ask), [`tell`](Self::tell),
    /// [`actor`](Self::actor), [`recipient`](Self::recipient)) or from another process, and durable
    /// messages start actors too; those of actors with `#[actor(private)]` come from inside only.
    /// Messages wait in the mailbox while the factory runs. An actor that was
    /// [spawned](Self::spawn) at such a URN simply has it.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct AddItem;
    ///
    /// #[derive(Actor)]
    /// struct Order { items: u32 }
    ///
    /// #[handlers]
    /// impl Order {
    ///     #[handler]
    ///     fn add_item(&mut self, _: AddItem) -> u32 { self.items += 1; self.items }
    ///
    ///     async fn on_stop(&mut self, ctx: &mut Context<Self>) {
    ///         println!("{} has {} items", ctx.urn(), self.items);       // and is saved here
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let orders = system
    ///     .on_demand("order/*", |urn| async move {
    ///         let number: Option<u32> = urn.as_str().strip_prefix("order/")?.parse().ok();
    ///         number.map(|_| Order { items: 0 })                        // `None`: there is no such order
    ///     })
    ///     .idle(Duration::from_secs(30))
    ///     .max(10_000)
    ///     .await?;
    ///
    /// assert_eq!(system.ask("order/17", AddItem).await?, 1);
    /// assert_eq!(system.ask("order/17", AddItem).await?, 2);
    /// assert_eq!(orders.len(), 1);
    ///
    /// let unknown = system.ask("order/x", AddItem).await;
    /// assert!(matches!(unknown, Err(AskError::ActorNotFound { .. })));
    ///
    /// tokio::time::sleep(Duration::from_secs(90)).await;
    /// assert_eq!(orders.len(), 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # The end of an idle actor
    ///
    /// An actor is idle if no message has come for its idle time, none waits, it runs no task
    /// ([`Context::pipe`](crate::Context::pipe) and the like) and has no children, and no [`ActorRef`](crate::ActorRef) or
    /// [`Recipient`](crate::Recipient) of it exists: an ask under way has one, and so has one that the
    /// actor keeps of itself, which a [`WeakActorRef`](crate::WeakActorRef) avoids. Its own ticks and timers are no use of
    /// it. It ends within about an eighth of the idle time after that, or, where tests pause the time, within
    /// about one more idle time.
    ///
    /// Its `on_stop` runs with [`StopReason::Idle`](crate::StopReason::Idle), and may save the state,
    /// which is dropped after it. The decision to end is one with the mailbox: a message that comes
    /// before it is handled, by the state that the factory makes anew if `on_stop` ran already; one that
    /// comes after it starts another actor. None is refused or handled twice, and there are never two
    /// states of one URN at once. [`Context::stop`](crate::Context::stop) ends an actor in the same way,
    /// at once, but does not wait for references: a message through one of them gets
    /// [`ActorStopped`](crate::AskError::ActorStopped).
    ///
    /// A [`Reply`](crate::Reply) that the actor keeps in its state is dropped with it: its asker gets
    /// [`NoReply`](crate::AskError::NoReply). Reply before, or keep the reply in a task.
    ///
    /// # Failures
    ///
    /// An actor that fails, or whose factory does, starts again as one of [`supervise`](Self::supervise)
    /// does. If its start fails, it does so only while a message waits for it or it is
    /// referenced: an ask whose deadline has passed, or whose asker has gone as far as the bus tells,
    /// does not count. After the last failure its URN is free, and the next message starts it anew, but not for a
    /// second: until then, asks end at once with [`ActorFailed`](crate::AskError::ActorFailed). So do the asks in its mailbox. If the
    /// factory returns `None`, the same holds with [`ActorNotFound`](crate::AskError::ActorNotFound).
    /// Either says that the message was not handled. `None` holds for all messages: where one of them
    /// makes the thing at that name, such as an order, the actor starts without it, and its other handlers
    /// reply that there is none.
    ///
    /// A failed delivery of a [durable message](crate::durable) is repeated after the pauses of its own,
    /// whatever the actor does. While that waits for its next start, the delivery waits as well, so that
    /// it may come later.
    ///
    /// # Shutdown
    ///
    /// A pattern counts as a root actor that was spawned when the pattern was added. In a
    /// [shutdown](Self::shutdown) its place comes after those of younger actors, and before those of
    /// older ones. Then no more actors start, and **all live ones stop at the same time**, each after its
    /// queued messages: a shutdown takes the time of the slowest `on_stop`, not of all of them. So add the
    /// pattern after the actors, such as a store, that `on_stop` needs.
    ///
    /// Actors of the pattern start as before until their turn to stop comes: younger actors may need them for
    /// requests that were accepted. After that, a message to one of them gets
    /// [`NoResponder`](crate::AskError::NoResponder), which says that it was not executed, and a lookup of one
    /// that is not live gets [`SystemClosed`](crate::system::LookupError::SystemClosed). An actor that starts so late cannot
    /// spawn children: spawns are refused from the beginning of a shutdown on.
    ///
    /// The factory should not own the [`ActorSystem`]: dropping its last clone could not stop the system
    /// then (a [shutdown](Self::shutdown) would).
    ///
    /// # Errors
    ///
    /// [`OnDemandError`]: the pattern is invalid or taken, or the system is shutting down.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime with timers, or polled after completion. The actors run on
    /// that runtime, wherever their messages come from.
    ///
    /// # Cancel safety
    ///
    /// It completes at its first poll; dropped before that, it has no effect.
    pub fn on_demand<F, Fut>(&self, pattern: impl AsRef<str>, factory: F) -> OnDemand<F>
    where
        F: Fn(Urn) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: MaybeActor> + Send + 'static,
    {
        OnDemand {
            system: self.clone(),
            pattern: Pattern::new(pattern.as_ref()),
            factory: Some(factory),
            idle: DEFAULT_IDLE,
            max: DEFAULT_MAX,
            settings: ActorSettings::default(),
        }
    }
}

/// A builder of actors on demand, made by [`ActorSystem::on_demand`]: its methods configure the actors,
/// and awaiting it has the system start them from then on.
#[must_use = "actors start on demand once this is awaited"]
pub struct OnDemand<F> {
    system: ActorSystem,
    pattern: Result<Pattern, OnDemandError>,
    /// `None` after completion.
    factory: Option<F>,
    idle: Duration,
    max: usize,
    settings: ActorSettings,
}

impl<F> OnDemand<F> {
    /// Sets the time without messages after which an actor ends: 5 minutes by default.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the most actors of this pattern that are live at once: 100,000 by default. A message that
    /// would start one more gets [`Overloaded`](crate::AskError::Overloaded); a durable one waits.
    ///
    /// Actors with [`#[actor(thread)]`](crate::Actor::THREAD) have a thread each: set a number that the
    /// process may have. A start without a thread fails like any other.
    pub fn max(mut self, actors: usize) -> Self {
        self.max = actors;
        self
    }

    /// Sets the capacity of each actor's mailbox in messages (at least one), instead of the one of its
    /// type.
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.settings.mailbox = Some(messages);
        self
    }

    /// Sets the ends after which an actor starts again: failures by default. With
    /// [`Restart::Always`], so does an actor that has stopped itself.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.settings.restart = restart;
        self
    }

    /// Limits the restarts of each actor: to 3 within 5 s by default.
    pub fn budget(mut self, restarts: u32, within: Duration) -> Self {
        self.settings.budget = Budget::new(restarts, within);
        self
    }

    /// Restarts each actor without a limit, after the delays of its backoff. One that cannot start keeps
    /// its place among the live ones while a message waits for it: tells, and asks without a deadline, wait
    /// as long as it takes.
    pub fn unlimited(mut self) -> Self {
        self.settings.budget = self.settings.budget.unlimited();
        self
    }

    /// Sets the delay before a restart.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }
}

impl<F, Fut> OnDemand<F>
where
    F: Fn(Urn) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: MaybeActor> + Send + 'static,
{
    /// Adds the starter of the pattern to the system.
    fn begin(&self, factory: F) -> Result<OnDemandActors, OnDemandError> {
        let pattern = self.pattern.clone()?;
        drop(tokio::time::sleep(Duration::ZERO)); // panics without timers: here, and not in a task
        let state = Arc::new(DemandState {
            pattern,
            max: self.max,
            live: AtomicUsize::new(0),
            queue: IdleQueue::new(IdleTime::new(self.idle)),
            refusals: RecentRefusals::default(),
            closing: ClosingStarts::default(),
        });
        let looks = state.clone();
        let idle_task = tokio::spawn(async move { looks.queue.signal_idle().await });
        let core = self.system.core();
        let starter = Arc::new(DemandStarter {
            factory,
            settings: self.settings,
            state: state.clone(),
            place: core.next_sequence(),
            registry: Arc::downgrade(&core.registry),
            system: self.system.link().host().clone(),
            runtime: Handle::current(),
            idle_task: idle_task.abort_handle(),
        });
        let starters = &core.registry.starters;
        if !starters.add(state.pattern.prefix(), starter.clone()) {
            let pattern = state.pattern.to_string();
            return Err(OnDemandError::PatternTaken { pattern });
        }
        // A concurrent shutdown either finds the starter or is noticed here.
        if core.is_closing() {
            starters.close_one(&*starter);
            return Err(OnDemandError::SystemClosed);
        }
        Ok(OnDemandActors { state })
    }
}

// No field is ever pinned.
impl<F> Unpin for OnDemand<F> {}

impl<F, Fut> Future for OnDemand<F>
where
    F: Fn(Urn) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: MaybeActor> + Send + 'static,
{
    type Output = Result<OnDemandActors, OnDemandError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let factory = self.factory.take();
        let factory = factory.expect("`OnDemand` polled after completion");
        Poll::Ready(self.begin(factory))
    }
}

impl<F> fmt::Debug for OnDemand<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand")
            .field("pattern", &self.pattern)
            .field("idle", &self.idle)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// The actors of one pattern that are started on demand: a handle to count them. Dropping it changes
/// nothing.
///
/// ```
/// # use conclib::prelude::*;
/// # #[derive(ActorMessage, Serialize, Deserialize)]
/// # struct Touch;
/// # #[derive(Actor)]
/// # struct Order;
/// # #[handlers]
/// # impl Order {
/// #     #[handler]
/// #     fn touch(&mut self, _: Touch) {}
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// let orders = system.on_demand("order/*", |_| async { Order }).max(2).await?;
/// system.tell("order/1", Touch).await?;
/// system.tell("order/2", Touch).await?;
/// assert_eq!((orders.len(), orders.pattern().as_str()), (2, "order/*"));
/// let third = system.ask("order/3", Touch).await;
/// assert!(matches!(third, Err(AskError::Overloaded { .. })));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct OnDemandActors {
    state: Arc<DemandState>,
}

impl OnDemandActors {
    /// The number of live actors, those that start and those that end included.
    pub fn len(&self) -> usize {
        self.state.live.load(Ordering::Acquire)
    }

    /// True if no actor is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pattern of their URNs.
    pub fn pattern(&self) -> String {
        self.state.pattern.to_string()
    }
}

impl fmt::Debug for OnDemandActors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemandActors")
            .field("pattern", &self.pattern())
            .field("live", &self.len())
            .finish()
    }
}
