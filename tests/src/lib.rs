//! Support for the integration tests: messages and actors, a bus with both ends, processes, log
//! capture, and waits that fail instead of hanging.

pub mod actors;
pub mod bus;
pub mod chaos;
pub mod desk;
pub mod durable;
pub mod fleet;
pub mod framework;
pub mod logs;
pub mod messages;
pub mod process;
pub mod random;
pub mod redis;
pub mod relay;
pub mod scripted;
pub mod tenants;
pub mod traced;
pub mod wire;

mod events;
mod gate;
mod wait;

pub use events::{Log, LogsDrop, PanicsOnDrop};
pub use gate::{Gate, GateHandle, gate};
pub use wait::{
    ASK_TIMEOUT, MS, SECOND, TEST_TIMEOUT, eventually, poll_once, settle, until, within,
    yield_until,
};

/// The return type of tests.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;
