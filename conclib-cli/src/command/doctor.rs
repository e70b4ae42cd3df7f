//! `doctor`: what is wrong, and what to do about it.
//!
//! - [`server`]: Redis itself
//! - [`schemas`]: messages whose types differ between members, or that did not decode

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use conclib::inspect::{ActorsQuery, Inspector, MemberStage, StatusQuery};
use conclib::monitor::{BusMonitor, DurableStatus};
use conclib::{AskError, Config, ProxyClient};
use serde::Serialize;

use crate::command::facts::{Facts, LeaseFact, NodeFacts};
use crate::command::inspection::ask_all;
use crate::command::status::{Thresholds, not_served};
use crate::exit::{Exit, Failure};
use crate::output::{self, Level, Output, age};

mod schemas;
mod server;

/// The age of a message at which its actor may be stuck.
const OLD_MESSAGE: Duration = Duration::from_secs(30);

/// The number of requests in an inbox at which its process does not keep up.
const LONG_INBOX: u64 = 1000;

/// The number of dead letters beyond which the oldest are dropped.
const MAX_DEAD_LETTERS: u64 = 100_000;

/// The difference of clocks at which ages are wrong that people read, in seconds.
const CLOCK_OFFSET: u64 = 2;

/// Check Redis, the leases, the queues, the rights and the schemas of messages, and say what to do
///
/// Exits with 0 if nothing is in the way, whatever it warns of; with 3 if Redis or the actor system does not serve,
/// with 7 beyond --max-oldest, and with 8 if the user of Redis may neither ask nor look.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    thresholds: Thresholds,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    check: &'static str,
    text: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: String,
    /// The message that it is about, if it is about one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    skew: Option<schemas::Skew>,
}

/// The findings in their order.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, check: &'static str, text: impl Into<String>, advice: &str) {
        self.0.push(Finding {
            level,
            check,
            text: text.into(),
            advice: advice.to_owned(),
            skew: None,
        });
    }

    /// A warning about the types of a message.
    fn skew(&mut self, skew: schemas::Skew, text: String, advice: &str) {
        self.warn("schemas", text, advice);
        if let Some(finding) = self.0.last_mut() {
            finding.skew = Some(skew);
        }
    }

    fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(Level::Ok, check, text, "");
    }

    fn warn(&mut self, check: &'static str, text: impl Into<String>, advice: &str) {
        self.add(Level::Warn, check, text, advice);
    }

    fn error(&mut self, check: &'static str, text: impl Into<String>, advice: &str) {
        self.add(Level::Error, check, text, advice);
    }
}

impl Doctor {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let mut findings = Findings::default();
        let ended = self.examine(config, &mut findings).await;
        if let Err(failure) = &ended
            && !failure.text.is_empty()
        {
            findings.error(failure.kind, &*failure.text, &failure.advice);
        }
        report(output, &findings)?;
        ended.map_err(|failure| Failure::silent(failure.exit, failure.kind))
    }

    async fn examine(self, config: &Config, findings: &mut Findings) -> Result<(), Failure> {
        let monitor = BusMonitor::connect(config).await?;
        let mut facts = Facts::read(config, &monitor).await?;
        let asked = self.thresholds.ask(config, &mut facts).await;
        if let Some(trip) = facts.round_trip {
            findings.ok(
                "redis",
                format!("answers in {}", output::duration(trip.elapsed)),
            );
            if trip.clock_offset.as_secs() >= CLOCK_OFFSET {
                findings.warn(
                    "clock",
                    format!("the clock of Redis differs by {}", output::duration(trip.clock_offset)),
                    "set the clocks of both machines: ages are wrong here; deadlines are not, since they count by the clock of Redis",
                );
            }
        }
        if let Some(server) = &facts.server {
            server::examine(server, findings);
        }
        examine_members(&facts, &monitor, findings).await;
        for node in &facts.nodes {
            examine_node(node, findings);
        }
        let asks = examine_asks(config).await;
        let denied = asks.as_ref().err();
        let may_not_ask = denied.is_some_and(|failure| failure.exit == Exit::NotPermitted);
        examine_rights(&facts, may_not_ask, findings);
        examine_answers(config, findings).await;
        if !facts.is_served() {
            return Err(not_served(&facts));
        }
        match asks {
            Ok(()) => findings.ok(
                "ask",
                "this user may ask, and an actor system speaks this version",
            ),
            // That of an observer or operator.
            Err(_) if may_not_ask && facts.refused.is_empty() => findings.warn(
                "ask",
                "this user may not ask actors",
                "if it has to, give it the rights of a client: `conclib acl client`",
            ),
            Err(failure) => return Err(failure),
        }
        asked?;
        self.thresholds.check(&facts)
    }
}

/// The name of an actor that no program has.
const NO_ACTOR: &str = "conclib.doctor/no-actor";

/// Connects as a client, looks for an actor system that it can talk to, and pings an actor that is not there: that proves
/// the right to ask.
async fn examine_asks(config: &Config) -> Result<(), Failure> {
    let client = ProxyClient::connect(config).await?;
    client.responder().await?;
    match client.ping(NO_ACTOR).await {
        Ok(()) | Err(AskError::ActorNotFound { .. } | AskError::Unhandled { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Lists the facts that this user may not read. That is no error for a user that may ask.
fn examine_rights(facts: &Facts, may_not_ask: bool, findings: &mut Findings) {
    let level = if may_not_ask {
        Level::Error
    } else {
        Level::Warn
    };
    for refusal in &facts.refused {
        findings.add(
            level,
            "rights",
            format!("cannot read {}: {}", refusal.fact, refusal.reason),
            "give the user of Redis the rights of an observer: `conclib acl observer`",
        );
    }
}

/// Asks the members for their versions.
async fn examine_answers(config: &Config, findings: &mut Findings) {
    let inspected = async {
        let inspector = Inspector::connect(config).await?;
        let answers = ask_all(&inspector, &StatusQuery::default()).await?;
        Ok::<_, Failure>((inspector, answers))
    };
    let (inspector, answers) = match inspected.await {
        Ok(inspected) => inspected,
        Err(failure) if failure.exit == Exit::NotPermitted => {
            return findings.warn(
                "inspect",
                "this user may not inspect processes",
                "if it has to, give it the rights of an observer: `conclib acl observer`",
            );
        }
        Err(failure) if failure.kind == "no_responder" => return, // said by the end
        Err(failure) => {
            return findings.warn("inspect", failure.text.clone(), &failure.advice);
        }
    };
    for silent in &answers.silent {
        findings.warn(
            "inspect",
            format!("no answer of {}: {}", silent.node, silent.error),
            "check its log and its load; a process of an earlier version answers none",
        );
    }
    let answered = answers.answered.iter();
    let versions: BTreeSet<_> = answered.map(|(_, status)| &*status.conclib).collect();
    let count = answers.answered.len();
    let text = versions.iter().copied().collect::<Vec<_>>().join(", ");
    if versions.len() > 1 {
        findings.warn(
            "versions",
            format!("the members have several versions of conclib: {text}"),
            "end the update; until then, each has to read what the others write",
        );
    } else {
        let answer = if count == 1 {
            "process answers"
        } else {
            "processes answer"
        };
        findings.ok("inspect", format!("{count} {answer}, conclib {text}"));
    }
    let answered: Vec<_> = answers.answered.into_iter().map(|(node, _)| node).collect();
    schemas::examine(&inspector, &answered, findings).await;
    examine_ages(&inspector, findings).await;
}

/// Looks for actors that have a message for long.
async fn examine_ages(inspector: &Inspector, findings: &mut Findings) {
    let query = ActorsQuery::new().min_age(OLD_MESSAGE).limit(1);
    let Ok(answers) = ask_all(inspector, &query).await else {
        return; // said above
    };
    for (node, page) in answers.answered {
        if let Some(actor) = page.actors.first() {
            findings.warn(
                "actors",
                format!(
                    "{} actors of {node} have a message for more than {}: {} first",
                    page.matching,
                    output::duration(OLD_MESSAGE),
                    actor.urn
                ),
                "`conclib ls --min-age 30s`, and `conclib actor URN` for whom it waits for",
            );
        }
    }
}

/// Counts the members of a fleet. Where none is meant and none serves, one that is there is named: a user who may not see it has no
/// other right to miss.
async fn examine_members(facts: &Facts, monitor: &BusMonitor, findings: &mut Findings) {
    if facts.is_fleet {
        let Some(members) = &facts.members else {
            return;
        };
        let serving = facts.nodes.iter().filter(|node| node.is_served()).count();
        findings.ok(
            "fleet",
            format!("{} members, {serving} serve", members.len()),
        );
    } else if !facts.is_served()
        && let Ok(members) = monitor.members().await
        && !members.is_empty()
    {
        findings.warn(
            "fleet",
            format!(
                "the namespace has a fleet of {} members, and this looks at one node",
                members.len()
            ),
            "give --fleet, or CONCLIB_FLEET=1",
        );
    }
}

fn examine_node(node: &NodeFacts, findings: &mut Findings) {
    let name = &node.node;
    match (&node.lease, &node.member) {
        (LeaseFact::Held(lease), _) => {
            if lease.is_serving {
                findings.ok("lease", format!("{name} is served, epoch {}", lease.epoch));
            } else {
                findings.warn(
                    "lease",
                    format!("the process of {name} takes no requests: it is starting or stopping"),
                    "wait, or read its log",
                );
            }
            let is_late = lease
                .remaining
                .is_some_and(|left| left < lease.duration / 3);
            if is_late {
                findings.warn(
                    "lease",
                    format!("the lease of {name} was not renewed in time"),
                    "check the load of that process, and its way to Redis",
                );
            }
        }
        (LeaseFact::Free, Some(member)) if member.stage != MemberStage::Left => findings.warn(
            "lease",
            format!("the member {name} has no lease: it was killed, or cannot reach Redis"),
            "others remove it within 8 s; if it stays, no other member runs",
        ),
        _ => {} // none serves: said by the end
    }
    match node.inbox {
        Some(inbox @ LONG_INBOX..) => findings.warn(
            "inbox",
            format!("{inbox} requests wait for {name}"),
            "its process does not keep up: from 65,536 on, requests are refused",
        ),
        Some(inbox) => findings.ok("inbox", format!("{inbox} requests wait for {name}")),
        None => {}
    }
    if let Some(durable) = &node.durable {
        examine_durable(durable, findings);
    }
    if let Some(dead) = &node.dead_letters {
        examine_dead_letters(dead.stored, findings);
    }
}

fn examine_durable(durable: &DurableStatus, findings: &mut Findings) {
    let waited = durable.oldest.map(age).unwrap_or_default();
    let details = if durable.is_readable {
        let oldest = durable.oldest.map_or_else(String::new, |_| {
            format!(", oldest {}", output::duration(waited))
        });
        format!(", {} in progress{oldest}", durable.in_progress)
    } else {
        String::new()
    };
    let text = format!(
        "{} stored, {} delayed{details}",
        durable.stored, durable.delayed
    );
    // One of an actor that is missing is in progress as well: its delivery is tried again and again.
    let bound = if durable.stored > durable.in_progress {
        60
    } else {
        300
    };
    if durable.is_readable && durable.stored > 0 && waited.as_secs() > bound {
        findings.warn(
            "durable",
            text,
            "`conclib durable ls` shows them, and the state of their actors: start one that is `missing`; its messages \
             become dead letters after a day",
        );
    } else {
        findings.ok("durable", text);
    }
}

fn examine_dead_letters(stored: u64, findings: &mut Findings) {
    match stored {
        0 => findings.ok("dead", "no dead letters"),
        count => {
            let is_near = count >= MAX_DEAD_LETTERS / 10 * 9;
            let text = format!("{count} dead letters");
            let advice =
                "`conclib dead ls`, then `replay` or `rm`: beyond 100,000 the oldest are dropped";
            findings.add(
                if is_near { Level::Error } else { Level::Warn },
                "dead",
                text,
                advice,
            );
        }
    }
}

/// The findings as JSON.
#[derive(Serialize)]
struct Report<'a> {
    worst: Level,
    findings: &'a [Finding],
}

fn report(output: Output, findings: &Findings) -> Result<(), Failure> {
    let Findings(findings) = findings;
    if output.json {
        let severity = |finding: &Finding| finding.level as u8;
        let worst = findings.iter().max_by_key(|finding| severity(finding));
        let worst = worst.map_or(Level::Ok, |finding| finding.level);
        return output.json(&Report { worst, findings });
    }
    for finding in findings {
        let level = output.level(finding.level);
        let text = output::printable(&finding.text).replace('\n', "\n                   ");
        output.line(&format!("{level} {:<12} {text}", finding.check))?;
        if !finding.advice.is_empty() {
            output.line(&format!("      {:<12} try: {}", "", finding.advice))?;
        }
    }
    Ok(())
}
