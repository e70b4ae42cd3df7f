//! Faults of a real Redis, its peers, and the processes around it.
#![cfg(unix)]

mod frames;
mod hostile;
mod leases;
mod misled;
mod outages;
mod peers;
mod raw;
