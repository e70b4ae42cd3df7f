//! Work that blocks its thread, off the actor's task.

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{self, Poll};

use tokio::task::{JoinHandle, spawn_blocking};
use tracing::Span;

use crate::actor::cancel_flag::CancelFlag;
use crate::actor::{Context, Handlers};
use crate::reply::incoming::Incoming;

impl<A: Handlers> Context<A> {
    /// Runs a closure that blocks or computes for long on another thread, and returns its value to the
    /// handler that awaits it. The runtime's other tasks continue meanwhile; the actor's messages wait
    /// in its mailbox, as for each handler.
    ///
    /// The closure begins at once, or as soon as the runtime has a thread for it; see
    /// [`tokio::task::spawn_blocking`]. It gets a [`CancelFlag`], which is set when its value is no
    /// longer wanted. A running closure cannot be interrupted: one that ignores the flag runs to its
    /// end, and its value is dropped. So does the end of a runtime wait for it; a process of
    /// [`run`](crate::service::run) waits for a second only, and ends without it.
    ///
    /// If the closure panics, so does the handler: the actor fails.
    ///
    /// Several closures run at a time in a [`Pool`](crate::pool::Pool): one for each worker. For an
    /// actor whose handlers all block, see `#[actor(thread)]`. To handle other messages meanwhile, give the
    /// future to [`pipe`](Self::pipe): its value comes as a message.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = Option<u64>)]
    /// struct Factor { n: u64 }
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
    ///         ctx.pipe(ctx.spawn_blocking(|_| {
    ///             let is_prime = |n: &u32| (2..*n).all(|d| n % d != 0);
    ///             Primes { count: (2..100).filter(is_prime).count() }
    ///         }));
    ///     }
    ///
    ///     #[handler]
    ///     async fn factor(&mut self, Factor { n }: Factor, ctx: &mut Context<Self>) -> Option<u64> {
    ///         ctx.spawn_blocking(move |cancel| {
    ///             (2..n).take_while(|_| !cancel.is_cancelled()).find(|d| n % d == 0)
    ///         })
    ///         .await
    ///     }
    ///
    ///     #[handler]
    ///     fn primes(&mut self, message: Primes) { assert_eq!(message.count, 25); }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let mathematician = system.spawn(Mathematician).await?;
    /// assert_eq!(mathematician.ask(Factor { n: 8633 }).await?, Some(89));
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sets the flag, and a closure that has not begun does not begin. A future that
    /// is not awaited leaves the closure running.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        closure: impl FnOnce(CancelFlag) -> T + Send + 'static,
    ) -> BlockingTask<T> {
        let cancel = self.cancel_flag();
        let given = cancel.clone();
        let span = Span::current();
        let counted = self
            .system_link()
            .closures()
            .map(|all| (all, self.urn().clone()));
        let running = spawn_blocking(move || {
            let _running = counted.map(|(all, urn)| all.begin(urn));
            span.in_scope(|| closure(given))
        });
        BlockingTask { running, cancel }
    }

    /// The flag of the message that is being handled: for a handler that itself blocks or computes for
    /// long, as those of `#[actor(thread)]` may.
    ///
    /// The flag is set when the asker of the message goes, when the actor is killed, and when its
    /// incarnation ends.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Render { pages: u32 }
    ///
    /// #[derive(Actor)]
    /// #[actor(thread)]
    /// struct Renderer;
    ///
    /// #[handlers]
    /// impl Renderer {
    ///     #[handler]
    ///     fn render(&mut self, Render { pages }: Render, ctx: &mut Context<Self>) -> u32 {
    ///         let cancel = ctx.cancel_flag();
    ///         (0..pages).take_while(|_| !cancel.is_cancelled()).inspect(|_| { /* blocks */ }).count() as u32
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let renderer = system.spawn(Renderer).await?;
    /// assert_eq!(renderer.ask(Render { pages: 3 }).await?, 3);
    /// # Ok(()) }
    /// ```
    pub fn cancel_flag(&self) -> CancelFlag {
        let asker = self.message.clone().and_then(Incoming::pending);
        CancelFlag::new(self.cell.clone(), asker)
    }
}

/// The value of a closure on another thread: see [`Context::spawn_blocking`].
///
/// The future borrows nothing, and may be moved into a task. If the runtime shuts down before the
/// closure has begun, it never completes.
///
/// # Panics
///
/// If the closure panicked, or if it is polled after completion.
///
/// # Cancel safety
///
/// Dropping the future sets the [`CancelFlag`] of the closure, and drops its value.
#[must_use = "dropping the future cancels the closure"]
pub struct BlockingTask<T> {
    running: JoinHandle<T>,
    cancel: CancelFlag,
}

impl<T> Future for BlockingTask<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.running).poll(cx) {
            Poll::Ready(Ok(value)) => Poll::Ready(value),
            Poll::Ready(Err(error)) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime shuts down, and drops the tasks that wait for this.
                Err(_) => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for BlockingTask<T> {
    fn drop(&mut self) {
        self.cancel.set();
        self.running.abort(); // unless it has begun
    }
}

impl<T> fmt::Debug for BlockingTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingTask")
            .field("finished", &self.running.is_finished())
            .finish_non_exhaustive()
    }
}
