//! The processors that this process, and those that it starts, may run on.

use crate::Problem;

/// A set of processors.
#[cfg(target_os = "linux")]
pub type Cpus = rustix::thread::CpuSet;

/// A set of processors: unknown on this system.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone, Copy)]
pub struct Cpus;

/// Moves the calling thread, and the processes that it will start, to one processor. Returns the
/// processors that it had before.
///
/// # Errors
///
/// The system does not allow it.
#[cfg(target_os = "linux")]
pub fn share_one_cpu() -> Result<Cpus, Problem> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let first = (0..Cpus::MAX_CPU).find(|cpu| allowed.is_set(*cpu));
    let mut one = Cpus::new();
    one.set(first.ok_or("there is no processor to run on")?);
    use_cpus(&one)?;
    Ok(allowed)
}

/// Moves the calling thread, and the processes that it will start, to these processors.
///
/// # Errors
///
/// The system does not allow it.
#[cfg(target_os = "linux")]
pub fn use_cpus(cpus: &Cpus) -> Result<(), Problem> {
    Ok(rustix::thread::sched_setaffinity(None, cpus)?)
}

/// Moves the calling thread to one processor: unknown on this system.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn share_one_cpu() -> Result<Cpus, Problem> {
    Err("one processor for all processes works on Linux alone".into())
}

/// Moves the calling thread to these processors: unknown on this system.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn use_cpus(_cpus: &Cpus) -> Result<(), Problem> {
    Err("one processor for all processes works on Linux alone".into())
}
