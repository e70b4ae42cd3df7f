//! Counters of a client.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::bus::client::shared::ClientShared;
use crate::bus::fleet::stats::MemberCounts;
use crate::bus::link::log_once::AnomalyCount;
use crate::bus::protocol::Kind;
use crate::error::{AskError, OutcomeCounters, OutcomeCounts};
use crate::message::ActorMessage;
use crate::time::durations::{DurationHistogram, Stopwatch};

use by_message::CountersByMessage;

mod by_message;

/// The counters of a client, by [`ProxyClient::stats`](crate::ProxyClient::stats).
///
/// A request counts once, with the outcome that its caller gets: also one that was never sent, and one that
/// was repeated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ClientStats {
    /// Asks, except durable ones.
    pub asks: OutcomeCounts,
    /// Tells, except durable ones. An `ok` says that the bus has accepted it.
    pub tells: OutcomeCounts,
    /// Durable asks and tells.
    pub durable: OutcomeCounts,
    /// Requests whose callers stopped waiting before the end, by dropping the future.
    pub abandoned: u64,
    /// Repetitions by `.retry()`.
    pub retries: u64,
    /// Requests that a member of the [fleet](crate::Config::fleet) did not take, and that went on to another or
    /// waited for one.
    pub rerouted: u64,
    /// The members of the fleet as the client sees them; `None` for a client of one node.
    pub members: Option<MemberCounts>,
    /// Answers that came after their requests had ended.
    pub late_answers: u64,
    /// Requests that are under way now.
    pub in_flight: usize,
    /// The size of these requests, in bytes.
    pub in_flight_bytes: usize,
    /// Asks by message, durable ones included. Empty without the feature `metrics`, which counts them. The first 512
    /// messages have an entry of their own, and the others are together in one named `_OTHER`.
    pub messages: Vec<MessageStats>,
    /// The times of commands to the bus: of requests until the bus has accepted them, and of reads of a lease. Empty
    /// without the feature `metrics`.
    pub round_trips: DurationHistogram,
    /// Connections that were lost.
    pub connection_losses: u32,
    /// Input from the bus that could not be used. Kinds that have not occurred are left out.
    pub anomalies: Vec<AnomalyCount>,
}

/// The asks of one message, in [`ClientStats`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MessageStats {
    /// The name of the message, or `_OTHER`.
    pub message: Cow<'static, str>,
    /// Its fields and its response, as the client knows them: see [`MessageSchema`](crate::message::MessageSchema).
    pub schema: Option<Cow<'static, str>>,
    /// The outcomes, as their callers see them.
    pub asks: OutcomeCounts,
    /// The times until the callers had their outcomes, repetitions by `.retry()` included.
    pub times: DurationHistogram,
}

/// Counters of requests, as they end.
#[derive(Default)]
pub(super) struct ClientCounters {
    asks: OutcomeCounters,
    tells: OutcomeCounters,
    durable: OutcomeCounters,
    messages: CountersByMessage,
    abandoned: AtomicU64,
    retries: AtomicU64,
}

impl ClientCounters {
    /// Records the outcome of a request, which has taken the time of `stopwatch`.
    pub(super) fn record<M: ActorMessage, T>(
        &self,
        (kind, is_durable): (Kind, bool),
        stopwatch: Stopwatch,
        outcome: &Result<T, AskError>,
    ) {
        let of_kind = match kind {
            _ if is_durable => &self.durable,
            Kind::Tell => &self.tells,
            _ => &self.asks,
        };
        of_kind.record(outcome);
        if cfg!(feature = "metrics") && kind == Kind::Ask {
            self.messages.record::<M, T>(stopwatch, outcome);
        }
    }

    pub(super) fn record_abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn record_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientShared {
    pub(super) fn stats(&self) -> ClientStats {
        let counters = &self.counters;
        let pending = self.pending();
        let (in_flight, in_flight_bytes) = (pending.len(), pending.bytes());
        let (rerouted, late_answers) = (pending.rerouted(), pending.late_answers());
        drop(pending);
        let members = self.with_router(|router| router.member_counts());
        ClientStats {
            asks: counters.asks.read(),
            tells: counters.tells.read(),
            durable: counters.durable.read(),
            abandoned: counters.abandoned.load(Ordering::Relaxed),
            retries: counters.retries.load(Ordering::Relaxed),
            rerouted,
            members,
            messages: counters.messages.read(),
            round_trips: self.link.clock.round_trips(),
            late_answers,
            in_flight,
            in_flight_bytes,
            connection_losses: self.health.losses(),
            anomalies: self.replies.anomalies(),
        }
    }
}
