//! The leases of nodes as an inspector has read them last: with one, a request takes one round trip instead of two.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::transport::{Epoch, ServerTime};

/// Time for which a lease is used after it was read. A request to a term that is over is sent again.
const KEPT: Duration = Duration::from_secs(1);

/// The number of leases from which on those that are too old are removed.
const MANY: usize = 256;

/// The leases that were read last.
#[derive(Default)]
pub(super) struct KnownLeases {
    by_node: Mutex<HashMap<String, KnownLease>>,
}

#[derive(Clone, Copy)]
struct KnownLease {
    epoch: Epoch,
    /// The time of the bus when it was read.
    there: ServerTime,
    read: Instant,
}

impl KnownLeases {
    /// The epoch of a node, and the time of the bus now.
    pub(super) fn get(&self, node: &str) -> Option<(Epoch, ServerTime)> {
        let known = *self.by_node.lock().get(node)?;
        let age = known.read.elapsed();
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let now = ServerTime(known.there.0.saturating_add(millis));
        (age < KEPT).then_some((known.epoch, now))
    }

    pub(super) fn note(&self, node: &str, epoch: Epoch, there: ServerTime) {
        let read = Instant::now();
        let mut by_node = self.by_node.lock();
        if by_node.len() >= MANY {
            by_node.retain(|_, known| known.read.elapsed() < KEPT);
        }
        by_node.insert(node.to_owned(), KnownLease { epoch, there, read });
    }

    pub(super) fn forget(&self, node: &str) {
        self.by_node.lock().remove(node);
    }
}
