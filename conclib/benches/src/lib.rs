//! Code that the benchmarks of conclib share: figures, reports, charts, servers, and the resources of a
//! process. The measurements are in `src/bin`: `runtime` compares actors within a process, `bus` the ways
//! between processes, and `fleet` measures many actor processes behind one namespace.

use std::error::Error;

pub mod against;
pub mod chart;
pub mod children;
pub mod cpus;
pub mod histogram;
pub mod keep;
pub mod measure;
pub mod process;
pub mod report;
pub mod servers;

/// An error for the terminal.
pub type Problem = Box<dyn Error + Send + Sync>;

/// A count or a size as a number to calculate with. All of them are far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub fn float(count: u64) -> f64 {
    count as f64
}
