//! `ls`: the actors.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use conclib::Config;
use conclib::inspect::{
    ActorFilter, ActorsQuery, Cursor, Inspector, Sort, TypeSummary, TypesQuery,
};
use conclib::snapshot::{ActorSnapshot, Phase};
use serde::Serialize;

use crate::command::inspection::{
    ActorObject, Silent, ask_all, connect, members, running, say_silent, short_type,
};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::time::parse_duration;

/// List actors, or their types with --types
///
/// Actors with the oldest messages are first. Members of a fleet are listed together; the further pages of one member by
/// `--node NAME --after CURSOR`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    choice: Choice,
    /// Order
    #[arg(long, help_heading = "Options", value_enum, default_value_t)]
    sort: SortName,
    /// List at most this many, up to 500
    #[arg(
        long,
        help_heading = "Options",
        default_value_t = 100,
        value_name = "NUMBER"
    )]
    limit: usize,
    /// Continue behind a page of one node, with the cursor that it has printed
    #[arg(long, help_heading = "Options", value_name = "CURSOR", value_parser = Cursor::from_str, requires = "node")]
    after: Option<Cursor>,
    /// Sum up the actors of each type
    #[arg(long, help_heading = "Options", conflicts_with = "after")]
    types: bool,
}

/// The choice of actors.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filter")]
pub(crate) struct Choice {
    /// URN; * stands for any text
    #[arg(value_name = "URN-PATTERN")]
    urn: Option<String>,
    /// Rust type of the actor, such as Worker
    #[arg(long = "type", value_name = "TYPE")]
    actor_type: Option<String>,
    /// Phase of the actor
    #[arg(long, value_enum)]
    phase: Option<PhaseName>,
    /// The oldest message has waited for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    min_age: Option<Duration>,
}

/// A phase, as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PhaseName {
    Starting,
    Running,
    Restarting,
    Stopping,
}

/// An order, as an argument.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortName {
    /// Age of the oldest message, then of the running handler
    #[default]
    Oldest,
    /// Messages in the mailbox
    Queued,
    /// Time for which the handler has run
    Running,
    /// Messages that were handled
    Handled,
    /// Failures
    Failures,
    /// Restarts
    Restarts,
    /// URN or type
    Name,
}

impl From<SortName> for Sort {
    fn from(name: SortName) -> Self {
        match name {
            SortName::Oldest => Self::Oldest,
            SortName::Queued => Self::Queued,
            SortName::Running => Self::Running,
            SortName::Handled => Self::Handled,
            SortName::Failures => Self::Failures,
            SortName::Restarts => Self::Restarts,
            SortName::Name => Self::Name,
        }
    }
}

impl From<PhaseName> for Phase {
    fn from(name: PhaseName) -> Self {
        match name {
            PhaseName::Starting => Self::Starting,
            PhaseName::Running => Self::Running,
            PhaseName::Restarting => Self::Restarting,
            PhaseName::Stopping => Self::Stopping,
        }
    }
}

impl From<Choice> for ActorFilter {
    fn from(choice: Choice) -> Self {
        let mut filter = Self::default();
        filter.urn = choice.urn;
        filter.actor_type = choice.actor_type;
        filter.phase = choice.phase.map(Phase::from);
        filter.min_age = choice.min_age;
        filter
    }
}

/// A list of actors as JSON.
#[derive(Serialize)]
struct ActorsObject {
    actors: Vec<ActorObject>,
    /// The number of actors that meet the conditions.
    matching: usize,
    /// The number of all actors.
    total: usize,
    /// The place behind the page of one node.
    next: Option<String>,
    silent: Vec<Silent>,
}

/// The sums of a type on one node, as JSON.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TypeObject {
    pub(crate) node: String,
    pub(crate) actor_type: String,
    pub(crate) actors: usize,
    pub(crate) busy: usize,
    pub(crate) restarting: usize,
    pub(crate) queued: usize,
    pub(crate) queued_max: usize,
    pub(crate) waiting_senders: usize,
    pub(crate) oldest_seconds: Option<f64>,
    pub(crate) oldest_urn: Option<String>,
    pub(crate) longest_running_seconds: Option<f64>,
    pub(crate) handled: u64,
    pub(crate) failures: u64,
    pub(crate) restarts: u64,
}

impl TypeObject {
    pub(crate) fn new(node: &str, of_type: &TypeSummary) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        Self {
            node: node.to_owned(),
            actor_type: of_type.actor_type.to_string(),
            actors: of_type.actors,
            busy: of_type.busy,
            restarting: of_type.restarting,
            queued: of_type.queued,
            queued_max: of_type.queued_max,
            waiting_senders: of_type.waiting_senders,
            oldest_seconds: seconds(of_type.oldest),
            oldest_urn: of_type.oldest_urn.as_ref().map(ToString::to_string),
            longest_running_seconds: seconds(of_type.longest_running),
            handled: of_type.handled,
            failures: of_type.failures,
            restarts: of_type.restarts,
        }
    }
}

/// A list of types as JSON.
#[derive(Serialize)]
struct TypesObject {
    types: Vec<TypeObject>,
    silent: Vec<Silent>,
}

impl List {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let inspector = connect(config).await?;
        if self.types {
            return self.list_types(&inspector, output).await;
        }
        let mut query = ActorsQuery::new().sort(self.sort.into()).limit(self.limit);
        query.filter = self.choice.into();
        query.after = self.after;
        let (mut actors, mut next) = (Vec::<(String, ActorSnapshot)>::new(), None);
        let (mut matching, mut total) = (0, 0);
        let silent;
        let members = members(&inspector).await?;
        if let [member] = &members[..] {
            let page = inspector.ask(&member.node, &query).await?;
            (matching, total) = (page.matching, page.total);
            next = page.next.map(|next| next.to_string());
            actors.extend(
                page.actors
                    .into_iter()
                    .map(|actor| (member.node.clone(), actor)),
            );
            silent = Vec::new();
        } else {
            let found = inspector.actors(&query).await?;
            (matching, total) = (matching + found.matching, total + found.total);
            actors.extend(found.actors.into_iter().map(|of| (of.node, of.actor)));
            let unanswered = found.silent.into_iter();
            silent = unanswered
                .map(|(member, error)| Silent {
                    node: member.node,
                    error: error.to_string(),
                })
                .collect();
        }
        if output.json {
            let actors = actors.iter();
            return output.json(&ActorsObject {
                actors: actors
                    .map(|(node, actor)| ActorObject::new(node, actor))
                    .collect(),
                matching,
                total,
                next,
                silent,
            });
        }
        say_silent(output, &silent);
        show(output, &actors, members.len() > 1)?;
        let shown = actors.len();
        if shown < matching {
            let more = next.map_or_else(String::new, |next| {
                let node = members.first().map_or("", |member| &*member.node);
                format!("; next: --node {node} --after {next}")
            });
            output.note_to_people(&format!("{shown} of {matching} actors{more}"));
        }
        Ok(())
    }

    async fn list_types(self, inspector: &Inspector, output: Output) -> Result<(), Failure> {
        let query = TypesQuery::new()
            .filter(self.choice.into())
            .sort(self.sort.into());
        let answers = ask_all(inspector, &query).await?;
        let mut types = Vec::new();
        for (node, page) in &answers.answered {
            types.extend(
                page.types
                    .iter()
                    .map(|of_type| TypeObject::new(node, of_type)),
            );
        }
        if output.json {
            let silent = answers.silent;
            return output.json(&TypesObject { types, silent });
        }
        say_silent(output, &answers.silent);
        let header = [
            "NODE", "TYPE", "ACTORS", "BUSY", "QUEUED", "MAX", "OLDEST", "RUNNING", "HANDLED",
            "FAILURES", "RESTARTS",
        ];
        let seconds = |seconds: Option<f64>| {
            seconds.map_or_else(String::new, |seconds| {
                output::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
            })
        };
        let row = |of_type: TypeObject| {
            vec![
                of_type.node,
                short_type(&of_type.actor_type),
                of_type.actors.to_string(),
                of_type.busy.to_string(),
                of_type.queued.to_string(),
                of_type.queued_max.to_string(),
                seconds(of_type.oldest_seconds),
                seconds(of_type.longest_running_seconds),
                of_type.handled.to_string(),
                of_type.failures.to_string(),
                of_type.restarts.to_string(),
            ]
        };
        output.table(&header, types.into_iter().map(row).collect())
    }
}

fn show(
    output: Output,
    actors: &[(String, ActorSnapshot)],
    has_nodes: bool,
) -> Result<(), Failure> {
    let mut header = vec![
        "URN", "TYPE", "PHASE", "QUEUED", "OLDEST", "RUNNING", "HANDLED", "FAILURES", "RESTARTS",
    ];
    if has_nodes {
        header.insert(0, "NODE");
    }
    let row = |(node, actor): &(String, ActorSnapshot)| {
        let mut row = vec![
            actor.urn.to_string(),
            short_type(&actor.actor_type),
            actor.phase.to_string(),
            format!("{}/{}", actor.queued, actor.capacity),
            actor.oldest.map_or_else(String::new, output::duration),
            running(actor),
            actor.handled.to_string(),
            actor.failures.to_string(),
            actor.restarts.to_string(),
        ];
        if has_nodes {
            row.insert(0, node.clone());
        }
        row
    };
    output.table(&header, actors.iter().map(row).collect())
}
