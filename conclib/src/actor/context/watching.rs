//! Watching the end of other actors.

use std::sync::{Arc, Weak};

use super::Context;
use crate::actor::cell::ActorCell;
use crate::actor::links::Watcher;
use crate::actor::{ActorRef, Handler, Handlers};
use crate::stop_reason::{StopReason, Terminated};

impl<A: Handlers> Context<A> {
    /// Watches an actor: when it ends, this actor is sent one [`Terminated`] message. If it has ended
    /// already, the message is sent at once. Watching an actor twice has no further effect.
    ///
    /// The message arrives after all messages that the watched actor has sent, and takes no room in the
    /// mailbox. A restart is not an end. Watching does not keep an actor alive.
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
    /// manager.stopped().await;
    /// # Ok(()) }
    /// ```
    pub fn watch<B: Handlers>(&mut self, actor: &ActorRef<B>)
    where
        A: Handler<Terminated>,
    {
        let me = Arc::downgrade(&self.cell);
        let watcher = Watcher {
            id: self.cell.id(),
            notify: Box::new(move |terminated| {
                if let Some(me) = me.upgrade() {
                    me.push(terminated);
                }
            }),
        };
        let other = actor.cell();
        match other.links().watch(watcher) {
            Ok(()) => {
                let weak: Weak<ActorCell<B>> = Arc::downgrade(other);
                self.resources().watches.add(other.id(), weak);
            }
            Err(watcher) => {
                let reason = other.links().reason();
                (watcher.notify)(Terminated {
                    urn: other.urn().clone(),
                    reason: reason.unwrap_or(StopReason::Killed),
                });
            }
        }
    }

    /// Ends a [`watch`](Self::watch). A [`Terminated`] message that is already in the mailbox is still
    /// handled.
    pub fn unwatch<B: Handlers>(&mut self, actor: &ActorRef<B>) {
        let id = actor.cell().id();
        actor.cell().links().unwatch(self.cell.id());
        if let Some(resources) = self.resources_mut() {
            resources.watches.remove(id);
        }
    }
}
