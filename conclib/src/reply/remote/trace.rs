//! The trace of a request from the bus.

use tracing::Span;

use super::Responder;
use crate::deadlock::current::LeftOut;
use crate::message::attributes::Attributes;
use crate::trace::{self, Propagate, Relation};

impl Responder {
    /// Decides whether the request, with its attributes, is left out of the traces: so it is if its sender has said so,
    /// or if the propagator does.
    pub(crate) fn with_trace(mut self, is_left_out: bool) -> Self {
        if let Some(propagator) = self.sink.propagator()
            && trace::is_wanted()
        {
            let mut none = Attributes::new();
            let held = self.attributes.as_mut();
            let context = held.map_or(&mut none, |held| &mut held.trace_context);
            self.is_left_out = is_left_out || propagator.leave_out(&Span::none(), context);
        }
        self
    }

    /// Reads the trace context of the request; `None` if spans are not continued across the bus.
    pub(crate) fn propagator(&self) -> Option<&dyn Propagate> {
        self.sink.propagator()
    }

    /// Makes a span part of the trace of the request, or links it to that.
    pub(crate) fn continue_trace(&self, span: &Span) {
        let context = self.trace_context();
        if (self.is_left_out || !context.is_empty())
            && let Some(propagator) = self.propagator()
            && !span.is_disabled()
        {
            propagator.extract(context, span, self.relation());
        }
    }

    /// Present if the request is left out of the traces.
    pub(crate) fn left_out(&self) -> Option<LeftOut> {
        self.is_left_out
            .then(|| LeftOut::with_context(self.trace_context()))
    }

    /// The trace context of the sender.
    fn trace_context(&self) -> &Attributes {
        let held = self.attributes.as_ref();
        held.map_or(Attributes::none(), |held| &held.trace_context)
    }

    /// The relation of the handler's span to that of the sender.
    pub(crate) fn relation(&self) -> Relation {
        if self.is_left_out {
            Relation::LeftOut
        } else if self.is_ask && !self.is_durable {
            Relation::Child
        } else {
            Relation::Linked
        }
    }
}
