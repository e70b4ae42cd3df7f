//! Authentication, permissions and TLS, on real Redis servers.
#![cfg(unix)]

mod acl;
mod certificates;
mod files;
mod operators;
mod raw;
mod start;
mod tls;
