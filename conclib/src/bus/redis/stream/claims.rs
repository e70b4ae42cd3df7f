//! The claims of entries, as a consumer sees them.

use std::time::Duration;

use fred::types::Resp3Frame;

use crate::bus::redis::stream::entries::EntryClaim;
use crate::bus::redis::stream::{RedisConsumer, entries, unexpected};
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{AliveWithin, EntryId, ForeignPage, PendingEntry};

impl RedisConsumer {
    /// True for a claim of another consumer, with a heartbeat within `alive`.
    pub(super) fn is_foreign(&self, claim: &EntryClaim, alive: AliveWithin) -> bool {
        let alive = if self.is_predecessors(claim) {
            alive.predecessors
        } else {
            alive.foreign
        };
        claim.consumer != self.name && claim.idle < alive
    }

    /// True for a claim of an earlier consumer of the same instance.
    pub(super) fn is_predecessors(&self, claim: &EntryClaim) -> bool {
        let instance = self.instance.as_deref();
        claim.consumer != self.name
            && instance.is_some_and(|instance| claim.consumer.starts_with(instance))
    }

    /// Looks through up to `count` claims after `after`, and lists those that are wanted and have had no
    /// heartbeat for `idle`.
    pub(super) async fn claims_page(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
        is_wanted: impl Fn(&EntryClaim) -> bool + Send,
    ) -> Result<ForeignPage, TransportError> {
        let count = i64::from(count);
        let arguments = vec![format!("({after}").into(), "+".into(), count.into()];
        let listed = self.request("XPENDING", arguments).await?;
        let listed = entries::claims(listed).ok_or_else(unexpected)?;
        let last = listed.last().map(|claim| claim.id);
        let is_page = i64::try_from(listed.len()).is_ok_and(|length| length >= count);
        let wanted = listed.iter().filter(|claim| is_wanted(claim));
        let (idle, alive): (Vec<_>, Vec<_>) = wanted.partition(|claim| claim.idle >= idle);
        let pending = idle.into_iter().map(|claim| claim.seen_by(&self.name));
        Ok(ForeignPage {
            pending: pending.collect(),
            has_alive: !alive.is_empty(),
            next: last.filter(|_| is_page),
        })
    }

    /// Decodes the list of `XPENDING`, as this consumer sees it.
    pub(super) fn pending_of(
        &self,
        listed: Resp3Frame,
    ) -> Result<Vec<PendingEntry>, TransportError> {
        let listed = entries::claims(listed).ok_or_else(unexpected)?;
        Ok(listed
            .iter()
            .map(|claim| claim.seen_by(&self.name))
            .collect())
    }
}
