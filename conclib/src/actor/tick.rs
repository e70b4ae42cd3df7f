//! Ticks: the messages that an actor is sent at regular intervals.

use std::fmt;

use super::Handlers;
use crate::time::schedule::Schedule;

/// A message that an actor is sent at regular intervals: an entry of
/// [`PeriodicActor::TICKS`](crate::schedule::PeriodicActor::TICKS).
pub struct Tick<A: Handlers> {
    /// The name of the message, for logs.
    pub name: &'static str,
    /// The schedule on which it is sent.
    pub schedule: Schedule,
    /// Makes the message's mailbox entry.
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
