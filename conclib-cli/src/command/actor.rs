//! `actor`: all of one actor.

use clap::Args;
use conclib::inspect::{
    ActorDetails, ActorQuery, InspectError, Inspector, RestartBudget, Supervision, WaitsQuery,
};
use conclib::metrics::{FailureRecord, HandlerCount};
use conclib::{Config, Urn};
use serde::Serialize;

use crate::command::failures::FailureObject;
use crate::command::inspection::{ActorObject, connect, members, running, short_type};
use crate::exit::Failure;
use crate::output::{self, Output, age};

/// Show one actor: its handlers, children, watchers, waits, policy and last failure
///
/// In a fleet, the first member that has it; --node names another one.
#[derive(Debug, Args)]
pub(crate) struct Actor {
    /// URN of the actor
    urn: Urn,
}

/// An actor as its member shows it, and the actors there that wait for it.
#[derive(Debug, Clone)]
pub(crate) struct SeenActor {
    pub(crate) node: String,
    pub(crate) details: ActorDetails,
    waited_for_by: Vec<Urn>,
}

impl SeenActor {
    pub(crate) async fn read(
        inspector: &Inspector,
        node: &str,
        urn: Urn,
    ) -> Result<Self, InspectError> {
        let details = inspector.ask(node, &ActorQuery::new(urn)).await?;
        Self::with_waits(inspector, node.to_owned(), details).await
    }

    pub(crate) async fn with_waits(
        inspector: &Inspector,
        node: String,
        details: ActorDetails,
    ) -> Result<Self, InspectError> {
        let mut waits = inspector.ask(&node, &WaitsQuery::new()).await?.edges;
        waits.retain(|wait| wait.to == details.actor.urn);
        Ok(Self {
            node,
            details,
            waited_for_by: waits.into_iter().map(|wait| wait.from).collect(),
        })
    }

    /// The number of actors that wait for it, in words; empty if there is none.
    pub(crate) fn waiting(&self) -> String {
        match self.waited_for_by.len() {
            0 => String::new(),
            1 => ", for which 1 actor waits".to_owned(),
            count => format!(", for which {count} actors wait"),
        }
    }
}

/// The whole state of an actor as JSON.
#[derive(Serialize)]
struct DetailsObject {
    #[serde(flatten)]
    actor: ActorObject,
    supervision: Supervision,
    budget: Option<BudgetObject>,
    private: bool,
    own_thread: bool,
    handlers: Vec<HandlerObject>,
    children: Vec<String>,
    children_total: usize,
    watchers: Vec<String>,
    watchers_total: usize,
    waits_for: Vec<WaitObject>,
    /// In its own process.
    waited_for_by: Vec<String>,
    last_failure: Option<FailureObject>,
}

#[derive(Serialize)]
struct BudgetObject {
    /// `null` without a limit.
    restarts: Option<u32>,
    within_seconds: f64,
}

#[derive(Serialize)]
struct HandlerObject {
    handler: String,
    message: Option<String>,
    /// `null` unless the program has the feature `metrics`, as all below.
    handled: Option<u64>,
    failed: Option<u64>,
    /// Of messages from the bus; `null` if there was none.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl HandlerObject {
    fn new(details: &ActorDetails, handler: &HandlerCount) -> Self {
        let is_counted = is_counted(details, handler);
        let millis = |part| {
            let time = handler.times.quantile(part);
            time.map(|time| time.as_secs_f64() * 1000.0)
        };
        Self {
            handler: handler.handler.to_string(),
            message: handler.message.as_ref().map(ToString::to_string),
            handled: is_counted.then_some(handler.handled),
            failed: is_counted.then_some(handler.failed),
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
        }
    }
}

/// True if the messages of the handler are counted. Members of former versions list only those that are.
fn is_counted(details: &ActorDetails, handler: &HandlerCount) -> bool {
    details.counts_handlers || handler.handled + handler.failed > 0
}

#[derive(Serialize)]
struct WaitObject {
    urn: String,
    kind: String,
}

impl DetailsObject {
    fn new(seen: &SeenActor) -> Self {
        let SeenActor { node, details, .. } = seen;
        let texts = |urns: &[Urn]| urns.iter().map(ToString::to_string).collect();
        Self {
            actor: ActorObject::new(node, &details.actor),
            supervision: details.supervision,
            budget: details.budget.map(|budget| BudgetObject {
                restarts: budget.restarts,
                within_seconds: budget.within.as_secs_f64(),
            }),
            private: details.is_private,
            own_thread: details.has_thread,
            handlers: details
                .handlers
                .iter()
                .map(|handler| HandlerObject::new(details, handler))
                .collect(),
            children: texts(&details.children),
            children_total: details.children_total,
            watchers: texts(&details.watchers),
            watchers_total: details.watchers_total,
            waits_for: details
                .waits_for
                .iter()
                .map(|wait| WaitObject {
                    urn: wait.urn.to_string(),
                    kind: wait.kind.to_string(),
                })
                .collect(),
            waited_for_by: texts(&seen.waited_for_by),
            last_failure: details
                .last_failure
                .as_ref()
                .map(|failure| FailureObject::new(node, failure)),
        }
    }
}

impl Actor {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let inspector = connect(config).await?;
        let seen = if let [member] = &members(&inspector).await?[..] {
            SeenActor::read(&inspector, &member.node, self.urn).await?
        } else {
            let (node, details) = inspector.find(self.urn).await?;
            SeenActor::with_waits(&inspector, node, details).await?
        };
        if output.json {
            return output.json(&DetailsObject::new(&seen));
        }
        let lines = lines(&seen);
        let lines = lines
            .iter()
            .map(|(name, value)| format!("{name:<12} {}", output::printable(value)));
        output.line(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// The facts of an actor for people, by their names.
pub(crate) fn lines(seen: &SeenActor) -> Vec<(&'static str, String)> {
    let SeenActor { node, details, .. } = seen;
    let ActorDetails { actor, .. } = details;
    let mut lines = vec![
        ("urn", actor.urn.to_string()),
        ("node", node.clone()),
        ("type", short_type(&actor.actor_type)),
        ("phase", actor.phase.to_string()),
        ("mailbox", mailbox(details)),
        (
            "handled",
            format!(
                "{}, {} failures, {} restarts",
                actor.handled, actor.failures, actor.restarts
            ),
        ),
    ];
    let mut add = |name, value: String| {
        if !value.is_empty() {
            lines.push((name, value));
        }
    };
    add("running", running(actor));
    for wait in &details.waits_for {
        add("waits for", format!("{} ({})", wait.urn, wait.kind));
    }
    let waiting = &seen.waited_for_by;
    add("waited for", names(waiting, waiting.len()));
    add("policy", policy(details.supervision, details.budget));
    add("listed", actor.listing.to_string());
    add(
        "parent",
        actor
            .parent
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
    );
    add("children", names(&details.children, details.children_total));
    add("watchers", names(&details.watchers, details.watchers_total));
    for handler in &details.handlers {
        add("handler", handler_line(details, handler));
    }
    let is = |yes: bool, text: &str| if yes { text.to_owned() } else { String::new() };
    add(
        "private",
        is(details.is_private, "yes: no other process reaches it"),
    );
    add("thread", is(details.has_thread, "its own"));
    add(
        "last failure",
        details
            .last_failure
            .as_ref()
            .map_or_else(String::new, last_failure),
    );
    lines
}

/// A handler with its message, and its counts and times if there are some.
fn handler_line(details: &ActorDetails, handler: &HandlerCount) -> String {
    let message = handler.message.as_deref().unwrap_or("any message");
    let counts = if is_counted(details, handler) {
        let [ok, failed] = [handler.handled, handler.failed];
        format!(": {ok} handled, {failed} failed by all of this type")
    } else {
        String::new()
    };
    let times = match [0.5, 0.99].map(|part| handler.times.quantile(part)) {
        [Some(half), Some(most)] => {
            let [half, most] = [half, most].map(output::duration);
            format!(", p50 {half}, p99 {most}")
        }
        _ => String::new(),
    };
    format!("{} ({message}){counts}{times}", handler.handler)
}

fn mailbox(details: &ActorDetails) -> String {
    let actor = &details.actor;
    let oldest = actor.oldest.map_or_else(String::new, |oldest| {
        format!(", oldest {}", output::duration(oldest))
    });
    let senders = match actor.waiting_senders {
        0 => String::new(),
        senders => format!(", {senders} senders wait for room"),
    };
    format!("{} of {}{oldest}{senders}", actor.queued, actor.capacity)
}

fn policy(supervision: Supervision, budget: Option<RestartBudget>) -> String {
    let text = match supervision {
        Supervision::Unsupervised => "ends with its first failure (unsupervised)",
        Supervision::Always => "starts again after each end",
        Supervision::OnFailure => "starts again after a failure",
        Supervision::Never => "never starts again",
        Supervision::Group => "its group decides",
        Supervision::OnDemand => "starts on demand",
        _ => "not known to this version",
    };
    match budget {
        None => text.to_owned(),
        Some(RestartBudget { restarts: None, .. }) => format!("{text}, without a limit"),
        Some(budget) => {
            let restarts = budget.restarts.unwrap_or_default();
            let within = output::duration(budget.within);
            format!("{text}, at most {restarts} times in {within}")
        }
    }
}

/// The first names of a list.
fn names(urns: &[Urn], total: usize) -> String {
    let shown: Vec<_> = urns.iter().take(10).map(Urn::as_str).collect();
    match total.saturating_sub(shown.len()) {
        0 => shown.join(" "),
        more => format!("{} and {more} more", shown.join(" ")),
    }
}

fn last_failure(failure: &FailureRecord) -> String {
    let when = output::duration(age(failure.at));
    let kind = if failure.is_panic { "panic" } else { "error" };
    let handler = failure.handler.as_deref().unwrap_or("no handler");
    format!("{when} ago, {kind} in {handler}: {}", failure.text)
}
