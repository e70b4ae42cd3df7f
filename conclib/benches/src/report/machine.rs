//! The machine of a measurement.

use std::fmt;

use serde::Serialize;

/// A computer.
#[derive(Serialize, Clone, Debug)]
pub struct Machine {
    /// The processor's name, as the system gives it.
    pub processor: String,
    /// The number of hardware threads.
    pub cores: usize,
    /// The operating system and the architecture.
    pub system: String,
    /// The load average of the last minute at the start of the run, where the system has one.
    pub load: Option<f64>,
}

impl Machine {
    /// This computer, now.
    pub fn here() -> Self {
        let processor = std::fs::read_to_string("/proc/cpuinfo")
            .ok()
            .and_then(|text| processor_of(&text))
            .unwrap_or_else(|| "unknown processor".to_owned());
        let load = std::fs::read_to_string("/proc/loadavg")
            .ok()
            .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
        Self {
            processor,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            load,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} threads, {}",
            self.processor, self.cores, self.system
        )?;
        match self.load {
            Some(load) => write!(f, ", load {load:.2} at the start"),
            None => Ok(()),
        }
    }
}

fn processor_of(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_behind_the_colon() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(processor_of(text).as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(processor_of("processor\t: 0\n"), None);
    }
}
