//! The claim of an entry by a consumer.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::transport::stream::{Attempts, EntryId, PendingEntry};

pub(super) struct Claim {
    pub(super) consumer: u64,
    pub(super) last_heartbeat: Instant,
    /// Added to the time since the last heartbeat.
    pub(super) extra_idle: Duration,
    pub(super) attempts: Attempts,
}

impl Claim {
    pub(super) fn new(consumer: u64, attempts: Attempts) -> Self {
        Self {
            consumer,
            last_heartbeat: Instant::now(),
            extra_idle: Duration::ZERO,
            attempts,
        }
    }

    pub(super) fn seen_by(&self, consumer: u64, id: EntryId) -> PendingEntry {
        PendingEntry {
            id,
            attempts: self.attempts,
            is_own: self.consumer == consumer,
        }
    }

    /// The time since the last heartbeat.
    pub(super) fn idle(&self) -> Duration {
        self.last_heartbeat
            .elapsed()
            .saturating_add(self.extra_idle)
    }
}
