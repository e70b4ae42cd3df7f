//! What tests of programs with actors need: the module `conclib::test`.

pub use probe::{Probe, SpawnProbe};
pub use system::TestSystem;
pub use time::advance;

mod probe;
mod system;
mod time;
