//! Logging once that something begins to fail, and once that it is over. No I/O.

use std::sync::atomic::{AtomicBool, Ordering};

/// True while something fails that is tried again and again.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicBool);

impl Outage {
    /// An attempt has failed; true for the first one since there was success.
    pub(crate) fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// An attempt has succeeded; true if one had failed before.
    pub(crate) fn ends(&self) -> bool {
        // Mostly there is nothing to write, and other processors keep what they have read.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_begins_once_and_ends_once() {
        let outage = Outage::default();
        assert!(!outage.ends());
        for _ in 0..2 {
            assert!(outage.begins());
            assert!(!outage.begins() && !outage.begins());
            assert!(outage.ends());
            assert!(!outage.ends());
        }
    }
}
