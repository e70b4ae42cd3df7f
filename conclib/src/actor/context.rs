//! What a handler may know and do about its own actor.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::belongings::Belongings;
use super::cell::{ActorCell, Kind};
use super::relations::Watcher;
use super::timers::Timer;
use super::{Actor, ActorRef, Handler, Handlers, IntoActor, StopReason, Terminated};
use crate::error::Failure;
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::schedule::{Schedule, later};
use crate::system::{ActorSystem, Once, Spawn, Supervised, SystemHandle};
use crate::urn::Urn;

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
    belongings: Mutex<Option<Box<Belongings<A>>>>,
    cell: Arc<ActorCell<A>>,
    /// Weak: an actor does not keep its system alive.
    system: Weak<SystemHandle>,
    /// The next timer's number: not used again by the actor's next life.
    next_timer: u64,
}

impl<A: Handlers> Context<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, system: Weak<SystemHandle>) -> Self {
        Self {
            belongings: Mutex::default(),
            cell,
            system,
            next_timer: 0,
        }
    }

    /// A context without a system or a running actor, for unit tests of handlers.
    ///
    /// What the actor sends to itself stays in a mailbox that nobody empties; timers never fire.
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

    // ---- children

    /// Starts an actor that is a child of this one: it stops before its parent does, the newest
    /// child first. Otherwise like [`ActorSystem::spawn`].
    ///
    /// A child's end is its own affair, unless its parent [watches](Self::watch) it or the child
    /// [escalates](Spawn::escalate).
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(Actor)]
    /// struct Worker;
    ///
    /// #[handlers]
    /// impl Worker {}
    ///
    /// #[derive(Actor)]
    /// struct Manager;
    ///
    /// #[handlers]
    /// impl Manager {
    ///     async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
    ///         ctx.spawn(Worker).urn("worker/1").await?;
    ///         ctx.supervise(|| async { Worker }).urn("worker/2").escalate().await?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let manager = system.spawn(Manager).await?;
    /// let worker = system.actor::<Worker>("worker/1")?;
    /// manager.stop();
    /// manager.wait_stopped().await;
    /// assert!(worker.is_stopped());
    /// # Ok(()) }
    /// ```
    pub fn spawn<B: Actor>(&self, actor: B) -> Spawn<B, Once> {
        Spawn::value(self.system(), Some(self.cell.clone()), actor)
    }

    /// Starts a child that starts again when it fails. Otherwise like [`ActorSystem::supervise`].
    pub fn supervise<F, Fut>(
        &self,
        factory: F,
    ) -> Spawn<<Fut::Output as IntoActor>::Actor, Supervised<F>>
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output: IntoActor> + Send + 'static,
    {
        Spawn::factory(self.system(), Some(self.cell.clone()), factory)
    }

    /// A child whose states come from somewhere else.
    pub(crate) fn child<B: Actor, S>(&self, actor: Option<B>, source: S) -> Spawn<B, S> {
        Spawn::new(self.system(), Some(self.cell.clone()), actor, source)
    }

    /// From now on this actor hears of another's end: it is sent [`Terminated`], exactly once, and
    /// at once if the other has ended already. To watch twice is to watch once.
    ///
    /// The message comes after those that the other had sent before, and takes no room in the
    /// mailbox. Restarts are no end. Watching keeps nobody alive.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use conclib::Terminated;
    ///
    /// #[derive(Actor)]
    /// struct Worker;
    ///
    /// #[handlers]
    /// impl Worker {}
    ///
    /// #[derive(Actor)]
    /// struct Manager { worker: ActorRef<Worker> }
    ///
    /// #[handlers]
    /// impl Manager {
    ///     fn on_start(&mut self, ctx: &mut Context<Self>) { ctx.watch(&self.worker); }
    ///
    ///     #[handler]
    ///     fn terminated(&mut self, message: Terminated, ctx: &mut Context<Self>) {
    ///         println!("{} ended: {}", message.urn, message.reason);
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let worker = system.spawn(Worker).await?;
    /// let manager = system.spawn(Manager { worker: worker.clone() }).await?;
    /// worker.stop();
    /// manager.wait_stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn watch<B: Handlers>(&mut self, actor: &ActorRef<B>)
    where
        A: Handler<Terminated>,
    {
        let me = Arc::downgrade(&self.cell);
        let watcher = Watcher {
            id: self.cell.id(),
            tell: Box::new(move |terminated| {
                if let Some(me) = me.upgrade() {
                    me.push(terminated);
                }
            }),
        };
        let other = actor.cell();
        match other.relations.watch(watcher) {
            Ok(()) => {
                let weak: Weak<ActorCell<B>> = Arc::downgrade(other);
                self.belongings().watches.add(other.id(), weak);
            }
            Err(watcher) => {
                let reason = other.stopped.get().cloned();
                (watcher.tell)(Terminated {
                    urn: other.urn.clone(),
                    reason: reason.unwrap_or(StopReason::Killed),
                });
            }
        }
    }

    /// Ends a [`watch`](Self::watch). A [`Terminated`] that is in the mailbox already still comes.
    pub fn unwatch<B: Handlers>(&mut self, actor: &ActorRef<B>) {
        let id = actor.cell().id();
        actor.cell().relations.unwatch(self.cell.id());
        if let Some(belongings) = self.belongings_mut() {
            belongings.watches.remove(id);
        }
    }

    // ---- timers

    /// Sends this actor a message after some time. It takes no room in the mailbox.
    ///
    /// ```
    /// use conclib::{Timer, prelude::*};
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct IdleTooLong;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// struct Touch;
    ///
    /// #[derive(Actor, Default)]
    /// struct Session { timer: Option<Timer> }
    ///
    /// #[handlers]
    /// impl Session {
    ///     #[handler]
    ///     fn touch(&mut self, _: Touch, ctx: &mut Context<Self>) {
    ///         self.timer.take().map(|timer| ctx.cancel(timer));
    ///         self.timer = Some(ctx.after(Duration::from_secs(30), IdleTooLong));
    ///     }
    ///
    ///     #[handler]
    ///     fn idle(&mut self, _: IdleTooLong, ctx: &mut Context<Self>) { ctx.stop(); }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let session = ActorSystem::new().spawn(Session::default()).await?;
    /// # let system = ActorSystem::new();
    /// # let session = system.spawn(Session::default()).await?;
    /// session.tell(Touch).await?;
    /// session.wait_stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn after<M: ActorMessage>(&mut self, time: Duration, message: M) -> Timer
    where
        A: Handler<M>,
    {
        let timer = self.new_timer();
        let at = later(Instant::now(), time);
        let message = A::wrap(message, Reply::nobody());
        self.belongings().timers.after(timer, at, message);
        timer
    }

    /// Sends this actor messages at regular intervals, or on another [`Schedule`]. Like the ticks
    /// of a [`PeriodicActor`](crate::PeriodicActor), at most one is pending.
    ///
    /// ```
    /// use conclib::{First, Schedule, prelude::*};
    /// use std::time::Duration;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct Beat { n: u32 }
    ///
    /// #[derive(Actor)]
    /// struct Heart;
    ///
    /// #[handlers]
    /// impl Heart {
    ///     fn on_start(&mut self, ctx: &mut Context<Self>) {
    ///         let mut n = 0;
    ///         ctx.every(Duration::from_millis(500), move || { n += 1; Beat { n } });
    ///     }
    ///
    ///     #[handler]
    ///     fn beat(&mut self, message: Beat, ctx: &mut Context<Self>) {
    ///         if message.n == 3 { ctx.stop(); }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let heart = system.spawn(Heart).await?;
    /// heart.wait_stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn every<M: ActorMessage>(
        &mut self,
        schedule: impl Into<Schedule>,
        mut message: impl FnMut() -> M + Send + 'static,
    ) -> Timer
    where
        A: Handler<M>,
    {
        let timer = self.new_timer();
        let message = Box::new(move || A::wrap(message(), Reply::nobody()));
        let timers = &mut self.belongings().timers;
        timers.every(timer, schedule.into(), message);
        timer
    }

    /// Cancels a message that was ordered; false if it has come already, or was cancelled.
    pub fn cancel(&mut self, timer: Timer) -> bool {
        match self.belongings_mut() {
            Some(belongings) => belongings.timers.cancel(timer),
            None => false,
        }
    }

    fn new_timer(&mut self) -> Timer {
        let timer = Timer(self.next_timer);
        self.next_timer += 1;
        timer
    }

    // ---- streams and tasks

    /// Makes messages of what comes from a stream. While the mailbox is full, the stream waits.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use futures_util::{StreamExt, stream};
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// enum Reading { Value(u32), End }
    ///
    /// #[derive(Actor)]
    /// struct Meter { sum: u32 }
    ///
    /// #[handlers]
    /// impl Meter {
    ///     fn on_start(&mut self, ctx: &mut Context<Self>) {
    ///         let readings = stream::iter([1, 2, 3]).map(Reading::Value);
    ///         ctx.attach(readings.chain(stream::iter([Reading::End])));
    ///     }
    ///
    ///     #[handler]
    ///     fn reading(&mut self, reading: Reading, ctx: &mut Context<Self>) {
    ///         match reading {
    ///             Reading::Value(value) => self.sum += value,
    ///             Reading::End => ctx.stop(),
    ///         }
    ///     }
    ///
    ///     fn on_stop(&mut self) { assert_eq!(self.sum, 6); }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// system.spawn(Meter { sum: 0 }).await?.wait_stopped().await;
    /// # Ok(()) }
    /// ```
    ///
    /// A stream that panics fails the actor.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn attach<M: ActorMessage>(
        &mut self,
        stream: impl Stream<Item = M> + Send + 'static,
    ) -> Task
    where
        A: Handler<M>,
    {
        let me = self.actor_ref().downgrade();
        self.start(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(message) = stream.next().await {
                let Some(me) = me.upgrade() else { return };
                if me.tell(message).await.is_err() {
                    return;
                }
            }
        })
    }

    /// Makes a message of the result of a future, while the actor goes on with others: slow I/O
    /// does not block its mailbox.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = String)]
    /// struct Fetch { page: u32 }
    ///
    /// /// What was fetched, and who waits for it.
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct Fetched { text: String, reply: Reply<String> }
    ///
    /// #[derive(Actor)]
    /// struct Library { fetched: u32 }
    ///
    /// #[handlers]
    /// impl Library {
    ///     #[handler]
    ///     fn fetch(&mut self, message: Fetch, reply: Reply<String>, ctx: &mut Context<Self>) {
    ///         ctx.pipe(async move {
    ///             let text = slow_request(message.page).await;
    ///             Fetched { text, reply }
    ///         });
    ///     }
    ///
    ///     #[handler]
    ///     fn done(&mut self, Fetched { text, reply }: Fetched) {
    ///         self.fetched += 1;
    ///         reply.send(text);
    ///     }
    /// }
    ///
    /// async fn slow_request(page: u32) -> String { format!("page {page}") }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let library = system.spawn(Library { fetched: 0 }).await?;
    /// assert_eq!(library.ask(Fetch { page: 7 }).await?, "page 7");
    /// # Ok(()) }
    /// ```
    ///
    /// A future that panics fails the actor.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn pipe<M: ActorMessage>(
        &mut self,
        future: impl Future<Output = M> + Send + 'static,
    ) -> Task
    where
        A: Handler<M>,
    {
        self.attach(futures_util::stream::once(future))
    }

    /// Makes a message of the result of a closure that computes for long or blocks: it runs on a
    /// thread of its own (see [`tokio::task::spawn_blocking`]).
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage)]
    /// #[message(local)]
    /// struct Primes { count: usize }
    ///
    /// #[derive(Actor)]
    /// struct Mathematician;
    ///
    /// #[handlers]
    /// impl Mathematician {
    ///     fn on_start(&mut self, ctx: &mut Context<Self>) {
    ///         ctx.blocking(|| {
    ///             let is_prime = |n: &u32| (2..*n).all(|d| n % d != 0);
    ///             Primes { count: (2..100).filter(is_prime).count() }
    ///         });
    ///     }
    ///
    ///     #[handler]
    ///     fn primes(&mut self, message: Primes, ctx: &mut Context<Self>) {
    ///         assert_eq!(message.count, 25);
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// system.spawn(Mathematician).await?.wait_stopped().await;
    /// # Ok(()) }
    /// ```
    ///
    /// Once it runs it cannot be stopped; its result is dropped if the actor has ended. A closure
    /// that panics fails the actor.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn blocking<M: ActorMessage>(
        &mut self,
        closure: impl FnOnce() -> M + Send + 'static,
    ) -> Task
    where
        A: Handler<M>,
    {
        let running = tokio::task::spawn_blocking(closure);
        self.attach(
            futures_util::stream::once(running).filter_map(|joined| async {
                joined.map_or_else(
                    |error| match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_) => None, // the runtime shuts down
                    },
                    Some,
                )
            }),
        )
    }

    /// Runs a task that ends with the actor.
    fn start(&mut self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let cell = Arc::downgrade(&self.cell);
        let tasks = &mut self.belongings().tasks;
        while tasks.try_join_next().is_some() {} // the set holds those that run
        let running = tasks.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await
                && let Some(cell) = cell.upgrade()
            {
                cell.control.escalate(Failure::from_panic(&*panic));
                super::cell::drop_quietly(panic);
            }
        });
        Task(running)
    }

    // ---- for the runner

    /// Tells who observes the system's failures of one of this actor.
    pub(crate) fn failed(&self, failure: &Failure) {
        if let Some(system) = self.system.upgrade() {
            system.failed(self.urn(), failure);
        }
    }

    /// What the actor has set up, to be looked at between messages.
    pub(crate) fn belongings_mut(&mut self) -> Option<&mut Belongings<A>> {
        self.place().as_deref_mut()
    }

    /// Ends what belongs to a life, children apart. It does not unwind, and may be dropped midway
    /// and called again.
    pub(crate) async fn end_life(&mut self) {
        let Some(belongings) = self.belongings_mut() else {
            return;
        };
        belongings.watches.clear();
        belongings.timers.clear();
        belongings.tasks.shutdown().await;
        *self.place() = None;
    }

    fn belongings(&mut self) -> &mut Belongings<A> {
        let me = self.cell.id();
        self.place()
            .get_or_insert_with(|| Box::new(Belongings::new(me)))
    }

    fn place(&mut self) -> &mut Option<Box<Belongings<A>>> {
        let place = self.belongings.get_mut();
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

/// Work that an actor has started with [`Context::attach`], [`Context::pipe`] or
/// [`Context::blocking`]. It ends with the actor; dropping this ends nothing.
#[derive(Debug, Clone)]
pub struct Task(AbortHandle);

impl Task {
    /// Ends it at its next await. What it had not sent does not come.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// True if it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
