//! Messages for actors that are missing: deferred until an actor has the URN, or until they have waited
//! too long.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::durable::prefetch::deferred::{Deferred, Resumable};
use crate::bus::durable::prefetch::{Delivery, DeliveryTicket, Prefetch};
use crate::bus::transport::stream::{Attempts, EntryId};

/// An actor that is about to start, or to start again, is waited for this long before its messages are
/// deferred.
const START_TIME: Duration = Duration::from_secs(1);

/// The maximum number of URNs that are looked up at a time.
const MAX_LOOKUPS: usize = 8192;

/// The maximum number of messages that end at a time, since no actor came.
const MAX_EXPIRED: usize = 128;

impl Prefetch {
    /// No actor has the URN of a queue in which messages wait. If that stays so, they are deferred, and
    /// returned with the deliveries so far.
    pub(crate) fn found_no_actor(&mut self, urn: &str, now: Instant) -> Vec<(EntryId, Attempts)> {
        let Some(queue) = self.queues.by_urn.get_mut(urn) else {
            return Vec::new();
        };
        let since = *queue.missing_since.get_or_insert(now);
        if now < since + START_TIME {
            queue.pause.lengthen(now);
            return Vec::new();
        }
        let tickets: Vec<DeliveryTicket> = queue.waiting.iter().copied().collect();
        let waiting = tickets.iter().filter_map(|ticket| self.get(*ticket));
        let entries = waiting.flat_map(Delivery::undelivered).collect();
        self.wait_for_actor(urn, now);
        self.defer_again(&tickets);
        entries
    }

    /// Defers a message that is not claimed here until an actor has its URN.
    pub(crate) fn defer_without_actor(
        &mut self,
        urn: &str,
        id: EntryId,
        attempts: Attempts,
        now: Instant,
    ) {
        self.wait_for_actor(urn, now);
        let deferred = Deferred::unclaimed(id, attempts);
        self.defer(urn, deferred, VecDeque::push_back);
    }

    fn wait_for_actor(&mut self, urn: &str, now: Instant) {
        let queue = self.queues.by_urn.entry(urn.to_owned()).or_default();
        queue.missing_since.get_or_insert(now);
        if !std::mem::replace(&mut queue.waits_for_actor, true) {
            self.queues.without_actor.push_back(urn.to_owned());
        }
    }

    /// True if messages are deferred until an actor has their URN.
    pub(crate) fn waits_for_actors(&self) -> bool {
        !self.queues.without_actor.is_empty()
    }

    /// Lets the messages continue whose URNs an actor has now. Returns those that have expired
    /// meanwhile, by the time since which their actor is missing: they stay deferred until they are
    /// [`resumed`](Self::resumed).
    pub(crate) fn look_for_actors(
        &mut self,
        has_actor: impl Fn(&str) -> bool,
        is_expired: impl Fn(Instant, EntryId) -> bool,
    ) -> Vec<Resumable> {
        let mut expired = Vec::new();
        for _ in 0..MAX_LOOKUPS.min(self.queues.without_actor.len()) {
            let Some(urn) = self.queues.without_actor.pop_front() else {
                break;
            };
            let Some(queue) = self.queues.by_urn.get_mut(&urn) else {
                continue;
            };
            if queue.deferred.is_empty() || has_actor(&urn) {
                queue.waits_for_actor = false;
                queue.missing_since = None;
                if !queue.deferred.is_empty() && !std::mem::replace(&mut queue.in_rotation, true) {
                    self.queues.rotation.push_back(urn);
                } else {
                    self.queues.drop_if_empty(&urn);
                }
                continue;
            }
            if let Some(since) = queue.missing_since {
                let too_old = |one: &&Deferred| is_expired(since, one.id);
                let ended = queue.deferred.iter().take_while(too_old);
                let ended = ended.take(MAX_EXPIRED - expired.len());
                expired.extend(ended.map(|one| one.of_queue(&urn)));
            }
            self.queues.without_actor.push_back(urn);
        }
        expired
    }
}
