//! The cached results of durable messages on the bus in memory.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::time::Instant;

/// Cached results by dedup key, with the time at which they expire.
#[derive(Default)]
pub(super) struct MemoryResultCache {
    results: HashMap<String, (Bytes, Instant)>,
    /// The dedup keys, in the order of expiry if all results have the same time to live.
    expiries: VecDeque<(Instant, String)>,
}

impl MemoryResultCache {
    pub(super) fn get(&self, dedup_key: &str, now: Instant) -> Option<Bytes> {
        let (result, expires) = self.results.get(dedup_key)?;
        (*expires > now).then(|| result.clone())
    }

    pub(super) fn insert(&mut self, dedup_key: String, result: Bytes, expires: Instant) {
        self.expiries.push_back((expires, dedup_key.clone()));
        self.results.insert(dedup_key, (result, expires));
    }

    pub(super) fn remove_expired(&mut self, now: Instant) {
        while let Some((expires, _)) = self.expiries.front()
            && *expires <= now
            && let Some((_, dedup_key)) = self.expiries.pop_front()
        {
            // The result may have been written again since.
            let result = self.results.get(&dedup_key);
            if result.is_some_and(|(_, expires)| *expires <= now) {
                self.results.remove(&dedup_key);
            }
        }
    }
}
