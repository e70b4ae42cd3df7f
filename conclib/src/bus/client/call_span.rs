//! The span of a call across the bus, in a client whose config continues traces: from the first attempt to
//! the answer.

use tracing::{Span, field, info_span};

use crate::bus::protocol::Kind;
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::trace::{self, Propagate};

/// The kind of a call, as its span shows it.
pub(super) struct CallKind<'a> {
    pub(super) kind: Kind,
    pub(super) is_durable: bool,
    pub(super) urn: &'a str,
    pub(super) message_name: &'a str,
}

/// The span of a call. Never entered before its end: the bridge to OpenTelemetry takes the last exit of a span as
/// its end.
pub(super) enum CallSpan {
    /// The call has not begun, or sends no context along.
    None,
    /// Disabled if no subscriber wants it.
    Begun(Span),
    /// The call is left out of the traces.
    LeftOut,
}

impl CallSpan {
    /// Begins the span of a call, unless it has begun, or the call is left out of the traces: the attributes of its
    /// message have the context then, if there is one.
    pub(super) fn begin(
        &mut self,
        propagator: &dyn Propagate,
        call: &CallKind<'_>,
        attributes: &mut Attributes,
    ) {
        if !matches!(self, Self::None) || !trace::is_wanted() {
            return;
        }
        *self = if trace::leave_out(propagator, attributes) {
            Self::LeftOut
        } else {
            Self::Begun(new_span(call))
        };
    }

    /// Writes the context of the call into the attributes of its message, which have `room` bytes. Without a span
    /// of its own, that of the caller is sent along.
    pub(super) fn inject(
        &self,
        propagator: &dyn Propagate,
        attributes: &mut Attributes,
        room: usize,
    ) {
        match self {
            Self::None => {}
            Self::Begun(span) if span.is_disabled() => {
                trace::inject(propagator, &Span::current(), attributes, room);
            }
            Self::Begun(span) => trace::inject(propagator, span, attributes, room),
            Self::LeftOut => trace::fit(propagator, attributes, room),
        }
    }

    /// True if the call is left out of the traces.
    pub(super) fn is_left_out(&self) -> bool {
        matches!(self, Self::LeftOut)
    }

    fn span(&self) -> &Span {
        const NONE: &Span = &Span::none();
        match self {
            Self::Begun(span) => span,
            Self::None | Self::LeftOut => NONE,
        }
    }

    /// Notes how often the call was repeated, at its end: OpenTelemetry keeps each value of a field.
    #[inline]
    pub(super) fn set_retries(&self, count: u32) {
        if count > 0 {
            self.span().record("retries", i64::from(count));
        }
    }

    /// True if the call has a span that has not ended.
    pub(super) fn is_there(&self) -> bool {
        !self.span().is_disabled()
    }

    /// Ends the span of a call that has succeeded.
    #[inline]
    pub(super) fn end(self) {
        drop(self);
    }

    /// Ends the span of a call that has failed; `log` writes the log of the error within it.
    pub(super) fn end_failed(self, error: &AskError, log: impl FnOnce()) {
        if self.is_there() {
            record_error(self.span(), error.kind().as_str(), &error.to_string());
        }
        self.span().in_scope(log);
    }

    /// Ends the span of a call that its caller has dropped.
    pub(super) fn end_dropped(&self, log: impl FnOnce()) {
        record_error(self.span(), "cancelled", "the caller no longer waits");
        self.span().in_scope(log);
    }
}

fn record_error(span: &Span, kind: &'static str, description: &str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", description);
}

#[cold]
fn new_span(call: &CallKind<'_>) -> Span {
    let CallKind {
        kind,
        is_durable,
        urn,
        message_name,
    } = *call;
    match kind {
        Kind::Ask if is_durable => producer_span("ask", urn, message_name),
        Kind::Ask => client_span(urn, message_name),
        _ => producer_span("tell", urn, message_name),
    }
}

/// The span of an ask: that of a remote procedure call.
fn client_span(urn: &str, message_name: &str) -> Span {
    info_span!(
        target: "conclib::request",
        "ask",
        urn,
        message_name,
        retries = field::Empty,
        otel.name = %format_args!("ask {message_name}"),
        otel.kind = "client",
        rpc.system = "conclib",
        rpc.method = message_name,
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
        error.type = field::Empty,
    )
}

/// The span of a tell or of a durable message: that of a message that is sent.
fn producer_span(operation: &'static str, urn: &str, message_name: &str) -> Span {
    info_span!(
        target: "conclib::request",
        "send",
        urn,
        message_name,
        retries = field::Empty,
        otel.name = %format_args!("{operation} {message_name}"),
        otel.kind = "producer",
        messaging.system = "conclib",
        messaging.operation.name = operation,
        messaging.operation.type = "send",
        messaging.destination.name = urn,
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
        error.type = field::Empty,
    )
}
