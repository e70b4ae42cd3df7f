//! Support for tests of programs with actors: the module `conclib::test`.

pub use probe::{Probe, SpawnProbe};
pub use round_trips::{RoundTripError, round_trips};
pub use system::TestSystem;
pub use time::advance;

mod probe;
mod round_trips;
mod system;
mod time;
