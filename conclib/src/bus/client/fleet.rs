//! The requests of a client in a fleet: which member each goes to.
//!
//! [`router`] decides, under the lock of the pending requests; [`refresh`] keeps it up to date.

pub(super) use router::{Destination, Route, Router};

mod members;
mod names;
pub(super) mod refresh;
mod retry_budget;
mod router;
