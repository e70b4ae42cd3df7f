//! The time for which no actor system serves. No I/O.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::time::coarse::CoarseInstant;

/// Time without an actor system after which the connections are made anew.
pub(super) const MAX_ABSENCE: Duration = Duration::from_secs(10);

/// The time for which no actor system serves a node.
#[derive(Default)]
pub(super) struct Absence {
    /// Its beginning, or the last advice to connect anew, as the bits of a [`CoarseInstant`]; zero while a
    /// system serves.
    since: AtomicU64,
    /// The log says that no actor system serves.
    is_told: AtomicBool,
}

/// The advice to connect anew: the bus may have been replaced by another one, and not know it.
pub(super) struct ConnectAnew {
    /// The log does not say yet that no actor system serves.
    pub(super) is_news: bool,
}

impl Absence {
    /// Notes that an actor system serves.
    pub(super) fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
        self.is_told.store(false, Ordering::Relaxed);
    }

    /// Notes that no actor system serves; returns an advice once each [`MAX_ABSENCE`].
    pub(super) fn note(&self) -> Option<ConnectAnew> {
        let now = CoarseInstant::now();
        match self.since.load(Ordering::Relaxed) {
            0 => self.since.store(now.to_bits(), Ordering::Relaxed),
            since if CoarseInstant::from_bits(since).elapsed() < MAX_ABSENCE => {}
            _ => {
                self.since.store(now.to_bits(), Ordering::Relaxed);
                let is_news = !self.is_told.swap(true, Ordering::Relaxed);
                return Some(ConnectAnew { is_news });
            }
        }
        None
    }
}
