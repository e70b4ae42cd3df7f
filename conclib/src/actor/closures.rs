//! The closures of `spawn_blocking` that run: a runtime that ends waits for them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::urn::Urn;

/// The running closures of a system, counted by actor.
#[derive(Default)]
pub(crate) struct RunningClosures(Mutex<HashMap<Urn, usize>>);

/// A closure that runs. Dropping this ends it.
pub(super) struct RunningClosure {
    all: Arc<RunningClosures>,
    /// The actor that has spawned it.
    urn: Urn,
}

impl RunningClosures {
    /// Counts a closure of this actor, which begins now.
    pub(super) fn begin(self: Arc<Self>, urn: Urn) -> RunningClosure {
        *self.0.lock().entry(urn.clone()).or_default() += 1;
        RunningClosure { all: self, urn }
    }

    /// The actors whose closures run, and how many closures each has.
    pub(crate) fn by_actor(&self) -> Vec<(Urn, usize)> {
        let closures = self.0.lock();
        let counts = closures.iter().map(|(urn, count)| (urn.clone(), *count));
        counts.collect()
    }

    /// True if none runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Drop for RunningClosure {
    fn drop(&mut self) {
        let mut closures = self.all.0.lock();
        if let Some(count) = closures.get_mut(&self.urn) {
            *count -= 1;
            if *count == 0 {
                closures.remove(&self.urn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closures_are_counted_while_they_run() {
        let closures = Arc::<RunningClosures>::default();
        let urn = |text: &'static str| Urn::new(text).unwrap();
        let begin = |text| closures.clone().begin(urn(text));
        let (first, second, other) = (begin("a"), begin("a"), begin("b"));
        let mut counts = closures.by_actor();
        counts.sort();
        assert_eq!(counts, [(urn("a"), 2), (urn("b"), 1)]);
        drop((first, other));
        assert_eq!(closures.by_actor(), [(urn("a"), 1)]);
        assert!(!closures.is_empty());
        drop(second);
        assert!(closures.is_empty());
    }
}
