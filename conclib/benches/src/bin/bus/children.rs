//! The processes that a run starts: the same executable with other words.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Problem;
use crate::call::Sample;
use crate::measurement::Measurement;
use crate::plan::Row;

/// The line that a responder prints when it can be asked.
pub(crate) const READY: &str = "ready";

/// The longest wait for a process to end by itself.
const FAREWELL: Duration = Duration::from_secs(3);

/// A process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Its standard input, closed on drop.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Problem> {
        let child = command.stdin(Stdio::piped()).spawn()?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True if it has not ended by itself.
    pub(crate) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The first line that it prints.
    fn first_line(&mut self) -> Result<String, Problem> {
        let mut line = String::new();
        if let Some(output) = self.child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let bound = Instant::now() + FAREWELL;
        while self.lives() && Instant::now() < bound {
            sleep(Duration::from_millis(2));
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This executable, with these arguments.
fn myself(words: &[&str]) -> Result<Command, Problem> {
    Ok(started_as(&env::current_exe()?, words))
}

/// The given build of this benchmark, with these arguments.
fn started_as(program: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::piped());
    command
}

/// A server that ends with this run, and the process id of the server itself.
pub(crate) fn keep(program: &str, arguments: &[String]) -> Result<(Running, u32), Problem> {
    let mut words = vec!["keep", program];
    words.extend(arguments.iter().map(String::as_str));
    let mut running = Running::start(&mut myself(&words)?)?;
    let pid = running.first_line()?;
    let pid = pid
        .parse()
        .map_err(|_| format!("{program} did not start"))?;
    Ok((running, pid))
}

/// A responder that can be asked.
pub(crate) fn responder(order: &Measurement<'_>) -> Result<Running, Problem> {
    let Measurement { peer, port, .. } = order;
    let words = ["respond", peer.id(), &port.to_string()];
    let mut command = started_as(order.program, &words);
    let mut running = Running::start(with_threads(&mut command, order.row))?;
    match running.first_line()?.as_str() {
        READY => Ok(running),
        _ => Err(format!("the responder of {} did not start", peer.name()).into()),
    }
}

/// Sets the worker threads of the process' runtime: tokio itself reads this variable.
fn with_threads<'a>(command: &'a mut Command, row: &Row) -> &'a mut Command {
    match row.threads {
        Some(threads) => command.env("TOKIO_WORKER_THREADS", threads.to_string()),
        None => command,
    }
}

/// A relay to a port, and its own port.
pub(crate) fn relay(port: u16, delay: Duration) -> Result<(Running, u16), Problem> {
    let nanos = delay.as_nanos().to_string();
    let mut running = Running::start(&mut myself(&["relay", &port.to_string(), &nanos])?)?;
    let own = running.first_line()?;
    let own = own.parse().map_err(|_| "the relay did not start")?;
    Ok((running, own))
}

/// Lets a caller process ask the responder, and waits for its results.
pub(crate) fn call(order: &Measurement<'_>, responder: u32) -> Result<Sample, Problem> {
    let Measurement { row, spans, .. } = order;
    let name = order.peer.name();
    let words = [
        "call".to_owned(),
        order.peer.id().to_owned(),
        order.port.to_string(),
        row.callers.to_string(),
        row.payload.to_string(),
        spans.measured.as_secs_f64().to_string(),
        spans.warm_up.as_secs_f64().to_string(),
        responder.to_string(),
        order.server.to_string(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = started_as(order.program, &words);
    let output = with_threads(&mut command, row)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the caller of {name} failed: {}", output.status).into());
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the caller of {name} printed no sample: {error}").into())
}
