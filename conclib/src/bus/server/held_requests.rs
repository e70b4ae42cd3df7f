//! The bound on the requests that wait in mailboxes, shared between the actors: one that is stuck
//! leaves room for the others. No I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::reply::held::HeldBytes;
use crate::urn::Urn;

/// Total size of the requests that may wait in mailboxes, in bytes.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Below this total actors are not told apart, which would cost a look-up for each request.
const SHARED_BYTES: usize = MAX_BYTES / 4;

/// The total may exceed its bound by this factor, by requests of actors that have none yet.
const MAX_OVERSHOOT: usize = 2;

/// Number of actors beyond which those without requests are forgotten.
const KEPT_ACTORS: usize = 1024;

/// The requests of one lease term that wait in mailboxes.
pub(super) struct HeldRequests {
    /// In all terms.
    total: Arc<AtomicUsize>,
    /// Bytes for each actor, of the requests that came while the total was large.
    by_actor: HashMap<Urn, Arc<AtomicUsize>>,
}

impl HeldRequests {
    pub(super) fn new(total: Arc<AtomicUsize>) -> Self {
        Self {
            total,
            by_actor: HashMap::new(),
        }
    }

    /// Takes a share for a request; `None` if too many wait. An actor may have as much as is left for
    /// all, and one that has none may have its first.
    pub(super) fn acquire(&mut self, urn: &Urn, bytes: usize) -> Option<HeldBytes> {
        let total = self.total.load(Ordering::Relaxed);
        if total < SHARED_BYTES {
            return Some(HeldBytes::take(bytes, [Some(self.total.clone()), None]));
        }
        let actor = self.actor(urn);
        let held = actor.load(Ordering::Relaxed);
        let is_fair = held.saturating_add(bytes) <= MAX_BYTES.saturating_sub(total);
        let is_first = held == 0 && total < MAX_OVERSHOOT * MAX_BYTES;
        let bounds = [Some(self.total.clone()), Some(actor)];
        (is_fair || is_first).then(|| HeldBytes::take(bytes, bounds))
    }

    fn actor(&mut self, urn: &Urn) -> Arc<AtomicUsize> {
        if let Some(held) = self.by_actor.get(urn) {
            return held.clone();
        }
        if self.by_actor.len() >= KEPT_ACTORS {
            self.by_actor
                .retain(|_, held| held.load(Ordering::Relaxed) > 0);
        }
        self.by_actor.entry(urn.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn urn(name: &str) -> Urn {
        Urn::new(name).unwrap()
    }

    #[test]
    fn stuck_actor_leaves_room_for_others() {
        let total = Arc::<AtomicUsize>::default();
        let mut requests = HeldRequests::new(total.clone());
        let (stuck, other) = (urn("stuck"), urn("other"));
        let held: Vec<_> = (0..100)
            .map_while(|_| requests.acquire(&stuck, MIB))
            .collect();
        assert!((32..=48).contains(&held.len()), "{}", held.len());
        // The other one has nothing when its next request comes, and may have half of what is left.
        for _ in 0..1_000 {
            assert!(requests.acquire(&other, 4 * MIB).is_some());
        }
        let others: Vec<_> = (0..100)
            .map_while(|_| requests.acquire(&other, MIB))
            .collect();
        assert!(others.len() >= 8, "{}", others.len());
        assert!(total.load(Ordering::Relaxed) <= MAX_BYTES);
        drop((held, others));
        assert_eq!(total.load(Ordering::Relaxed), 0);
        assert!(requests.acquire(&stuck, MIB).is_some());
    }

    #[test]
    fn total_and_table_are_bounded() {
        let total = Arc::<AtomicUsize>::default();
        let mut requests = HeldRequests::new(total.clone());
        let mut held = Vec::new();
        for number in 0..10_000 {
            held.extend(requests.acquire(&urn(&format!("actor/{number}")), MIB));
        }
        assert_eq!(held.len(), MAX_OVERSHOOT * MAX_BYTES / MIB);
        held.truncate(MAX_BYTES / MIB);
        for number in 0..10_000 {
            drop(requests.acquire(&urn(&format!("passing/{number}")), MIB));
        }
        assert!(requests.by_actor.len() <= KEPT_ACTORS + MAX_BYTES / MIB);
    }
}
