//! Actor systems: spawning actors, finding them by URN, and shutting down.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::actor::host::SystemLink;
use crate::actor::{Actor, IntoActor};
use crate::core::{FailureRecord, SystemCore, SystemHandle};

pub use crate::actor::failure_event::FailureEvent;
pub use crate::core::{ActorFailure, LookupError};
pub use crate::supervision::lifecycle::{Lifecycle, Supervised, Unsupervised};
pub use on_demand::{OnDemand, OnDemandActors, OnDemandError};
pub use schemas::HandledMessage;
pub use shutdown::{Shutdown, ShutdownReport};
pub use spawn::{Spawn, SpawnError};

pub(crate) mod children;
mod deadline;
mod lookup;
pub(crate) mod metrics;
mod on_demand;
mod schemas;
mod shutdown;
pub(crate) mod snapshot;
mod spawn;

/// A set of actors and their registry: a value, not a global, so that a process may have many.
///
/// Cheap to clone. The system owns its actors: dropping references stops no actor, and dropping the
/// last clone of the system stops them all.
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
    /// Creates a system without actors.
    pub fn new() -> Self {
        Self::from_handle(SystemHandle::new())
    }

    pub(crate) fn from_handle(handle: Arc<SystemHandle>) -> Self {
        Self { handle }
    }

    pub(crate) fn core(&self) -> &Arc<SystemCore> {
        self.handle.core()
    }

    /// The link to the system that its actors hold.
    pub(crate) fn link(&self) -> Arc<SystemLink> {
        self.handle.link()
    }

    /// Starts an actor, and returns when its `on_start` has run.
    ///
    /// The URN is taken at the first poll; messages that arrive before `on_start` has run wait in
    /// the mailbox.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(Actor)]
    /// # struct User;
    /// # #[handlers]
    /// # impl User {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let system = ActorSystem::new();
    /// let user = system.spawn(User).urn("user/42").mailbox(64).await?;
    /// # drop(user);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SpawnError`]: the URN is taken or invalid, `on_start` failed, or the system is shutting down.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime, or polled after completion.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its first poll, it starts no actor. Dropped later, it leaves the actor
    /// running.
    pub fn spawn<A: Actor>(&self, actor: A) -> Spawn<A> {
        Spawn::value(Some(self.clone()), None, actor)
    }

    /// Starts an actor that starts again when it fails: a factory makes the state of each
    /// incarnation. Otherwise like [`spawn`](Self::spawn).
    ///
    /// A restart keeps the URN, all references, and the queued messages. The message that failed is
    /// not handled again, and its asker gets [`AskError::Failed`](crate::AskError::Failed). Timers, tasks and children end
    /// with the incarnation that created them.
    ///
    /// Unless changed, an actor starts again after each failure of a handler, of `on_start` or of
    /// the factory (the first start included), after a short delay ([`Backoff`](crate::supervision::Backoff)),
    /// but at most 3 times within 5 s. One failure more, and the actor stops as
    /// [`Exhausted`](crate::StopReason::Exhausted) and **will not start again**: an error is
    /// logged, [`snapshot`](Self::snapshot) lists the actor, asks return [`AskError::ActorFailed`](crate::AskError::ActorFailed),
    /// and with [`escalate`](Spawn::escalate) its parent fails as well, or [`failed`](Self::failed)
    /// returns the failure. Stopping or killing the actor from outside is final.
    ///
    /// Return a failure for a fault of the actor: a broken connection, a bug. An error of a
    /// *message* belongs in its response (`response = Result<u32, Declined>`): an actor whose
    /// handlers use `?` on input from outside is ended by four bad requests within 5 s. The actor
    /// below does so only to show a restart.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use conclib::supervision::{Backoff, Restart};
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
    /// [`SpawnError`]: the URN is taken or invalid, the budget of restarts was spent before the actor
    /// had started, the actor was stopped meanwhile, or the system is shutting down.
    ///
    /// # Panics
    ///
    /// If it is awaited outside a tokio runtime, or polled after completion.
    ///
    /// # Cancel safety
    ///
    /// As for [`spawn`](Self::spawn).
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

    /// The fencing token of this system: the epoch of the lease that it holds, or held last. See
    /// [`Context::token`](crate::Context::token).
    pub fn token(&self) -> Option<u64> {
        self.core().token.get()
    }

    /// The number of actors.
    pub fn len(&self) -> usize {
        self.core().registry.len()
    }

    /// True if the system has no actors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shuts the system down in order: refuses spawns, stops proxies, then stops the actors, the
    /// newest first, each after its queued messages. Actors [on demand](Self::on_demand) of one
    /// pattern stop at the same time.
    ///
    /// After 10 s (see [`Shutdown::timeout`]) the actor that has overrun them is killed, with its children.
    /// The others, which have had no turn, have 1 s for their queued messages and `on_stop`: half of it in the
    /// same order, and then all at once. Those that take longer are killed too. The report lists the killed
    /// ones.
    ///
    /// Proxies that stop take no more requests. They hold their leases until the actors have stopped and
    /// the replies are sent: the next system [loads](crate::service::run) what these actors have saved.
    ///
    /// Called within a handler, a shutdown stops that actor last, and returns before it has
    /// stopped.
    ///
    /// On a runtime without timers a thread keeps the timeout, and tokio's panic about the missing
    /// timers is printed once. (Ticks and timeouts panic on such a runtime: within an actor, that
    /// is a failure of the actor.)
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
    /// Dropped before completion, it leaves the remaining actors running, spawns refused, and leases
    /// released; a second call stops them.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown::new(self.core().clone())
    }

    /// Adds an observer, which is called for each failure of an actor: for error reporters and alerts.
    /// Failures are logged without it.
    ///
    /// A failure is a panic or an `Err` of the actor's own code, in a handler, a hook, its factory or
    /// a task, also if the actor starts again afterwards. A child that escalates is reported, and then
    /// its parent. Bad requests, kills and requested ends are no failures.
    ///
    /// The observer is called in the task of the actor, before the actor ends or starts again: it must
    /// not block, and hands slow work to a channel or a task. If it panics, that is logged. It stays for
    /// as long as the system; several observers are called in the order in which they were added.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Parse(String);
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "parser")]
    /// struct Parser;
    ///
    /// #[handlers]
    /// impl Parser {
    ///     #[handler]
    ///     fn parse(&mut self, Parse(text): Parse) -> Result<u32, Failure> { Ok(text.parse()?) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    /// let system = ActorSystem::new();
    /// system.on_failure(move |event| drop(report.send(event.clone())));
    ///
    /// system.spawn(Parser).await?.ask(Parse("x".into())).await.unwrap_err();
    /// let event = reports.recv().await.unwrap();
    /// assert_eq!((event.urn.as_str(), event.handler), ("parser", Some("parse")));
    /// assert!(event.failure.downcast_ref::<std::num::ParseIntError>().is_some());
    /// # Ok(()) }
    /// ```
    pub fn on_failure(&self, observer: impl Fn(&FailureEvent) + Send + Sync + 'static) {
        self.core().observe_failures(Arc::new(observer));
    }

    /// The last 256 failures of actors, the oldest first, each with what followed: a restart, or the end of the
    /// actor. [`on_failure`](Self::on_failure) hears of them as they happen.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Parse(String);
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "parser")]
    /// struct Parser;
    ///
    /// #[handlers]
    /// impl Parser {
    ///     #[handler]
    ///     fn parse(&mut self, Parse(text): Parse) -> Result<u32, Failure> { Ok(text.parse()?) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let parser = system.spawn(Parser).await?;
    /// parser.ask(Parse("x".into())).await.unwrap_err();
    /// parser.stopped().await;
    /// let failure = &system.failures()[0];
    /// assert_eq!((failure.urn.as_str(), failure.message.as_deref()), ("parser", Some("Parse")));
    /// assert_eq!((failure.text.as_str(), failure.restarted), ("invalid digit found in string", Some(false)));
    /// # Ok(()) }
    /// ```
    pub fn failures(&self) -> Vec<FailureRecord> {
        self.core().failures()
    }

    /// Waits for the end of an actor that the program must know of, and returns it: any end of an
    /// [essential](crate::system::Spawn::essential) actor, but not by a shutdown, and the final failure
    /// of a root actor that [escalates](crate::system::Spawn::escalate). (A child escalates to its
    /// parent, which may be such a root.)
    ///
    /// The program decides how to react: it may end, spawn the actor anew, or continue without it.
    ///
    /// Each end is returned once, the oldest first. Ends from before the call are kept, up to 64 of
    /// them; further ones are only logged. An actor that was asked to stop, or was killed, has not
    /// failed: its end is returned only if it is essential. A shutdown does not end the wait.
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
    /// # let ended: Result<(), conclib::system::ActorFailure> = Ok(());
    /// ended?;                                  // a failure becomes the exit code of the process
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before completion, it loses no end.
    pub async fn failed(&self) -> ActorFailure {
        self.core().next_escalation().await
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
