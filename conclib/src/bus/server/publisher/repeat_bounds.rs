//! The bounds on frames that wait to be published again, since no client received them. No I/O.
//!
//! A peer can ask under made-up ids, whose answers no client ever receives. So clients that have
//! received an answer before, and only reconnect, do not share a bound with those that have not.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::reply::remote::ClientId;

/// Size of the waiting frames of known clients, in bytes. One that has none waiting may exceed it with
/// its first.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The size that is counted for a smaller frame.
const MIN_BYTES: usize = 1024;

/// Number of waiting frames of strangers …
const MAX_STRANGERS: usize = 64;

/// … and their size in bytes.
const MAX_STRANGER_BYTES: usize = 4 * 1024 * 1024;

/// Half of the number of clients that are known.
const KNOWN_CLIENTS: usize = 32_768;

/// Bounds the frames that wait to be published again.
#[derive(Default, Clone)]
pub(super) struct RepeatBounds(Arc<Mutex<WaitingFrames>>);

#[derive(Default)]
struct WaitingFrames {
    /// Clients that have received a reply: the latest …
    known: HashSet<ClientId>,
    /// … and those before them.
    known_before: HashSet<ClientId>,
    /// Bytes of the waiting frames of known clients.
    bytes: usize,
    by_client: HashMap<ClientId, usize>,
    strangers: usize,
    stranger_bytes: usize,
}

/// The place of a frame, given back on drop.
pub(super) struct RepeatPermit {
    bounds: RepeatBounds,
    client: ClientId,
    bytes: usize,
    is_known: bool,
}

impl RepeatBounds {
    /// Notes that a client has received a reply.
    pub(super) fn received(&self, client: ClientId) {
        let mut waiting = self.0.lock();
        if waiting.known.insert(client) && waiting.known.len() >= KNOWN_CLIENTS {
            waiting.known_before = mem::take(&mut waiting.known);
        }
    }

    /// Takes a place for a frame; `None` if too many wait.
    pub(super) fn acquire(&self, client: ClientId, bytes: usize) -> Option<RepeatPermit> {
        let bytes = bytes.max(MIN_BYTES);
        let mut waiting = self.0.lock();
        let is_known = waiting.known.contains(&client) || waiting.known_before.contains(&client);
        if is_known {
            let own = waiting.by_client.get(&client).copied().unwrap_or(0);
            let is_fair = own + bytes <= MAX_BYTES.saturating_sub(waiting.bytes);
            let is_first = own == 0 && waiting.bytes < 2 * MAX_BYTES;
            if !(is_fair || is_first) {
                return None;
            }
            waiting.bytes += bytes;
            *waiting.by_client.entry(client).or_default() += bytes;
        } else {
            let has_room = waiting.strangers < MAX_STRANGERS
                && waiting.stranger_bytes + bytes <= MAX_STRANGER_BYTES;
            // A frame that is larger than the bound waits alone.
            if !has_room && waiting.strangers > 0 {
                return None;
            }
            waiting.strangers += 1;
            waiting.stranger_bytes += bytes;
        }
        Some(RepeatPermit {
            bounds: self.clone(),
            client,
            bytes,
            is_known,
        })
    }
}

impl Drop for RepeatPermit {
    fn drop(&mut self) {
        let mut waiting = self.bounds.0.lock();
        if !self.is_known {
            waiting.strangers -= 1;
            waiting.stranger_bytes -= self.bytes;
            return;
        }
        waiting.bytes -= self.bytes;
        if let Some(own) = waiting.by_client.get_mut(&self.client) {
            *own -= self.bytes;
            if *own == 0 {
                waiting.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> ClientId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        ClientId(id)
    }

    #[test]
    fn strangers_take_no_place_of_known_clients() {
        let bounds = RepeatBounds::default();
        (0..400).for_each(|number| bounds.received(client(number)));
        let strangers: Vec<_> = (1_000..9_000)
            .filter_map(|number| bounds.acquire(client(number), 100))
            .collect();
        assert_eq!(strangers.len(), MAX_STRANGERS);
        let known: Vec<_> = (0..400)
            .filter_map(|number| bounds.acquire(client(number), 64 * 1024))
            .collect();
        assert_eq!(known.len(), 400);
        drop((known, strangers));
        let waiting = bounds.0.lock();
        assert_eq!((waiting.bytes, waiting.stranger_bytes), (0, 0));
        assert!(waiting.by_client.is_empty());
    }

    #[test]
    fn one_client_leaves_room_for_others() {
        let bounds = RepeatBounds::default();
        bounds.received(client(1));
        bounds.received(client(2));
        let acquire = |number| bounds.acquire(client(number), 1024 * 1024);
        let first: Vec<_> = (0..100).map_while(|_| acquire(1)).collect();
        assert_eq!(first.len(), 8);
        let second: Vec<_> = (0..100).map_while(|_| acquire(2)).collect();
        assert_eq!(second.len(), 4);
        assert!(acquire(2).is_none());
        bounds.received(client(3));
        assert!(acquire(3).is_some());
    }

    #[test]
    fn number_of_known_clients_is_bounded() {
        let bounds = RepeatBounds::default();
        (0..200_000).for_each(|number| bounds.received(client(number)));
        let waiting = bounds.0.lock();
        assert!(waiting.known.len() + waiting.known_before.len() <= 2 * KNOWN_CLIENTS);
        drop(waiting);
        assert!(bounds.acquire(client(199_999), 1).unwrap().is_known);
    }
}
