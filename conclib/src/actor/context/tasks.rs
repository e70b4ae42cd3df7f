//! Streams, futures and closures that send their results to the actor as messages.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use futures_core::Stream;
use tokio::task::AbortHandle;

use crate::actor::context::Context;
use crate::actor::{Handler, Handlers};
use crate::error::panics::catch_future;
use crate::message::ActorMessage;

impl<A: Handlers> Context<A> {
    /// Sends the items of a stream to this actor, as messages. While the mailbox is full, the stream is
    /// not polled. A stream that panics fails the actor.
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
    /// system.spawn(Meter { sum: 0 }).await?.stopped().await;
    /// # Ok(()) }
    /// ```
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
            let mut stream = pin!(stream);
            while let Some(message) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
                let Some(me) = me.upgrade() else { return };
                if me.tell(message).await.is_err() {
                    return;
                }
            }
        })
    }

    /// Runs a future in a task, and sends its result to this actor as a message. The actor handles
    /// other messages meanwhile: slow I/O does not block its mailbox. A future that panics fails the
    /// actor.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = String)]
    /// struct Fetch { page: u32 }
    ///
    /// /// A fetched page, and the reply that its asker waits for.
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
        self.send_result(async { Some(future.await) })
    }

    /// Runs a closure that blocks or computes for long, and sends its result to this actor as a
    /// message. The closure runs on a thread of its own; see [`tokio::task::spawn_blocking`].
    ///
    /// A closure that is running cannot be stopped; its result is dropped if the actor has ended. A
    /// closure that panics fails the actor.
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
    ///         ctx.spawn_blocking(|| {
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
    /// system.spawn(Mathematician).await?.stopped().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn_blocking<M: ActorMessage>(
        &mut self,
        closure: impl FnOnce() -> M + Send + 'static,
    ) -> Task
    where
        A: Handler<M>,
    {
        let running = tokio::task::spawn_blocking(closure);
        self.send_result(async {
            match running
                .await
                .map_err(tokio::task::JoinError::try_into_panic)
            {
                Ok(message) => Some(message),
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                Err(Err(_)) => None, // cancelled, since the runtime shuts down
            }
        })
    }

    /// Runs a future in a task that ends with the actor, and sends the actor its message.
    fn send_result<M: ActorMessage>(
        &mut self,
        future: impl Future<Output = Option<M>> + Send + 'static,
    ) -> Task
    where
        A: Handler<M>,
    {
        let me = self.actor_ref().downgrade();
        self.start(async move {
            if let Some(message) = future.await
                && let Some(me) = me.upgrade()
            {
                // An actor that has stopped needs no result.
                drop(me.tell(message).await);
            }
        })
    }

    /// True while a task of the actor runs.
    pub(crate) fn has_tasks(&mut self) -> bool {
        self.resources_mut().is_some_and(|resources| {
            let tasks = &mut resources.tasks;
            while tasks.try_join_next().is_some() {} // removes finished tasks from the set
            !tasks.is_empty()
        })
    }

    /// Spawns a task that ends with the incarnation.
    fn start(&mut self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let cell = Arc::downgrade(&self.cell);
        let tasks = &mut self.resources().tasks;
        while tasks.try_join_next().is_some() {} // removes finished tasks from the set
        let running = tasks.spawn(async move {
            if let Err(failure) = catch_future(task).await
                && let Some(cell) = cell.upgrade()
            {
                cell.fail(failure);
            }
        });
        Task(running)
    }
}

/// A handle to a task that an actor has started with [`Context::attach`], [`Context::pipe`] or
/// [`Context::spawn_blocking`].
///
/// The task ends with the actor. Dropping the handle does not end it.
///
/// ```
/// use conclib::actor::Task;
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage)]
/// #[message(local)]
/// struct Found(Option<u32>);
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Search { limit: u32 }
///
/// #[derive(Actor, Default)]
/// struct Searcher { search: Option<Task> }
///
/// #[handlers]
/// impl Searcher {
///     /// Replaces a search that is still running.
///     #[handler]
///     fn search(&mut self, Search { limit }: Search, ctx: &mut Context<Self>) {
///         let new = ctx.spawn_blocking(move || Found((2..limit).find(|n| n % 7 == 0)));
///         if let Some(old) = self.search.replace(new) {
///             old.abort();
///         }
///     }
///
///     #[handler]
///     fn found(&mut self, Found(number): Found) { println!("{number:?}"); }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Task(AbortHandle);

impl Task {
    /// Ends the task at its next await. Messages that it has already sent are still handled.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// True if the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
