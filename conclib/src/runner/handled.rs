//! The messages that an actor has handled, by handler: counted once for all that follow each other without a pause.

use std::mem;

use crate::actor::type_counters::{HandlerCounter, TypeNumber};

/// Messages of one handler that are not counted yet.
#[derive(Default)]
pub(super) struct HandledRun {
    handler: u16,
    messages: u16,
}

impl HandledRun {
    /// Notes that a handler begins.
    #[inline]
    pub(super) fn begin(&mut self, handler: u16, actor_type: TypeNumber) {
        if handler != self.handler {
            self.count(actor_type);
            self.handler = handler;
        }
    }

    /// Notes that the handler has returned without a failure.
    #[inline]
    pub(super) fn handled(&mut self) {
        self.messages += 1; // counted after each turn, at the latest
    }

    /// Adds the messages to the counters of the actor's type.
    #[inline]
    pub(super) fn count(&mut self, actor_type: TypeNumber) {
        let messages = mem::take(&mut self.messages);
        if messages > 0 {
            actor_type.add_handled(self.handler, HandlerCounter::Handled, messages.into());
        }
    }
}
