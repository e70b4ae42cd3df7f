//! Actions of operators on this process. Each is logged with its author, its reason and its outcome.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use crate::actor::any::AnyActor;
use crate::actor::control::StopCause;
use crate::actor::stats::Phase;
use crate::actor::stopped::ended;
use crate::actor::supervision::Supervision;
use crate::bus::inspect::member::{EFFECT_TIMEOUT, InspectedMember, actor, encoded};
use crate::bus::inspect::message::{Action, ActionOutcome, ActionRequest, Refusal, read_query};
use crate::bus::keys::Right;
use crate::bus::link::log_once::printable;
use crate::bus::server::ProxyShared;
use crate::bus::server::counters::count;
use crate::bus::server::operator::OperatorReply;
use crate::core::{SystemCore, spawn_task};
use crate::error::cut;
use crate::system::Shutdown;

/// The longest name of an operator, and the longest reason, in the log; in bytes.
const MAX_TEXT: usize = 256;

/// The most actions whose effects are awaited at once; further ones are answered when they have begun.
const MAX_AWAITED: usize = 16;

/// The interval in which a restart is looked for.
const RESTART_POLL: Duration = Duration::from_millis(20);

/// Time for the program to shut its system down by itself, once its proxy has stopped: `run` does that.
const PROGRAM_TURN: Duration = Duration::from_secs(1);

/// The way in which an incarnation ends for a restart.
#[derive(Clone, Copy)]
enum RestartMode {
    AfterMessage,
    AtOnce,
}

impl InspectedMember {
    /// The action in a request, if it is allowed.
    pub(super) fn admit(&self, right: Right, contents: &[u8]) -> Result<ActionRequest, Refusal> {
        let refusal = |reason: &str| {
            let reason = reason.to_owned();
            Err(Refusal::NotAllowed { reason })
        };
        if right != Right::Admin {
            return refusal("actions need the right of an operator, not that of an observer");
        }
        if !self.shared.config.operators.allows_admin {
            return refusal("this process allows no actions: `Config::allow_admin`");
        }
        let request = read_query::<ActionRequest>(contents)?;
        if request.operator.trim().is_empty() || request.reason.trim().is_empty() {
            return refusal("an action needs the name of its operator, and a reason");
        }
        Ok(request)
    }

    /// Executes an action, and answers once its effect is seen, or after a while.
    pub(super) fn act(&mut self, request: ActionRequest, reply: OperatorReply) {
        let shared = self.shared.clone();
        let effect: Effect = match &request.action {
            Action::Stop { urn } => self.on_actor(urn, stop),
            Action::Kill { urn } => self.on_actor(urn, kill),
            Action::Restart { urn } => {
                self.on_actor(urn, |actor| restart(actor, RestartMode::AfterMessage))
            }
            Action::Interrupt { urn } => {
                self.on_actor(urn, |actor| restart(actor, RestartMode::AtOnce))
            }
            Action::Drain => self.drain(),
            Action::SetLogFilter { filter, duration } => {
                let set = self.log.set(filter, *duration);
                Effect::Known(self.log_outcome(set))
            }
            Action::ResetLogFilter => {
                let reset = self.log.reset();
                Effect::Known(self.log_outcome(reset))
            }
        };
        match effect {
            Effect::Known(outcome) => finish(&shared, &request, Ok(outcome), reply),
            Effect::Refused(refusal) => finish(&shared, &request, Err(refusal), reply),
            Effect::Pending(awaited) if self.acting.len() < MAX_AWAITED => {
                let left = reply.deadline().saturating_duration_since(Instant::now());
                let limit = EFFECT_TIMEOUT.min(left / 2);
                let PendingEffect { effect, begun } = awaited;
                self.acting.spawn(async move {
                    let outcome = timeout(limit, effect).await.unwrap_or(begun);
                    finish(&shared, &request, Ok(outcome), reply);
                });
            }
            Effect::Pending(awaited) => finish(&shared, &request, Ok(awaited.begun), reply),
            Effect::After(outcome, then) => {
                finish(&shared, &request, Ok(outcome), reply);
                spawn_task(then);
            }
        }
    }

    fn on_actor(
        &self,
        urn: &crate::urn::Urn,
        act: impl FnOnce(Arc<dyn AnyActor>) -> Effect,
    ) -> Effect {
        match self.core().and_then(|core| actor::find(&core, urn)) {
            Ok(actor) => act(actor),
            Err(refusal) => Effect::Refused(refusal),
        }
    }

    fn log_outcome(&self, changed: Result<(), String>) -> ActionOutcome {
        match changed {
            Ok(()) => ActionOutcome::Log(self.log.state()),
            Err(reason) => ActionOutcome::Impossible { reason },
        }
    }

    fn drain(&self) -> Effect {
        if self.shared.stop.is_cancelled() {
            return Effect::Known(begun("the node stops already"));
        }
        let outcome = begun(
            "the node takes no more requests, and its actors stop; the process may live on: it ends if its program does, as with `run`",
        );
        let drain = drain_node(self.shared.clone(), self.core.clone());
        Effect::After(outcome, Box::pin(drain))
    }
}

/// The effect of an action.
enum Effect {
    Known(ActionOutcome),
    Refused(Refusal),
    Pending(PendingEffect),
    /// The action begins after its answer was given.
    After(ActionOutcome, BoxedEffect<()>),
}

type BoxedEffect<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

struct PendingEffect {
    effect: BoxedEffect<ActionOutcome>,
    /// The outcome if the effect is not seen in time.
    begun: ActionOutcome,
}

fn done(detail: impl Into<String>) -> ActionOutcome {
    let detail = detail.into();
    ActionOutcome::Done { detail }
}

fn begun(detail: impl Into<String>) -> ActionOutcome {
    let detail = detail.into();
    ActionOutcome::Begun { detail }
}

fn impossible(reason: &str) -> Effect {
    let reason = reason.to_owned();
    Effect::Known(ActionOutcome::Impossible { reason })
}

/// Awaits the end of an actor.
fn until_ended(actor: Arc<dyn AnyActor>, begun: ActionOutcome) -> Effect {
    let effect = async move {
        let reason = ended(&*actor).await;
        done(format!("the actor has ended: {reason}"))
    };
    Effect::Pending(PendingEffect {
        effect: Box::pin(effect),
        begun,
    })
}

fn stop(actor: Arc<dyn AnyActor>) -> Effect {
    actor.stop(StopCause::Requested);
    let queued = actor.load().queued;
    let text = format!("the actor stops after its {queued} queued messages and its children");
    until_ended(actor, begun(text))
}

fn kill(actor: Arc<dyn AnyActor>) -> Effect {
    actor.kill();
    let text = if actor.has_thread() {
        "the actor ends at its next await: code that blocks its thread cannot be interrupted"
    } else {
        "the actor ends at its next await"
    };
    until_ended(actor, begun(text))
}

fn restart(actor: Arc<dyn AnyActor>, mode: RestartMode) -> Effect {
    let (supervision, _) = actor.supervision();
    let before = actor.snapshot();
    match (supervision, before.phase) {
        (Supervision::Unsupervised | Supervision::Unknown, _) => {
            return impossible(
                "the actor is not supervised: no factory makes its next state (`ActorSystem::supervise`)",
            );
        }
        (Supervision::Never, _) => return impossible("the policy of the actor is Restart::Never"),
        (_, Phase::Restarting) => return impossible("the actor waits for its restart already"),
        (_, Phase::Stopping) => return impossible("the actor is about to end"),
        (_, Phase::Starting | Phase::Running) => {}
    }
    match mode {
        RestartMode::AfterMessage => actor.restart_with_group(),
        RestartMode::AtOnce => actor.interrupt(),
    }
    let begun = begun(match (mode, supervision) {
        (_, Supervision::Group) => "the actor ends its incarnation, and its group starts it again",
        (RestartMode::AfterMessage, _) => "the actor starts again after its current message",
        (RestartMode::AtOnce, _) => "the actor starts again at its next await",
    });
    let effect = async move {
        loop {
            if let Some(reason) = actor.stop_reason() {
                return done(match supervision {
                    Supervision::OnDemand => {
                        "the actor has ended, and starts again with the next message".to_owned()
                    }
                    _ => format!("the actor has ended: {reason}"),
                });
            }
            let now = actor.snapshot();
            if now.restarts > before.restarts && now.phase == Phase::Running {
                return done("the actor has started again");
            }
            sleep(RESTART_POLL).await;
        }
    };
    Effect::Pending(PendingEffect {
        effect: Box::pin(effect),
        begun,
    })
}

/// Stops a node in good order: first its proxy, and then its actors, unless the program stops them.
async fn drain_node(shared: Arc<ProxyShared>, core: Weak<SystemCore>) {
    shared.stop.cancel();
    shared.stopped.wait().await;
    let Some(core) = core.upgrade() else { return };
    if timeout(PROGRAM_TURN, core.closed()).await.is_err() {
        drop(Shutdown::new(core).await);
    }
}

/// Logs and counts an action, and answers.
fn finish(
    shared: &ProxyShared,
    request: &ActionRequest,
    outcome: Result<ActionOutcome, Refusal>,
    reply: OperatorReply,
) {
    let text = match &outcome {
        Ok(outcome) => outcome.to_string(),
        Err(refusal) => refusal.to_string(),
    };
    let shown = |text: &str| printable(cut(text, MAX_TEXT));
    info!(
        target: "conclib::admin",
        node = %shared.node,
        action = request.action.name(),
        urn = request.action.urn().map(tracing::field::display),
        operator = shown(&request.operator),
        reason = shown(&request.reason),
        outcome = shown(&text),
        "an operator has acted"
    );
    let is_accepted = outcome.as_ref().is_ok_and(ActionOutcome::is_accepted);
    let counters = &shared.counters.operators;
    count(if is_accepted {
        &counters.actions
    } else {
        &counters.refused
    });
    encoded(outcome).send(reply);
}
