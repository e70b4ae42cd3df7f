//! The servers between the processes: Redis and NATS, each at a free port of this machine.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Problem;
use crate::children::{self, Running};

/// The timeout of a server's start.
const START: Duration = Duration::from_secs(10);

/// The kind of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `redis-server`.
    Redis,
    /// `nats-server`.
    Nats,
}

impl Kind {
    /// The name of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
        }
    }

    /// Its possible paths: that of the variable `CONCLIB_NATS_SERVER` or `CONCLIB_REDIS_SERVER`, and
    /// those of packages. Debian puts servers into folders that may not be in `PATH`.
    fn programs(self) -> Vec<String> {
        let (variable, name) = match self {
            Self::Redis => ("CONCLIB_REDIS_SERVER", "redis-server"),
            Self::Nats => ("CONCLIB_NATS_SERVER", "nats-server"),
        };
        let chosen = std::env::var(variable).ok().filter(|path| !path.is_empty());
        let installed = [name.to_owned(), format!("/usr/sbin/{name}")];
        chosen.into_iter().chain(installed).collect()
    }

    /// Keeps nothing on disk, and listens on the loopback interface only.
    fn arguments(self, port: u16) -> Vec<String> {
        let line = match self {
            Self::Redis => {
                format!("--port {port} --bind 127.0.0.1 --appendonly no --loglevel warning --save")
            }
            Self::Nats => format!("--addr 127.0.0.1 --port {port}"),
        };
        let mut arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
        if self == Self::Redis {
            // To save never.
            arguments.push(String::new());
        }
        arguments
    }

    /// The first program that prints its version, and the version; `None` if none is installed.
    fn find(self) -> Option<(String, String)> {
        self.programs().into_iter().find_map(|program| {
            let output = Command::new(&program).arg("--version").output().ok()?;
            let version = version(&String::from_utf8_lossy(&output.stdout))?;
            Some((program, version))
        })
    }
}

/// The version in a server's output: `v=7.0.15`, `v2.9.10`.
fn version(text: &str) -> Option<String> {
    text.split_whitespace().find_map(|word| {
        let version = word.strip_prefix('v')?.trim_start_matches('=');
        version
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| version.to_owned())
    })
}

/// A server that is ended on drop.
#[derive(Debug)]
pub struct Server {
    /// The process that keeps it.
    _keeper: Running,
    /// Its process.
    pub pid: u32,
    /// The port at which it listens.
    pub port: u16,
    /// The version that it prints.
    pub version: String,
}

impl Server {
    /// Starts one and waits until it listens; nothing if it is not installed.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn start(kind: Kind) -> Result<Option<Self>, Problem> {
        let Some((program, version)) = kind.find() else {
            return Ok(None);
        };
        let port = free_port()?;
        let (mut keeper, pid) = children::keep(&program, &kind.arguments(port))?;
        let bound = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if !keeper.lives() || Instant::now() > bound {
                return Err(format!("{program} did not start").into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(Some(Self {
            _keeper: keeper,
            pid,
            port,
            version,
        }))
    }
}

/// A port that is free at this moment.
fn free_port() -> Result<u16, Problem> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_servers_say() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(version(redis).as_deref(), Some("7.0.15"));
        assert_eq!(version("nats-server: v2.9.10\n").as_deref(), Some("2.9.10"));
        assert_eq!(version("no such thing"), None);
    }

    #[test]
    fn redis_is_told_never_to_save() {
        let arguments = Kind::Redis.arguments(7);
        assert!(arguments.ends_with(&["--save".to_owned(), String::new()]));
    }
}
