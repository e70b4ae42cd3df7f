//! Several identical actors behind one URN.

use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::actor::cell::ActorCell;
use crate::actor::{Actor, ActorRef, Context, Handler, Handlers, IntoActor, Wanted};
use crate::deadlock::{Cycle, Participant, PendingReply, Wait, assign_reply};
use crate::envelope::RequestEnvelope;
use crate::error::{AskError, Failure};
use crate::message::ActorMessage;
use crate::reply::{Limit, Reply};
use crate::supervision::{Backoff, Budget};
use crate::system::SpawnError;
use crate::urn::Urn;

use forwarding::ForwardToWorker;

mod forwarding;
mod lookup;

/// Which worker of a [`Pool`] a message goes to, if it has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Route {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest messages waiting and running.
    LeastLoaded,
}

/// An actor that hands each message on to one of several identical workers.
///
/// It handles whatever its workers handle, so that everything that takes an actor takes a pool:
/// ask, tell, forward, lookups by URN, requests from other processes. The worker answers the asker
/// itself. While the chosen worker's mailbox is full, the pool waits with its next message, and so
/// do those who send to it.
///
/// A worker may ask its own pool: without a key, the question goes to one that does not wait for
/// the answer. If all of them do, or the key's does, the asker hears
/// [`AskCycle`](AskError::AskCycle).
///
/// A pool's workers may be pools; such a one is not found by
/// [`recipient`](crate::ActorSystem::recipient), nor asked by its URN within the process.
///
/// The workers are its children, at `<urn>/1`, `<urn>/2`, …. One that fails starts again, while the
/// others go on ([`budget`](Self::budget) and [`backoff`](Self::backoff) as with
/// [`ActorSystem::supervise`](crate::ActorSystem::supervise)); what waits for it is not lost. One
/// that has spent its budget fails the pool. One that somebody has stopped is replaced.
///
/// ```
/// use conclib::{Pool, Route, prelude::*};
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
///     .by_key(|message: &Charge| message.account);   // an account always meets the same till
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
    /// The next worker's number.
    next_number: u64,
    /// Whose turn it is.
    next_worker: usize,
}

/// Spawns a worker with these terms, as a child of the pool, at this URN.
type SpawnWorker<W> =
    Box<dyn Fn(&Context<Pool<W>>, Urn, RestartSettings) -> SpawningWorker<W> + Send>;
type SpawningWorker<W> = Pin<Box<dyn Future<Output = Result<ActorRef<W>, SpawnError>> + Send>>;

/// How often, and when, a worker starts again.
#[derive(Debug, Clone, Copy, Default)]
struct RestartSettings {
    budget: Budget,
    backoff: Backoff,
}

/// The hash of a message's key, if it is of the type that the key is for.
type Key<W> = Box<dyn Fn(&<W as Handlers>::Inbox) -> Option<u64> + Send>;

impl<W: Actor> Pool<W> {
    /// So many workers (at least one), made by a factory that may fail.
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
                .budget(
                    restart_settings.budget.restarts,
                    restart_settings.budget.within,
                )
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

    /// Where messages go that have no key: round-robin, unless changed.
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Messages of type `M` with equal keys go to the same worker; when the pool is resized, few
    /// keys move (rendezvous hashing, Thaler and Ravishankar 1998).
    ///
    /// What comes from the bus, a pool with keys decodes as well, and not its workers alone.
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

    /// How many restarts within how long are allowed to each worker: 3 within 5 s, unless changed.
    pub fn budget(mut self, restarts: u32, within: Duration) -> Self {
        self.restart_settings.budget = Budget { restarts, within };
        self
    }

    /// How long a worker that failed waits before it starts again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.restart_settings.backoff = backoff;
        self
    }
}

impl<W: Handlers> Pool<W> {
    /// Spawns or stops workers until there are as many as there should be.
    async fn adjust(&mut self, ctx: &Context<Self>) -> Result<(), Failure> {
        for surplus in self.workers.drain(self.size.min(self.workers.len())..) {
            surplus.stop(); // after what it has queued
        }
        while self.workers.len() < self.size {
            let worker = self.spawn_worker(ctx).await?;
            self.workers.push(worker);
        }
        Ok(())
    }

    async fn spawn_worker(&mut self, ctx: &Context<Self>) -> Result<ActorRef<W>, SpawnError> {
        loop {
            let number = self.next_number;
            self.next_number += 1;
            // A long URN of the pool leaves no room for a number.
            let urn = Urn::new(format!("{}/{number}", ctx.urn()));
            let urn = urn.unwrap_or_else(|_| Urn::generate());
            match (self.spawn_worker)(ctx, urn, self.restart_settings).await {
                // Somebody else has it: that is no reason to fail.
                Err(SpawnError::UrnTaken { .. }) => {}
                spawned => return spawned,
            }
        }
    }

    /// Another worker takes the place of one that has stopped. While the system shuts down there is
    /// none: the others go on alone.
    async fn replace(&mut self, place: usize, ctx: &Context<Self>) -> Result<(), Failure> {
        match self.spawn_worker(ctx).await {
            Ok(worker) => self.workers[place] = worker,
            Err(SpawnError::SystemClosed | SpawnError::ParentStopped { .. }) => {
                self.workers.remove(place);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Hands a message to a worker. Waits while that one's mailbox is full.
    async fn forward(&mut self, work: Work<W>, ctx: &Context<Self>) -> Result<(), Failure> {
        let Work { inbox, pending } = work;
        let mut inbox = Some(inbox);
        let key = self.key(&mut inbox);
        while let Some(message) = inbox.take() {
            if self.workers.is_empty() {
                return Ok(()); // the system shuts down: its asker hears that the actor has stopped
            }
            let place = match (self.choose(key), &pending) {
                (choice, None) => choice.place,
                (choice, Some(pending)) => match self.assign_worker(choice, pending) {
                    Ok(place) => place,
                    Err(cycle) => {
                        pending.refuse(cycle.error());
                        return Ok(());
                    }
                },
            };
            let cell = self.workers[place].cell().clone();
            inbox = ForwardToWorker::new(cell, message).await;
            if inbox.is_some() {
                // It has stopped, or was stopped.
                self.replace(place, ctx).await?;
            }
        }
        Ok(())
    }

    /// The hash of a message's key, if it has one.
    fn key(&self, inbox: &mut Option<W::Inbox>) -> Option<u64> {
        if self.keys.is_empty() {
            return None;
        }
        let find = |inbox: &W::Inbox| self.keys.iter().find_map(|key| key(inbox));
        let Some(envelope) = W::unframe(inbox) else {
            return inbox.as_ref().and_then(find);
        };
        // The worker gets it undecoded: it may expire while it waits, and takes its share of the
        // bytes that may wait.
        let decoded = W::decode(Box::new(envelope.to_look_at()));
        *inbox = Some(W::frame(envelope));
        decoded.as_ref().and_then(find)
    }

    /// The worker that a message with this key, or without, goes to. There has to be one at least.
    fn choose(&mut self, key: Option<u64>) -> Choice {
        let places = 0..self.workers.len();
        if let Some(key) = key {
            // The place counts, and not who has it: one who replaces another gets its keys.
            let weight = |place: &usize| hash(&(key, *place));
            let place = places.max_by_key(weight).unwrap_or_default();
            let keyed = true;
            return Choice { place, keyed };
        }
        let first = self.next_worker % self.workers.len().max(1);
        self.next_worker = first + 1;
        let place = match self.route {
            Route::RoundRobin => first,
            Route::LeastLoaded => places
                .map(|step| (first + step) % self.workers.len())
                .min_by_key(|place| load(self.workers[*place].cell()))
                .unwrap_or_default(),
        };
        let keyed = false;
        Choice { place, keyed }
    }

    /// Makes a worker the one that is to reply: the worker that was chosen, or else the next that does
    /// not wait for this reply itself, if the choice is free.
    ///
    /// # Errors
    ///
    /// The cycle of the chosen worker, if no worker will do.
    fn assign_worker(
        &self,
        choice: Choice,
        pending: &Arc<dyn PendingReply>,
    ) -> Result<usize, Cycle> {
        let assign = |place: usize| {
            let worker: Arc<dyn Participant> = self.workers[place].cell().clone();
            assign_reply(&worker, pending).map(|()| place)
        };
        assign(choice.place).or_else(|cycle| {
            let count = self.workers.len();
            let others = if choice.keyed { 0..0 } else { 1..count };
            others
                .map(|step| (choice.place + step) % count)
                .find_map(|place| assign(place).ok())
                .ok_or(cycle)
        })
    }
}

/// Which worker a message goes to.
#[derive(Clone, Copy)]
struct Choice {
    place: usize,
    /// Its key says so: no other will do.
    keyed: bool,
}

/// How much there is to do. One that is about to start (again) comes last: nobody knows when it will.
fn load<W: Handlers>(worker: &ActorCell<W>) -> (bool, usize) {
    let messages = worker.mailbox.depth() + usize::from(worker.stats.is_busy());
    (worker.is_starting(), messages)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl<W: Actor> ActorRef<Pool<W>> {
    /// Changes how many workers there are (at least one). New ones have started when this returns;
    /// those that are too many stop after what they have queued.
    ///
    /// # Errors
    ///
    /// [`AskError`]: the pool has stopped, or a new worker did not start, which fails the pool; or
    /// the pool waits for the actor whose code this is.
    ///
    /// # Cancel safety
    ///
    /// Dropped after its first poll, it changes the size all the same.
    pub async fn resize(&self, size: usize) -> Result<(), AskError> {
        let (reply, mut resized) = Reply::for_ask(|| self.cell().clone(), Waker::noop(), None);
        let mut wait = Wait::default();
        if let Some(cycle) = resized.record_wait(&mut wait) {
            reply.forget();
            return Err(cycle.error());
        }
        let order = || Some(PoolInbox(Kind::Resize(size.max(1), reply)));
        if self.cell().mailbox.push_past_bound(order).is_err() {
            return Err(self.cell().refusal());
        }
        poll_fn(|cx| resized.poll_or_cycle(&mut wait, cx)).await
    }
}

/// What a snapshot calls the pool's own message by.
const RESIZE: u16 = u16::MAX - 2;

/// What waits in the mailbox of a pool.
#[doc(hidden)]
pub struct PoolInbox<W: Handlers>(Kind<W>);

enum Kind<W: Handlers> {
    Work(Work<W>),
    Resize(usize, Reply<()>),
}

struct Work<W: Handlers> {
    inbox: W::Inbox,
    /// What an actor waits for, so that it can be seen who owes it the answer.
    pending: Option<Arc<dyn PendingReply>>,
}

impl<W: Handlers> Work<W> {
    fn frame(envelope: Box<RequestEnvelope>) -> Self {
        Self {
            inbox: W::frame(envelope),
            pending: None, // asked from another process
        }
    }
}

impl<W: Handlers> fmt::Debug for PoolInbox<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolInbox")
    }
}

impl<W: Actor> Actor for Pool<W> {
    const MAILBOX: usize = W::MAILBOX;

    /// Whoever may not reach a worker may not reach it through its pool.
    const PRIVATE: bool = W::PRIVATE;
}

// For all `Handlers`, and not only for actors, so that whoever offers a worker can offer its pool.
impl<W: Handlers> Handlers for Pool<W> {
    type Inbox = PoolInbox<W>;

    async fn dispatch(
        &mut self,
        inbox: &mut Option<PoolInbox<W>>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        match inbox.take() {
            Some(PoolInbox(Kind::Work(work))) => self.forward(work, ctx).await,
            Some(PoolInbox(Kind::Resize(size, reply))) => {
                self.size = size;
                let outcome = self.adjust(ctx).await;
                reply.finish(outcome)
            }
            None => Ok(()),
        }
    }

    fn frame(envelope: Box<RequestEnvelope>) -> PoolInbox<W> {
        PoolInbox(Kind::Work(Work::frame(envelope)))
    }

    fn unframe(inbox: &mut Option<PoolInbox<W>>) -> Option<Box<RequestEnvelope>> {
        match inbox.take() {
            Some(PoolInbox(Kind::Work(Work {
                inbox: work,
                pending,
            }))) => {
                let mut work = Some(work);
                let envelope = W::unframe(&mut work);
                *inbox = work.map(|inbox| PoolInbox(Kind::Work(Work { inbox, pending })));
                envelope
            }
            other => {
                *inbox = other;
                None
            }
        }
    }

    /// Workers decode, so that they do it side by side.
    fn decode(envelope: Box<RequestEnvelope>) -> Option<PoolInbox<W>> {
        Some(Self::frame(envelope))
    }

    /// The worker looks: only with that one a message is begun.
    fn limit(_: &PoolInbox<W>) -> Option<Limit<'_>> {
        None
    }

    fn which(inbox: &PoolInbox<W>) -> u16 {
        match &inbox.0 {
            Kind::Work(work) => W::which(&work.inbox),
            Kind::Resize(..) => RESIZE,
        }
    }

    fn handler_name(number: u16) -> &'static str {
        match number {
            RESIZE => "resize",
            number => W::handler_name(number),
        }
    }

    fn recipient(wanted: &mut Wanted<'_>) {
        W::recipient(wanted);
    }

    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        self.adjust(ctx).await
    }
}

impl<W: Handlers, M: ActorMessage> Handler<M> for Pool<W>
where
    W: Handler<M>,
{
    fn wrap(message: M, reply: Reply<M::Response>) -> PoolInbox<W> {
        let pending = reply.tracked();
        let inbox = W::wrap(message, reply);
        PoolInbox(Kind::Work(Work { inbox, pending }))
    }

    fn unwrap(inbox: PoolInbox<W>) -> Option<(M, Reply<M::Response>)> {
        match inbox.0 {
            Kind::Work(work) => W::unwrap(work.inbox),
            Kind::Resize(..) => None,
        }
    }

    fn peek(inbox: &PoolInbox<W>) -> Option<&M> {
        match &inbox.0 {
            Kind::Work(work) => W::peek(&work.inbox),
            Kind::Resize(..) => None,
        }
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
