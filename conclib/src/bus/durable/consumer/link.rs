//! The consumer's end of the stream, and the settings of its node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::bus::config::Config;
use crate::bus::link::log_once::LogOnce;
use crate::bus::server::ProxyShared;
use crate::bus::server::counters::DurableCounters;
use crate::bus::transport::ServerTime;
use crate::bus::transport::stream::{AliveWithin, Attempts, EntryId, StreamConsumer, StreamEntry};
use crate::time::backoff::Backoff;

/// The approximate size of the frames or results in one batch, in bytes. The lease is renewed on the
/// same connection, and must not wait for a larger one.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;

/// The maximum number of entries in one call to the stream.
pub(super) const PAGE: usize = 512;

/// The maximum number of entries in one read.
pub(super) const READ_COUNT: usize = 128;

/// The assumed size of a message before any was read, in bytes: large, so that the first batches are
/// not huge.
pub(super) const EXPECTED_SIZE: usize = 64 * 1024;

/// A due time is looked at again after this time at the latest: the bus' clock may have been set.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// The maximum number of prefetched messages without duplicates, rounded up.
const MAX_PREFETCHED: u64 = 1024;

/// The time without a heartbeat that lets every consumer claim an entry at once.
const RELEASED: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits of a consumer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// An entry without a heartbeat for this time is claimed by another consumer.
    pub(super) visibility: Duration,
    /// The interval of heartbeats.
    pub(super) heartbeat: Duration,
    /// A message without an actor for this time becomes a dead letter.
    pub(super) missing: Duration,
    /// The pauses after failed deliveries.
    pub(super) retry: Backoff,
    pub(super) max_deliveries: u32,
    /// The time for which results are cached.
    pub(super) result_ttl: Duration,
    /// The maximum size of a message or a response, in bytes.
    pub(super) max_message: usize,
    /// The maximum number of entries that are kept track of: the maximum length of the stream, and the
    /// prefetched ones.
    pub(super) max_known: usize,
    /// The maximum number of delayed messages.
    pub(super) max_delayed: u64,
}

impl Limits {
    fn new(config: &Config) -> Self {
        Self {
            visibility: config.visibility_timeout,
            heartbeat: heartbeat(config),
            missing: config.missing_timeout,
            retry: config.retry_backoff,
            max_deliveries: config.max_deliveries,
            result_ttl: config.result_ttl,
            max_message: config.max_message_size,
            max_known: usize::try_from(config.max_stream_len.saturating_add(MAX_PREFETCHED))
                .unwrap_or(usize::MAX),
            max_delayed: config.max_stream_len,
        }
    }
}

/// The interval of heartbeats. The next process of an instance waits for no more than the length of a
/// lease until it takes an entry over without one.
fn heartbeat(config: &Config) -> Duration {
    let timeout = if config.instance.is_empty() {
        config.visibility_timeout
    } else {
        config.visibility_timeout.min(config.lease_duration)
    };
    timeout / 3
}

/// The owner of the lease, seen after entries were claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// This process: it may deliver the entries.
    Ours,
    /// Another process, which claims the entries.
    Others,
    /// It cannot be seen now, or this process stops. The entries stay claimed here, and are not
    /// delivered.
    Unknown,
}

/// Shared by all parts of a consumer.
pub(super) struct ConsumerLink {
    pub(super) shared: Arc<ProxyShared>,
    pub(super) transport: Arc<dyn StreamConsumer>,
    pub(super) limits: Limits,
    pub(super) log: LogOnce,
}

impl ConsumerLink {
    pub(super) fn new(shared: Arc<ProxyShared>, transport: Arc<dyn StreamConsumer>) -> Self {
        Self {
            limits: Limits::new(&shared.config),
            log: shared.log.clone(),
            shared,
            transport,
        }
    }

    pub(super) fn counters(&self) -> &DurableCounters {
        &self.shared.counters.durable
    }

    /// The time since its last heartbeat within which an entry of an earlier process of this instance is
    /// not taken over: that process may handle it if it has released the lease in good order.
    pub(super) fn predecessors_alive(&self) -> Duration {
        if self.shared.former.was_released() {
            self.former_lease()
        } else {
            Duration::ZERO
        }
    }

    /// The length of the lease that the system before this one had; that of this one if it is not known.
    pub(super) fn former_lease(&self) -> Duration {
        let known = self.shared.former.lease_length();
        known.unwrap_or(self.shared.config.lease_duration)
    }

    /// The time since its last heartbeat within which another consumer may handle an entry.
    pub(super) fn alive_within(&self) -> AliveWithin {
        AliveWithin {
            foreign: self.limits.visibility,
            predecessors: self.predecessors_alive(),
        }
    }

    /// The time of the bus; zero before its clock was first read.
    pub(super) fn bus_time(&self, moment: Instant) -> ServerTime {
        self.shared.clock.to_bus(moment).unwrap_or_default()
    }

    /// The moment at which a due time comes, or a look at it is to be taken.
    pub(super) fn due_moment(&self, due: ServerTime, now: Instant) -> Instant {
        self.shared.clock.to_local(due, now, MAX_WAIT)
    }

    /// Looks at the lease after entries were claimed: another process of this instance may have taken it.
    /// (Without an instance, no other system has the lease before this one knows.)
    pub(super) async fn ownership(&self, claimed: &[StreamEntry]) -> Ownership {
        let shared = &self.shared;
        if claimed.is_empty() || shared.config.instance.is_empty() {
            return Ownership::Ours;
        }
        let Some(epoch) = shared.epoch() else {
            return Ownership::Unknown;
        };
        match shared.transport.owner().await {
            Ok(Some(owner)) if owner == epoch => Ownership::Ours,
            // Most likely this process has released the lease just now, which is no loss.
            Ok(_) if shared.stop.is_cancelled() => Ownership::Unknown,
            Ok(Some(_)) => {
                shared.lose_lease(epoch, "another process has it");
                Ownership::Others
            }
            Ok(None) => {
                shared.lose_lease(epoch, "the bus does not know it any more");
                Ownership::Unknown
            }
            Err(error) => {
                debug!(%error, "cannot see whether this process still serves: its last durable messages wait");
                Ownership::Unknown
            }
        }
    }

    /// Creates the stream and its group again: a bus that has lost its data has lost both.
    pub(super) async fn create_group(&self) {
        if let Err(error) = self.transport.create_group().await {
            debug!(%error, "cannot create the stream of durable messages and its group");
        }
    }

    /// Sends a heartbeat for claimed entries. Without the lease another consumer may have claimed them.
    pub(super) async fn extend_claims(&self, ids: &[EntryId]) {
        if !self.shared.may_execute() {
            return;
        }
        for ids in ids.chunks(PAGE) {
            if let Err(error) = self.transport.extend_claims(ids).await {
                return debug!(%error, "cannot send heartbeats for durable messages");
            }
        }
    }

    /// Releases entries with these deliveries to every consumer, at once. Without the lease another
    /// consumer may have claimed them.
    pub(super) async fn release(&self, entries: Vec<(EntryId, Attempts)>) {
        if self.shared.may_execute() {
            self.write_attempts(entries, RELEASED).await;
        }
    }

    /// Writes the deliveries of claimed entries to the stream. Without the lease another consumer may
    /// have claimed them.
    pub(super) async fn set_attempts(&self, entries: Vec<(EntryId, Attempts)>) {
        if self.shared.may_execute() {
            self.set_own_attempts(entries).await;
        }
    }

    /// Writes the deliveries of entries that were claimed just now.
    pub(super) async fn set_own_attempts(&self, entries: Vec<(EntryId, Attempts)>) {
        self.write_attempts(entries, Duration::ZERO).await;
    }

    async fn write_attempts(&self, entries: Vec<(EntryId, Attempts)>, idle: Duration) {
        let mut by_attempts = BTreeMap::<Attempts, Vec<EntryId>>::new();
        for (id, attempts) in entries {
            by_attempts.entry(attempts).or_default().push(id);
        }
        for (attempts, ids) in by_attempts {
            for ids in ids.chunks(PAGE) {
                if let Err(error) = self.transport.release(ids, attempts, idle).await {
                    return debug!(%error, "cannot write the deliveries of durable messages");
                }
            }
        }
    }
}
