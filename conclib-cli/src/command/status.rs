//! `status`: who serves, and what waits.

use std::time::{Duration, SystemTime};

use clap::Args;
use conclib::Config;
use conclib::monitor::BusMonitor;

use crate::command::facts::{Facts, LeaseFact, NodeFacts};
use crate::exit::{Exit, Failure};
use crate::output::{self, Output, age};
use crate::time::parse_duration;

/// Show who serves, and what waits
///
/// Exits with 3 if no actor system serves, and with 7 beyond --max-oldest. All of it is read from Redis, and nothing asked of
/// the actor system, but the age for --max-oldest, if the user is an observer.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    thresholds: Thresholds,
}

/// The thresholds of a probe.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Thresholds {
    /// Exit with 7 if a durable message has waited longer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_oldest: Option<Duration>,
}

impl Thresholds {
    /// Asks for the facts that the thresholds need, and that were not read.
    ///
    /// # Errors
    ///
    /// The process of the node does not tell them.
    pub(crate) async fn ask(self, config: &Config, facts: &mut Facts) -> Result<(), Failure> {
        if self.max_oldest.is_none() {
            return Ok(());
        }
        facts.ask_ages(config).await
    }

    /// The failure of a threshold that is exceeded.
    pub(crate) fn check(self, facts: &Facts) -> Result<(), Failure> {
        let Some(max) = self.max_oldest else {
            return Ok(());
        };
        if !facts.can_read_ages {
            let text = "neither this user nor the process may read the ages of durable messages";
            return Err(Failure::new(Exit::NotPermitted, "not_permitted", text).advise(
                "give them the rights of their roles: `conclib acl observer`, `conclib acl proxy`",
            ));
        }
        let Some(oldest) = facts.oldest() else {
            return Ok(());
        };
        if oldest <= max {
            return Ok(());
        }
        let text = format!(
            "the oldest durable message has waited {}, more than {}",
            output::duration(oldest),
            output::duration(max)
        );
        Err(Failure::new(Exit::Threshold, "threshold", text)
            .advise("`conclib durable ls` shows which; check that their actors run"))
    }
}

impl Status {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let monitor = BusMonitor::connect(config).await?;
        let mut facts = Facts::read(config, &monitor).await?;
        let asked = self.thresholds.ask(config, &mut facts).await;
        if output.json {
            output.json(&facts)?;
        } else {
            show(output, &facts)?;
        }
        if !facts.is_served() {
            return Err(not_served(&facts));
        }
        asked?;
        self.thresholds.check(&facts)
    }
}

/// The failure of a bus without an actor system.
pub(crate) fn not_served(facts: &Facts) -> Failure {
    let text = if facts.is_fleet {
        format!("no member of the fleet of `{}` serves", facts.namespace)
    } else {
        format!("no actor system serves the node in `{}`", facts.namespace)
    };
    Failure::new(Exit::TryAgain, "no_responder", text)
        .advise("start the actor process, or name another one: --namespace, --node, --fleet")
}

fn show(output: Output, facts: &Facts) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| {
        lines.push(format!("{name:<13} {}", output::printable(&value)));
    };
    line("namespace", facts.namespace.clone());
    if let Some(server) = &facts.server {
        let role = if server.is_primary {
            "primary"
        } else {
            "replica"
        };
        let replicas = server.replicas;
        let memory = output::bytes(server.used_memory);
        line(
            "redis",
            format!(
                "{} {}, {role}, {replicas} replicas, {memory}",
                server.kind, server.version
            ),
        );
    }
    if let Some(trip) = facts.round_trip {
        line("round trip", output::duration(trip.elapsed));
    }
    for refusal in &facts.refused {
        line(
            "not permitted",
            format!("{}: {}", refusal.fact, refusal.reason),
        );
    }
    if facts.is_fleet {
        output.line(&lines.join("\n"))?;
        return show_members(output, facts);
    }
    for node in &facts.nodes {
        show_node(node, &mut line);
    }
    output.line(&lines.join("\n"))
}

fn show_node(node: &NodeFacts, line: &mut impl FnMut(&str, String)) {
    line("node", node.node.clone());
    match &node.lease {
        LeaseFact::Unknown => {}
        LeaseFact::Free => line("lease", "free: no actor system serves".to_owned()),
        LeaseFact::Held(lease) => {
            let state = if lease.is_serving {
                "serving"
            } else {
                "not serving yet, or stopping"
            };
            let instance = match &*lease.instance {
                "" => String::new(),
                name => format!(", instance {name}"),
            };
            line("lease", format!("{state}, epoch {}{instance}", lease.epoch));
        }
    }
    if let Some(inbox) = node.inbox {
        line("inbox", format!("{inbox} requests"));
    }
    if let Some(durable) = &node.durable {
        let oldest = oldest(durable.oldest);
        line(
            "durable",
            if durable.is_readable {
                format!(
                    "{} stored, {} in progress, {} delayed{oldest}",
                    durable.stored, durable.in_progress, durable.delayed
                )
            } else {
                format!(
                    "{} stored, {} delayed{oldest}",
                    durable.stored, durable.delayed
                )
            },
        );
    }
    if let Some(dead) = &node.dead_letters {
        let oldest = oldest(dead.oldest);
        line("dead letters", format!("{}{oldest}", dead.stored));
    }
}

/// The age of the oldest of several messages, as the end of a list.
fn oldest(time: Option<SystemTime>) -> String {
    time.map_or_else(String::new, |time| {
        format!(", oldest {}", output::duration(age(time)))
    })
}

fn show_members(output: Output, facts: &Facts) -> Result<(), Failure> {
    let row = |node: &NodeFacts| {
        let member = node.member.as_ref();
        vec![
            node.node.clone(),
            member.map_or_else(String::new, |member| member.stage.to_string()),
            member.map_or_else(String::new, |member| output::duration(age(member.joined))),
            match &node.lease {
                LeaseFact::Unknown => "?".to_owned(),
                LeaseFact::Free => "none".to_owned(),
                LeaseFact::Held(lease) if lease.is_serving => "serving".to_owned(),
                LeaseFact::Held(_) => "held".to_owned(),
            },
            node.inbox
                .map_or_else(String::new, |inbox| inbox.to_string()),
            member.map_or_else(String::new, |member| member.shared.len().to_string()),
        ]
    };
    let rows = facts.nodes.iter().map(row).collect();
    output.table(
        &["MEMBER", "STAGE", "SINCE", "LEASE", "INBOX", "SHARED"],
        rows,
    )
}
