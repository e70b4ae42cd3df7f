//! Makes the table: round after round, so that a disturbance hits every peer.

use conclib_benches::report::{
    Better, Cell, Limit, Machine, Peer, Report, Row, locked_version, now,
};

use crate::child;
use crate::options::{Options, Pace};
use crate::rows::{BY_HAND, Bound, Kind, LIMIT};

/// The notes below the table.
const NOTES: [&str; 9] = [
    "Every actor adds the u64 of a message to its own u64 and replies with the sum, which is checked. tokio \
     has two workers. Each figure comes from a separate process, after a warm-up.",
    "crossfire is the limit of a mailbox: an actor written by hand like that of tokio mpsc, with a queue without \
     locks, which takes no part in tokio's task budget.",
    "Mailboxes hold 1,024 messages; ractor's are unbounded. actix has no tell that waits for room: it uses \
     `try_send`, repeated after a yield while the mailbox is full. (`do_send` ignores the bound.)",
    "Handlers await nothing, except in the ring: `fn` for conclib and actix, `async` without an `await` \
     where the framework requires it.",
    "xtra keeps no order among messages of one priority: its tells have a higher priority than its asks.",
    "actix runs each actor on one thread. One arbiter runs the actors and another the senders: an ask goes \
     to another thread and back, and no message between two actors does. The rows with one worker thread \
     compare it with runtimes that have no other thread either.",
    "kameo is built without `tracing`, ractor without `message_span_propogation`. conclib has no such \
     switch: its counters, deadlines, cycle detection and snapshots are on.",
    "Spawn: until the new actor has replied to a first ask, one actor after another.",
    "Periodic: `#[periodic]`, actix' `run_interval`, ractor's `send_interval`, tokio-actors' `every`, and an \
     interval within the loop of tokio mpsc. kameo and xtra have none, and get a task with an interval for \
     each actor. CPU seconds over 5 s, for 500,000 ticks.",
];

/// Measures the chosen rows and peers.
pub(crate) fn measure(options: &Options) -> Report {
    let (date, machine) = (now(), Machine::here());
    let mut notes: Vec<_> = NOTES.map(str::to_owned).to_vec();
    if options.pace == Pace::Quick {
        notes.push("A quick run: the figures mean nothing.".to_owned());
    }
    let mut rows = Vec::new();
    for &kind in &options.rows {
        let samples = sample(kind, options, &mut notes);
        rows.push(row(kind, &options.peers, samples));
    }
    Report {
        title: "Within a process".to_owned(),
        machine,
        date,
        rounds: options.rounds,
        peers: options.peers.iter().map(|name| peer(name)).collect(),
        rows,
        notes,
    }
}

/// Fails if a figure is missing.
///
/// # Errors
///
/// A list of the missing figures.
pub(crate) fn complete(report: &Report) -> Result<(), String> {
    let missing: Vec<_> = report
        .rows
        .iter()
        .filter(|row| row.cells.iter().any(Option::is_none))
        .map(|row| row.name.as_str())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("Figures are missing: {}", missing.join("; ")))
    }
}

/// The samples of each peer. A peer with a failed round has none, and a note has the error.
fn sample(kind: Kind, options: &Options, notes: &mut Vec<String>) -> Vec<Option<Vec<f64>>> {
    let scale = options.scale(kind);
    let mut samples = vec![Some(Vec::new()); options.peers.len()];
    for round in 1..=options.rounds {
        eprintln!("{}: round {round} of {}", kind.name(), options.rounds);
        for (peer, taken) in options.peers.iter().zip(&mut samples) {
            let Some(figures) = taken else { continue };
            match child::measure(peer, kind, scale) {
                Ok(figure) => figures.push(figure),
                Err(error) => {
                    *taken = None;
                    let note = format!("{}: {peer} failed: {error}", kind.name());
                    eprintln!("{note}");
                    notes.push(note);
                }
            }
        }
    }
    samples
}

fn row(kind: Kind, peers: &[&str], samples: Vec<Option<Vec<f64>>>) -> Row {
    let first = samples.first().cloned().flatten().unwrap_or_default();
    let cells: Vec<_> = samples
        .into_iter()
        .map(|samples| Cell::new(samples?, &first))
        .collect();
    let bounds = kind.bounds().iter();
    let limits = bounds.filter_map(|bound| limit(*bound, peers, &cells));
    Row {
        name: kind.name().to_owned(),
        unit: kind.unit(),
        better: Better::Lower,
        limits: limits.collect(),
        cells,
    }
}

/// Checks the limits of a row whose reference was measured.
fn limit(bound: Bound, peers: &[&str], cells: &[Option<Cell>]) -> Option<Limit> {
    let measured = || {
        let both = peers.iter().copied().zip(cells);
        both.filter_map(|(peer, cell)| Some((peer, cell.as_ref()?)))
    };
    match bound {
        Bound::Bytes(bound) => {
            let (_, cell) = measured().next()?;
            Some(Limit::new("", bound, cell.value, Better::Lower))
        }
        Bound::ByHand(bound) => {
            let (peer, cell) = measured().find(|(peer, _)| *peer == BY_HAND)?;
            Some(Limit::new(peer, bound, cell.ratio?, Better::Lower))
        }
        Bound::BestPeer(bound) => {
            let published = measured().skip(1);
            let published = published.filter(|(peer, _)| ![BY_HAND, LIMIT].contains(peer));
            let (peer, cell) = published.min_by(|a, b| a.1.value.total_cmp(&b.1.value))?;
            let against = format!("best peer ({peer})");
            Some(Limit::new(against, bound, cell.ratio?, Better::Lower))
        }
    }
}

/// A peer in the report. The actor written by hand has the version of tokio.
fn peer(name: &str) -> Peer {
    let package = if name == BY_HAND { "tokio" } else { name };
    Peer {
        name: name.to_owned(),
        version: locked_version(package).unwrap_or_default(),
        skipped: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(kind: Kind, figures: [f64; 4]) -> Row {
        let peers = ["conclib", "tokio mpsc", "kameo", "xtra"];
        let samples = figures.map(|figure| Some(vec![figure; 3])).to_vec();
        row(kind, &peers, samples)
    }

    #[test]
    fn the_best_peer_is_the_fastest_that_is_published() {
        let row = row_of(Kind::Ask, [79.0, 80.0, 300.0, 200.0]);
        let against: Vec<_> = row.limits.iter().map(|l| l.against.as_str()).collect();
        assert_eq!(against, ["tokio mpsc", "best peer (xtra)"]);
        assert!(!row.limits[0].holds && row.limits[1].holds);
    }

    #[test]
    fn bytes_are_counted_and_not_compared() {
        let row = row_of(Kind::Idle, [800.0, 10.0, 10.0, 10.0]);
        assert!(row.limits[0].holds);
        let row = row_of(Kind::Idle, [800.5, 10.0, 10.0, 10.0]);
        assert!(!row.limits[0].holds);
    }

    #[test]
    fn who_was_not_measured_is_not_compared() {
        let row = row(
            Kind::Ask,
            &["conclib", "kameo"],
            vec![Some(vec![1.0]), None],
        );
        assert!(row.limits.is_empty());
    }
}
