//! The beginning of a lease term: the consumer lists the messages that other consumers still have.

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::bus::durable::consumer::Consumer;
use crate::bus::durable::consumer::backlog::Backlog;
use crate::bus::durable::consumer::fetch::Fetcher;
use crate::bus::durable::consumer::link::ConsumerLink;
use crate::bus::durable::result_cache::dedup_key;
use crate::bus::link::retry::STREAM_BACKOFF;
use crate::bus::protocol::Received;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{EntryId, StreamEntry};

/// The maximum number of foreign claims that are kept. A consumer that stops has fewer messages with
/// actors.
const MAX_FOREIGN: usize = 8192;

/// The number of claims that are looked through in one call. Most are of deferred or released entries.
const FOREIGN_PAGE: u32 = 4096;

impl Consumer {
    /// Waits until this system has the lease, and lists the claims of other consumers, which claim
    /// nothing more from then on. False if this system will never have the lease.
    pub(super) async fn begin_term(&mut self) -> bool {
        let mut failures = 0;
        while let Some(term) = self.link.shared.open_term_now().await {
            match self.fetch.foreign_claims().await {
                Ok(claims) => self.backlog.foreign.replace(claims),
                Err(TransportError::NotPermitted(reason)) => {
                    warn!(
                        reason,
                        "cannot list other consumers' claims (no permission); messages may be delivered twice"
                    );
                    self.backlog.foreign.replace(Vec::new());
                }
                Err(error) => {
                    debug!(%error, "cannot list other consumers' claims yet; durable messages wait");
                    self.link.create_group().await;
                    sleep(STREAM_BACKOFF.delay(failures)).await;
                    failures += 1;
                    continue;
                }
            }
            self.backlog.delayed.refresh().await;
            if self.deliver.begin_term(term.fence) {
                self.fetch.inherit(Instant::now());
                // No other system has had the lease since the term before, unless the bus has lost data:
                // messages keep their pauses.
                let Backlog {
                    prefetch, foreign, ..
                } = &mut self.backlog;
                prefetch.redeliveries.forget_all(|id| foreign.has_entry(id));
                self.backlog.quarantine.clear(Instant::now());
            }
            return true;
        }
        false
    }
}

impl Fetcher {
    /// The messages of other consumers that actors may have, with their dedup keys.
    async fn foreign_claims(&mut self) -> Result<Vec<(EntryId, String)>, TransportError> {
        let ids = list_foreign_claims(&self.link).await?;
        let mut claims = Vec::new();
        let mut rest = &ids[..];
        while !rest.is_empty() {
            let (entries, behind) = self.read_batch(rest).await?;
            let keys = entries.iter().filter_map(|entry| {
                let dedup_key = dedup_key_of(entry)?;
                Some((entry.id, dedup_key))
            });
            claims.extend(keys);
            rest = behind;
        }
        Ok(claims)
    }
}

/// Lists the entries of other consumers that were delivered. Others are only deferred there.
async fn list_foreign_claims(link: &ConsumerLink) -> Result<Vec<EntryId>, TransportError> {
    let alive = link.alive_within();
    let mut ids = Vec::new();
    let mut next = Some(EntryId::default());
    while let Some(after) = next
        && ids.len() < MAX_FOREIGN
    {
        let page = link.transport.foreign_claims(after, alive, FOREIGN_PAGE);
        let page = page.await?;
        let pending = page.pending.iter();
        let delivered = pending.filter(|one| one.attempts.deliveries > 0);
        ids.extend(delivered.map(|one| one.id));
        next = page.next;
    }
    if ids.len() > MAX_FOREIGN || next.is_some() {
        ids.truncate(MAX_FOREIGN);
        warn!(
            MAX_FOREIGN,
            "other consumers have claimed too many messages to keep track of; duplicates may be delivered"
        );
    }
    Ok(ids)
}

/// The dedup key of an entry, if it can be decoded.
fn dedup_key_of(entry: &StreamEntry) -> Option<String> {
    let request = Received::decode(&entry.frame).ok()?;
    Some(dedup_key(request.urn, request.message, &entry.key))
}
