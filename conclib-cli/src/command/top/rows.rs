//! The rows of the lists. No I/O.

use std::time::Duration;

use conclib::Urn;
use conclib::inspect::WaitEdge;
use conclib::metrics::FailureRecord;
use conclib::snapshot::ActorSnapshot;

use crate::command::failures;
use crate::command::inspection::{running, short_type};
use crate::command::ls::TypeObject;
use crate::command::top::sample::Sample;
use crate::output;

/// The list that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Types,
    Actors,
    Failures,
    Waits,
}

impl View {
    pub(super) const ALL: [Self; 4] = [Self::Types, Self::Actors, Self::Failures, Self::Waits];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Types => "types",
            Self::Actors => "actors",
            Self::Failures => "failures",
            Self::Waits => "waits",
        }
    }
}

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// The actor that Enter inspects, and its node.
    pub(super) actor: Option<(String, Urn)>,
    /// The type whose actors Enter shows.
    pub(super) actor_type: Option<String>,
}

/// The header of a list.
pub(super) fn header(view: View) -> Vec<&'static str> {
    match view {
        View::Types => vec![
            "NODE", "TYPE", "ACTORS", "BUSY", "QUEUED", "OLDEST", "RUNNING", "HANDLED", "FAILURES",
            "RESTARTS",
        ],
        View::Actors => vec![
            "NODE", "URN", "TYPE", "PHASE", "QUEUED", "OLDEST", "RUNNING", "HANDLED", "FAILURES",
        ],
        View::Failures => vec!["FAILURE"],
        View::Waits => vec!["NODE", "ACTOR", "WAITS FOR", "UNTIL", "SINCE"],
    }
}

/// The rows of a look whose types or URNs are accepted.
pub(super) fn of_sample(sample: &Sample, view: View, accepts: impl Fn(&str) -> bool) -> Vec<Row> {
    match view {
        View::Types => {
            let types = sample.types.iter();
            let types = types.filter(|of_type| accepts(&short_type(&of_type.actor_type)));
            types.map(type_row).collect()
        }
        View::Actors => {
            let actors = sample.actors.iter();
            let actors = actors.filter(|(_, actor)| accepts(actor.urn.as_str()));
            actors.map(|(node, actor)| actor_row(node, actor)).collect()
        }
        View::Waits => {
            let waits = sample.waits.iter();
            let accepted =
                |edge: &WaitEdge| accepts(edge.from.as_str()) || accepts(edge.to.as_str());
            let waits = waits.filter(|(_, edge)| accepted(edge));
            waits.map(|(node, edge)| wait_row(node, edge)).collect()
        }
        View::Failures => Vec::new(), // of many looks
    }
}

/// The rows of failures, the newest first.
pub(super) fn of_failures<'a>(
    failures: impl DoubleEndedIterator<Item = &'a (String, FailureRecord)>,
    accepts: impl Fn(&str) -> bool,
) -> Vec<Row> {
    let failures = failures.rev();
    let failures = failures.filter(|(_, failure)| accepts(failure.urn.as_str()));
    let row = |(node, failure): &(String, FailureRecord)| Row {
        cells: vec![failures::line(node, failure)],
        actor: Some((node.clone(), failure.urn.clone())),
        actor_type: None,
    };
    failures.map(row).collect()
}

fn type_row(of_type: &TypeObject) -> Row {
    let seconds = |seconds: Option<f64>| {
        let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        time.map_or_else(String::new, output::duration)
    };
    Row {
        cells: vec![
            of_type.node.clone(),
            short_type(&of_type.actor_type),
            of_type.actors.to_string(),
            of_type.busy.to_string(),
            of_type.queued.to_string(),
            seconds(of_type.oldest_seconds),
            seconds(of_type.longest_running_seconds),
            of_type.handled.to_string(),
            of_type.failures.to_string(),
            of_type.restarts.to_string(),
        ],
        actor: None,
        actor_type: Some(of_type.actor_type.clone()),
    }
}

fn actor_row(node: &str, actor: &ActorSnapshot) -> Row {
    Row {
        cells: vec![
            node.to_owned(),
            actor.urn.to_string(),
            short_type(&actor.actor_type),
            actor.phase.to_string(),
            format!("{}/{}", actor.queued, actor.capacity),
            actor.oldest.map_or_else(String::new, output::duration),
            running(actor),
            actor.handled.to_string(),
            actor.failures.to_string(),
        ],
        actor: Some((node.to_owned(), actor.urn.clone())),
        actor_type: None,
    }
}

fn wait_row(node: &str, edge: &WaitEdge) -> Row {
    Row {
        cells: vec![
            node.to_owned(),
            edge.from.to_string(),
            edge.to.to_string(),
            edge.kind.to_string(),
            edge.running.map_or_else(String::new, output::duration),
        ],
        actor: Some((node.to_owned(), edge.from.clone())),
        actor_type: None,
    }
}
