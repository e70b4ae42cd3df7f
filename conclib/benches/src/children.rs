//! The processes that a benchmark starts: mostly its own executable with other words.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Problem;

/// The line that a process prints when it can be asked.
pub const READY: &str = "ready";

/// The longest wait for a process to end by itself.
const FAREWELL: Duration = Duration::from_secs(3);

/// A process that ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Its standard output, if that is piped.
    output: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it. Its standard input is closed on drop.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn start(command: &mut Command) -> Result<Self, Problem> {
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, output })
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True if it has not ended by itself.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The next line that it prints; empty if there is none.
    ///
    /// # Errors
    ///
    /// Its output cannot be read.
    pub fn line(&mut self) -> Result<String, Problem> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            output.read_line(&mut line)?;
        }
        Ok(line.trim().to_owned())
    }

    /// Writes a line to its input.
    ///
    /// # Errors
    ///
    /// It does not read any more.
    pub fn tell(&mut self, line: &str) -> Result<(), Problem> {
        let input = self.child.stdin.as_mut().ok_or("its input is closed")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// Ends its input, at which it is to end by itself in `within`.
    ///
    /// # Errors
    ///
    /// It does not, or reports a failure.
    pub fn stop(mut self, within: Duration) -> Result<(), Problem> {
        self.end(within);
        match self.child.try_wait()? {
            None => Err(format!("a process did not end within {within:?}").into()),
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("a process ended with {status}").into()),
        }
    }

    /// Ends its input, and waits for its end.
    fn end(&mut self, within: Duration) {
        drop(self.child.stdin.take());
        let bound = Instant::now() + within;
        while self.lives() && Instant::now() < bound {
            sleep(Duration::from_millis(2));
        }
    }

    /// Ends its input, and reads the rest of what it prints.
    ///
    /// # Errors
    ///
    /// Its output cannot be read.
    pub fn rest(&mut self) -> Result<String, Problem> {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        if let Some(output) = &mut self.output {
            output.read_to_string(&mut rest)?;
        }
        Ok(rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(FAREWELL);
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This executable, with these arguments.
///
/// # Errors
///
/// The path of this executable is unknown.
pub fn myself(words: &[&str]) -> Result<Command, Problem> {
    Ok(started_as(&std::env::current_exe()?, words))
}

/// The given build of a benchmark, with these arguments.
pub fn started_as(program: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::piped());
    command
}

/// A server that ends with this run, and the process id of the server itself.
pub(crate) fn keep(program: &str, arguments: &[String]) -> Result<(Running, u32), Problem> {
    let mut words = vec!["keep", program];
    words.extend(arguments.iter().map(String::as_str));
    let mut running = Running::start(&mut myself(&words)?)?;
    let pid = running.line()?;
    let pid = pid
        .parse()
        .map_err(|_| format!("{program} did not start"))?;
    Ok((running, pid))
}

/// Prints a line for the parent. One that is gone shows at the input.
pub fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

/// Calls `then` from a thread of its own.
pub fn when_input_ends(then: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        // Every result of the read is an end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        then();
    });
}
