//! Streams and futures that send their results to the actor as messages.

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
    /// actor. For code that blocks its thread, see [`spawn_blocking`](Self::spawn_blocking).
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
        let me = self.actor_ref().downgrade();
        self.start(async move {
            let message = future.await;
            // An actor that has stopped needs no result.
            if let Some(me) = me.upgrade() {
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

/// A handle to a task that an actor has started with [`Context::attach`] or [`Context::pipe`].
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
///         let new = ctx.pipe(ctx.spawn_blocking(move |cancel| {
///             let mut numbers = (2..limit).take_while(|_| !cancel.is_cancelled());
///             Found(numbers.find(|n| n % 7 == 0))
///         }));
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
