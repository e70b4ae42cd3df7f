//! Shares of the bounds on bytes from the bus, and the attributes of a request, which have one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::message::attributes::Attributes;

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
    /// Those that have the trace context of the sender, which are not for the handler.
    pub(super) trace_context: Attributes,
    /// Their share of the bound on bytes from the bus: a handler that keeps its replies for later keeps
    /// their attributes too.
    #[expect(dead_code, reason = "held for its drop")]
    held: Option<HeldBytes>,
}

impl HeldAttributes {
    /// The attributes of a request, with their part of its share. Those with these names have its trace
    /// context.
    pub(super) fn new(
        mut attributes: Attributes,
        trace_fields: &[&'static str],
        held: Option<&mut HeldBytes>,
    ) -> Self {
        let held = held.map(|held| held.split(attributes.bytes()));
        Self {
            trace_context: attributes.split_off(trace_fields),
            attributes,
            held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_keep_their_share_until_they_are_dropped() {
        let total = Arc::<AtomicUsize>::default();
        let held = || total.load(Ordering::Relaxed);
        let mut request = HeldBytes::take(100, [Some(total.clone()), None]);
        let attributes = Attributes::from([("tenant", "7"), ("trace", "abc")]);
        let kept = HeldAttributes::new(attributes, &["trace", "state"], Some(&mut request));
        assert_eq!(kept.attributes, Attributes::from([("tenant", "7")]));
        assert_eq!(kept.trace_context, Attributes::from([("trace", "abc")]));
        assert_eq!(held(), 100);
        drop(request); // its handler has begun
        assert_eq!(held(), 15);
        drop(kept);
        assert_eq!(held(), 0);
    }
}
