//! Which requests their askers have given up, for as long as that matters.
//!
//! Most requests are never given up, so nothing is kept for a request: a client's word is, until the
//! request's deadline. Whoever is about to handle a request, or to answer it, looks here. A handler
//! that waits to be told has an entry of its own meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use crate::reply::remote::{Origin, Responder};

/// So many are remembered. When more come, those are forgotten whose deadlines end them first.
pub(super) const MAX_GIVEN_UP: usize = 16_384;

#[derive(Default)]
pub(super) struct GivenUp {
    /// How many there are: looked at for each request, without a lock, and nearly always 0.
    count: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The requests that were given up, and their deadlines …
    requests: HashMap<Origin, Instant>,
    /// … and the same in the order in which these come.
    by_deadline: BTreeSet<(Instant, Origin)>,
    /// Whom to tell at once.
    watched: HashMap<Origin, Weak<Responder>>,
}

impl GivenUp {
    /// A client has given a request up. If somebody wants to be told, that one is; whoever it is
    /// comes back.
    pub(super) fn insert(
        &self,
        origin: Origin,
        deadline: Instant,
        now: Instant,
    ) -> Option<Arc<Responder>> {
        let mut state = self.lock();
        let watched = state.watched.get(&origin).and_then(Weak::upgrade);
        if watched.is_none() && deadline > now {
            state.expire(now);
            state.insert(origin, deadline);
        }
        self.count(&state);
        watched
    }

    #[inline]
    pub(super) fn contains(&self, origin: Origin) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.look_for(origin)
    }

    fn look_for(&self, origin: Origin) -> bool {
        let mut state = self.lock();
        // So that nobody has to look any more some time after the last was given up.
        state.expire(Instant::now());
        self.count(&state);
        state.requests.contains_key(&origin)
    }

    /// The request has ended; true if it had been given up.
    #[inline]
    pub(super) fn remove(&self, origin: Origin) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.take_out(origin)
    }

    fn take_out(&self, origin: Origin) -> bool {
        let mut state = self.lock();
        let removed = state.remove(origin);
        self.count(&state);
        removed
    }

    pub(super) fn watch(&self, origin: Origin, responder: Weak<Responder>) {
        self.lock().watched.insert(origin, responder);
    }

    pub(super) fn unwatch(&self, origin: Origin) {
        self.lock().watched.remove(&origin);
    }

    fn count(&self, state: &State) {
        self.count.store(state.requests.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, origin: Origin, deadline: Instant) {
        self.remove(origin); // said twice
        if self.requests.len() >= MAX_GIVEN_UP
            && let Some((_, first)) = self.by_deadline.pop_first()
        {
            self.requests.remove(&first);
        }
        self.requests.insert(origin, deadline);
        self.by_deadline.insert((deadline, origin));
    }

    fn remove(&mut self, origin: Origin) -> bool {
        let Some(deadline) = self.requests.remove(&origin) else {
            return false;
        };
        self.by_deadline.remove(&(deadline, origin));
        true
    }

    /// Forgets those whose deadlines have passed.
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
    async fn a_request_is_given_up_until_its_deadline_or_its_end() {
        let given_up = GivenUp::default();
        let now = Instant::now();
        given_up.insert(origin(1), now + SECOND, now);
        given_up.insert(origin(2), now + 3 * SECOND, now);
        given_up.insert(origin(3), now, now); // that says its deadline already
        assert!(given_up.contains(origin(1)) && given_up.contains(origin(2)));
        assert!(!given_up.contains(origin(3)) && !given_up.contains(origin(4)));
        assert!(given_up.remove(origin(2)) && !given_up.remove(origin(2)));
        assert_eq!(given_up.count.load(Ordering::Acquire), 1);
        tokio::time::advance(SECOND).await;
        assert!(!given_up.contains(origin(1)));
        assert_eq!(given_up.count.load(Ordering::Acquire), 0);
        assert!(given_up.lock().by_deadline.is_empty());
    }

    #[test]
    fn however_many_are_given_up_few_are_remembered() {
        let given_up = GivenUp::default();
        let now = Instant::now();
        for id in 0..100_000 {
            given_up.insert(origin(id), now + 10 * SECOND, now);
            given_up.insert(origin(id), now + 20 * SECOND, now); // said twice
        }
        let state = given_up.lock();
        assert_eq!(state.requests.len(), MAX_GIVEN_UP);
        assert_eq!(state.by_deadline.len(), MAX_GIVEN_UP);
        assert!(state.requests.capacity() < 4 * MAX_GIVEN_UP);
        drop(state);
        assert!(given_up.contains(origin(99_999)));
    }
}
