//! Instants, deadlines, backoff and schedules. Nothing here knows actors.

pub(crate) mod backoff;
pub(crate) mod coarse;
pub(crate) mod compact;
pub(crate) mod deadline;
pub(crate) mod duration;
pub(crate) mod durations;
pub(crate) mod rfc3339;
pub(crate) mod schedule;
