//! The messages that an actor has handled, by handler: counted once for all that follow each other without a pause.
//! Those from the bus are timed, and a sample of the others if an exporter asks for it.

use std::mem;

use tokio::time::Instant;

use crate::actor::type_counters::TypeNumber;

/// Messages of one handler that are not counted yet.
#[derive(Default)]
pub(super) struct HandledRun {
    handler: u16,
    messages: u16,
    /// The next message is timed, also if it is a local one.
    times_next: bool,
    /// The moment at which the current message began, if it is timed.
    since: Option<Instant>,
}

impl HandledRun {
    /// Notes that the message whose handler begins next has come from the bus.
    pub(super) fn begin_request(
        &mut self,
        received_at: Option<Instant>,
        now: Instant,
        actor_type: TypeNumber,
    ) {
        if let Some(received_at) = received_at {
            actor_type.record_queue_time(now.saturating_duration_since(received_at));
        }
        self.since = Some(now);
    }

    /// Notes that a handler begins.
    #[inline]
    pub(super) fn begin(&mut self, handler: u16, actor_type: TypeNumber) {
        if handler != self.handler {
            self.count(actor_type);
            self.handler = handler;
        }
        if self.times_next {
            self.times_next = false;
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Notes that the handler has returned without a failure.
    #[inline]
    pub(super) fn handled(&mut self, actor_type: TypeNumber) {
        self.messages += 1; // counted after each turn, at the latest
        if self.since.is_some() {
            self.end_timing(actor_type);
        }
    }

    /// Records the time of the current message, if it is timed.
    #[inline(never)]
    pub(super) fn end_timing(&mut self, actor_type: TypeNumber) {
        if let Some(since) = self.since.take() {
            actor_type.record_handler_time(self.handler, since.elapsed());
        }
    }

    /// Adds the messages to the counters of the actor's type.
    #[inline]
    pub(super) fn count(&mut self, actor_type: TypeNumber) {
        let messages = mem::take(&mut self.messages);
        if messages > 0 {
            self.times_next = actor_type.add_handled(self.handler, messages);
        }
    }
}
