//! Code that the benchmarks of conclib share: figures, reports, charts and the resources of a
//! process. The measurements are in `src/bin`: `runtime` compares actors within a process.

pub mod against;
pub mod chart;
pub mod measure;
pub mod process;
pub mod report;
