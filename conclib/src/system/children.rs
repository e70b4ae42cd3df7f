//! Methods of a context for its system and for spawning children.

use std::future::Future;
use std::sync::Arc;

use super::{ActorSystem, Spawn, Supervised, Unsupervised};
use crate::actor::any::AnyActor;
use crate::actor::cell::Lifetime;
use crate::actor::{Actor, Context, Handlers, IntoActor};

impl<A: Handlers> Context<A> {
    /// Makes a context in a system, for unit tests of handlers that spawn children, or use their system.
    /// Otherwise like [`test`](Self::test): no actor runs behind it, and its URN is not found.
    ///
    /// What `ctx.spawn` and `ctx.supervise` start are root actors of the system, since no parent
    /// would stop them: they end with the system.
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
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// struct Hire { urn: String }
    ///
    /// #[derive(Actor)]
    /// struct Manager;
    ///
    /// #[handlers]
    /// impl Manager {
    ///     #[handler]
    ///     async fn hire(&mut self, Hire { urn }: Hire, ctx: &mut Context<Self>) -> Result<(), Failure> {
    ///         ctx.spawn(Worker).urn(urn).await?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let mut ctx = Context::test_in(&system);
    /// let hired = Manager.hire(Hire { urn: "worker/1".into() }, &mut ctx).await;
    /// assert!(hired.is_ok());
    /// assert!(system.actor::<Worker>("worker/1").is_ok());
    /// # Ok(()) }
    /// ```
    pub fn test_in(system: &ActorSystem) -> Self {
        Self::of_no_actor(system.link())
    }

    /// The system of the actor; `None` once the system is dropped, and for contexts made by
    /// [`test`](Self::test).
    pub fn system(&self) -> Option<ActorSystem> {
        let handle = self.system_link().host().upgrade();
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
        Spawn::value(self.system(), self.as_parent(), actor)
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
        Spawn::factory(self.system(), self.as_parent(), factory)
    }

    /// Starts a child with a lifecycle of the caller's.
    pub(crate) fn child<B: Actor, S>(&self, actor: Option<B>, source: S) -> Spawn<B, S> {
        Spawn::new(self.system(), self.as_parent(), actor, source)
    }

    /// The actor as the parent of others; `None` for one that does not run.
    fn as_parent(&self) -> Option<Arc<dyn AnyActor>> {
        let runs = self.cell().options().lifetime != Lifetime::Test;
        runs.then(|| self.cell().clone() as Arc<dyn AnyActor>)
    }
}
