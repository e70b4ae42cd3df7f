//! The span in which an actor was asked from within the process: that of its handler becomes a part of it.

use std::fmt;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, enabled};

use crate::deadlock::current::{Current, LeftOut};

/// The span of an asker, or the mark of one that is left out of the traces, and the moment at which it asked.
pub(crate) struct AskerSpan {
    span: Span,
    left_out: Option<LeftOut>,
    asked_at: Instant,
}

impl AskerSpan {
    /// The span of an ask that is sent now. `None` if no subscriber wants the spans of local messages: then
    /// an ask costs one relaxed load more.
    #[inline]
    pub(crate) fn current() -> Option<Box<Self>> {
        if Level::DEBUG <= LevelFilter::current() {
            Self::of_wanted()
        } else {
            None
        }
    }

    #[cold]
    fn of_wanted() -> Option<Box<Self>> {
        // The span of the handler is made with the same target and level.
        enabled!(target: "conclib::handle", Level::DEBUG).then(|| {
            Box::new(Self {
                span: Span::current(),
                left_out: Current::left_out(),
                asked_at: Instant::now(),
            })
        })
    }

    /// Makes a span as a part of the asker's. That one is entered for it: a subscriber of another thread may
    /// not know its number.
    pub(crate) fn child(&self, make: impl FnOnce() -> Span) -> Span {
        self.span.in_scope(make)
    }

    /// Present if the asker is left out of the traces.
    pub(crate) fn left_out(&self) -> Option<LeftOut> {
        self.left_out.clone()
    }

    /// The time since the ask was sent, in microseconds.
    pub(crate) fn queue_us(&self) -> i64 {
        micros_since(self.asked_at)
    }
}

impl fmt::Debug for AskerSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskerSpan")
    }
}

/// The time since that moment in microseconds: signed, as OpenTelemetry has integers.
pub(crate) fn micros_since(then: Instant) -> i64 {
    i64::try_from(then.elapsed().as_micros()).unwrap_or(i64::MAX)
}
