//! Several identical actors behind one URN.

use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::actor::not_handled::NotHandled;
use crate::actor::{Actor, ActorRef, Context, Handler, Handlers, IntoActor};
use crate::deadlock::Wait;
use crate::error::{AskError, AskErrorKind, Failure};
use crate::message::ActorMessage;
use crate::reply::Reply;
use crate::supervision::{Backoff, Budget};
use crate::system::SpawnError;
use crate::urn::Urn;

use forwarding::ForwardToWorker;
use inbox::{PoolEntry, PoolInbox, Work};
use routing::hash;

mod forwarding;
mod inbox;
mod lookup;
mod routing;

/// The choice of a [`Pool`]'s worker for a message without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Route {
    /// Each worker in turn.
    #[default]
    RoundRobin,
    /// The worker with the fewest messages, queued and current.
    LeastLoaded,
}

/// An actor that forwards each message to one of several identical workers.
///
/// A pool handles the messages of its workers, so it can be used like any other actor: ask, tell,
/// forward, lookup by URN, requests from other processes. The worker replies to the asker directly.
/// While the mailbox of the chosen worker is full, the pool handles no further message, so its own
/// mailbox fills up and its senders wait.
///
/// A worker may ask its own pool: a message without a key goes to a worker that does not wait for
/// the reply. If all workers do, or the worker of the key does, the ask fails with
/// [`AskCycle`](AskError::AskCycle).
///
/// The workers of a pool may be pools. [`recipient`](crate::ActorSystem::recipient) does not find
/// such a pool of pools, and it cannot be asked by its URN within the process.
///
/// The workers are children of the pool, at `<urn>/1`, `<urn>/2`, …. A worker that fails starts
/// again, while the others continue ([`budget`](Self::budget) and [`backoff`](Self::backoff) as with
/// [`ActorSystem::supervise`](crate::ActorSystem::supervise)), and keeps its queued messages. A
/// worker that has spent its budget fails the pool. A worker that is stopped or killed from outside
/// is replaced.
///
/// ```
/// use conclib::pool::{Pool, Route};
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = u64)]
/// struct Charge { account: u64, cents: u64 }
///
/// #[derive(Actor)]
/// struct Till { charged: u64 }
///
/// #[handlers]
/// impl Till {
///     #[handler]
///     fn charge(&mut self, message: Charge) -> u64 {
///         self.charged += message.cents;
///         self.charged
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// let tills = Pool::new(4, || async { Till { charged: 0 } })
///     .route(Route::LeastLoaded)
///     .by_key(|message: &Charge| message.account);   // one till per account
/// let tills = system.spawn(tills).urn("tills").await?;
///
/// assert_eq!(tills.ask(Charge { account: 7, cents: 5 }).await?, 5);
/// assert_eq!(system.ask("tills", Charge { account: 7, cents: 5 }).await?, 10);
///
/// tills.resize(8).await?;
/// # drop(system.shutdown().await);
/// # Ok(()) }
/// ```
#[must_use = "a pool does nothing until it is spawned"]
pub struct Pool<W: Handlers> {
    /// Spawns a worker.
    spawn_worker: SpawnWorker<W>,
    size: usize,
    route: Route,
    keys: Vec<Key<W>>,
    restart_settings: RestartSettings,
    workers: Vec<ActorRef<W>>,
    /// The number of the next worker, for its URN.
    next_number: u64,
    /// The next worker in turn.
    next_worker: usize,
}

/// Spawns a worker with these settings, as a child of the pool, at this URN.
type SpawnWorker<W> =
    Box<dyn Fn(&Context<Pool<W>>, Urn, RestartSettings) -> SpawningWorker<W> + Send>;
type SpawningWorker<W> = Pin<Box<dyn Future<Output = Result<ActorRef<W>, SpawnError>> + Send>>;

/// The restart budget and delay of each worker.
#[derive(Debug, Clone, Copy, Default)]
struct RestartSettings {
    budget: Budget,
    backoff: Backoff,
}

/// The hash of a message's key, if it is of the type that the key is for.
type Key<W> = Box<dyn Fn(&<W as Handlers>::Inbox) -> Option<u64> + Send>;

impl<W: Actor> Pool<W> {
    /// Creates a pool of `size` workers (at least one), which a factory makes. The factory may
    /// fail.
    pub fn new<F, Fut>(size: usize, factory: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoActor<Actor = W>> + Send + 'static,
    {
        let factory = Arc::new(factory);
        let spawn_worker = move |ctx: &Context<Self>,
                                 urn,
                                 restart_settings: RestartSettings|
              -> SpawningWorker<W> {
            let factory = factory.clone();
            let worker = ctx
                .supervise(move || factory())
                .urn::<Urn>(urn)
                .with_budget(restart_settings.budget)
                .backoff(restart_settings.backoff)
                .escalate_until_stopped();
            Box::pin(worker)
        };
        Self {
            spawn_worker: Box::new(spawn_worker),
            size: size.max(1),
            route: Route::default(),
            keys: Vec::new(),
            restart_settings: RestartSettings::default(),
            workers: Vec::new(),
            next_number: 1,
            next_worker: 0,
        }
    }

    /// Sets the routing of messages without a key: round-robin by default.
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Sends messages of type `M` with equal keys to the same worker. When the pool is resized, few
    /// keys move (rendezvous hashing, Thaler and Ravishankar 1998).
    ///
    /// A pool with keys decodes each request from the bus to read its key, and the worker decodes
    /// it again.
    pub fn by_key<M: ActorMessage, K: Hash>(
        mut self,
        key: impl Fn(&M) -> K + Send + 'static,
    ) -> Self
    where
        W: Handler<M>,
    {
        self.keys
            .push(Box::new(move |inbox| W::peek(inbox).map(|m| hash(&key(m)))));
        self
    }

    /// Limits the restarts of each worker: to 3 within 5 s by default.
    pub fn budget(mut self, restarts: u32, within: Duration) -> Self {
        self.restart_settings.budget = Budget::new(restarts, within);
        self
    }

    /// Restarts workers without a limit, as with [`Spawn::unlimited`](crate::system::Spawn::unlimited).
    pub fn unlimited(mut self) -> Self {
        self.restart_settings.budget = self.restart_settings.budget.unlimited();
        self
    }

    /// Sets the delay before a failed worker starts again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.restart_settings.backoff = backoff;
        self
    }
}

impl<W: Handlers> Pool<W> {
    /// Spawns or stops workers to match the size.
    async fn adjust(&mut self, ctx: &Context<Self>) -> Result<(), Failure> {
        for surplus in self.workers.drain(self.size.min(self.workers.len())..) {
            surplus.stop(); // it handles its queued messages first
        }
        while self.workers.len() < self.size {
            let worker = self.spawn_worker(ctx).await?;
            self.workers.push(worker);
        }
        Ok(())
    }

    /// Spawns a worker at the next free numbered URN.
    async fn spawn_worker(&mut self, ctx: &Context<Self>) -> Result<ActorRef<W>, SpawnError> {
        loop {
            let number = self.next_number;
            self.next_number += 1;
            // A URN of the pool close to the maximum length leaves no room for the number.
            let urn = Urn::new(format!("{}/{number}", ctx.urn()));
            let urn = urn.unwrap_or_else(|_| Urn::generate());
            match (self.spawn_worker)(ctx, urn, self.restart_settings).await {
                // Another actor has this URN: tries the next number.
                Err(SpawnError::UrnTaken { .. }) => {}
                spawned => return spawned,
            }
        }
    }

    /// Replaces a worker that has stopped. During a shutdown of the system it is only removed.
    async fn replace(&mut self, index: usize, ctx: &Context<Self>) -> Result<(), Failure> {
        match self.spawn_worker(ctx).await {
            Ok(worker) => self.workers[index] = worker,
            Err(SpawnError::SystemClosed | SpawnError::ParentStopped { .. }) => {
                self.workers.remove(index);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Forwards a message to a worker, and waits while that worker's mailbox is full.
    async fn forward(&mut self, work: Work<W>, ctx: &Context<Self>) -> Result<(), Failure> {
        let Work { inbox, pending } = work;
        let mut inbox = Some(inbox);
        let key = self.key(&mut inbox);
        while let Some(message) = inbox.take() {
            if self.workers.is_empty() {
                // During a shutdown: the drop of the message tells its asker `ActorStopped`.
                return Err(not_handled::<W>(message, AskErrorKind::ActorStopped));
            }
            let index = match (self.choose(key), &pending) {
                (choice, None) => choice.index,
                (choice, Some(pending)) => match self.assign_worker(choice, pending) {
                    Ok(index) => index,
                    Err(cycle) => {
                        pending.refuse(cycle.error());
                        return Err(not_handled::<W>(message, AskErrorKind::AskCycle));
                    }
                },
            };
            let cell = self.workers[index].cell().clone();
            inbox = ForwardToWorker::new(cell, message).await;
            if inbox.is_some() {
                // The worker has stopped, and the message came back.
                self.replace(index, ctx).await?;
            }
        }
        Ok(())
    }
}

/// Drops a message that no worker takes.
fn not_handled<W: Handlers>(message: W::Inbox, kind: AskErrorKind) -> Failure {
    let mut message = Some(message);
    let envelope = W::unframe(&mut message);
    let is_durable = envelope.is_some_and(|envelope| envelope.responder.is_durable());
    let lost_as = (!is_durable).then_some(kind);
    NotHandled { lost_as }.into()
}

impl<W: Actor> ActorRef<Pool<W>> {
    /// Changes the number of workers (at least one). New workers have started when this returns;
    /// surplus workers stop after their queued messages.
    ///
    /// # Errors
    ///
    /// [`AskError`]: the pool has stopped; a new worker did not start, which fails the pool; or the
    /// call is in a handler of an actor that the pool waits for.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it changes the size nevertheless.
    pub async fn resize(&self, size: usize) -> Result<(), AskError> {
        let (reply, mut resized) =
            Reply::for_ask(|| self.cell().clone(), Waker::noop(), None, None);
        let mut wait = Wait::default();
        if let Some(cycle) = resized.record_wait(&mut wait) {
            reply.forget();
            return Err(cycle.error());
        }
        let resize = || Some(PoolInbox(PoolEntry::Resize(size.max(1), reply)));
        if self.cell().mailbox.push_past_bound(resize).is_err() {
            return Err(self.cell().refusal());
        }
        poll_fn(|cx| resized.poll_or_cycle(&mut wait, cx)).await
    }
}

impl<W: Handlers> fmt::Debug for Pool<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.size)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
