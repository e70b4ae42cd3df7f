//! Actions: `stop`, `kill`, `restart`, `drain` and `log`.

use std::time::Duration;

use clap::Args;
use conclib::inspect::{Action, ActionOutcome, ActorQuery, Audit, Inspector, LogQuery, LogState};
use conclib::{Config, Urn};
use serde::Serialize;

use crate::command::actor::SeenActor;
use crate::command::confirm::confirm;
use crate::command::inspection::{ask_all, connect, members, no_member, say_silent, short_type};
use crate::exit::{Failure, of_action, of_outcome};
use crate::output::{self, Output};
use crate::time::parse_duration;

/// The author of an action and its reason, for the log of the process.
#[derive(Debug, Clone, Args)]
pub(crate) struct Author {
    /// Reason, for the log of the process
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Your name, for the log of the process [default: USER or LOGNAME]
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

impl Author {
    fn audit(&self) -> Result<Audit, Failure> {
        let reason = self.reason.as_deref().map(str::trim).unwrap_or_default();
        if reason.is_empty() {
            return Err(Failure::usage("an action needs a reason")
                .advise("give --reason TEXT: it goes to the log of the process"));
        }
        let variables = ["USER", "LOGNAME"].map(|name| std::env::var(name).ok());
        let names = [self.operator.clone()].into_iter().chain(variables);
        let mut names = names.flatten().filter(|name| !name.trim().is_empty());
        let operator = names.next().ok_or_else(|| {
            Failure::usage("an action needs the name of its author, and USER is not set here")
                .advise("give --operator NAME: it goes to the log of the process")
        })?;
        Ok(Audit::new(operator, reason))
    }
}

/// Stop an actor after its queued messages
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    target: Target,
}

/// End an actor for good at its next await, without its hooks; only its program can start it again
#[derive(Debug, Args)]
pub(crate) struct Kill {
    #[command(flatten)]
    target: Target,
}

/// Start a supervised actor anew, after its current message (--now interrupts it); its queued messages stay
#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    target: Target,
    /// At its next await: its current message is lost
    #[arg(long)]
    now: bool,
}

/// An actor, and the author of an action on it.
#[derive(Debug, Args)]
struct Target {
    /// URN of the actor
    urn: Urn,
    #[command(flatten)]
    author: Author,
}

/// Have a process take no more requests, answer those that it has, and stop its actors
///
/// The process may live on: whether it ends is up to its program. With `run` it does, with code 0.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Node of the process; in a fleet, the member
    #[arg(value_name = "NODE")]
    member: Option<String>,
    #[command(flatten)]
    author: Author,
}

/// Show the filter of a process' log, or change it for a time
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The filter, such as info,conclib::request=debug; without one, the filter is shown
    filter: Option<String>,
    /// Time after which the former filter is set again, 24h at most
    #[arg(long = "for", default_value = "10m", value_name = "DURATION", value_parser = parse_duration)]
    duration: Duration,
    /// Set the former filter again now
    #[arg(long, conflicts_with = "filter")]
    reset: bool,
    #[command(flatten)]
    author: Author,
}

/// An outcome as JSON.
#[derive(Serialize)]
struct OutcomeObject<'a> {
    node: &'a str,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    urn: Option<&'a str>,
    /// `done`, `begun`, `impossible` or `unknown`.
    outcome: &'static str,
    text: String,
}

impl Stop {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        self.target
            .act(config, output, |urn| Action::Stop { urn })
            .await
    }
}

impl Kill {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        self.target
            .act(config, output, |urn| Action::Kill { urn })
            .await
    }
}

impl Restart {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let now = self.now;
        let action = |urn| {
            if now {
                Action::Interrupt { urn }
            } else {
                Action::Restart { urn }
            }
        };
        self.target.act(config, output, action).await
    }
}

impl Target {
    /// Acts on the actor, wherever it is.
    async fn act(
        self,
        config: &Config,
        output: Output,
        action: impl FnOnce(Urn) -> Action,
    ) -> Result<(), Failure> {
        let audit = self.author.audit()?;
        let inspector = connect(config).await?;
        let (node, description) = find(&inspector, &self.urn).await?;
        let action = action(self.urn);
        let question = format!("{} {description}?", capital(action.name()));
        confirm(&question, output, self.author.yes).await?;
        act(&inspector, output, &node, action, &audit).await
    }
}

/// The only node that has the actor, and a description of it.
async fn find(inspector: &Inspector, urn: &Urn) -> Result<(String, String), Failure> {
    let answers = inspector.ask_all(&ActorQuery::new(urn.clone())).await?;
    let (mut found, mut first) = (Vec::new(), None);
    for answer in answers {
        match answer.outcome {
            Ok(details) => found.push((answer.member.node, details)),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    match &found[..] {
        [(node, details)] => {
            let (node, details) = (node.clone(), details.clone());
            let seen = SeenActor::with_waits(inspector, node, details).await?;
            let SeenActor { node, details, .. } = &seen;
            let kind = short_type(&details.actor.actor_type);
            let queued = details.actor.queued;
            let running = details
                .actor
                .running
                .as_ref()
                .map_or_else(String::new, |running| {
                    let elapsed = output::duration(running.elapsed);
                    format!(", its handler has run for {elapsed}")
                });
            let waiting = seen.waiting();
            let text =
                format!("`{urn}` ({kind}, {queued} messages queued{running}{waiting}) of {node}");
            Ok((node.clone(), text))
        }
        [] => Err(first.map_or_else(no_member, Failure::from)),
        several => {
            let nodes: Vec<_> = several.iter().map(|(node, _)| &**node).collect();
            let nodes = nodes.join(", ");
            Err(
                Failure::usage(format!("several members have `{urn}`: {nodes}"))
                    .advise("name one of them with --node"),
            )
        }
    }
}

impl Drain {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let audit = self.author.audit()?;
        let inspector = connect(config).await?;
        let node = match self.member {
            Some(node) => node,
            None => match &members(&inspector).await?[..] {
                [member] => member.node.clone(),
                several => {
                    let nodes: Vec<_> = several.iter().map(|member| &*member.node).collect();
                    return Err(Failure::usage("the fleet has several members")
                        .advise(format!("name one of them: {}", nodes.join(", "))));
                }
            },
        };
        confirm(
            &format!("Drain {node}, and stop its actors?"),
            output,
            self.author.yes,
        )
        .await?;
        act(&inspector, output, &node, Action::Drain, &audit).await
    }
}

impl Log {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let action = match self.filter {
            Some(filter) => Action::SetLogFilter {
                filter,
                duration: self.duration,
            },
            None if self.reset => Action::ResetLogFilter,
            None => return show_filters(config, output).await,
        };
        let audit = self.author.audit()?;
        let inspector = connect(config).await?;
        let members = members(&inspector).await?;
        let nodes: Vec<_> = members.iter().map(|member| &*member.node).collect();
        let question = format!("Change the filter of the log of {}?", nodes.join(", "));
        confirm(&question, output, self.author.yes).await?;
        for node in nodes {
            act(&inspector, output, node, action.clone(), &audit).await?;
        }
        Ok(())
    }
}

/// The filter of a log as JSON.
#[derive(Serialize)]
struct FilterObject<'a> {
    node: &'a str,
    controllable: bool,
    filter: Option<&'a str>,
    reverts_in_seconds: Option<u64>,
}

async fn show_filters(config: &Config, output: Output) -> Result<(), Failure> {
    let inspector = connect(config).await?;
    let answers = ask_all(&inspector, &LogQuery::default()).await?;
    say_silent(output, &answers.silent);
    if output.json {
        let object = |(node, state): &'_ (String, LogState)| {
            serde_json::to_value(FilterObject {
                node,
                controllable: state.is_controllable,
                filter: state.filter.as_deref(),
                reverts_in_seconds: state.reverts_in.map(|time| time.as_secs()),
            })
            .unwrap_or_default()
        };
        return output.json(&answers.answered.iter().map(object).collect::<Vec<_>>());
    }
    for (node, state) in answers.answered {
        let reverts = state.reverts_in.map_or_else(String::new, |time| {
            format!(" for {} more", output::duration(time))
        });
        let text = match (state.is_controllable, state.filter) {
            (true, Some(filter)) => format!("{filter}{reverts}"),
            (true, None) => "not known".to_owned(),
            (false, _) => "cannot be changed: its program has no `Config::log_control`".to_owned(),
        };
        output.line(&format!("{node}: {}", output::printable(&text)))?;
    }
    Ok(())
}

/// Acts, and prints the outcome.
async fn act(
    inspector: &Inspector,
    output: Output,
    node: &str,
    action: Action,
    audit: &Audit,
) -> Result<(), Failure> {
    let (name, urn) = (action.name(), action.urn().cloned());
    let outcome = inspector
        .act(node, action, audit)
        .await
        .map_err(of_action)?;
    if output.json {
        output.json(&OutcomeObject {
            node,
            action: name,
            urn: urn.as_ref().map(Urn::as_str),
            outcome: match &outcome {
                ActionOutcome::Done { .. } | ActionOutcome::Log(_) => "done",
                ActionOutcome::Begun { .. } => "begun",
                ActionOutcome::Impossible { .. } => "impossible",
                _ => "unknown",
            },
            text: outcome.to_string(),
        })?;
    } else if outcome.is_accepted() {
        output.line(&format!(
            "{node}: {}",
            output::printable(&outcome.to_string())
        ))?;
    }
    of_outcome(&outcome)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
