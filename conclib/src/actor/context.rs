//! The context that handlers and hooks get of their own actor.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::actor::cell::{ActorCell, Extras, Lifetime, SpawnOptions};
use crate::actor::host::SystemLink;
use crate::actor::resources::ActorResources;
use crate::actor::type_counters::TypeNumber;
use crate::actor::{ActorRef, FailureEvent, Handlers};
use crate::message::attributes::Attributes;
use crate::random;
use crate::reply::RequestId;
use crate::reply::cancelled::Cancelled;
use crate::reply::incoming::Incoming;
use crate::urn::{ActorName, Urn};

pub use blocking::BlockingTask;
pub use tasks::Task;

mod blocking;
mod lease;
mod tasks;
mod timers;
mod watching;

/// The context of an actor, for its own handlers and hooks: the actor's URN, a reference to itself,
/// ways to stop it, and its children, timers, streams and tasks.
///
/// Children, timers, streams and tasks end with the actor, and before it restarts.
///
/// A handler or hook gets the context by a parameter `ctx: &mut Context<Self>`.
pub struct Context<A: Handlers> {
    /// Timers, tasks and watches; `None` until there is one. Dropped before the cell, since watched
    /// actors know this actor by the cell's address. The mutex is never locked: it makes the context
    /// `Sync` whatever the messages in it are, so that a handler may hold `&Context` across an await.
    resources: Option<Box<Mutex<ActorResources<A>>>>,
    pub(crate) cell: Arc<ActorCell<A>>,
    system: Arc<SystemLink>,
    /// The message being handled; `None` for a tell within the process without attributes.
    message: Option<Arc<dyn Incoming>>,
}

impl<A: Handlers> Context<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, system: Arc<SystemLink>) -> Self {
        Self {
            resources: None,
            cell,
            system,
            message: None,
        }
    }

    /// Makes a context without a system or a running actor, for unit tests of handlers.
    ///
    /// Messages that the actor sends to itself stay in the mailbox, and timers never fire. There is no
    /// asker, so [`cancelled`](Self::cancelled) never completes. For handlers that spawn actors, or look
    /// them up, see [`test_in`](Self::test_in).
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
        Self::of_no_actor(Arc::default())
    }

    /// A context of an actor that no task runs.
    pub(crate) fn of_no_actor(system: Arc<SystemLink>) -> Self {
        let options = SpawnOptions {
            lifetime: Lifetime::Test,
            ..SpawnOptions::default()
        };
        let extras = Extras::new(None, options, None);
        let cell = ActorCell::new(
            ActorName::generate(random::process()),
            0,
            usize::MAX,
            TypeNumber::default(),
            extras,
        );
        Self::new(Arc::new(cell), system)
    }

    /// Sets the attributes of the message being handled, for unit tests of handlers that read them.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// # #[handlers]
    /// # impl Worker {}
    /// let ctx = Context::<Worker>::test().with_attributes([("tenant", "7")]);
    /// assert_eq!(ctx.attributes().get("tenant"), Some("7"));
    /// ```
    #[must_use]
    pub fn with_attributes<K: Into<String>, V: Into<String>>(
        mut self,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let attributes: Attributes = attributes.into_iter().collect();
        self.set_message(Some(Arc::new(attributes)));
        self
    }

    /// The URN of the actor.
    pub fn urn(&self) -> &Urn {
        self.cell.urn()
    }

    /// A reference to the actor itself.
    pub fn actor_ref(&self) -> ActorRef<A> {
        ActorRef::new(self.cell.clone())
    }

    // ---- the message being handled

    /// Returns a future that completes when the asker of the current message no longer waits: it is
    /// gone (its future was dropped, or an HTTP client disconnected from the server that asked), or
    /// its deadline has passed. The future also completes when the reply was sent.
    ///
    /// The future belongs to the message that is handled when this is called. It borrows nothing, and
    /// may be moved into a task. For a tell, for a tick, within a hook, and where
    /// [`dispatch`](Handlers::dispatch) is written by hand, it never completes.
    ///
    /// An asker in another process sends a notice when it is gone; if that is lost, the future
    /// completes at the deadline. A handler that does not use the future runs to its end, and its
    /// response is dropped.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// # async fn long_work() -> u64 { std::future::pending().await }
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = Option<u64>)]
    /// struct Report;
    ///
    /// #[derive(Actor)]
    /// struct Reporter { given_up: u32 }
    ///
    /// #[handlers]
    /// impl Reporter {
    ///     #[handler]
    ///     async fn report(&mut self, _: Report, ctx: &mut Context<Self>) -> Option<u64> {
    ///         tokio::select! {
    ///             report = long_work() => Some(report),
    ///             () = ctx.cancelled() => {
    ///                 self.given_up += 1;
    ///                 ctx.stop();
    ///                 None // dropped, since the asker is gone
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let reporter = system.spawn(Reporter { given_up: 0 }).await?;
    /// let asker = tokio::spawn(reporter.ask(Report));
    /// # tokio::task::yield_now().await;
    /// # tokio::task::yield_now().await;
    /// asker.abort();
    /// reporter.stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        let message = self.message.clone();
        Cancelled::new(message.and_then(Incoming::pending))
    }

    /// The attributes of the message being handled: those that its sender has set, for example by
    /// [`Ask::attribute`](crate::actor::Ask::attribute) in this process or
    /// [`RemoteAsk::attribute`](crate::bus::RemoteAsk::attribute) in another one. A message that was
    /// [forwarded](ActorRef::forward), or that came through a pool, keeps them.
    ///
    /// There are none for a message that was sent without any, a tick or a timer, within a hook, and
    /// where [`dispatch`](Handlers::dispatch) is written by hand; such code has
    /// [`Reply::attributes`](crate::Reply::attributes).
    ///
    /// A handler's own messages inherit none by themselves. It passes them on where they belong:
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = String)]
    /// struct Price;
    ///
    /// #[derive(Actor)]
    /// struct Shop { stock: Recipient<Price> }
    ///
    /// #[handlers]
    /// impl Shop {
    ///     #[handler]
    ///     async fn price(&mut self, _: Price, ctx: &mut Context<Self>) -> Result<String, Failure> {
    ///         // Across the bus as well: `client.ask("stock", Price).attributes(ctx.attributes())`.
    ///         Ok(self.stock.ask(Price).attributes(ctx.attributes()).await?)
    ///     }
    /// }
    ///
    /// #[derive(Actor)]
    /// struct Stock;
    ///
    /// #[handlers]
    /// impl Stock {
    ///     #[handler]
    ///     fn price(&mut self, _: Price, ctx: &mut Context<Self>) -> String {
    ///         let tenant = ctx.attributes().get("tenant").unwrap_or("none");
    ///         format!("the price of tenant {tenant}")
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let stock = system.spawn(Stock).await?.recipient();
    /// let shop = system.spawn(Shop { stock }).await?;
    /// assert_eq!(shop.ask(Price).attribute("tenant", "7").await?, "the price of tenant 7");
    /// assert_eq!(shop.ask(Price).await?, "the price of tenant none");
    /// # Ok(()) }
    /// ```
    pub fn attributes(&self) -> &Attributes {
        match &self.message {
            Some(message) => message.attributes(),
            None => Attributes::none(),
        }
    }

    /// The id in logs of the request being handled: the client's log has it too. `None` for a message from
    /// within the process, within a hook, and where [`dispatch`](Handlers::dispatch) is written by hand.
    ///
    /// The logs of a handler have it already if the subscriber shows spans: see the page on
    /// [logging](crate::docs::logging). This is for other places, such as an error report. It is computed
    /// at each call.
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(Actor)]
    /// # struct Worker;
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = String)]
    /// struct Charge { cents: u64 }
    ///
    /// #[handlers]
    /// impl Worker {
    ///     #[handler]
    ///     fn charge(&mut self, _: Charge, ctx: &mut Context<Self>) -> String {
    ///         match ctx.request_id() {
    ///             Some(id) => format!("the charge failed; your support knows more under {id}"),
    ///             None => "the charge failed".to_owned(),
    ///         }
    ///     }
    /// }
    /// # let mut ctx = Context::test();
    /// # assert_eq!(Worker.charge(Charge { cents: 1 }, &mut ctx), "the charge failed");
    /// ```
    pub fn request_id(&self) -> Option<RequestId> {
        self.message.as_ref()?.request_id()
    }

    // ---- the actor's end

    /// Stops the actor once it has handled the queued messages, like [`ActorRef::stop`].
    ///
    /// An actor that is supervised with [`Restart::Always`](crate::supervision::Restart::Always) restarts after the
    /// current message instead, and handles the queued messages then.
    pub fn stop(&self) {
        self.cell.stop_itself();
    }

    /// True once the actor was asked to stop, or was killed: its mailbox is closed.
    pub fn is_stopping(&self) -> bool {
        self.cell.mailbox.is_closed()
    }

    // ---- for the system, dispatch and the runner

    /// The link to the actor's system.
    pub(crate) fn system_link(&self) -> &SystemLink {
        &self.system
    }

    pub(crate) fn cell(&self) -> &Arc<ActorCell<A>> {
        &self.cell
    }

    /// Sets the message that is handled next; `None` after it.
    #[inline]
    pub(crate) fn set_message(&mut self, message: Option<Arc<dyn Incoming>>) {
        self.message = message;
    }

    /// Reports a failure of this actor to the observers of its system.
    pub(crate) fn report(&self, event: &FailureEvent) {
        self.system.actor_failed(event);
    }

    /// The actor's resources, if it has any.
    #[inline]
    pub(crate) fn resources_mut(&mut self) -> Option<&mut ActorResources<A>> {
        self.resources.as_deref_mut().map(Mutex::get_mut)
    }

    /// The cell, the link to the system, and the actor's resources, if it has any.
    pub(crate) fn split(&mut self) -> (&ActorCell<A>, &SystemLink, Option<&mut ActorResources<A>>) {
        let resources = self.resources.as_deref_mut();
        (&self.cell, &self.system, resources.map(Mutex::get_mut))
    }

    /// Ends the incarnation's resources (not its children). Does not unwind. Cancel safe.
    pub(crate) async fn end_incarnation(&mut self) {
        self.cell.control.set_cancel_flags();
        let Some(resources) = self.resources_mut() else {
            return;
        };
        resources.watches.clear();
        resources.timers.clear();
        resources.tasks.shutdown().await;
        self.resources = None;
    }

    /// The actor's resources, made if there are none yet.
    pub(crate) fn resources(&mut self) -> &mut ActorResources<A> {
        let (me, epoch) = (self.cell.id(), self.cell.control.cancel_epoch());
        let new = || Box::new(Mutex::new(ActorResources::new(me, epoch)));
        self.resources.get_or_insert_with(new).get_mut()
    }
}

impl<A: Handlers> Drop for Context<A> {
    fn drop(&mut self) {
        self.cell.control.set_cancel_flags();
    }
}

impl<A: Handlers> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("urn", self.cell.name())
            .finish_non_exhaustive()
    }
}
