//! Each measurement is a process of its own, so that one framework leaves nothing to the next.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use crate::peer::{Counting, Peer};
use crate::peers::{Actix, Conclib, Crossfire, Kameo, Ractor, TokioActors, TokioMpsc, Xtra};
use crate::rows::{Kind, PEERS, Senders, Workers};
use crate::work::{self, Scale};

/// The number of attempts before a peer has no figure: a machine that does other work
/// as well may be late with ticks.
const ATTEMPTS: usize = 3;

/// The first argument of this executable as a measurement.
pub(crate) const COMMAND: &str = "measure";

/// Measures in a process of its own; again after an error.
///
/// # Errors
///
/// The error of the last attempt.
pub(crate) fn measure(peer: &str, kind: Kind, scale: Scale) -> Result<f64, String> {
    measure_with(&myself()?, peer, kind, scale)
}

/// Measures as [`measure`] does, with that build of this benchmark.
///
/// # Errors
///
/// The error of the last attempt.
pub(crate) fn measure_with(
    program: &Path,
    peer: &str,
    kind: Kind,
    scale: Scale,
) -> Result<f64, String> {
    let mut result = attempt(program, peer, kind, scale);
    for _ in 1..ATTEMPTS {
        if let Err(error) = &result {
            eprintln!("{}: {peer}, again: {error}", kind.name());
            result = attempt(program, peer, kind, scale);
        }
    }
    result
}

/// This executable.
///
/// # Errors
///
/// The system does not know its path.
pub(crate) fn myself() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

/// Measures once, with that build of this benchmark.
///
/// # Errors
///
/// The process does not start, does not end well, or does not print a figure.
pub(crate) fn attempt(program: &Path, peer: &str, kind: Kind, scale: Scale) -> Result<f64, String> {
    let output = Command::new(program)
        .args([COMMAND, peer, kind.name()])
        .arg(scale.size.to_string())
        .arg(scale.time.as_millis().to_string())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(reason(&said).unwrap_or_else(|| output.status.to_string()));
    }
    let figure = String::from_utf8_lossy(&output.stdout);
    figure
        .trim()
        .parse()
        .map_err(|_| format!("`{}` is no figure", figure.trim()))
}

/// The message of a panic, which follows the line with its location.
fn reason(said: &str) -> Option<String> {
    let mut lines = said.lines().filter(|line| !line.trim().is_empty());
    let reason = lines.find(|line| !line.contains("panicked at"))?;
    Some(reason.to_owned())
}

/// The arguments behind [`COMMAND`].
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The peer.
    peer: String,
    /// The row of the table, or the measurement of a chart.
    #[arg(value_parser = Kind::find)]
    row: Kind,
    /// The number of messages, actors or URNs.
    size: u64,
    /// The time to measure.
    milliseconds: u64,
}

/// Runs as a measurement.
///
/// # Errors
///
/// There is no such peer, or it is not measured in that row.
pub(crate) fn run(order: &Order) -> Result<f64, String> {
    let (peer, kind) = (order.peer.as_str(), order.row);
    let scale = Scale {
        size: order.size,
        time: Duration::from_millis(order.milliseconds),
    };
    match (peer, kind) {
        ("conclib", Kind::Urns) => Ok(Conclib::run(Workers::Two, work::ask_by_urn(scale))),
        ("conclib", Kind::Live) => Ok(growth::<Conclib>(scale)),
        ("tokio mpsc", Kind::Live) => Ok(growth::<TokioMpsc>(scale)),
        ("kameo", Kind::Live) => Ok(growth::<Kameo>(scale)),
        (_, Kind::Urns | Kind::Live) => Err(format!("{peer} is not measured in {}", kind.name())),
        ("conclib", _) => Ok(row_of::<Conclib>(kind, scale)),
        ("tokio mpsc", _) => Ok(row_of::<TokioMpsc>(kind, scale)),
        ("crossfire", _) => Ok(row_of::<Crossfire>(kind, scale)),
        ("kameo", _) => Ok(row_of::<Kameo>(kind, scale)),
        ("ractor", _) => Ok(row_of::<Ractor>(kind, scale)),
        ("xtra", _) => Ok(row_of::<Xtra>(kind, scale)),
        ("actix", _) => Ok(row_of::<Actix>(kind, scale)),
        ("tokio-actors", _) => Ok(row_of::<TokioActors>(kind, scale)),
        _ => Err(format!("no peer is called {peer}; there are {PEERS:?}")),
    }
}

fn growth<P: Counting>(scale: Scale) -> f64 {
    P::run(Workers::Two, work::tell_many::<P>(scale))
}

fn row_of<P: Peer>(kind: Kind, scale: Scale) -> f64 {
    match kind {
        Kind::Tell(Senders::One) => P::run(Workers::Two, work::tell::<P>(scale)),
        Kind::Tell(senders) => P::run(
            Workers::Two,
            work::tell_at_once::<P>(scale, senders.count()),
        ),
        Kind::Ask => P::run(Workers::Two, work::ask::<P>(scale)),
        Kind::AskAtOnce => P::run(Workers::Two, work::ask_at_once::<P>(scale, 64)),
        Kind::Spawn(workers) => P::run(workers, work::spawn::<P>(scale)),
        Kind::Idle => P::run(Workers::Two, work::idle::<P>(scale)),
        Kind::Periodic(workers) => P::run(workers, work::periodic::<P>(scale)),
        Kind::Ring(_, workers) => P::run(workers, work::ring::<P>(scale)),
        Kind::Live | Kind::Urns => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_first_line_of_a_panic() {
        let said = "\nthread 'main' (7) panicked at work.rs:41:9:\n12 ticks came\nnote: run with\n";
        assert_eq!(reason(said).as_deref(), Some("12 ticks came"));
        assert_eq!(
            reason("no peer is called x\n").as_deref(),
            Some("no peer is called x")
        );
        assert_eq!(reason(""), None);
    }
}
