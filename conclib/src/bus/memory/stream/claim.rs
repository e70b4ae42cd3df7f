//! The claim of an entry by a consumer.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::memory::stream::MemoryConsumer;
use crate::bus::transport::stream::{AliveWithin, Attempts, EntryId, ForeignPage, PendingEntry};

pub(super) struct Claim {
    /// The number of the consumer.
    pub(super) consumer: u64,
    /// The instance of the consumer; `None` if it has none.
    pub(super) instance: Option<Arc<str>>,
    pub(super) last_heartbeat: Instant,
    /// Added to the time since the last heartbeat.
    pub(super) extra_idle: Duration,
    pub(super) attempts: Attempts,
}

impl Claim {
    pub(super) fn new(consumer: &MemoryConsumer, attempts: Attempts) -> Self {
        Self {
            consumer: consumer.number,
            instance: consumer.instance.clone(),
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
    pub(super) fn is_foreign(&self, claim: &Claim, alive: AliveWithin) -> bool {
        let alive = if self.is_predecessors(claim) {
            alive.predecessors
        } else {
            alive.foreign
        };
        claim.consumer != self.number && claim.idle() < alive
    }

    /// True for a claim of an earlier consumer of the same instance.
    pub(super) fn is_predecessors(&self, claim: &Claim) -> bool {
        let is_same = self.instance.is_some() && claim.instance == self.instance;
        is_same && claim.consumer != self.number
    }

    /// Looks through up to `count` claims after `after`, and lists those that are wanted and have had no
    /// heartbeat for `idle`.
    pub(super) fn claims_page(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
        is_wanted: impl Fn(&Claim) -> bool,
    ) -> ForeignPage {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.store.with(|state| {
            let behind = state.claims.range((Excluded(after), Unbounded));
            let page: Vec<_> = behind.take(count).collect();
            let last = page.last().map(|(id, _)| **id);
            let is_page = page.len() == count;
            let wanted = page.into_iter().filter(|(_, claim)| is_wanted(claim));
            let (idle, alive): (Vec<_>, Vec<_>) =
                wanted.partition(|(_, claim)| claim.idle() >= idle);
            let pending = idle.into_iter();
            ForeignPage {
                pending: pending
                    .map(|(id, claim)| claim.seen_by(self.number, *id))
                    .collect(),
                has_alive: !alive.is_empty(),
                next: last.filter(|_| is_page),
            }
        })
    }
}
