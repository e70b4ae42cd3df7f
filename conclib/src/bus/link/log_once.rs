//! Anomalies that a peer can cause at any rate: counted by kind, and logged once per kind, so that a
//! broken peer does not fill the log.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::warn;

use crate::urn::hidden::is_hidden;

/// A kind of event that is logged once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anomaly {
    UnreadableReply,
    UnreadableRequest,
    DuplicateRequest,
    UnconfirmedLease,
    ReplyAfterEnd,
    ReplyOverflow,
    UnreceivedReply,
    UnreadableDurable,
    UnreadableResult,
    UnwrittenResult,
    UndelayedMessage,
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a bus in memory needs none")
    )]
    UnreadableMember,
}

impl Anomaly {
    const COUNT: usize = 12;

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

/// Counts anomalies, and logs the first of each kind.
#[derive(Debug, Default)]
pub(crate) struct LogOnce {
    /// Occurrences of each kind, in the order of [`Anomaly`].
    counts: [AtomicU64; Anomaly::COUNT],
}

impl LogOnce {
    /// Counts an anomaly; logs it with `detail` if it is the first of its kind.
    pub(crate) fn record(&self, kind: Anomaly, detail: &dyn Display) {
        if self.counts[kind as usize].fetch_add(1, Ordering::Relaxed) == 0 {
            let detail = printable(&detail.to_string());
            warn!(%detail, "{}; further ones are counted, not logged", kind.text());
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self, kind: Anomaly) -> u64 {
        self.counts[kind as usize].load(Ordering::Relaxed)
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
            log.record(Anomaly::UnwrittenResult, &"detail");
        }
        log.record(Anomaly::UnreadableReply, &"detail");
        assert_eq!(log.count(Anomaly::UnwrittenResult), 3);
        assert_eq!(log.count(Anomaly::UnreadableReply), 1);
        assert_eq!(Anomaly::UnreadableMember as usize, Anomaly::COUNT - 1);
    }
}
