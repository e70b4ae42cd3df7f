//! What the benchmarks of conclib share: figures, reports, charts and what the system knows of a
//! process. What is measured is in `src/bin`: `runtime` compares actors within a process.

pub mod against;
pub mod chart;
pub mod measure;
pub mod process;
pub mod report;
