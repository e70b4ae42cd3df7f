//! Parts of both ends of the bus: server clock, batch concurrency, size estimate, health, and logs.

use std::time::Duration;

use crate::time::backoff::Backoff;

pub(crate) mod concurrency;
pub(crate) mod ewma;
pub(crate) mod health;
pub(crate) mod log_once;
pub(crate) mod ordered;
pub(crate) mod outage;
pub(crate) mod request_id;
pub(crate) mod retry;
pub(crate) mod server_clock;
pub(crate) mod urn_log;

/// Pauses between attempts to reconnect, or to send lost frames again; with jitter, so that the
/// clients of one Redis do not come back at the same moment.
pub(crate) const RECONNECT_BACKOFF: Backoff =
    Backoff::starting_at(Duration::from_millis(50)).up_to(Duration::from_millis(1600));
