//! Helper processes that a program needs: a Redis (`start_redis`), a web server ([`start_api`]).
//!
//! ```text
//! redis.rs  api.rs     the programs, their readiness, their errors
//! process.rs           a process and its children, which never outlive this program
//! output.rs            its lines: logged, and the last ones kept for error messages
//! ```
//!
//! Both promise the same: ready when the start returns, gone when the value is dropped, and gone
//! when this program ends in whatever way, `SIGKILL` and Ctrl-C included.

mod api;
mod output;
mod process;
#[cfg(feature = "redis")]
mod redis;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "only a Redis needs one")
)]
mod temp_dir;

pub use api::{ApiDaemon, StartApi, StartApiError, start_api};
pub use output::LastLines;
pub use process::StopDaemonError;
#[cfg(feature = "redis")]
pub use redis::{RedisDaemon, StartRedisError, start_redis};
