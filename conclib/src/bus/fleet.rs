//! A system's membership in a fleet: many processes that share the names of one namespace.
//!
//! A [`Membership`] is one from the start of its proxy to its end. One task, [`member::run`], joins the
//! fleet, counts heartbeats, lists the names of [`name_table`], and removes members that are gone.
//!
//! Two fences guard a listed name: the lease of the node, without which no request is executed, and the
//! heartbeats. Once they have failed for as long as others need to take a member for dead, requests for
//! listed names are bounced, since another member may have listed them.

mod forgotten_nodes;
mod heartbeat_watch;
mod listed_requests;
mod map_observer;
pub(crate) mod member;
mod membership;
mod name_table;
mod standby_retry;
mod sweep;
#[cfg(all(test, not(conclib_loom)))]
mod tests;

pub(crate) use listed_requests::ListedRequests;
pub(crate) use membership::Membership;
