//! Entries of an actor's table of ticks.

use std::fmt;

use super::Handlers;
use crate::time::schedule::Schedule;

/// One entry of [`PeriodicActor::TICKS`](crate::PeriodicActor::TICKS): a message that an actor is
/// sent regularly.
pub struct Tick<A: Handlers> {
    /// The name in logs: that of the message.
    pub name: &'static str,
    /// The times at which it is sent.
    pub schedule: Schedule,
    /// Makes the message.
    pub message: fn() -> A::Inbox,
}

impl<A: Handlers> fmt::Debug for Tick<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tick")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
