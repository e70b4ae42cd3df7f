//! A run: servers, then round after round, then the table.

use std::fmt::Write as _;
use std::path::Path;

use conclib_benches::children::Running;
use conclib_benches::cpus::share_one_cpu;
use conclib_benches::report::{Machine, Peer as Column, Report, locked_version, now, write_json};
use conclib_benches::servers::{Kind, Server};
use conclib_benches::{Problem, float};

use crate::against;
use crate::call::Sample;
use crate::children;
use crate::measurement::Measurement;
use crate::options::Options;
use crate::peers::Peer;
use crate::plan::Spans;
use crate::results::Results;

pub(crate) fn main(options: &Options) -> Result<(), Problem> {
    if options.one_cpu {
        share_one_cpu()?;
    }
    if let Some(other) = &options.against {
        return against::run(options, other);
    }
    let program = std::env::current_exe()?;
    let (machine, date) = (Machine::here(), now());
    let servers = Servers::start(options)?;
    let mut outcome = Outcome::default();
    for round in 0..options.rounds {
        outcome.add_round(round, &program, options, &servers);
    }
    let Outcome { results, failures } = outcome;
    let columns = columns(options);
    let report = Report {
        title: title(options),
        machine,
        date,
        rounds: options.rounds,
        peers: columns
            .iter()
            .map(|peer| servers.column(*peer, options.peers.contains(peer)))
            .collect(),
        rows: results.lines(&options.rows, &columns, options.one_cpu),
        notes: notes(options, &failures),
    };
    println!("{}", report.markdown());
    let file = write_json(&report, name(options))?;
    eprintln!("written: {}", file.display());
    match failures.len() {
        0 => Ok(()),
        number => Err(format!("{number} measurements FAILED:\n{}", failures.join("\n")).into()),
    }
}

/// The results of the rounds.
#[derive(Default)]
struct Outcome {
    results: Results,
    /// Failed measurements and their errors.
    failures: Vec<String>,
}

impl Outcome {
    /// Measures each row with one peer after another.
    fn add_round(&mut self, round: usize, program: &Path, options: &Options, servers: &Servers) {
        for row in &options.rows {
            for peer in options
                .peers
                .iter()
                .copied()
                .filter(|peer| row.suits(*peer))
            {
                let Some((port, server)) = servers.address(peer) else {
                    continue;
                };
                let what = format!("round {}: {}: {}", round + 1, row.name, peer.name());
                let measurement = Measurement {
                    program,
                    peer,
                    port,
                    server,
                    row,
                    spans: options.spans,
                };
                match measurement.take() {
                    Ok(sample) => {
                        eprintln!("{what}: {}", summary(&sample));
                        self.results.add(row, peer, round, sample);
                    }
                    Err(problem) => {
                        eprintln!("{what}: FAILED: {problem}");
                        self.failures.push(format!("{what}: {problem}"));
                    }
                }
            }
        }
    }
}

/// The figures of a sample that show the progress of a run.
pub(crate) fn summary(sample: &Sample) -> String {
    let Sample { p50, p99, .. } = sample;
    let throughput = float(sample.asks) / sample.seconds;
    format!("{throughput:.0} asks/s, p50 {p50:.0} µs, p99 {p99:.0} µs")
}

/// The servers from the first round to the last.
pub(crate) struct Servers {
    redis: Option<Server>,
    nats: Option<Server>,
    /// The longer way to Redis, and its port.
    relay: Option<(Running, u16)>,
}

impl Servers {
    /// The servers of the chosen peers.
    pub(crate) fn start(options: &Options) -> Result<Self, Problem> {
        let start = |kind| {
            if options.peers.iter().any(|peer| peer.server() == kind) {
                Server::start(kind)
            } else {
                Ok(None)
            }
        };
        let (redis, nats) = (start(Kind::Redis)?, start(Kind::Nats)?);
        let relay = match (&redis, options.delay) {
            (Some(redis), Some(delay)) => Some(children::relay(redis.port, delay)?),
            _ => None,
        };
        Ok(Self { redis, nats, relay })
    }

    fn of(&self, kind: Kind) -> Option<&Server> {
        match kind {
            Kind::Redis => self.redis.as_ref(),
            Kind::Nats => self.nats.as_ref(),
        }
    }

    /// The port that leads to the server of a peer, and the server's process; nothing if it is not
    /// installed.
    pub(crate) fn address(&self, peer: Peer) -> Option<(u16, u32)> {
        let server = self.of(peer.server())?;
        let port = match &self.relay {
            Some((_, port)) => *port,
            None => server.port,
        };
        Some((port, server.pid))
    }

    /// A peer in the report.
    fn column(&self, peer: Peer, chosen: bool) -> Column {
        let (library, kind) = (peer.library(), peer.server());
        let server = self.of(kind);
        let mut version = format!("({library}");
        if let Some(locked) = locked_version(library) {
            let _ = write!(version, " {locked}");
        }
        if let Some(server) = server {
            let _ = write!(version, ", {} {}", kind.name(), server.version);
        }
        version.push(')');
        Column {
            name: peer.name().to_owned(),
            version,
            skipped: match (chosen, server) {
                (false, _) => Some("it was not asked for".to_owned()),
                (true, None) => Some(format!("{} is not installed", kind.name())),
                (true, Some(_)) => None,
            },
        }
    }
}

/// conclib comes first, also if it was not chosen.
fn columns(options: &Options) -> Vec<Peer> {
    let others = options.peers.iter().filter(|peer| **peer != Peer::Conclib);
    [Peer::Conclib].into_iter().chain(others.copied()).collect()
}

/// The reports of special runs leave the usual one where it is.
fn name(options: &Options) -> &'static str {
    match (options.delay, options.one_cpu) {
        (None, false) => "bus",
        (None, true) => "bus-one-cpu",
        (Some(_), _) => "bus-far",
    }
}

/// The heading of a report.
pub(crate) fn title(options: &Options) -> String {
    match options.delay {
        None if options.one_cpu => "The bus on one processor".to_owned(),
        None => "The bus on one machine".to_owned(),
        Some(delay) => format!("The bus with {delay:?} each way to Redis"),
    }
}

fn notes(options: &Options, failures: &[String]) -> Vec<String> {
    let Spans { warm_up, measured } = options.spans;
    let mut notes = vec![format!(
        "Each measurement takes {measured:?} after {warm_up:?} of warm-up, in a new caller process and a \
         new responder process. Payloads have 64 bytes unless stated; every reply is checked."
    )];
    match options.delay {
        None => {
            notes.push("The naive loop has at most 64 callers, raw sockets have one.".to_owned());
        }
        Some(_) => {
            notes.push(
                "Every connection to Redis leads through a relay, a process of this machine."
                    .to_owned(),
            );
        }
    }
    notes.extend(
        failures
            .iter()
            .map(|failure| format!("**FAILED**: {failure}")),
    );
    notes
}
