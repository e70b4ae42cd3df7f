//! Who may come in, and what they may do there: real Redis servers that are locked.
#![cfg(unix)]

mod acl;
mod certificates;
mod files;
mod raw;
mod tls;
