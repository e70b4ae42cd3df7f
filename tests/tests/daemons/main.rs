//! `start_redis` and `start_api`: ready when they return, gone when they should be.
#![cfg(unix)]

mod api;
mod redis;
mod support;
