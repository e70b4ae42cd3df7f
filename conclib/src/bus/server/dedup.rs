//! Duplicate requests: sent again by a client after a connection broke, or restored by a Redis that
//! came back with data in which they had not been taken yet. No I/O.
//!
//! A client numbers its requests and sends them in that order. So a request that is not newer than the
//! newest one is a duplicate, of any age.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::reply::remote::{ClientId, Origin};

/// Number of clients that are remembered. Beyond it, one that would be remembered longest is
/// forgotten: a peer that invents clients with far deadlines displaces its own.
const MAX_CLIENTS: usize = 65_536;

/// Number of remembered clients among which the one to be forgotten is chosen.
const CHOICES: usize = 32;

/// Time for which a client is remembered after its last deadline. Its requests are not executed after
/// that deadline anyway, unless another Redis with another clock has taken over.
const RETENTION: Duration = Duration::from_secs(60);

/// Interval at which expired clients are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Deduplicator {
    clients: HashMap<ClientId, Newest>,
    /// The ids of the clients, in the order of [`Newest::place`].
    ids: Vec<ClientId>,
    swept: Option<Instant>,
    /// A client was forgotten before its time, or not recorded.
    has_forgotten: bool,
}

/// The newest request of a client.
struct Newest {
    /// Its id.
    id: u64,
    /// The moment until which the client is remembered.
    until: Instant,
    /// The client's index in the list of ids.
    place: usize,
}

impl Deduplicator {
    /// True if there were more clients than can be remembered: a request that is no duplicate may have been taken
    /// before.
    pub(super) fn has_forgotten(&self) -> bool {
        self.has_forgotten
    }

    /// True if this request, or a newer one of its client, was recorded.
    pub(super) fn is_duplicate(&self, origin: Origin) -> bool {
        let seen = self.clients.get(&origin.client);
        seen.is_some_and(|seen| !is_newer(origin.id, seen.id))
    }

    /// Records a request that is no duplicate, and its deadline: of a refused request `now`, since its
    /// client sends it again soon, or never.
    pub(super) fn record(&mut self, origin: Origin, deadline: Instant, now: Instant) {
        let id = origin.id;
        let until = deadline.max(now) + RETENTION;
        if let Some(seen) = self.clients.get_mut(&origin.client) {
            seen.id = id;
            seen.until = seen.until.max(until);
            return;
        }
        self.sweep(now);
        if self.clients.len() >= MAX_CLIENTS {
            self.has_forgotten = true;
            if !self.forget_longest(until) {
                return;
            }
        }
        let place = self.ids.len();
        self.ids.push(origin.client);
        self.clients
            .insert(origin.client, Newest { id, until, place });
    }

    /// Forgets, of some clients, the one that would be remembered longest; false if a client until that
    /// moment would be remembered longer still.
    fn forget_longest(&mut self, until: Instant) -> bool {
        let choices = (0..CHOICES).filter_map(|_| fastrand::choice(&self.ids));
        let longest = choices
            .filter_map(|id| self.clients.get(id).map(|seen| (seen.until, *id)))
            .max();
        match longest {
            Some((latest, id)) if latest >= until => {
                self.remove(id);
                true
            }
            _ => false,
        }
    }

    fn remove(&mut self, id: ClientId) {
        if let Some(Newest { place, .. }) = self.clients.remove(&id) {
            self.ids.swap_remove(place);
            if let Some(moved) = self.ids.get(place)
                && let Some(seen) = self.clients.get_mut(moved)
            {
                seen.place = place;
            }
        }
    }

    /// Removes expired clients; at intervals, since it visits all.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now >= swept + SWEEP_INTERVAL) {
            self.swept = Some(now);
            let ended = self.clients.iter().filter(|(_, seen)| seen.until <= now);
            for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.remove(id);
            }
        }
    }
}

/// Ids start at random and wrap around.
fn is_newer(id: u64, than: u64) -> bool {
    let ahead = id.wrapping_sub(than);
    ahead != 0 && ahead <= u64::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(client: u32, id: u64) -> Origin {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&client.to_le_bytes());
        let client = ClientId(bytes);
        Origin { client, id }
    }

    /// Records a request; true if it is a duplicate.
    fn record(dedup: &mut Deduplicator, origin: Origin, deadline: Instant, now: Instant) -> bool {
        let seen = dedup.is_duplicate(origin);
        if !seen {
            dedup.record(origin, deadline, now);
        }
        seen
    }

    #[test]
    fn request_that_is_not_newer_is_a_duplicate() {
        let mut dedup = Deduplicator::default();
        let now = Instant::now();
        let mut seen = |client, id| record(&mut dedup, origin(client, id), now, now);
        assert!(!seen(1, u64::MAX - 1));
        assert!(seen(1, u64::MAX - 1));
        assert!(!seen(1, u64::MAX));
        assert!(!seen(1, 3)); // around the end
        assert!(seen(1, 2));
        assert!(seen(1, u64::MAX));
        assert!(!seen(2, 3));
    }

    #[test]
    fn client_is_forgotten_after_its_requests_have_expired() {
        let mut dedup = Deduplicator::default();
        let start = Instant::now();
        let hour = Duration::from_secs(3_600);
        assert!(!record(&mut dedup, origin(1, 1), start + hour, start));
        assert!(!record(&mut dedup, origin(2, 1), start, start));
        assert!(!record(&mut dedup, origin(3, 1), start, start + hour));
        assert!(dedup.is_duplicate(origin(1, 1)));
        assert!(!dedup.is_duplicate(origin(2, 1)));
        assert_eq!(dedup.clients.len(), 2);
    }

    #[test]
    fn peer_that_invents_clients_displaces_its_own() {
        let mut dedup = Deduplicator::default();
        let now = Instant::now();
        let hour = Duration::from_secs(3_600);
        for client in 0..1_000 {
            dedup.record(origin(client, 1), now, now);
        }
        for client in 1_000..200_000 {
            dedup.record(origin(client, 1), now + 24 * hour, now);
        }
        for client in 200_000..210_000 {
            dedup.record(origin(client, 1), now, now);
            assert!(dedup.is_duplicate(origin(client, 1)));
        }
        let kept = (0..1_000).chain(200_000..210_000);
        assert!(
            kept.into_iter()
                .all(|client| dedup.is_duplicate(origin(client, 1)))
        );
        assert_eq!(dedup.clients.len(), MAX_CLIENTS);
        assert!(dedup.has_forgotten());
        // All others end; the list of ids follows.
        dedup.record(origin(0, 2), now + 100 * hour, now + 48 * hour);
        dedup.record(origin(1, 2), now + 100 * hour, now + 49 * hour);
        dedup.record(origin(300_000, 2), now + 100 * hour, now + 50 * hour);
        assert_eq!(dedup.ids.len(), dedup.clients.len());
        assert!(dedup.ids.len() <= 3);
    }

    #[test]
    fn number_of_clients_is_bounded() {
        let mut dedup = Deduplicator::default();
        let now = Instant::now();
        for client in 0..100_000 {
            dedup.record(origin(client, 1), now, now);
        }
        assert_eq!(dedup.clients.len(), MAX_CLIENTS);
    }
}
