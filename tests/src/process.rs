//! Processes of the tests.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{TEST_TIMEOUT, eventually};

/// A program that prints its progress in lines; killed on drop.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// Its standard input.
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Self::start_with(program, arguments, &[])
    }

    /// Starts it with variables in its environment.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_with(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Freed memory goes back to the system at once, so that a test can measure it.
            .env("MALLOC_MMAP_THRESHOLD_", "65536")
            .env("MALLOC_TRIM_THRESHOLD_", "65536")
            .env("MALLOC_ARENA_MAX", "2")
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("its output is piped");
        let input = child.stdin.take().expect("its input is piped");
        Self {
            child,
            input,
            lines: BufReader::new(output).lines(),
        }
    }

    /// Writes a line to its input.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub async fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        let said = self.input.write_all(line.as_bytes()).await;
        said.expect("it listens");
    }

    /// Waits for a line with this beginning; returns the rest.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub async fn line(&mut self, beginning: &str) -> String {
        let wait = async {
            while let Some(line) = self.lines.next_line().await.expect("lines of text") {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.trim().to_owned();
                }
            }
            panic!("it ended without `{beginning}`");
        };
        let waited = tokio::time::timeout(TEST_TIMEOUT, wait).await;
        waited.unwrap_or_else(|_| panic!("no line with `{beginning}`"))
    }

    /// Waits for a line; `None` if it has ended.
    ///
    /// # Panics
    ///
    /// If its output is no text.
    pub async fn next_line(&mut self) -> Option<String> {
        self.lines.next_line().await.expect("lines of text")
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub async fn signal(&self, name: &str) {
        let process = self.id().to_string();
        signal(name, &process).await;
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Stops its threads, and waits until they have stopped: after the signal was sent, threads run
    /// on until one of them takes it.
    ///
    /// # Panics
    ///
    /// If it has ended, or does not stop.
    pub async fn suspend(&self) {
        self.signal("STOP").await;
        let process = self.id().to_string();
        eventually("it is suspended", async || {
            state(&process).await == Some(b'T')
        })
        .await;
    }

    /// The most memory that it has had, in KiB; 0 without `/proc`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn peak_memory(&self) -> usize {
        let process = self.id().to_string();
        memory_of(&process, "VmHWM:")
    }

    /// Waits until it ends; true if its exit status is a success.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub async fn ended(&mut self) -> bool {
        let waited = tokio::time::timeout(TEST_TIMEOUT, self.child.wait()).await;
        let status = waited.expect("it ends").expect("it can be waited for");
        status.success()
    }

    /// Waits until it ends; its exit code, unless a signal has ended it.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let waited = tokio::time::timeout(TEST_TIMEOUT, self.child.wait()).await;
        waited
            .expect("it ends")
            .expect("it can be waited for")
            .code()
    }

    /// Kills it.
    ///
    /// # Panics
    ///
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it is killed");
    }
}

/// Sends a signal to a process, with the shell's own `kill`: not every system has the program.
///
/// # Panics
///
/// If there is no such process.
pub async fn signal(name: &str, process: &str) {
    let mut shell = Command::new("sh");
    let kill = format!("kill -{name} {process}");
    let status = shell.args(["-c", &kill]).status().await;
    assert!(status.is_ok_and(|status| status.success()));
}

/// The resident memory of this process, in KiB; 0 without `/proc`.
pub fn memory() -> usize {
    memory_of("self", "VmRSS:")
}

/// The memory of this process without its program, in KiB; 0 without `/proc`.
pub fn allocated() -> usize {
    memory_of("self", "RssAnon:")
}

fn memory_of(process: &str, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The state letter of a process: `T` is stopped.
async fn state(process: &str) -> Option<u8> {
    if cfg!(target_os = "linux") {
        let stat = tokio::fs::read_to_string(format!("/proc/{process}/stat")).await;
        let stat = stat.ok()?;
        let (_name, rest) = stat.rsplit_once(") ")?;
        return rest.bytes().next();
    }
    let ps = Command::new("ps")
        .args(["-o", "state=", "-p", process])
        .output();
    ps.await.ok()?.stdout.first().copied()
}
