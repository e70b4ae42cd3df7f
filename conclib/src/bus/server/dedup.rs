//! Requests that come twice: because a client sent them again after a connection broke, or because
//! a Redis came back with data in which they had not been taken yet. No I/O.
//!
//! A client numbers its requests and sends them in that order. So whatever is not newer than the
//! newest is a repeat, however long ago that was.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::reply::remote::{ClientId, Origin};

/// How many clients are remembered. For more, repeats are not noticed.
const MAX_CLIENTS: usize = 65_536;

/// How long a client is remembered after the last of its deadlines; past that its requests are not
/// executed anyway, unless another Redis with another clock has taken over.
const LONGER: Duration = Duration::from_secs(60);

/// How often those are looked for that may be forgotten.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Repeats {
    clients: HashMap<ClientId, Seen>,
    swept: Option<Instant>,
}

/// What came from a client.
struct Seen {
    /// The id of its newest request.
    newest: u64,
    /// Until when it has to be remembered.
    until: Instant,
}

impl Repeats {
    /// True if this request, or a newer one of its client, is remembered.
    pub(super) fn has_seen(&self, origin: Origin) -> bool {
        let seen = self.clients.get(&origin.client);
        seen.is_some_and(|seen| !is_newer(origin.id, seen.newest))
    }

    /// Remembers a request that has not been seen.
    pub(super) fn remember(&mut self, origin: Origin, deadline: Instant, now: Instant) {
        let newest = origin.id;
        let until = deadline.max(now) + LONGER;
        if let Some(seen) = self.clients.get_mut(&origin.client) {
            seen.newest = newest;
            seen.until = seen.until.max(until);
            return;
        }
        self.sweep(now);
        if self.clients.len() < MAX_CLIENTS {
            self.clients.insert(origin.client, Seen { newest, until });
        }
    }

    /// Forgets whom it may; now and then, since it looks at all.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now >= swept + SWEEP) {
            self.swept = Some(now);
            self.clients.retain(|_, seen| seen.until > now);
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

    /// Whether it had been seen; now it is.
    fn comes(repeats: &mut Repeats, origin: Origin, deadline: Instant, now: Instant) -> bool {
        let seen = repeats.has_seen(origin);
        if !seen {
            repeats.remember(origin, deadline, now);
        }
        seen
    }

    #[test]
    fn what_is_not_newer_has_been_seen() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        let mut seen = |client, id| comes(&mut repeats, origin(client, id), now, now);
        assert!(!seen(1, u64::MAX - 1));
        assert!(seen(1, u64::MAX - 1));
        assert!(!seen(1, u64::MAX));
        assert!(!seen(1, 3)); // around the end
        assert!(seen(1, 2));
        assert!(seen(1, u64::MAX));
        assert!(!seen(2, 3));
    }

    #[test]
    fn a_client_is_forgotten_once_its_requests_have_expired() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let hour = Duration::from_secs(3_600);
        assert!(!comes(&mut repeats, origin(1, 1), start + hour, start));
        assert!(!comes(&mut repeats, origin(2, 1), start, start));
        assert!(!comes(&mut repeats, origin(3, 1), start, start + hour));
        assert!(repeats.has_seen(origin(1, 1)));
        assert!(!repeats.has_seen(origin(2, 1)));
        assert_eq!(repeats.clients.len(), 2);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut repeats = Repeats::default();
        let now = Instant::now();
        for client in 0..100_000 {
            repeats.remember(origin(client, 1), now, now);
        }
        assert_eq!(repeats.clients.len(), MAX_CLIENTS);
    }
}
