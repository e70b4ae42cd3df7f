//! Shares of the bounds on bytes from the bus, and the attributes of a request, which have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::Span;

use crate::message::attributes::Attributes;
use crate::trace::{Propagate, is_wanted};

/// A share of up to two bounds on bytes, released on drop.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    bounds: [Option<Arc<AtomicUsize>>; 2],
    bytes: usize,
}

impl HeldBytes {
    /// Takes `bytes` of each bound.
    pub(crate) fn take(bytes: usize, bounds: [Option<Arc<AtomicUsize>>; 2]) -> Self {
        for held in bounds.iter().flatten() {
            held.fetch_add(bytes, Ordering::Relaxed);
        }
        Self { bounds, bytes }
    }

    /// Divides the share: the returned part has `bytes` of it.
    fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            bounds: self.bounds.clone(),
            bytes,
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        for held in self.bounds.iter().flatten() {
            held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// The attributes of a request, which its handler may read until it has replied.
pub(super) struct HeldAttributes {
    pub(super) attributes: Attributes,
    /// Those that are not for the handler.
    pub(super) trace: TraceOfSender,
    /// Their share of the bound on bytes from the bus: a handler that keeps its replies for later keeps
    /// their attributes too.
    #[expect(dead_code, reason = "held for its drop")]
    held: Option<HeldBytes>,
}

impl HeldAttributes {
    /// The attributes of a request, with their part of its share. The propagator takes the trace context from
    /// them, and decides whether the request is left out of the traces.
    pub(super) fn new(
        mut attributes: Attributes,
        propagator: Option<&dyn Propagate>,
        held: Option<&mut HeldBytes>,
    ) -> Self {
        let held = held.map(|held| held.split(attributes.bytes()));
        let trace = propagator.map(|propagator| TraceOfSender::take(propagator, &mut attributes));
        Self {
            attributes,
            trace: trace.unwrap_or_default(),
            held,
        }
    }

    /// True if the request has no attributes, and its trace is not known.
    pub(super) fn is_empty(&self) -> bool {
        let has_trace = match &self.trace {
            TraceOfSender::Context(context) => !context.is_empty(),
            TraceOfSender::LeftOut(_) => true,
        };
        self.attributes.is_empty() && !has_trace
    }
}

/// The trace that the sender of a request has.
pub(super) enum TraceOfSender {
    /// The spans of the handler continue it. Without a context, they begin one.
    Context(Attributes),
    /// There are no spans: that context is passed on.
    LeftOut(Arc<Attributes>),
}

impl TraceOfSender {
    /// Takes the trace context from the attributes of a request.
    fn take(propagator: &dyn Propagate, attributes: &mut Attributes) -> Self {
        let mut context = attributes.split_off(propagator.fields());
        if is_wanted() && propagator.leave_out(&Span::none(), &mut context) {
            Self::LeftOut(Arc::new(context))
        } else {
            Self::Context(context)
        }
    }
}

impl Default for TraceOfSender {
    fn default() -> Self {
        Self::Context(Attributes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Relation;

    /// Reads its attributes, and makes no spans.
    struct NoSpans;

    impl Propagate for NoSpans {
        fn fields(&self) -> &[&'static str] {
            &["trace", "state"]
        }

        fn inject(&self, _: &Span, _: &mut Attributes) {}

        fn extract(&self, _: &Attributes, _: &Span, _: Relation) {}
    }

    #[test]
    fn attributes_keep_their_share_until_they_are_dropped() {
        let total = Arc::<AtomicUsize>::default();
        let held = || total.load(Ordering::Relaxed);
        let mut request = HeldBytes::take(100, [Some(total.clone()), None]);
        let attributes = Attributes::from([("tenant", "7"), ("trace", "abc")]);
        let kept = HeldAttributes::new(attributes, Some(&NoSpans), Some(&mut request));
        assert_eq!(kept.attributes, Attributes::from([("tenant", "7")]));
        let TraceOfSender::Context(context) = &kept.trace else {
            panic!("no subscriber is there");
        };
        assert_eq!(*context, Attributes::from([("trace", "abc")]));
        assert_eq!(held(), 100);
        drop(request); // its handler has begun
        assert_eq!(held(), 15);
        drop(kept);
        assert_eq!(held(), 0);
    }
}
