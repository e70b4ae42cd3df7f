//! Events that a test and its actors record, and values that record or panic when dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events in their order; shared by a test and its actors.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Adds an entry.
    pub fn add(&self, entry: impl Into<String>) {
        self.lock().push(entry.into());
    }

    /// All entries.
    pub fn entries(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// The number of entries.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value whose drop panics.
#[derive(Debug)]
pub struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("dropped, on purpose");
    }
}

/// A value whose drop adds an entry to a log.
#[derive(Debug)]
pub struct LogsDrop(pub Log, pub &'static str);

impl Drop for LogsDrop {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}
