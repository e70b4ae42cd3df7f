//! The span of a message while it is handled, for the logs of its handler.
//!
//! Made only if the subscriber wants the level: otherwise a message costs one relaxed load. The table of
//! targets and fields is in `docs/logging.md`.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, debug, debug_span, info_span};

use crate::actor::{Handlers, RecipientQuery};
use crate::deadlock::current::begin_span;
use crate::envelope::RequestEnvelope;
use crate::urn::ActorName;

/// The span of a request from the bus; none if no subscriber is interested.
#[inline]
pub(super) fn of_request(name: &ActorName, envelope: &RequestEnvelope) -> Span {
    if Level::INFO <= LevelFilter::current() {
        new_for_request(name, envelope)
    } else {
        Span::none()
    }
}

#[cold]
fn new_for_request(name: &ActorName, envelope: &RequestEnvelope) -> Span {
    info_span!(
        target: "conclib::handle",
        "handle",
        urn = %name,
        message_name = envelope.message(),
        request = envelope.request_id().map(tracing::field::display),
    )
}

/// Enters the span of a request whose handler is called next.
#[inline]
pub(super) fn begin(span: Span) {
    if !span.is_disabled() {
        begin_span(span);
        debug!(target: "conclib::handle", "handling a request");
    }
}

/// Makes and enters the span of a message from within the process, if a subscriber is interested.
#[inline]
pub(super) fn begin_local<A: Handlers>(name: &ActorName, message: &A::Inbox) {
    if Level::DEBUG <= LevelFilter::current() {
        begin_new_local::<A>(name, message);
    }
}

#[cold]
fn begin_new_local<A: Handlers>(name: &ActorName, message: &A::Inbox) {
    let span = debug_span!(
        target: "conclib::handle",
        "handle",
        urn = %name,
        message_name = message_name::<A>(message),
    );
    if !span.is_disabled() {
        begin_span(span);
    }
}

/// The name of a message on the wire. An actor's traits have it only for each type of message, and not for
/// an entry of the mailbox, which most messages never need.
fn message_name<A: Handlers>(message: &A::Inbox) -> &'static str {
    let mut name = A::handler(A::which(message)).method; // the pool's own message
    A::recipient(&mut RecipientQuery::for_name(message, &mut name));
    name
}
