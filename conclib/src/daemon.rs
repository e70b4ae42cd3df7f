//! Helper processes that a program needs: a Redis ([`start_redis`]), a web server ([`start_api`]).
//!
//! ```text
//! redis.rs  api.rs     what is started, when it is ready, what can go wrong
//! process.rs           a process and its children, which never outlive this program
//! output.rs            its lines: logged, and the last ones kept for error messages
//! ```
//!
//! Both promise the same: ready when the start returns, gone when the value is dropped, and gone
//! when this program ends in whatever way, `SIGKILL` and Ctrl-C included.

mod api;
mod output;
mod process;
mod redis;
mod temp_dir;

pub use api::{ApiDaemon, StartApi, StartApiError, start_api};
pub use output::LastLines;
pub use process::StopDaemonError;
pub use redis::{RedisDaemon, StartRedisError, start_redis};
