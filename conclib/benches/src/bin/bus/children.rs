//! The processes that a run starts: the same executable with other words.

use std::process::{Command, Stdio};
use std::time::Duration;

use conclib_benches::Problem;
use conclib_benches::children::{READY, Running, myself, started_as};

use crate::call::Sample;
use crate::measurement::Measurement;
use crate::plan::Row;

/// A responder that can be asked.
pub(crate) fn responder(order: &Measurement<'_>) -> Result<Running, Problem> {
    let Measurement { peer, port, .. } = order;
    let words = ["respond", peer.id(), &port.to_string()];
    let mut command = started_as(order.program, &words);
    let mut running = Running::start(with_threads(&mut command, order.row))?;
    match running.line()?.as_str() {
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
    let own = running.line()?;
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
