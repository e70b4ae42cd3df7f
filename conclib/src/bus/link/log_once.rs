//! Anomalies that a peer can cause at any rate: counted by kind, and logged once per kind, so that a
//! broken peer does not fill the log.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::labels::label_enum;
use crate::urn::hidden::is_hidden;

label_enum! {
    /// A kind of input from the bus that could not be used, or of output that it did not take. The first one of each
    /// kind is logged, and all are counted.
    pub enum Anomaly {
        /// A frame of answers that cannot be read.
        UnreadableReply = "unreadable_reply",
        /// A request that cannot be read.
        UnreadableRequest = "unreadable_request",
        /// A request that came a second time, and was not executed again.
        DuplicateRequest = "duplicate_request",
        /// Requests that were popped when the lease could not be confirmed.
        UnconfirmedLease = "unconfirmed_lease",
        /// A reply after the end of the proxy.
        ReplyAfterEnd = "reply_after_end",
        /// A reply for which there was no room, since too many wait for the bus.
        ReplyOverflow = "reply_overflow",
        /// A frame of replies whose client is not connected.
        UnreceivedReply = "unreceived_reply",
        /// A durable message that cannot be read.
        UnreadableDurable = "unreadable_durable",
        /// A result of a durable message that cannot be read.
        UnreadableResult = "unreadable_result",
        /// Results of durable messages that could not be stored.
        UnwrittenResult = "unwritten_result",
        /// A delayed message that could not be moved out of the stream.
        UndelayedMessage = "undelayed_message",
        /// A member of a fleet whose profile cannot be read.
        #[cfg_attr(
            not(feature = "redis"),
            allow(dead_code, reason = "a bus in memory needs none")
        )]
        UnreadableMember = "unreadable_member",
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
            Self::Other => "an anomaly of another version",
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
