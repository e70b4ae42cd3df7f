//! The claim of an entry by a consumer.

use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::memory::stream::{MemoryConsumer, StreamState};
use crate::bus::transport::stream::{Attempts, EntryId, ForeignPage, PendingEntry};

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

impl MemoryConsumer {
    /// True for a claim of another consumer, with a heartbeat within `alive`.
    pub(super) fn is_foreign(&self, state: &StreamState, claim: &Claim, alive: Duration) -> bool {
        claim.consumer != self.number && !self.is_predecessors(state, claim) && claim.idle() < alive
    }

    /// True for a claim of an earlier consumer of the same instance.
    pub(super) fn is_predecessors(&self, state: &StreamState, claim: &Claim) -> bool {
        let instance = self.instance.as_ref();
        let consumers = instance.and_then(|instance| state.instances.get(instance));
        claim.consumer != self.number
            && consumers.is_some_and(|consumers| consumers.contains(&claim.consumer))
    }

    /// Lists up to `count` claims after `after`, those that are wanted.
    pub(super) fn claims_page(
        &self,
        after: EntryId,
        count: u32,
        is_wanted: impl Fn(&StreamState, &Claim) -> bool,
    ) -> ForeignPage {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.store.with(|state| {
            let behind = state.claims.range((Excluded(after), Unbounded));
            let page: Vec<_> = behind.take(count).collect();
            let last = page.last().map(|(id, _)| **id);
            let wanted = page.iter().filter(|(_, claim)| is_wanted(state, claim));
            ForeignPage {
                pending: wanted
                    .map(|(id, claim)| claim.seen_by(self.number, **id))
                    .collect(),
                next: last.filter(|_| page.len() == count),
            }
        })
    }
}
