//! Resources of a process on Linux. `None` on other systems, and for an unknown process.

/// The seconds that the process has run, in its own code and in the kernel, to a hundredth.
#[cfg(target_os = "linux")]
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    cpu_seconds_of(&stat)
}

/// The seconds that the process has run: unknown on this system.
#[cfg(not(target_os = "linux"))]
pub fn cpu_seconds(_pid: u32) -> Option<f64> {
    None
}

/// The bytes of memory that the process has now, with the parts of its program that are in memory.
#[cfg(target_os = "linux")]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

/// The bytes of memory that the process has: unknown on this system.
#[cfg(not(target_os = "linux"))]
pub fn resident_bytes(_pid: u32) -> Option<u64> {
    None
}

/// The bytes of memory that the process has now, without its program.
#[cfg(target_os = "linux")]
pub fn allocated_bytes(pid: u32) -> Option<u64> {
    memory(pid, "RssAnon:")
}

/// The bytes of memory without the program: unknown on this system.
#[cfg(not(target_os = "linux"))]
pub fn allocated_bytes(_pid: u32) -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    memory_of(&status, name)
}

/// Fields 14 and 15 of `/proc/<pid>/stat`. The name of the program, field 2, may hold spaces and
/// brackets, so that fields are counted from its last closing bracket.
#[cfg(target_os = "linux")]
fn cpu_seconds_of(stat: &str) -> Option<f64> {
    /// The kernel counts in `USER_HZ`, which is 100 on every architecture that Rust's std runs on.
    const TICKS_PER_SECOND: f64 = 100.0;

    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// A line of `/proc/<pid>/status`, which is in kibibytes.
#[cfg(target_os = "linux")]
fn memory_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (odd) name (x) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_seconds_of(stat), Some(3.0));
        assert_eq!(cpu_seconds_of("42 (cut) S 1"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t  12 kB\n";
        assert_eq!(memory_of(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(memory_of("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let resident = resident_bytes(std::process::id());
        let allocated = allocated_bytes(std::process::id());
        assert!(allocated.is_some_and(|bytes| bytes > 0) && allocated < resident);
        assert!(cpu_seconds(std::process::id()).is_some());
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
