//! Locks and atomics of the parts that loom checks: the mailbox, and an actor's control word.
//!
//! The locks are `parking_lot`'s: with senders on several threads a tell costs a fifth less than with
//! those of `std`. In unit tests under `--cfg conclib_loom` both are loom's, which tries every order of
//! the threads' steps and every stale value that they can read. `just loom` runs those tests.

#[cfg(not(all(test, conclib_loom)))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(all(test, conclib_loom)))]
pub(crate) use std::sync::atomic;

#[cfg(all(test, conclib_loom))]
pub(crate) use loom::sync::{MutexGuard, atomic};
#[cfg(all(test, conclib_loom))]
pub(crate) use model::Mutex;

#[cfg(all(test, conclib_loom))]
pub(crate) mod model;
pub(crate) mod wakers;
