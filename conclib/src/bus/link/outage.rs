//! Detects the first failure and the first success of repeated attempts, for one log entry each. No
//! I/O.

use std::sync::atomic::{AtomicBool, Ordering};

/// True while repeated attempts fail.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicBool);

impl Outage {
    /// Records a failed attempt; true for the first one after a success.
    pub(crate) fn record_failure(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Records a successful attempt; true if the one before had failed.
    pub(crate) fn record_success(&self) -> bool {
        // Usually nothing changes: a read leaves the value in the caches of other processors.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_begins_once_and_ends_once() {
        let outage = Outage::default();
        assert!(!outage.record_success());
        for _ in 0..2 {
            assert!(outage.record_failure());
            assert!(!outage.record_failure() && !outage.record_failure());
            assert!(outage.record_success());
            assert!(!outage.record_success());
        }
    }
}
