//! The span of a call across the bus, in a client whose config continues traces: from the first attempt to
//! the answer.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, field, info_span};

use crate::bus::protocol::Kind;
use crate::error::AskError;

/// The kind of a call, as its span shows it.
pub(super) struct CallKind<'a> {
    pub(super) kind: Kind,
    pub(super) is_durable: bool,
    pub(super) urn: &'a str,
    pub(super) message_name: &'a str,
}

/// The span of a call; none before it begins, and if no subscriber is interested. Never entered before its
/// end: the bridge to OpenTelemetry takes the last exit of a span as its end.
pub(super) struct CallSpan(Span);

impl CallSpan {
    pub(super) const fn none() -> Self {
        Self(Span::none())
    }

    /// Begins the span of a call, unless it has begun.
    #[inline]
    pub(super) fn begin(&mut self, call: &CallKind<'_>) {
        if Self::may_be_wanted() && self.0.is_disabled() {
            self.0 = new_span(call);
        }
    }

    /// False if no subscriber wants the level: nothing is to be sent along then.
    #[inline]
    pub(super) fn may_be_wanted() -> bool {
        Level::INFO <= LevelFilter::current()
    }

    /// The span whose context is sent along: that of the caller, if a subscriber does not want this one.
    pub(super) fn sender(&self) -> Span {
        if self.0.is_disabled() {
            Span::current()
        } else {
            self.0.clone()
        }
    }

    /// Notes how often the call was repeated, at its end: OpenTelemetry keeps each value of a field.
    #[inline]
    pub(super) fn set_retries(&self, count: u32) {
        if count > 0 {
            self.0.record("retries", i64::from(count));
        }
    }

    /// True if the call has a span that has not ended.
    pub(super) fn is_there(&self) -> bool {
        !self.0.is_disabled()
    }

    /// Ends the span of a call that has succeeded.
    #[inline]
    pub(super) fn end(self) {
        drop(self);
    }

    /// Ends the span of a call that has failed; `log` writes the log of the error within it.
    pub(super) fn end_failed(self, error: &AskError, log: impl FnOnce()) {
        if self.is_there() {
            record_error(&self.0, error.kind().as_str(), &error.to_string());
        }
        self.0.in_scope(log);
    }

    /// Ends the span of a call that its caller has dropped.
    pub(super) fn end_dropped(&self, log: impl FnOnce()) {
        record_error(&self.0, "cancelled", "the caller no longer waits");
        self.0.in_scope(log);
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
