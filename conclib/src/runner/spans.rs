//! The span of a message while it is handled: for the logs of its handler, and for traces.
//!
//! Made only if the subscriber wants the level: otherwise a message costs one relaxed load. The tables of
//! targets and fields are in `docs/logging.md` and `docs/tracing.md`.

use tracing::field::DisplayValue;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, debug, debug_span, field, info_span};

use crate::actor::{Context, Handlers, RecipientQuery};
use crate::deadlock::current::{MessageTrace, begin_trace};
use crate::envelope::RequestEnvelope;
use crate::error::{AskErrorKind, Failure};
use crate::reply::Limit;
use crate::trace::{Relation, is_wanted, micros_since};
use crate::urn::ActorName;

/// The name in traces of a message that no handler declares: a peer can send any.
const OTHER: &str = "_OTHER";

/// A span of a request for logs alone. A macro, since each target has a call site of its own.
macro_rules! log_span {
    ($target:literal, $name:expr, $envelope:expr) => {
        info_span!(
            target: $target,
            "handle",
            urn = %$name,
            message_name = $envelope.message(),
            request = $envelope.request_id().map(field::display),
        )
    };
}

/// The trace of a request from the bus; none if no subscriber is interested.
#[inline]
pub(super) fn of_request<A: Handlers>(
    name: &ActorName,
    envelope: &RequestEnvelope,
) -> MessageTrace {
    if is_wanted() {
        new_for_request::<A>(name, envelope)
    } else {
        MessageTrace::NONE
    }
}

#[cold]
fn new_for_request<A: Handlers>(name: &ActorName, envelope: &RequestEnvelope) -> MessageTrace {
    let responder = &envelope.responder;
    if responder.propagator().is_none() {
        return log_span!("conclib::handle", name, envelope).into();
    }
    let span = match responder.relation() {
        Relation::Child => server_span::<A>(name, envelope),
        Relation::Linked => consumer_span::<A>(name, envelope),
        // A target of its own, which traces can do without.
        Relation::LeftOut => log_span!("conclib::handle::unsampled", name, envelope),
    };
    responder.continue_trace(&span);
    MessageTrace {
        span,
        left_out: responder.left_out(),
    }
}

/// The span of an ask in a trace: that of a remote procedure call.
fn server_span<A: Handlers>(name: &ActorName, envelope: &RequestEnvelope) -> Span {
    let method = || declared_name::<A>(envelope.message());
    info_span!(
        target: "conclib::handle",
        "handle",
        urn = %name,
        message_name = envelope.message(),
        request = envelope.request_id().map(field::display),
        queue_us = envelope.received_at.map(micros_since),
        otel.name = %format_args!("handle {}", method()),
        otel.kind = "server",
        rpc.system = "conclib",
        rpc.method = method(),
        otel.status_code = field::Empty,
        error.type = field::Empty,
    )
}

/// The span of a tell or of a durable message in a trace: that of a message that was received.
fn consumer_span<A: Handlers>(name: &ActorName, envelope: &RequestEnvelope) -> Span {
    info_span!(
        target: "conclib::handle",
        "handle",
        urn = %name,
        message_name = envelope.message(),
        request = envelope.request_id().map(field::display),
        queue_us = envelope.received_at.map(micros_since),
        otel.name = %format_args!("handle {}", declared_name::<A>(envelope.message())),
        otel.kind = "consumer",
        messaging.system = "conclib",
        messaging.operation.name = "handle",
        messaging.operation.type = "process",
        messaging.destination.name = %name,
        otel.status_code = field::Empty,
        error.type = field::Empty,
    )
}

/// The name of a message, if one of the actor's handlers declares it: names of spans must be few.
fn declared_name<A: Handlers>(message: &str) -> &'static str {
    let declared = (0..A::HANDLERS).filter_map(|number| A::handler(number).message);
    declared
        .into_iter()
        .find(|declared| *declared == message)
        .unwrap_or(OTHER)
}

/// Begins the trace of a request whose handler is called next.
#[inline]
pub(super) fn begin(trace: MessageTrace) {
    let has_span = !trace.span.is_disabled();
    if has_span || trace.left_out.is_some() {
        begin_trace(trace);
    }
    if has_span {
        debug!(target: "conclib::handle", "handling a request");
    }
}

/// Marks a span in a trace as failed. Others have no fields for it.
pub(super) fn mark_error(span: &Span, error: AskErrorKind) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error.as_str());
}

/// The span of a restart after a failure, in a trace of its own: from the end of the last hook to the start of
/// the next incarnation, with a link to that of the message whose handler failed.
pub(super) fn of_restart<A: Handlers>(
    ctx: &Context<A>,
    failure: Option<&Failure>,
    failed_in: Option<&MessageTrace>,
) -> Span {
    let is_traced = ctx.system_link().is_traced();
    let Some(failure) = failure.filter(|_| is_traced) else {
        return Span::none();
    };
    let span = info_span!(
        target: "conclib::restart",
        "restart",
        urn = %ctx.cell().name(),
        %failure,
        otel.status_code = field::Empty,
        error.type = field::Empty,
    );
    span.follows_from(failed_in.and_then(|trace| trace.span.id()));
    span
}

/// Makes and enters the span of a message from within the process, if a subscriber is interested.
#[inline]
pub(super) fn begin_local<A: Handlers>(ctx: &Context<A>, message: &A::Inbox) {
    if Level::DEBUG <= LevelFilter::current() {
        begin_new_local::<A>(ctx, message);
    }
}

#[cold]
fn begin_new_local<A: Handlers>(ctx: &Context<A>, message: &A::Inbox) {
    let asker = A::asker(message);
    if let Some(left_out) = asker.as_ref().and_then(Limit::left_out) {
        let span = debug_span!(
            target: "conclib::handle::unsampled",
            "handle",
            urn = %ctx.cell().name(),
            message_name = message_name::<A>(message),
        );
        return begin_trace(MessageTrace {
            span,
            left_out: Some(left_out),
        });
    }
    let span = match &asker {
        Some(asker) => local_ask_span(ctx, message, asker),
        None => local_tell_span(ctx, message),
    };
    if !span.is_disabled() {
        begin_trace(span.into());
    }
}

/// The span of an ask from within the process.
fn local_ask_span<A: Handlers>(ctx: &Context<A>, message: &A::Inbox, asker: &Limit<'_>) -> Span {
    let is_traced = ctx.system_link().is_traced();
    asker.child_span(|| {
        debug_span!(
            target: "conclib::handle",
            "handle",
            urn = %ctx.cell().name(),
            message_name = message_name::<A>(message),
            queue_us = asker.queue_us().filter(|_| is_traced),
            otel.name = is_traced.then(|| traced_name::<A>(message)),
            otel.status_code = field::Empty,
            error.type = field::Empty,
        )
    })
}

/// The span of a tell, a tick or a timer from within the process.
fn local_tell_span<A: Handlers>(ctx: &Context<A>, message: &A::Inbox) -> Span {
    let is_traced = ctx.system_link().is_traced();
    debug_span!(
        target: "conclib::handle::tell",
        "handle",
        urn = %ctx.cell().name(),
        message_name = message_name::<A>(message),
        otel.name = is_traced.then(|| traced_name::<A>(message)),
        otel.status_code = field::Empty,
        error.type = field::Empty,
    )
}

/// The name of a local message's span in a trace.
fn traced_name<A: Handlers>(message: &A::Inbox) -> DisplayValue<String> {
    field::display(format!("handle {}", message_name::<A>(message)))
}

/// The name of a message on the wire. An actor's traits have it only for each type of message, and not for
/// an entry of the mailbox, which most messages never need.
fn message_name<A: Handlers>(message: &A::Inbox) -> &'static str {
    let mut name = A::handler(A::which(message)).method; // the pool's own message
    A::recipient(&mut RecipientQuery::for_name(message, &mut name));
    name
}
