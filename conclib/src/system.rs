//! A set of actors and their registry: spawning, looking up, shutting down.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::actor::any::AnyActor;
use crate::actor::cell::ActorCell;
use crate::actor::host::SystemLink;
use crate::actor::{Actor, ActorRef, Ask, IntoActor, Recipient, Tell, Wanted};
use crate::core::{SystemCore, SystemHandle};
use crate::message::ActorMessage;

pub use crate::core::{ActorFailure, LookupError};
pub use crate::supervision::lifecycle::{Once, Source, Supervised};
pub use shutdown::{Shutdown, ShutdownReport};
pub use snapshot::Snapshot;
pub use spawn::{Spawn, SpawnError};

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

impl ActorSystem {
    /// An empty system.
    pub fn new() -> Self {
        Self::from_handle(SystemHandle::new())
    }

    pub(crate) fn from_handle(handle: Arc<SystemHandle>) -> Self {
        Self { handle }
    }

    pub(crate) fn core(&self) -> &Arc<SystemCore> {
        self.handle.core()
    }

    /// The link by which the system's actors know it.
    pub(crate) fn link(&self) -> Arc<SystemLink> {
        self.handle.link()
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

    /// Waits until a root actor has failed for good, and says which: one that was spawned or
    /// supervised with [`escalate`](crate::Spawn::escalate) and will not start again. (A child
    /// escalates to its parent, which may be such a root.)
    ///
    /// A program decides here what becomes of it: it may end, spawn the actor anew, or go on
    /// without it.
    ///
    /// Each failure is returned once, in the order in which they came, also one from before this was
    /// called; up to 64 are kept for the next call, and later ones are only logged. An actor that was
    /// asked to stop, or was killed, has not failed. A shutdown does not end the wait.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Parse(String);
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "desk")]
    /// struct Desk;
    ///
    /// #[handlers]
    /// impl Desk {
    ///     #[handler]
    ///     fn parse(&mut self, Parse(text): Parse) -> Result<u32, Failure> { Ok(text.parse()?) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let desk = system.supervise(|| async { Desk }).escalate().await?;
    /// # for _ in 0..4 { drop(desk.ask(Parse("x".to_owned())).await); }
    ///
    /// let ended = tokio::select! {
    ///     _ = tokio::signal::ctrl_c() => Ok(()),
    ///     failure = system.failed() => Err(failure),
    /// };
    /// system.shutdown().await;
    /// # assert_eq!(ended.as_ref().unwrap_err().urn, "desk");
    /// # let ended: Result<(), conclib::ActorFailure> = Ok(());
    /// ended?;                                  // the process ends with an exit code that says so
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing.
    pub async fn failed(&self) -> ActorFailure {
        self.core().next_escalation().await
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
