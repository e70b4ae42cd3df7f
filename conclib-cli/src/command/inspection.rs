//! Inspection of all members, for the commands that show them.

use std::time::{Duration, Instant};

use conclib::Config;
use conclib::inspect::{Inspector, MemberAddress, MemberStage, Query, StatusQuery};
use conclib::metrics::BacklogStats;
use conclib::snapshot::ActorSnapshot;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{self, Output};

/// The age of a backlog that counts as that of now.
const FRESH_BACKLOG: Duration = Duration::from_secs(2);

/// Time after which a process is asked again for its backlog.
const BACKLOG_PAUSE: Duration = Duration::from_millis(50);

/// Connects as an observer.
pub(crate) async fn connect(config: &Config) -> Result<Inspector, Failure> {
    Ok(Inspector::connect(config).await?)
}

/// The members that may be asked: of a fleet, those that have not left.
///
/// # Errors
///
/// There is none.
pub(crate) async fn members(inspector: &Inspector) -> Result<Vec<MemberAddress>, Failure> {
    let mut members = inspector.members().await?;
    members.retain(|member| member.stage != Some(MemberStage::Left));
    if members.is_empty() {
        return Err(no_member());
    }
    Ok(members)
}

/// The failure of a fleet without members.
pub(crate) fn no_member() -> Failure {
    Failure::new(Exit::TryAgain, "no_responder", "the fleet has no members").advise(
        "start an actor process with CONCLIB_FLEET=1, name another namespace, or leave out --fleet and CONCLIB_FLEET",
    )
}

/// The answers of members, each with its node.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    pub(crate) answered: Vec<(String, T)>,
    pub(crate) silent: Vec<Silent>,
}

/// A member that has not answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Silent {
    pub(crate) node: String,
    pub(crate) error: String,
}

/// Asks all members.
///
/// # Errors
///
/// There is none, or none has answered: the error of the first one.
pub(crate) async fn ask_all<Q: Query>(
    inspector: &Inspector,
    query: &Q,
) -> Result<Answers<Q::Answer>, Failure> {
    let mut answers = Answers {
        answered: Vec::new(),
        silent: Vec::new(),
    };
    let mut first = None;
    for answer in inspector.ask_all(query).await? {
        let node = answer.member.node;
        match answer.outcome {
            Ok(found) => answers.answered.push((node, found)),
            Err(error) => {
                let text = error.to_string();
                answers.silent.push(Silent { node, error: text });
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if answers.answered.is_empty() => Err(error.into()),
        None if answers.answered.is_empty() => Err(no_member()),
        _ => Ok(answers),
    }
}

/// The backlog of a node as its process has read it within the last two seconds: the process reads it when it is asked.
///
/// # Errors
///
/// The process does not answer, or has not read it in time.
pub(crate) async fn backlog(
    inspector: &Inspector,
    node: &str,
    timeout: Duration,
) -> Result<BacklogStats, Failure> {
    let start = Instant::now();
    loop {
        let status = inspector.ask(node, &StatusQuery::default()).await?;
        match status.stats.backlog {
            Some(backlog) if backlog.age < FRESH_BACKLOG => return Ok(backlog),
            _ if start.elapsed() < timeout => tokio::time::sleep(BACKLOG_PAUSE).await,
            _ => {
                let text = format!("the process of {node} has not read its queues in time");
                return Err(Failure::new(Exit::TryAgain, "not_answered", text));
            }
        }
    }
}

/// Says which members have not answered; in JSON the output does.
pub(crate) fn say_silent(output: Output, silent: &[Silent]) {
    for Silent { node, error } in silent {
        output.note_to_people(&format!("no answer of {node}: {error}"));
    }
}

/// An actor as JSON.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ActorObject {
    pub(crate) node: String,
    pub(crate) urn: String,
    pub(crate) actor_type: String,
    pub(crate) parent: Option<String>,
    pub(crate) phase: String,
    pub(crate) queued: usize,
    pub(crate) capacity: usize,
    pub(crate) waiting_senders: usize,
    pub(crate) oldest_seconds: Option<f64>,
    pub(crate) running: Option<RunningObject>,
    pub(crate) handled: u64,
    pub(crate) failures: u64,
    pub(crate) restarts: u32,
    pub(crate) listing: String,
}

/// A handler that runs, as JSON.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunningObject {
    pub(crate) handler: String,
    pub(crate) message: Option<String>,
    pub(crate) seconds: f64,
}

impl ActorObject {
    pub(crate) fn new(node: &str, actor: &ActorSnapshot) -> Self {
        Self {
            node: node.to_owned(),
            urn: actor.urn.to_string(),
            actor_type: actor.actor_type.to_string(),
            parent: actor.parent.as_ref().map(ToString::to_string),
            phase: actor.phase.to_string(),
            queued: actor.queued,
            capacity: actor.capacity,
            waiting_senders: actor.waiting_senders,
            oldest_seconds: actor.oldest.map(|oldest| oldest.as_secs_f64()),
            running: actor.running.as_ref().map(|running| RunningObject {
                handler: running.name.to_string(),
                message: running.message.as_ref().map(ToString::to_string),
                seconds: running.elapsed.as_secs_f64(),
            }),
            handled: actor.handled,
            failures: actor.failures,
            restarts: actor.restarts,
            listing: actor.listing.to_string(),
        }
    }
}

/// The running handler of an actor, for people.
pub(crate) fn running(actor: &ActorSnapshot) -> String {
    actor.running.as_ref().map_or_else(String::new, |running| {
        format!("{} {}", running.name, output::duration(running.elapsed))
    })
}

/// The name of a Rust type without its paths: `Pool<Worker>`.
pub(crate) fn short_type(name: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let (mut short, mut word) = (String::new(), String::new());
    for c in name.chars().chain(['\0']) {
        if is_part(c) {
            word.push(c);
            continue;
        }
        short.push_str(word.rsplit("::").next().unwrap_or_default());
        word.clear();
        if c != '\0' {
            short.push(c);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_shown_without_their_paths() {
        for (name, short) in [
            ("app::desk::Desk", "Desk"),
            ("conclib::pool::Pool<app::Worker>", "Pool<Worker>"),
            ("a::Both<b::C, alloc::vec::Vec<d::E>>", "Both<C, Vec<E>>"),
            ("Plain", "Plain"),
            ("", ""),
        ] {
            assert_eq!(short_type(name), short);
        }
    }
}
