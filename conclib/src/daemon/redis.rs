//! A Redis for as long as this program runs.

use std::env;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::bus::config::{Bus, Config, ConfigError, HostPort, RedisAddress};
use crate::daemon::output::LastLines;
use crate::daemon::process::{Launch, Process, StopDaemonError};
use crate::daemon::temp_dir::TempDir;

mod log;
mod probe;
mod settings;

/// The environment variable that names another program.
const PROGRAM_VARIABLE: &str = "CONCLIB_REDIS_SERVER";

/// Programs to look for on the `PATH` otherwise, in this order.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// Time from its start until it must answer.
const READY_BOUND: Duration = Duration::from_secs(10);

/// Pause between two attempts to reach it.
const POLL: Duration = Duration::from_millis(5);

/// Number of free ports to try if another process takes one between the choice and the start.
const PORT_TRIES: u32 = 5;

/// Starts a Redis of this program's own, and returns when it answers.
///
/// It is the first of `redis-server` and `valkey-server` on the `PATH`, or the program that the
/// environment variable `CONCLIB_REDIS_SERVER` names; version 6.2 or newer. It listens on the
/// loopback interface only, at the port of the config, lets in the user and password of the
/// config, and writes nothing to disk: its data is gone when it ends. Its log goes to
/// [`tracing`] under the target `conclib::redis`.
///
/// The port 0 in the config means a free port; [`RedisDaemon::config`] tells which one it became.
///
/// It ends with [`RedisDaemon::shutdown`], when the [`RedisDaemon`] is dropped, and when this
/// program ends, in whatever way.
///
/// ```no_run
/// use conclib::daemon::start_redis;
/// use conclib::Config;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = start_redis(&Config::new("redis://localhost:0")?).await?;
/// println!("a Redis listens at port {:?}", redis.config().port());
/// redis.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`StartRedisError`]; nothing is left behind then.
///
/// # Panics
///
/// If awaited outside a tokio runtime with I/O and time enabled.
///
/// # Cancel safety
///
/// Dropping the future ends what has been started.
pub fn start_redis(
    config: &Config,
) -> impl Future<Output = Result<RedisDaemon, StartRedisError>> + Send + use<> {
    let config = config.clone();
    async move {
        config.check()?;
        let address = match &config.bus {
            Bus::Redis(address) if address.tls => {
                let problem = "`start_redis` starts one without TLS: write `redis://`";
                return Err(ConfigError::unsupported(problem).into());
            }
            Bus::Redis(address) => {
                let secrets = config.access.with_secrets(address);
                secrets.map_err(ConfigError::unsupported)?
            }
            Bus::Local(_) => return Err(StartRedisError::MemoryBus),
        };
        let Some(node) = address.node().cloned() else {
            let problem = "`start_redis` starts one that listens on a port: write `redis://`";
            return Err(ConfigError::unsupported(problem).into());
        };
        let process = match node.port {
            0 => return start_on_a_free_port(config, &address, node).await,
            _ => start(&address, &node).await?,
        };
        Ok(RedisDaemon { process, config })
    }
}

/// A running Redis: see [`start_redis`].
///
/// Dropping it kills it and waits a few milliseconds until it is gone; [`shutdown`](Self::shutdown)
/// does not block the thread.
#[derive(Debug)]
#[must_use = "dropping it ends the Redis"]
pub struct RedisDaemon {
    process: Process,
    /// With the port that it really has.
    config: Config,
}

impl RedisDaemon {
    /// The config that leads to this Redis: the one it was started with, and the real port where
    /// that one said 0.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Ends it: `SIGTERM`, up to 5 s of time, `SIGKILL`. It is gone when this returns.
    ///
    /// # Errors
    ///
    /// [`StopDaemonError`] if it had ended by itself before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills it at once.
    pub async fn shutdown(self) -> Result<(), StopDaemonError> {
        self.process.stop().await
    }
}

async fn start_on_a_free_port(
    config: Config,
    address: &RedisAddress,
    mut node: HostPort,
) -> Result<RedisDaemon, StartRedisError> {
    let mut tries = PORT_TRIES;
    loop {
        node.port = free_port().map_err(StartRedisError::NoPort)?;
        match start(address, &node).await {
            Ok(process) => {
                let config = config.with_port(node.port);
                return Ok(RedisDaemon { process, config });
            }
            // Another process took it between the choice and the start.
            Err(StartRedisError::PortTaken { .. }) if tries > 1 => tries -= 1,
            Err(error) => return Err(error),
        }
    }
}

async fn start(address: &RedisAddress, node: &HostPort) -> Result<Process, StartRedisError> {
    let host = loopback(&node.host)?;
    let port = node.port;
    if is_taken(host, port) {
        return Err(StartRedisError::PortTaken { port });
    }
    let (mut process, mark) = launch(address, host, port).await?;

    let target = SocketAddr::new(host, port);
    let ready = timeout(READY_BOUND, async {
        loop {
            match timeout(Duration::from_secs(1), probe::ask(target, address, &mark)).await {
                Ok(Ok(answer)) => return answer,
                // It does not listen yet, or does not answer.
                Ok(Err(_)) | Err(_) => sleep(POLL).await,
            }
        }
    });
    tokio::select! {
        biased;
        status = process.exited() => {
            let last_lines = process.last_lines().await;
            let clash = |line: &String| line.contains("Address already in use");
            if last_lines.as_slice().iter().any(clash) {
                return Err(StartRedisError::PortTaken { port });
            }
            Err(StartRedisError::Died { status, last_lines })
        }
        ready = ready => match ready {
            Ok(probe::ProbeAnswer::Ours) => {
                process.ready();
                Ok(process)
            }
            Ok(probe::ProbeAnswer::Foreign) => Err(StartRedisError::PortTaken { port }),
            Err(_) => {
                let last_lines = process.last_lines().await;
                Err(StartRedisError::NotReady { after: READY_BOUND, last_lines })
            }
        }
    }
}

/// Starts the first program that exists; with the mark by which it will be recognised.
async fn launch(
    address: &RedisAddress,
    host: IpAddr,
    port: u16,
) -> Result<(Process, String), StartRedisError> {
    let named = env::var_os(PROGRAM_VARIABLE);
    let programs = match &named {
        Some(program) => vec![program.clone()],
        None => PROGRAMS.map(OsString::from).to_vec(),
    };
    for program in programs {
        let directory = TempDir::plan();
        let mark = directory
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut command = Command::new(&program);
        // Its configuration comes through its standard input: no password in the process list
        // or on disk.
        command.arg("-");
        let started = Process::start(Launch {
            command,
            input: settings::text(address, host, port, directory.path())?.into_bytes(),
            directory: Some(directory),
            log: log::line,
            ended: log::ended,
        });
        match started.await {
            Ok(process) => return Ok((process, mark)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let program = program.to_string_lossy().into_owned();
                return Err(StartRedisError::Spawn { program, source });
            }
        }
    }
    let named = named.map(|program| program.to_string_lossy().into_owned());
    Err(named.map_or(StartRedisError::Missing, |program| {
        StartRedisError::MissingNamed { program }
    }))
}

/// The address of a host that is certainly this machine.
fn loopback(host: &str) -> Result<IpAddr, StartRedisError> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let address = host.parse::<IpAddr>().ok().filter(IpAddr::is_loopback);
    address.ok_or_else(|| StartRedisError::NotLoopback {
        host: host.to_owned(),
    })
}

/// True if the port is in use. Checked before the start, and the only check on systems where two
/// processes may listen at the same port.
fn is_taken(host: IpAddr, port: u16) -> bool {
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), host];
    addresses.into_iter().any(|address: IpAddr| {
        let listener = TcpListener::bind((address, port));
        // Other errors, such as a missing IPv6, are left to the server.
        listener.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    })
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Error of [`start_redis`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartRedisError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The config is of the memory bus.
    #[error("the config is of the memory bus, which needs no Redis: leave `start_redis` out")]
    MemoryBus,
    /// Only this machine's loopback interface is served.
    #[error(
        "cannot start a Redis on `{host}`, only on this machine: use `localhost` in the URL, or \
         leave `start_redis` out and start the Redis on `{host}` by other means"
    )]
    #[non_exhaustive]
    NotLoopback {
        /// The host of the config.
        host: String,
    },
    /// No server is installed.
    #[error(
        "neither `redis-server` nor `valkey-server` is on the PATH: install one (`apt-get install \
         redis-server`, `dnf install valkey`, `apk add redis`, `pacman -S valkey` or `brew install \
         redis`), or name the program in CONCLIB_REDIS_SERVER"
    )]
    Missing,
    /// `CONCLIB_REDIS_SERVER` names a program that does not exist.
    #[error(
        "CONCLIB_REDIS_SERVER names `{program}`, which does not exist: correct it, or unset it to \
         use `redis-server` or `valkey-server` (`apt-get install redis-server`, `dnf install \
         valkey`, `apk add redis`, `pacman -S valkey` or `brew install redis`)"
    )]
    #[non_exhaustive]
    MissingNamed {
        /// The program that the variable names.
        program: String,
    },
    /// The operating system does not start the server.
    #[error(
        "cannot start `{program}`: check that it is executable, that /bin/sh exists, and that the \
         temporary directory (TMPDIR) can be written to"
    )]
    #[non_exhaustive]
    Spawn {
        /// The server's name.
        program: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The system gave no free port.
    #[error("the system has no free port on the loopback interface: name one in the URL")]
    NoPort(#[source] io::Error),
    /// The port is in use by another Redis, or another program.
    #[error(
        "port {port} is taken already: end what listens there, or use another port in the URL (0 \
         for a free one); if it is the Redis you want to use, leave `start_redis` out"
    )]
    #[non_exhaustive]
    PortTaken {
        /// The port of the config.
        port: u16,
    },
    /// The Redis ended before it was ready.
    #[error("the Redis ended at once ({status}), and its log should say why; {last_lines}")]
    #[non_exhaustive]
    Died {
        /// Its exit status.
        status: ExitStatus,
        /// The last lines of its output.
        last_lines: LastLines,
    },
    /// The Redis runs, but does not answer.
    #[error(
        "the Redis did not answer within {after:?} and was ended: the machine may be overloaded, \
         or its program is no Redis; {last_lines}"
    )]
    #[non_exhaustive]
    NotReady {
        /// The time that it had.
        after: Duration,
        /// The last lines of its output.
        last_lines: LastLines,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_served() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(loopback(host).is_ok(), "{host}");
        }
        for host in [
            "0.0.0.0",
            "10.0.0.1",
            "redis.internal",
            "::",
            "localhost.example.com",
        ] {
            assert!(loopback(host).is_err(), "{host}");
        }
    }

    #[test]
    fn port_in_use_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_taken(Ipv4Addr::LOCALHOST.into(), port));
        drop(listener);
        assert!(!is_taken(Ipv4Addr::LOCALHOST.into(), port));
    }
}
