//! Timers, tasks and watches of an actor. They end with its incarnation.

use std::sync::Weak;

use tokio::task::JoinSet;

use crate::actor::Handlers;
use crate::actor::any::AnyActor;
use crate::actor::timers::Timers;
use crate::deadlock::ActorId;

/// The resources that an actor's code has set up. Most actors have none.
pub(crate) struct ActorResources<A: Handlers> {
    pub(crate) timers: Timers<A>,
    /// Streams, futures and closures that send their results to the actor. Dropping the set aborts
    /// them.
    pub(crate) tasks: JoinSet<()>,
    pub(crate) watches: Watches,
}

impl<A: Handlers> ActorResources<A> {
    /// Empty resources of the actor with this identity, for the incarnation of this number.
    pub(super) fn new(me: ActorId, incarnation: u32) -> Self {
        Self {
            timers: Timers::new(incarnation),
            tasks: JoinSet::new(),
            watches: Watches {
                me,
                watched: Vec::new(),
            },
        }
    }
}

/// The actors that an actor watches. Dropping this ends the watches.
pub(crate) struct Watches {
    me: ActorId,
    watched: Vec<(ActorId, Weak<dyn AnyActor>)>,
}

impl Watches {
    pub(crate) fn add(&mut self, id: ActorId, actor: Weak<dyn AnyActor>) {
        // Before the list grows, actors that have ended are removed from it.
        if self.watched.len() == self.watched.capacity() {
            self.watched.retain(|(_, watched)| is_alive(watched));
        }
        if self.watched.iter().all(|(other, _)| *other != id) {
            self.watched.push((id, actor));
        }
    }

    pub(crate) fn remove(&mut self, id: ActorId) {
        self.watched.retain(|(watched, _)| *watched != id);
    }

    /// Ends all watches.
    pub(super) fn clear(&mut self) {
        for (_, watched) in self.watched.drain(..) {
            if let Some(watched) = watched.upgrade() {
                watched.unwatch(self.me);
            }
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.clear();
    }
}

fn is_alive(actor: &Weak<dyn AnyActor>) -> bool {
    let actor = actor.upgrade();
    actor.is_some_and(|actor| !actor.has_ended())
}
