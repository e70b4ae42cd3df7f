//! The rows of the table, and the length of measurements.

use std::time::Duration;

use crate::peers::Peer;

/// A row: a number of callers, and the size of their requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The name in the option `--row`.
    pub(crate) id: &'static str,
    /// The name in the table.
    pub(crate) name: &'static str,
    /// Tasks that ask, each one request after another.
    pub(crate) callers: usize,
    /// Bytes of a request and of its reply.
    pub(crate) payload: usize,
    /// Worker threads of each runtime; as many as there are processors unless set.
    pub(crate) threads: Option<usize>,
}

const KIB: usize = 1024;

/// All rows, in the order of the table.
pub(crate) const ROWS: [Row; 11] = [
    row("1", "1 caller", 1, 64),
    row("16", "16 callers", 16, 64),
    row("64", "64 callers", 64, 64),
    row("512", "512 callers", 512, 64),
    row("4096", "4,096 callers", 4096, 64),
    row("64x1KiB", "64 callers, 1 KiB", 64, KIB),
    row("64x16KiB", "64 callers, 16 KiB", 64, 16 * KIB),
    row("64x256KiB", "64 callers, 256 KiB", 64, 256 * KIB),
    on_one_thread("16-thread", "16 callers, one worker thread", 16),
    on_one_thread("64-thread", "64 callers, one worker thread", 64),
    on_one_thread("512-thread", "512 callers, one worker thread", 512),
];

const fn row(id: &'static str, name: &'static str, callers: usize, payload: usize) -> Row {
    Row {
        id,
        name,
        callers,
        payload,
        threads: None,
    }
}

const fn on_one_thread(id: &'static str, name: &'static str, callers: usize) -> Row {
    Row {
        threads: Some(1),
        ..row(id, name, callers, 64)
    }
}

impl Row {
    /// True if this peer is measured in this row: bare sockets carry one caller, and one pop after
    /// another does not get faster beyond 64 callers.
    pub(crate) fn suits(&self, peer: Peer) -> bool {
        match peer {
            Peer::Conclib | Peer::ConclibTraced | Peer::Nats => true,
            Peer::NaiveLoop => self.callers <= 64 && self.threads.is_none(),
            Peer::RawSockets => self.callers == 1,
        }
    }
}

/// The length of each measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spans {
    /// Asking before anything counts.
    pub(crate) warm_up: Duration,
    /// Asking that counts.
    pub(crate) measured: Duration,
}
