//! A system's membership in a fleet: many processes that share the names of one namespace.
//!
//! A [`Membership`] is one from the start of its proxy to its end. One task, [`member::run`], joins the
//! fleet, counts heartbeats, lists the names of [`name_table`], and removes members that are gone.
//!
//! Two fences guard a listed name: the lease of the node, without which no request is executed, and the
//! heartbeats. A second before other members may remove this one, it refuses requests for its listed names,
//! since another member may list them next.

mod fenced_sink;
mod heartbeat_watch;
mod inbox_cleanup;
mod map_observer;
pub(crate) mod member;
mod membership;
mod name_table;
mod standby_retry;
pub(crate) mod stats;
mod sweep;
#[cfg(all(test, not(conclib_loom)))]
mod tests;

pub(crate) use fenced_sink::FencedSink;
pub(crate) use membership::Membership;
