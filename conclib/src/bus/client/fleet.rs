//! The requests of a client in a fleet: which member each goes to.
//!
//! [`router`] decides, under the lock of the pending requests; [`refresh`] keeps it up to date.

pub(super) use route::{Destination, Route};
pub(super) use router::Router;

mod members;
mod names;
pub(super) mod refresh;
mod retry_budget;
mod route;
mod router;
