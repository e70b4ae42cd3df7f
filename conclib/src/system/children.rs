//! Methods of a context for its system and for spawning children.

use std::future::Future;

use super::{ActorSystem, Spawn, Supervised, Unsupervised};
use crate::actor::{Actor, Context, Handlers, IntoActor};

impl<A: Handlers> Context<A> {
    /// The system of the actor; `None` once the system is dropped, and for contexts made in tests.
    pub fn system(&self) -> Option<ActorSystem> {
        let handle = self.system_link().upgrade();
        handle.map(ActorSystem::from_handle)
    }

    /// Starts an actor as a child of this actor: children stop before their parent, the newest
    /// first. Otherwise like [`ActorSystem::spawn`](crate::ActorSystem::spawn).
    ///
    /// The end of a child does not affect its parent, unless the parent [watches](Self::watch) the
    /// child or the child [escalates](Spawn::escalate).
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
    /// manager.stopped().await;
    /// assert!(worker.is_stopped());
    /// # Ok(()) }
    /// ```
    pub fn spawn<B: Actor>(&self, actor: B) -> Spawn<B, Unsupervised> {
        Spawn::value(self.system(), Some(self.cell().clone()), actor)
    }

    /// Starts a child that starts again when it fails. Otherwise like
    /// [`ActorSystem::supervise`](crate::ActorSystem::supervise).
    pub fn supervise<F, Fut>(
        &self,
        factory: F,
    ) -> Spawn<<Fut::Output as IntoActor>::Actor, Supervised<F>>
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output: IntoActor> + Send + 'static,
    {
        Spawn::factory(self.system(), Some(self.cell().clone()), factory)
    }

    /// Starts a child with a lifecycle of the caller's.
    pub(crate) fn child<B: Actor, S>(&self, actor: Option<B>, source: S) -> Spawn<B, S> {
        Spawn::new(self.system(), Some(self.cell().clone()), actor, source)
    }
}
