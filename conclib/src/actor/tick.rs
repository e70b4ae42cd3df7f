//! Ticks: the messages that an actor is sent at regular intervals.

use std::fmt;

use super::Handlers;
use crate::time::schedule::Schedule;

/// A message that an actor is sent at regular intervals: an entry of
/// [`PeriodicActor::TICKS`](crate::schedule::PeriodicActor::TICKS).
pub struct Tick<A: Handlers> {
    name: &'static str,
    schedule: Schedule,
    message: fn() -> A::Inbox,
}

impl<A: Handlers> Tick<A> {
    /// A message of this name, sent on this schedule; `message` makes its mailbox entry.
    pub const fn new(name: &'static str, schedule: Schedule, message: fn() -> A::Inbox) -> Self {
        Self {
            name,
            schedule,
            message,
        }
    }

    /// The name of the message.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The schedule on which the message is sent.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Makes a mailbox entry with the message.
    pub fn make(&self) -> A::Inbox {
        (self.message)()
    }
}

impl<A: Handlers> fmt::Debug for Tick<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tick")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
