//! Counters of an actor system's end of the bus.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::bus::fleet::stats::FleetStats;
use crate::bus::link::log_once::AnomalyCount;
use crate::bus::server::ProxyShared;
use crate::bus::server::backlog::BacklogStats;
use crate::error::{ErrorCount, OutcomeCounters, OutcomeCounts};
use crate::time::durations::DurationHistogram;

/// The counters of a proxy, by [`Proxy::stats`](crate::Proxy::stats): of all its leases together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ProxyStats {
    /// The node that it serves.
    pub node: String,
    /// The number of its lease, while it has one.
    pub epoch: Option<u64>,
    /// Asks that were taken from the bus.
    pub received_asks: u64,
    /// Tells that were taken from the bus.
    pub received_tells: u64,
    /// Requests that could not be read, or for which there was no room in a read from the bus: refused unread.
    pub unread: u64,
    /// Asks, by the outcome that was sent to their callers: refused ones, and those that actors have handled.
    /// Durable ones are not among them.
    pub asks: OutcomeCounts,
    /// Asks without an answer, since their callers had given up.
    pub abandoned_asks: u64,
    /// Tells that no handler has begun, and why: their senders do not hear of it.
    pub lost_tells: Vec<ErrorCount>,
    /// Durable messages.
    pub durable: DurableStats,
    /// Requests of those who inspect and operate the process.
    pub operators: OperatorStats,
    /// What waits on the bus for the node, as it was last read; a call has it read again, once a second at most. `None`
    /// before the first read, and without the lease.
    pub backlog: Option<BacklogStats>,
    /// The membership in a fleet, if there is one.
    pub fleet: Option<FleetStats>,
    /// Reads of requests from the bus that have brought some: `received_asks` and `received_tells` by this are the requests of one
    /// read.
    pub reads: u64,
    /// The size of the requests that wait in mailboxes, in bytes.
    pub waiting_bytes: usize,
    /// The times of commands to the bus: of renewals of the lease. Empty without the feature `metrics`.
    pub round_trips: DurationHistogram,
    /// Leases that were lost.
    pub lease_losses: u64,
    /// Connections that were lost.
    pub connection_losses: u32,
    /// Input from the bus that could not be used, and replies that it did not take. Kinds that have not occurred
    /// are left out.
    pub anomalies: Vec<AnomalyCount>,
}

/// Counters of durable messages, in [`ProxyStats`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DurableStats {
    /// Messages that were handled.
    pub handled: u64,
    /// Repetitions of messages that had been handled: they got the former response.
    pub duplicates: u64,
    /// Messages whose idempotency key was used before with other contents.
    pub key_conflicts: u64,
    /// Deliveries that have failed, and are repeated.
    pub failed_deliveries: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Dead letters that were dropped, since there were too many.
    pub dropped_dead_letters: u64,
    /// Messages that this process has claimed now: they are with their actors, or next.
    pub in_flight: usize,
    /// Messages that wait in the stream for a reason known here: behind a full mailbox or an actor that is missing, or for a
    /// retry.
    pub deferred: usize,
}

/// Counters of inspections and actions, in [`ProxyStats`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OperatorStats {
    /// Inspections that were answered.
    pub inspections: u64,
    /// Actions that were executed, or have begun.
    pub actions: u64,
    /// Inspections and actions that were refused: not allowed, not possible, not known here, or too many.
    pub refused: u64,
}

/// The counters of a proxy, as they are kept.
#[derive(Default)]
pub(crate) struct ProxyCounters {
    pub(super) received_asks: AtomicU64,
    pub(super) received_tells: AtomicU64,
    pub(super) unread: AtomicU64,
    pub(super) reads: AtomicU64,
    asks: OutcomeCounters,
    abandoned_asks: AtomicU64,
    lost_tells: OutcomeCounters,
    pub(super) lease_losses: AtomicU64,
    pub(crate) durable: DurableCounters,
    pub(crate) operators: OperatorCounters,
}

/// The counters of durable messages, as they are kept.
#[derive(Default)]
pub(crate) struct DurableCounters {
    pub(crate) handled: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) key_conflicts: AtomicU64,
    pub(crate) failed_deliveries: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) dropped_dead_letters: AtomicU64,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) deferred: AtomicUsize,
}

/// The counters of inspections and actions, as they are kept.
#[derive(Default)]
pub(crate) struct OperatorCounters {
    pub(crate) inspections: AtomicU64,
    pub(crate) actions: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl ProxyCounters {
    /// The outcomes of asks.
    pub(super) fn asks(&self) -> &OutcomeCounters {
        &self.asks
    }

    pub(super) fn record_abandoned(&self) {
        count(&self.abandoned_asks);
    }

    /// The reasons for which tells were lost.
    pub(super) fn lost_tells(&self) -> &OutcomeCounters {
        &self.lost_tells
    }
}

impl OperatorCounters {
    fn read(&self) -> OperatorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OperatorStats {
            inspections: read(&self.inspections),
            actions: read(&self.actions),
            refused: read(&self.refused),
        }
    }
}

impl DurableCounters {
    fn read(&self) -> DurableStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DurableStats {
            handled: read(&self.handled),
            duplicates: read(&self.duplicates),
            key_conflicts: read(&self.key_conflicts),
            failed_deliveries: read(&self.failed_deliveries),
            dead_letters: read(&self.dead_letters),
            dropped_dead_letters: read(&self.dropped_dead_letters),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            deferred: self.deferred.load(Ordering::Relaxed),
        }
    }
}

impl ProxyShared {
    /// The number of connections that were lost: the state counts lost leases too.
    fn connection_losses(&self) -> u32 {
        let leases = self.counters.lease_losses.load(Ordering::Relaxed);
        let leases = u32::try_from(leases).unwrap_or(u32::MAX);
        self.health.losses().saturating_sub(leases)
    }

    pub(crate) fn stats(&self) -> ProxyStats {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProxyStats {
            node: self.node.clone(),
            epoch: self.epoch().map(|epoch| epoch.0),
            received_asks: read(&counters.received_asks),
            received_tells: read(&counters.received_tells),
            unread: read(&counters.unread),
            asks: counters.asks.read(),
            abandoned_asks: read(&counters.abandoned_asks),
            lost_tells: counters.lost_tells.read().errors,
            durable: counters.durable.read(),
            operators: counters.operators.read(),
            backlog: self.backlog.stats(&self.clock),
            fleet: self.fleet.as_ref().map(|fleet| fleet.stats()),
            reads: read(&counters.reads),
            waiting_bytes: self.undelivered.load(Ordering::Relaxed),
            round_trips: self.clock.round_trips(),
            lease_losses: read(&counters.lease_losses),
            connection_losses: self.connection_losses(),
            anomalies: self.log.counts(),
        }
    }
}
