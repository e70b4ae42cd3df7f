//! A set of actors and their registry: spawning, looking up, shutting down.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use async_trait::async_trait;

use crate::actor::cell::{ActorCell, AnyActor};
use crate::actor::control::StopCause;
use crate::actor::{Actor, ActorRef, Ask, IntoActor, Recipient, Tell, Wanted};
use crate::core::registry::Registry;
use crate::error::{AskError, Failure};
use crate::message::ActorMessage;
use crate::urn::Urn;

pub use crate::core::escalations::ActorFailure;
pub use crate::supervision::lifecycle::{Once, Source, Supervised};
pub use shutdown::{Shutdown, ShutdownReport};
pub use snapshot::{ActorSnapshot, FailedActor, RunningHandler, Snapshot};
pub use spawn::{Spawn, SpawnError};

use crate::core::escalations::Escalations;

mod bound;
pub(crate) mod children;
mod shutdown;
mod snapshot;
mod spawn;

/// A set of actors and their registry. A value, not a global: a process may have many.
///
/// Cheap to clone. The system owns its actors: dropping references stops nothing, and dropping the
/// last clone of the system stops all.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = String)]
/// struct Greet { name: String }
///
/// #[derive(Actor)]
/// #[actor(urn = "greeter")]
/// struct Greeter;
///
/// #[handlers]
/// impl Greeter {
///     #[handler]
///     async fn greet(&mut self, message: Greet) -> String { format!("Hello, {}!", message.name) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// system.spawn(Greeter).await?;                                        // at its own URN
/// system.spawn(Greeter).urn("greeter/2").mailbox(16).await?;           // at another
///
/// let hello = system.ask("greeter/2", Greet { name: "you".into() }).await?;
/// assert_eq!(hello, "Hello, you!");
///
/// let report = system.shutdown().await;
/// assert!(report.is_clean());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ActorSystem {
    handle: Arc<SystemHandle>,
}

/// What the clones of a system share; when the last is dropped, everything stops.
pub(crate) struct SystemHandle {
    core: Arc<SystemCore>,
}

/// What outlives the system for as long as an actor of it runs.
pub(crate) struct SystemCore {
    pub(crate) registry: Arc<Registry>,
    /// The next actor's place in the order of spawning.
    sequence: AtomicU64,
    /// No more spawns.
    closing: AtomicBool,
    /// What is stopped before the actors: proxies.
    services: Mutex<Vec<Arc<dyn Service>>>,
    /// Who hears of each actor that fails; nobody in a system that is not under test.
    failures: OnceLock<FailureObserver>,
    /// Failures of root actors that the program has not heard of yet.
    pub(crate) escalations: Escalations,
}

/// Hears which actor failed, and how. Called in the actor's task: it must not block or panic.
pub(crate) type FailureObserver = Box<dyn Fn(&Urn, &Failure) + Send + Sync>;

/// Something that serves a system from outside and stops before its actors.
#[async_trait]
pub(crate) trait Service: Send + Sync {
    /// Stops taking requests, in good order.
    async fn stop(&self);
    /// After the actors have stopped: sends what they answered, and ends.
    async fn finish(&self);
    /// Stops by itself; nobody waits for it.
    fn abort(&self);
    /// True once it has ended.
    fn is_over(&self) -> bool;
}

impl ActorSystem {
    /// An empty system.
    pub fn new() -> Self {
        let core = SystemCore {
            registry: Arc::default(),
            sequence: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            services: Mutex::default(),
            failures: OnceLock::new(),
            escalations: Escalations::default(),
        };
        Self::from_handle(Arc::new(SystemHandle {
            core: Arc::new(core),
        }))
    }

    pub(crate) fn from_handle(handle: Arc<SystemHandle>) -> Self {
        Self { handle }
    }

    pub(crate) fn core(&self) -> &Arc<SystemCore> {
        &self.handle.core
    }

    pub(crate) fn downgrade(&self) -> Weak<SystemHandle> {
        Arc::downgrade(&self.handle)
    }

    /// Starts an actor. Awaiting it returns when `on_start` has run:
    /// `system.spawn(actor).urn("user/42").mailbox(64).await?`.
    ///
    /// Its URN is taken the moment spawning begins; messages that arrive wait for `on_start`.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]: the URN is taken or wrong, `on_start` failed, or the system shuts down.
    ///
    /// # Panics
    ///
    /// When awaited outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is polled, it has started nothing; after that the actor goes on, and is
    /// the system's.
    pub fn spawn<A: Actor>(&self, actor: A) -> Spawn<A> {
        Spawn::value(Some(self.clone()), None, actor)
    }

    /// Starts an actor that starts again when it fails: a factory makes its state, for each of its
    /// lives. Otherwise like [`spawn`](Self::spawn).
    ///
    /// A restart keeps the URN, every reference, and the messages that wait. The message that
    /// failed is not run again, and its asker hears [`AskError::Failed`]. Timers, tasks and children
    /// end with the life that set them up.
    ///
    /// Unless changed, an actor starts again after each failure of a handler, of `on_start` or of
    /// the factory, the first ones included, as long as that makes no more than 3 restarts within
    /// 5 s, and after a short wait ([`Backoff`](crate::Backoff)). Then it stops as
    /// [`Exhausted`](crate::StopReason::Exhausted), and **will not start again**: one error line says
    /// so, [`snapshot`](Self::snapshot) shows it, its askers hear [`AskError::ActorFailed`], and with
    /// [`escalate`](Spawn::escalate) its parent fails as well, or [`failed`](Self::failed) tells the
    /// program. Who stops or kills it from outside ends it for good.
    ///
    /// A failure is for what is wrong with the actor: a broken connection, a bug. What is wrong with
    /// a *message* belongs into its response (`response = Result<u32, Declined>`): an actor whose
    /// handlers use `?` on what came from outside is ended by four bad requests within 5 s. The
    /// actor below does so, to have something to recover from.
    ///
    /// ```
    /// use conclib::{Backoff, Restart, prelude::*};
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Parse(String);
    ///
    /// #[derive(Actor)]
    /// struct Parser;
    ///
    /// #[handlers]
    /// impl Parser {
    ///     #[handler]
    ///     fn parse(&mut self, Parse(text): Parse) -> Result<u32, Failure> { Ok(text.parse()?) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let parser = system
    ///     .supervise(|| async { Parser })          // may fail, and be slow: `Parser::connect().await`
    ///     .restart(Restart::OnFailure)
    ///     .budget(10, Duration::from_secs(60))
    ///     .backoff(Backoff::starting_at(Duration::from_millis(20)))
    ///     .await?;
    /// assert!(matches!(parser.ask(Parse("x".into())).await, Err(AskError::Failed { .. })));
    /// assert_eq!(parser.ask(Parse("7".into())).await, Ok(7));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SpawnError`]: the URN is taken or wrong, the budget was spent before it had started, it
    /// was stopped meanwhile, or the system shuts down.
    ///
    /// # Panics
    ///
    /// When awaited outside a tokio runtime.
    pub fn supervise<F, Fut>(
        &self,
        factory: F,
    ) -> Spawn<<Fut::Output as IntoActor>::Actor, Supervised<F>>
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output: IntoActor> + Send + 'static,
    {
        Spawn::factory(Some(self.clone()), None, factory)
    }

    /// The actor at a URN, if it is an `A`.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// # #[handlers]
    /// # impl Worker {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let worker = system.spawn(Worker).urn("worker/7").await?;
    /// assert_eq!(system.actor::<Worker>("worker/7")?, worker);
    /// assert!(system.actor::<Worker>("worker/8").is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError`]: no actor lives there, or one of another type, or the one that lived there
    /// failed for good.
    pub fn actor<A: Actor>(&self, urn: impl AsRef<str>) -> Result<ActorRef<A>, LookupError> {
        let actor = self.find(urn.as_ref())?;
        let found = actor.type_name();
        let urn = actor.urn().clone();
        match actor.as_any().downcast::<ActorCell<A>>() {
            Ok(cell) => Ok(ActorRef::new(cell)),
            Err(_) => Err(LookupError::WrongType {
                urn,
                expected: std::any::type_name::<A>(),
                found,
            }),
        }
    }

    /// Where to send `M` to the actor at a URN, whatever its type.
    ///
    /// # Errors
    ///
    /// [`LookupError`]: no actor lives there, or it has no handler for `M`, or the one that lived there
    /// failed for good.
    pub fn recipient<M: ActorMessage>(
        &self,
        urn: impl AsRef<str>,
    ) -> Result<Recipient<M>, LookupError> {
        let actor = self.find(urn.as_ref())?;
        let urn = actor.urn().clone();
        let mut found = None;
        actor.recipient(&mut Wanted::new(&mut found, actor.clone().as_any()));
        found.ok_or(LookupError::Unhandled {
            urn,
            message: std::any::type_name::<M>(),
        })
    }

    /// Sends a message to whoever lives at a URN; like [`ActorRef::tell`].
    pub fn tell<M: ActorMessage>(&self, urn: impl AsRef<str>, message: M) -> Tell<M> {
        match self.recipient(urn) {
            Ok(recipient) => Tell::new(recipient, message),
            Err(error) => Tell::refused(message, error.into()),
        }
    }

    /// Sends a message to whoever lives at a URN and waits for the answer; like [`ActorRef::ask`].
    pub fn ask<M: ActorMessage>(&self, urn: impl AsRef<str>, message: M) -> Ask<M> {
        match self.recipient(urn) {
            Ok(recipient) => Ask::new(recipient, message),
            Err(error) => Ask::refused(error.into()),
        }
    }

    /// How many actors live.
    pub fn len(&self) -> usize {
        self.core().registry.len()
    }

    /// True if no actor lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stops everything in order: no more spawns, then proxies, then actors, the newest first,
    /// each after what it has queued. After 10 s (see [`Shutdown::timeout`]) what is left is
    /// killed. The report says what that was.
    ///
    /// Called from a handler, it stops that actor last and does not wait for it.
    ///
    /// On a runtime without timers a thread keeps the bound, and the panic by which tokio says that
    /// there are none is printed. (What else needs timers there, such as ticks and timeouts, panics:
    /// in an actor, that is its failure.)
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let system = ActorSystem::new();
    /// let report = system.shutdown().timeout(Duration::from_secs(3)).await;
    /// assert!(report.is_clean(), "killed: {:?}, stuck: {:?}", report.killed, report.stuck);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped midway, it leaves the rest running; nothing can be spawned any more, and it may be
    /// called again.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown::new(self.core().clone())
    }

    fn find(&self, urn: &str) -> Result<Arc<dyn AnyActor>, LookupError> {
        self.core()
            .registry
            .get(urn)
            .ok_or_else(|| self.core().registry.absence(urn))
    }
}

impl Default for ActorSystem {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ActorSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorSystem")
            .field("actors", &self.len())
            .finish_non_exhaustive()
    }
}

impl Drop for SystemHandle {
    fn drop(&mut self) {
        self.core.close();
        for service in self.core.take_services() {
            service.abort();
        }
        // Children are their parents' affair.
        for actor in self.core.registry.newest_first() {
            if actor.parent().is_none() {
                actor.stop(StopCause::Shutdown);
            }
        }
    }
}

impl SystemHandle {
    /// An actor has failed.
    pub(crate) fn failed(&self, urn: &Urn, failure: &Failure) {
        if let Some(observer) = self.core.failures.get() {
            observer(urn, failure);
        }
    }
}

impl SystemCore {
    /// Says who hears of each actor that fails, from now on. The first one stays.
    #[cfg(feature = "test")]
    pub(crate) fn observe_failures(&self, observer: FailureObserver) {
        drop(self.failures.set(observer));
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses spawns from now on.
    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Adds what is to be stopped before the actors; false if it is too late for that.
    pub(crate) fn attach(&self, service: Arc<dyn Service>) -> bool {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closing() {
            return false;
        }
        services.retain(|service| !service.is_over());
        services.push(service);
        true
    }

    #[cfg(test)]
    pub(crate) fn services(&self) -> usize {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.len()
    }

    fn take_services(&self) -> Vec<Arc<dyn Service>> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut services)
    }
}

/// Why a lookup found nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// No actor lives there.
    #[error("no actor has the URN `{urn}`")]
    NotFound {
        /// The URN that was looked up.
        urn: Urn,
    },
    /// The actor there failed and will not start again; see [`Snapshot::failed`]. Another may be
    /// spawned at its URN.
    #[error("the actor `{urn}` failed and will not start again")]
    Failed {
        /// The URN that was looked up.
        urn: Urn,
    },
    /// An actor of another type lives there.
    #[error("the actor `{urn}` is a `{found}`, not a `{expected}`")]
    WrongType {
        /// The URN that was looked up.
        urn: Urn,
        /// The type that was wanted.
        expected: &'static str,
        /// The type that lives there.
        found: &'static str,
    },
    /// The actor there has no handler for the message.
    #[error("the actor `{urn}` has no handler for `{message}`")]
    Unhandled {
        /// The URN that was looked up.
        urn: Urn,
        /// The message's Rust type.
        message: &'static str,
    },
}

impl From<LookupError> for AskError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NotFound { urn } => Self::ActorNotFound { urn },
            LookupError::Failed { urn } => Self::ActorFailed { urn },
            LookupError::WrongType { urn, expected, .. } => Self::Unhandled {
                urn,
                message: expected.to_owned(),
            },
            LookupError::Unhandled { urn, message } => Self::Unhandled {
                urn,
                message: message.to_owned(),
            },
        }
    }
}

/// Spawns a task of the library itself.
pub(crate) fn spawn_task(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task)); // it reports its own end
}
