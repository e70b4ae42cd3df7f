//! The processes of the example, as children of the one that runs it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use conclib::Config;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The programs of this package, and the config that they get.
#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
    config: Config,
}

/// A process; killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The rest of its first line of output, behind its beginning.
    pub first_line: String,
}

impl Programs {
    /// The programs in the folder of a program of this package, to be started with this config.
    pub fn beside(program: &Path, config: Config) -> Self {
        let folder = program.parent().map(Path::to_owned);
        Self {
            folder: folder.unwrap_or_default(),
            config,
        }
    }

    /// Starts a member, and waits until it has made its actors.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn member(&self, name: &str) -> Result<Process, Box<dyn Error>> {
        let mut command = self.command("fleet-member");
        command.env("CONCLIB_INSTANCE", name);
        Process::start(command, "").await
    }

    /// Starts the web process, and waits until it serves; its first line is its address.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub async fn web(&self) -> Result<Process, Box<dyn Error>> {
        let mut command = self.command("fleet-web");
        command.env("PORT", "0");
        Process::start(command, "web serves at ").await
    }

    fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        let mut command = Command::new(program.with_extension(std::env::consts::EXE_EXTENSION));
        command.envs(self.config.variables());
        command
    }
}

impl Process {
    async fn start(mut command: Command, beginning: &str) -> Result<Self, Box<dyn Error>> {
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(rest) = line.strip_prefix(beginning) {
                let first_line = rest.to_owned();
                return Ok(Self { child, first_line });
            }
        }
        Err("a process ended before it was ready".into())
    }

    /// Asks the process to stop, and waits until it has: its requests are answered by then.
    ///
    /// # Errors
    ///
    /// If it does not end in good order.
    pub async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        let id = self.child.id().ok_or("it has ended")?.to_string();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        let status = self.child.wait().await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("a process ended with {status}").into())
        }
    }

    /// Kills the process.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn kill(mut self) -> Result<(), Box<dyn Error>> {
        Ok(self.child.kill().await?)
    }
}
