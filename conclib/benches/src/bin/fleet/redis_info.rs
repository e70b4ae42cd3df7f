//! The figures that Redis reports about itself (`INFO`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::Problem;

/// The answer to an `INFO`.
#[derive(Debug)]
pub(crate) struct Info(String);

/// A command, its calls, and the microseconds that they took.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommandUse {
    pub(crate) name: String,
    pub(crate) calls: f64,
    pub(crate) micros: f64,
}

impl Info {
    /// Asks for all sections, over a connection of its own.
    pub(crate) fn read(port: u16) -> Result<Self, Problem> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(b"INFO all\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut length = String::new();
        reader.read_line(&mut length)?;
        let length = length.trim().trim_start_matches('$').parse()?;
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        Ok(Self(String::from_utf8(text)?))
    }

    /// A number.
    pub(crate) fn number(&self, field: &str) -> Result<f64, Problem> {
        let lines = self.0.lines();
        let values = lines.filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = { values }.next().ok_or("INFO has no such field")?;
        Ok(value.trim().parse()?)
    }

    /// Processor time in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Problem> {
        Ok(self.number("used_cpu_sys")? + self.number("used_cpu_user")?)
    }

    /// All commands since the start.
    pub(crate) fn commands(&self) -> Vec<CommandUse> {
        self.0.lines().filter_map(command).collect()
    }
}

/// Reads a line such as `cmdstat_get:calls=5,usec=12,…`.
fn command(line: &str) -> Option<CommandUse> {
    let (name, uses) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let number = |field: &str| {
        let found = uses.split(',').find_map(|part| part.strip_prefix(field));
        found?.strip_prefix('=')?.parse().ok()
    };
    Some(CommandUse {
        name: name.to_owned(),
        calls: number("calls")?,
        micros: number("usec")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_commands_are_found() {
        let text = "# CPU\r\nused_cpu_sys:1.5\r\ncmdstat_get:calls=5,usec=12,usec_per_call=2.4\r\n";
        let info = Info(text.to_owned());
        assert!((info.number("used_cpu_sys").unwrap() - 1.5).abs() < 1e-9);
        assert!(info.number("used_cpu").is_err());
        let get = CommandUse {
            name: "get".to_owned(),
            calls: 5.0,
            micros: 12.0,
        };
        assert_eq!(info.commands(), [get]);
    }
}
