//! What other consumers still have in hand when this one begins to serve.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::bus::durable::consumer::{BATCH_BYTES, Consumer, PAGE};
use crate::bus::durable::foreign_claims::HeldMessage;
use crate::bus::durable::prefetch::EntrySource;
use crate::bus::durable::redelivery::STREAM_BACKOFF;
use crate::bus::durable::result_cache as record;
use crate::bus::protocol::Received;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{Attempts, EntryId, StreamEntry};

/// How often to look whether others have ended what is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// How many messages of others are kept in mind. One that stops has not so many with actors.
const MOST: usize = 8192;

/// How many are looked through at a time. Most are only parked, or given back.
const PEEK: u32 = 4096;

impl Consumer {
    /// True while messages may be given to actors.
    pub(super) fn is_serving(&self) -> bool {
        self.fence.as_ref().is_some_and(|fence| fence.is_open())
    }

    /// Waits until this system has the lease, and looks what others still have: from then on they
    /// take nothing more. False if it never will.
    pub(super) async fn begin_to_serve(&mut self) -> bool {
        let mut failures = 0;
        while self.shared.reigns().await {
            let reigning = self.shared.reigning.borrow().clone();
            let Some((fence, _)) = reigning else {
                continue; // not reached: there is a reign
            };
            match self.look_elsewhere().await {
                Ok(()) => {}
                Err(TransportError::NotDone(why)) if why.starts_with("NOPERM") => {
                    warn!(%why, "what others still have cannot be seen, and may be done twice");
                    self.foreign.replace(Vec::new());
                }
                Err(why) => {
                    debug!(%why, "what others still have cannot be seen yet");
                    self.make_the_stream().await;
                    sleep(STREAM_BACKOFF.delay(failures)).await;
                    failures += 1;
                    continue;
                }
            }
            let before = self.fence.replace(fence.clone());
            if before.is_none_or(|before| !Arc::ptr_eq(&before, &fence)) {
                self.prefetch.forget_what_rests(); // others may have had it
                self.quarantine.clear(Instant::now());
            }
            return true;
        }
        false
    }

    async fn look_elsewhere(&mut self) -> Result<(), TransportError> {
        let ids = self.with_actors_elsewhere().await?;
        let mut theirs = Vec::new();
        let mut rest = &ids[..];
        while !rest.is_empty() {
            let count = self.mean.frames(BATCH_BYTES, rest.len());
            let (some, behind) = rest.split_at(count);
            for kept in self.transport.read_entries(some).await? {
                self.mean.learn(kept.frame.len());
                theirs.extend(scope_of(&kept).map(|dedup_key| (kept.id, dedup_key)));
            }
            rest = behind;
        }
        self.foreign.replace(theirs);
        Ok(())
    }

    /// What actors of others may have. What was not delivered once is only parked there.
    async fn with_actors_elsewhere(&mut self) -> Result<Vec<EntryId>, TransportError> {
        let alive = self.limits.visibility;
        let mut ids = Vec::new();
        let mut next = Some(EntryId::default());
        while let Some(after) = next
            && ids.len() < MOST
        {
            let others = self.transport.foreign_claims(after, alive, PEEK).await?;
            let pending = others.pending.iter();
            let delivered = pending.filter(|one| one.attempts.deliveries > 0);
            ids.extend(delivered.map(|one| one.id));
            next = others.next;
        }
        if ids.len() > MOST {
            ids.truncate(MOST);
            warn!(
                MOST,
                "others have more messages in prefetch than can be kept in mind"
            );
        }
        Ok(ids)
    }

    /// Takes in again what has waited for others, if they have ended it or nothing was heard of
    /// them.
    pub(super) async fn look_whether_others_are_done(&mut self) {
        let now = Instant::now();
        if self.foreign.next().is_none_or(|next| now < next) {
            return;
        }
        self.foreign.look_again(now + LOOK);
        let awaited = self.foreign.awaited();
        self.forget_what_others_have_not(&awaited).await;
        let free = self.foreign.free();
        let resumable: Vec<_> = free.iter().map(|one| (one.id, one.attempts)).collect();
        let done = self
            .take(&resumable, Duration::ZERO, EntrySource::Stream)
            .await
            .min(free.len());
        for waiting in free.into_iter().skip(done) {
            self.foreign.wait(waiting, now + LOOK);
        }
        self.foreign.look_again(now + LOOK);
    }

    /// Looks which of these others still have.
    pub(super) async fn forget_what_others_have_not(&mut self, ids: &[EntryId]) {
        for some in ids.chunks(PAGE) {
            match self
                .transport
                .still_foreign(some, self.limits.visibility)
                .await
            {
                Ok(still) => {
                    let gone = some.iter().filter(|id| !still.contains(id));
                    gone.for_each(|id| self.foreign.forget(*id));
                }
                Err(why) => return debug!(%why, "what others still have cannot be seen"),
            }
        }
    }

    /// Has a message wait until others have ended the same one, which they have. Its places are
    /// held meanwhile; returns them, with how often each was delivered before.
    pub(super) fn hold_for_other_consumer(
        &mut self,
        ticket: u64,
        now: Instant,
    ) -> Vec<(EntryId, Attempts)> {
        let Some(delivery) = self.prefetch.settle(ticket) else {
            return Vec::new();
        };
        let places = delivery.attempts().into_iter();
        let places: Vec<_> = places
            .map(|(id, attempts)| (id, attempts.before()))
            .collect();
        for (id, attempts) in &places {
            let waiting = HeldMessage {
                id: *id,
                attempts: *attempts,
                dedup_key: delivery.message.dedup_key.clone(),
            };
            self.foreign.wait(waiting, now);
        }
        places
    }
}

/// The scope of a message that can be read as one.
fn scope_of(kept: &StreamEntry) -> Option<String> {
    let request = Received::decode(&kept.frame).ok()?;
    Some(record::dedup_key(request.urn, request.message, &kept.key))
}
