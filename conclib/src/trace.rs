//! Traces that continue across processes: a propagator takes the context of a span along in a message's
//! attributes.
//!
//! Within a process, [`tracing`] itself nests spans. A message to another process leaves it, and so does one
//! that is stored: there a [`Propagate`] writes the context of the sender's span into the
//! [attributes](crate::envelope::Attributes), and reads it for the span of the handler. The crate
//! `conclib-opentelemetry` has one for the W3C trace context; the page on [tracing](crate::docs::tracing)
//! says which spans there are.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

use crate::deadlock::current::Current;
use crate::message::attributes::Attributes;

pub(crate) use asker_span::{AskerSpan, micros_since};

mod asker_span;

/// Takes the context of spans from process to process: set by
/// [`Config::propagator`](crate::Config::propagator), for both ends of a bus.
///
/// With a propagator, a client makes a span for each ask and each tell, if a subscriber is interested in
/// the level `INFO` of the target `conclib::request`. Without one, or without a subscriber, nothing is made,
/// and a message costs no more than before.
///
/// ```
/// use conclib::envelope::Attributes;
/// use conclib::prelude::*;
/// use conclib::trace::{Propagate, Relation};
/// use tracing::Span;
///
/// /// Sends the number of the sender's span along, for a program whose spans stay in its log.
/// struct SpanNumber;
///
/// impl Propagate for SpanNumber {
///     fn fields(&self) -> &[&'static str] { &["sender-span"] }
///
///     fn inject(&self, span: &Span, attributes: &mut Attributes) {
///         if let Some(id) = span.id() {
///             attributes.insert("sender-span", id.into_u64().to_string());
///         }
///     }
///
///     fn extract(&self, attributes: &Attributes, span: &Span, _: Relation) {
///         if let Some(sender) = attributes.get("sender-span") {
///             tracing::info!(parent: span, sender, "a message of another process");
///         }
///     }
/// }
///
/// let config = Config::memory().propagator(SpanNumber);
/// # drop(config);
/// ```
pub trait Propagate: Send + Sync {
    /// The names of the attributes that have the context. In a process with the propagator, handlers do not
    /// see attributes of these names: those that are passed on by
    /// [`attributes(ctx.attributes())`](crate::Context::attributes) would name the span of the former sender
    /// instead of the one that sends.
    fn fields(&self) -> &[&'static str];

    /// Writes the context of a span into the attributes of a message that is about to be sent. Names that the
    /// sender has set are to be left alone.
    ///
    /// What is written is dropped if the message had too many attributes with it, or would be too large.
    fn inject(&self, span: &Span, attributes: &mut Attributes);

    /// Reads the context of a sender, for a span that was not entered yet. The attributes are those of the
    /// names in [`fields`](Self::fields), as a peer has sent them: ones that make no sense are to be ignored.
    /// There are some, unless the relation is [`LeftOut`](Relation::LeftOut).
    fn extract(&self, attributes: &Attributes, span: &Span, relation: Relation);

    /// Decides whether a message is left out of the traces, before a span is made for it. By default none is: each
    /// message has its spans.
    ///
    /// At the sender, `span` is the current one, and the attributes are those that the message has so far: the context
    /// of a trace that is left out may be written there. At the receiver, `span` is disabled, and the attributes are
    /// those of the names in [`fields`](Self::fields); it is asked only about messages of which the sender has not
    /// decided so.
    ///
    /// No span of the targets `conclib::request` and `conclib::handle` is made for a message that is left out. Its
    /// handler has one of the target `conclib::handle::unsampled`, for logs, and what it asks and tells is left out
    /// with the same context, without a call of this function.
    fn leave_out(&self, span: &Span, attributes: &mut Attributes) -> bool {
        let _ = (span, attributes);
        false
    }
}

/// True within the handler of a message that is left out of the traces: see [`Propagate::leave_out`]. Spans that it
/// makes itself are to be left out as well, by the sampler of the program. `EarlySampler` of `conclib-opentelemetry` asks
/// it.
///
/// ```
/// // Outside of handlers, nothing is.
/// assert!(!conclib::trace::is_left_out());
/// ```
pub fn is_left_out() -> bool {
    Current::left_out().is_some()
}

/// The relation of a handler's span to that of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Relation {
    /// The sender waits for the answer: the span is part of the sender's.
    Child,
    /// The sender does not wait, or the message was stored in between: the span begins a trace of its own,
    /// with a link to the sender's.
    Linked,
    /// The message is [left out](Propagate::leave_out) of the traces, by its sender or here: the span is for logs, and
    /// is to be left out of the traces as well.
    LeftOut,
}

/// A propagator, as configs share it.
pub(crate) type SharedPropagator = Arc<dyn Propagate>;

/// Writes the context of a span into the attributes of a message, unless they are too many with it, or
/// have more than `room` bytes.
#[cfg(feature = "bus")]
pub(crate) fn inject(
    propagator: &dyn Propagate,
    span: &Span,
    attributes: &mut Attributes,
    room: usize,
) {
    let before = attributes.clone();
    propagator.inject(span, attributes);
    if attributes.check().is_err() || attributes.bytes() > room {
        *attributes = before;
    }
}

/// True if a subscriber may want the spans of messages across the bus: without one, nothing is sent along or read.
#[inline]
pub(crate) fn is_wanted() -> bool {
    Level::INFO <= LevelFilter::current()
}

/// Leaves a message that is about to be sent out of the traces, unless it is to have a span.
#[cfg(feature = "bus")]
pub(crate) fn leave_out(propagator: &dyn Propagate, attributes: &mut Attributes) -> bool {
    if let Some(left_out) = Current::left_out() {
        attributes.insert_missing(left_out.context());
        return true;
    }
    propagator.leave_out(&Span::current(), attributes)
}

/// Takes the context of a message that is left out of the traces from its attributes, if they are too many with it,
/// or have more than `room` bytes.
#[cfg(feature = "bus")]
pub(crate) fn fit(propagator: &dyn Propagate, attributes: &mut Attributes, room: usize) {
    if attributes.check().is_err() || attributes.bytes() > room {
        attributes.split_off(propagator.fields());
    }
}

#[cfg(all(test, feature = "bus", not(conclib_loom)))]
mod tests {
    use super::*;

    /// Writes one attribute.
    struct Fixed;

    impl Propagate for Fixed {
        fn fields(&self) -> &[&'static str] {
            &["context"]
        }

        fn inject(&self, _: &Span, attributes: &mut Attributes) {
            attributes.insert("context", "12345");
        }

        fn extract(&self, _: &Attributes, _: &Span, _: Relation) {}
    }

    fn injected(mut attributes: Attributes, room: usize) -> Option<String> {
        let count = attributes.len();
        inject(&Fixed, &Span::none(), &mut attributes, room);
        let context = attributes.remove("context");
        assert_eq!(attributes.len(), count);
        context
    }

    #[test]
    fn context_is_dropped_where_it_does_not_fit() {
        let many = |count: usize| (0..count).map(|n| (n.to_string(), "x")).collect();
        let size = "context12345".len();
        assert_eq!(injected(Attributes::new(), size).as_deref(), Some("12345"));
        assert_eq!(injected(Attributes::new(), size - 1), None);
        assert!(injected(many(Attributes::MAX_LEN - 1), usize::MAX).is_some());
        assert_eq!(injected(many(Attributes::MAX_LEN), usize::MAX), None);
        let large = |bytes| Attributes::from([("a", "x".repeat(bytes - 1))]);
        assert!(injected(large(Attributes::MAX_BYTES - size), usize::MAX).is_some());
        assert_eq!(
            injected(large(Attributes::MAX_BYTES - size + 1), usize::MAX),
            None
        );
    }
}
