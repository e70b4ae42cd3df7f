//! Requests that their askers have cancelled, until their deadlines.
//!
//! Most requests are never cancelled, so a request has no entry here; a cancellation has one, until
//! the request's deadline or end. It is looked up before a request is handled or answered. A handler
//! that waits for its cancellation has an entry of its own meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::reply::remote::{Origin, Responder};

/// Number of cancellations that are kept. Beyond it, those with the latest deadlines are dropped: a peer
/// that cancels at random with far deadlines displaces its own.
pub(super) const MAX_CANCELLED: usize = 16_384;

#[derive(Default)]
pub(super) struct CancelledRequests {
    /// Number of cancellations: read for each request, without a lock, and nearly always 0.
    count: AtomicUsize,
    table: Mutex<CancellationTable>,
}

#[derive(Default)]
struct CancellationTable {
    /// The cancelled requests, and their deadlines …
    requests: HashMap<Origin, Instant>,
    /// … and the same in the order of the deadlines.
    by_deadline: BTreeSet<(Instant, Origin)>,
    /// Responders of handlers that wait for a cancellation.
    watched: HashMap<Origin, Weak<Responder>>,
}

impl CancelledRequests {
    /// Adds a cancellation, or returns the responder that watches for it.
    pub(super) fn insert(
        &self,
        origin: Origin,
        deadline: Instant,
        now: Instant,
    ) -> Option<Arc<Responder>> {
        let mut table = self.table.lock();
        let watched = table.watched.get(&origin).and_then(Weak::upgrade);
        if watched.is_none() && deadline > now {
            table.expire(now);
            table.insert(origin, deadline);
        }
        self.update_count(&table);
        watched
    }

    #[inline]
    pub(super) fn contains(&self, origin: Origin) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.contains_now(origin)
    }

    fn contains_now(&self, origin: Origin) -> bool {
        let mut table = self.table.lock();
        // Expired ones go, so that after the last cancellation requests need no lock again.
        table.expire(Instant::now());
        self.update_count(&table);
        table.requests.contains_key(&origin)
    }

    /// Removes a request that has ended; true if it was cancelled.
    #[inline]
    pub(super) fn remove(&self, origin: Origin) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.remove_known(origin)
    }

    fn remove_known(&self, origin: Origin) -> bool {
        let mut table = self.table.lock();
        let removed = table.remove(origin);
        self.update_count(&table);
        removed
    }

    pub(super) fn watch(&self, origin: Origin, responder: Weak<Responder>) {
        self.table.lock().watched.insert(origin, responder);
    }

    pub(super) fn unwatch(&self, origin: Origin) {
        self.table.lock().watched.remove(&origin);
    }

    fn update_count(&self, table: &CancellationTable) {
        self.count.store(table.requests.len(), Ordering::Release);
    }
}

impl CancellationTable {
    fn insert(&mut self, origin: Origin, deadline: Instant) {
        self.remove(origin); // cancelled twice
        self.requests.insert(origin, deadline);
        self.by_deadline.insert((deadline, origin));
        if self.requests.len() > MAX_CANCELLED
            && let Some((_, last)) = self.by_deadline.pop_last()
        {
            self.requests.remove(&last);
        }
    }

    fn remove(&mut self, origin: Origin) -> bool {
        let Some(deadline) = self.requests.remove(&origin) else {
            return false;
        };
        self.by_deadline.remove(&(deadline, origin));
        true
    }

    /// Removes the cancellations whose deadlines have passed.
    fn expire(&mut self, now: Instant) {
        while let Some((deadline, origin)) = self.by_deadline.first().copied()
            && deadline <= now
        {
            self.by_deadline.pop_first();
            self.requests.remove(&origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reply::remote::ClientId;

    const SECOND: Duration = Duration::from_secs(1);

    fn origin(id: u64) -> Origin {
        let client = ClientId([7; 16]);
        Origin { client, id }
    }

    #[tokio::test(start_paused = true)]
    async fn cancellation_lasts_until_deadline_or_end() {
        let cancelled = CancelledRequests::default();
        let now = Instant::now();
        cancelled.insert(origin(1), now + SECOND, now);
        cancelled.insert(origin(2), now + 3 * SECOND, now);
        cancelled.insert(origin(3), now, now); // expired already
        assert!(cancelled.contains(origin(1)) && cancelled.contains(origin(2)));
        assert!(!cancelled.contains(origin(3)) && !cancelled.contains(origin(4)));
        assert!(cancelled.remove(origin(2)) && !cancelled.remove(origin(2)));
        assert_eq!(cancelled.count.load(Ordering::Acquire), 1);
        tokio::time::advance(SECOND).await;
        assert!(!cancelled.contains(origin(1)));
        assert_eq!(cancelled.count.load(Ordering::Acquire), 0);
        assert!(cancelled.table.lock().by_deadline.is_empty());
    }

    #[test]
    fn number_of_cancellations_is_bounded() {
        let cancelled = CancelledRequests::default();
        let now = Instant::now();
        for id in 0..100_000 {
            cancelled.insert(origin(id), now + 10 * SECOND, now);
            cancelled.insert(origin(id), now + 20 * SECOND, now); // cancelled twice
        }
        let table = cancelled.table.lock();
        assert_eq!(table.requests.len(), MAX_CANCELLED);
        assert_eq!(table.by_deadline.len(), MAX_CANCELLED);
        assert!(table.requests.capacity() < 4 * MAX_CANCELLED);
        drop(table);
        // With an earlier deadline than those.
        cancelled.insert(origin(100_000), now + 10 * SECOND, now);
        assert!(cancelled.contains(origin(100_000)));
    }
}
