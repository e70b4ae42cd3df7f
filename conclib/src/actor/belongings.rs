//! What an actor has set up for itself, and what ends with its life.

use std::sync::Weak;

use tokio::task::JoinSet;

use super::Handlers;
use super::cell::{ActorId, AnyActor};
use super::timers::Timers;

/// Nearly all actors have none of it, or little.
pub(crate) struct Belongings<A: Handlers> {
    pub(crate) timers: Timers<A>,
    /// Streams, futures and closures whose results come as messages. Dropping the set aborts them.
    pub(crate) tasks: JoinSet<()>,
    /// Whom it watches.
    pub(crate) watched: Vec<(ActorId, Weak<dyn AnyActor>)>,
}

impl<A: Handlers> Default for Belongings<A> {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            tasks: JoinSet::new(),
            watched: Vec::new(),
        }
    }
}
