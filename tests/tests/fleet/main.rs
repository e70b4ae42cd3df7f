//! Fleets as in production: members in processes of their own, and a real Redis between them and the
//! callers.
#![cfg(unix)]

mod fixture;
mod flush;
mod kills;
mod listed;
mod load;
mod reach;
mod restarts;
mod spawns;
mod switch;
