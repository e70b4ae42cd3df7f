//! Redis is replaced by another one while its connections stay open.
#![cfg(unix)]

mod pair;
mod replaced;
mod sentinels;
