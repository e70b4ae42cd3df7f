//! Anomalies that a peer can cause at any rate: counted by kind, and logged once per kind, so that a
//! broken peer does not fill the log.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::urn::hidden::is_hidden;

/// A kind of input from the bus that could not be used, or of output that it did not take. The first one of each
/// kind is logged, and all are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Anomaly {
    /// A frame of answers that cannot be read.
    UnreadableReply,
    /// A request that cannot be read.
    UnreadableRequest,
    /// A request that came a second time, and was not executed again.
    DuplicateRequest,
    /// Requests that were popped when the lease could not be confirmed.
    UnconfirmedLease,
    /// A reply after the end of the proxy.
    ReplyAfterEnd,
    /// A reply for which there was no room, since too many wait for the bus.
    ReplyOverflow,
    /// A frame of replies whose client is not connected.
    UnreceivedReply,
    /// A durable message that cannot be read.
    UnreadableDurable,
    /// A result of a durable message that cannot be read.
    UnreadableResult,
    /// Results of durable messages that could not be stored.
    UnwrittenResult,
    /// A delayed message that could not be moved out of the stream.
    UndelayedMessage,
    /// A member of a fleet whose profile cannot be read.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    UnreadableMember,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A number of anomalies of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AnomalyCount {
    /// The kind.
    pub kind: Anomaly,
    /// The number of them so far.
    pub count: u64,
}

impl Anomaly {
    pub(crate) const ALL: [Self; 12] = [
        Self::UnreadableReply,
        Self::UnreadableRequest,
        Self::DuplicateRequest,
        Self::UnconfirmedLease,
        Self::ReplyAfterEnd,
        Self::ReplyOverflow,
        Self::UnreceivedReply,
        Self::UnreadableDurable,
        Self::UnreadableResult,
        Self::UnwrittenResult,
        Self::UndelayedMessage,
        Self::UnreadableMember,
    ];

    /// The name of the kind, as in a label: `duplicate_request`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableReply => "unreadable_reply",
            Self::UnreadableRequest => "unreadable_request",
            Self::DuplicateRequest => "duplicate_request",
            Self::UnconfirmedLease => "unconfirmed_lease",
            Self::ReplyAfterEnd => "reply_after_end",
            Self::ReplyOverflow => "reply_overflow",
            Self::UnreceivedReply => "unreceived_reply",
            Self::UnreadableDurable => "unreadable_durable",
            Self::UnreadableResult => "unreadable_result",
            Self::UnwrittenResult => "unwritten_result",
            Self::UndelayedMessage => "undelayed_message",
            Self::UnreadableMember => "unreadable_member",
        }
    }

    /// Event and consequence, for the log.
    fn text(self) -> &'static str {
        match self {
            Self::UnreadableReply => "ignored an unreadable reply",
            Self::UnreadableRequest => "refused an unreadable request",
            Self::DuplicateRequest => "ignored a request that came twice",
            Self::UnconfirmedLease => {
                "refused requests: the lease could not be confirmed after they were popped"
            }
            Self::ReplyAfterEnd => "dropped a reply: the proxy had ended",
            Self::ReplyOverflow => "dropped a reply: too many wait for the bus",
            Self::UnreceivedReply => "dropped replies: their client is not connected",
            Self::UnreadableDurable => "moved an unreadable durable message to the dead letters",
            Self::UnreadableResult => "ignored an unreadable result of a durable message",
            Self::UnwrittenResult => {
                "could not store results of durable messages: repeats are handled again"
            }
            Self::UndelayedMessage => {
                "could not move a delayed message out of the stream: it waits there for its time"
            }
            Self::UnreadableMember => {
                "left out a member of the fleet whose profile cannot be read: it is sent no requests"
            }
        }
    }
}

/// Counts anomalies, and logs the first of each kind. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogOnce {
    /// Occurrences of each kind, in the order of [`Anomaly`].
    counts: Arc<[AtomicU64; Anomaly::ALL.len()]>,
}

impl LogOnce {
    /// Counts an anomaly; logs it with `detail` if it is the first of its kind.
    pub(crate) fn record(&self, kind: Anomaly, detail: &dyn Display) {
        if self.counts[kind as usize].fetch_add(1, Ordering::Relaxed) == 0 {
            let detail = printable(&detail.to_string());
            warn!(%detail, "{}; further ones are counted, not logged", kind.text());
        }
    }

    /// The anomalies so far, by kind.
    pub(crate) fn counts(&self) -> Vec<AnomalyCount> {
        let counters = Anomaly::ALL.into_iter().zip(&*self.counts);
        let counts = counters.map(|(kind, counter)| AnomalyCount {
            kind,
            count: counter.load(Ordering::Relaxed),
        });
        counts.filter(|anomaly| anomaly.count > 0).collect()
    }
}

/// A peer's text for the log: a line break in it must not look like another entry, nor may it move
/// the cursor of a terminal, or reorder the line.
pub(crate) fn printable(text: &str) -> String {
    text.replace(|c| c != ' ' && is_hidden(c), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_in_their_order() {
        for (place, kind) in Anomaly::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            let written = rmp_serde::to_vec(&kind).unwrap();
            assert_eq!(
                rmp_serde::from_slice::<String>(&written).unwrap(),
                kind.as_str()
            );
        }
    }

    #[test]
    fn control_characters_are_replaced() {
        let text = printable("no `a\nWARN all is well\u{1b}[2J`, grüße");
        assert_eq!(text, "no `a\u{fffd}WARN all is well\u{fffd}[2J`, grüße");
        assert_eq!(printable("a b\u{202e}c"), "a b\u{fffd}c");
    }

    #[test]
    fn anomalies_are_counted_by_kind() {
        let log = LogOnce::default();
        for _ in 0..3 {
            log.clone().record(Anomaly::UnwrittenResult, &"detail");
        }
        log.record(Anomaly::UnreadableReply, &"detail");
        let counts = log.counts();
        let counts: Vec<_> = counts
            .iter()
            .map(|anomaly| (anomaly.kind, anomaly.count))
            .collect();
        assert_eq!(
            counts,
            [(Anomaly::UnreadableReply, 1), (Anomaly::UnwrittenResult, 3)]
        );
    }
}
