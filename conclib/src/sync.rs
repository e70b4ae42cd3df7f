//! The locks and atomics of what loom checks: the mailbox, and an actor's control word.
//!
//! They are those of `std`, except in unit tests under `--cfg conclib_loom`: there they are loom's,
//! which tries the orders in which threads can take their steps, and the stale values that they can
//! read, one after another. `just loom` runs those tests.

#[cfg(not(all(test, conclib_loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, conclib_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, conclib_loom))]
pub(crate) mod model;
