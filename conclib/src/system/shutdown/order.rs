//! The order of a shutdown: the newest actors stop first. An actor that overruns the deadline is killed, and
//! those behind it have a second of their own.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{GRACE, KILL_TIMEOUT, ShutdownReport};
use crate::actor::any::AnyActor;
use crate::actor::control::StopCause;
use crate::actor::stopped::{ended, stopped_first};
use crate::core::registry::{Registry, Starter};
use crate::deadlock::ActorId;
use crate::stop_reason::StopReason;
use crate::system::deadline::{Clock, ShutdownDeadline};

/// The shortest time that is given to the places of a few actors after the deadline.
const MIN_SHARE: Duration = Duration::from_millis(10);

/// The root actors of a system by their places in the order of spawning. A place is that of one root, or
/// of a pattern of actors on demand, which stop together.
pub(super) struct StopOrder<'a> {
    registry: &'a Registry,
    /// The roots that have had no turn yet, the oldest first.
    roots: Vec<Arc<dyn AnyActor>>,
    /// The starters that are still open, the oldest first.
    starters: Vec<Arc<dyn Starter>>,
    /// Actors on demand that were started during the shutdown, of patterns that are closed.
    started: Vec<Arc<dyn AnyActor>>,
    /// The root that called the shutdown, which stops after the others.
    own: Option<ActorId>,
}

impl<'a> StopOrder<'a> {
    /// The order of the roots among these actors, which are the newest first, and of the patterns.
    pub(super) fn new(
        registry: &'a Registry,
        actors: &[Arc<dyn AnyActor>],
        own: Option<ActorId>,
    ) -> Self {
        let roots = actors.iter().rev().filter(|actor| actor.parent().is_none());
        let mut starters = registry.starters.all();
        starters.sort_unstable_by_key(|starter| starter.place());
        Self {
            registry,
            roots: roots.cloned().collect(),
            starters,
            started: Vec::new(),
            own,
        }
    }

    /// Stops the roots, the newest first, until the deadline. Then it ends the remaining ones: see
    /// [`stop_rest`](Self::stop_rest). `actors` are all actors, the newest first. Children are stopped by
    /// their parents, which can still use them while they handle their queued messages.
    pub(super) async fn stop_all(
        mut self,
        actors: &[Arc<dyn AnyActor>],
        deadline: &ShutdownDeadline,
        clock: Clock,
    ) -> ShutdownReport {
        let overrun = if Instant::now() < deadline.instant() {
            self.stop_until(deadline).await
        } else {
            Some(Vec::new()) // services have taken the time
        };
        match overrun {
            None => ShutdownReport::default(),
            Some(roots) => self.stop_rest(actors, &roots, clock).await,
        }
    }

    /// Stops the roots, place by place. Returns those of the place that overruns the deadline, if one does.
    async fn stop_until(&mut self, deadline: &ShutdownDeadline) -> Option<Vec<Arc<dyn AnyActor>>> {
        while let Some(roots) = self.next() {
            for root in &roots {
                root.stop(StopCause::Shutdown);
            }
            if deadline.wait_for(all_stopped(&roots)).await.is_none() {
                return Some(roots);
            }
        }
        None
    }

    /// The roots of the next place. If that is a pattern's, it starts no more actors.
    fn next(&mut self) -> Option<Vec<Arc<dyn AnyActor>>> {
        let root = self.roots.last().map(|root| root.sequence());
        let pattern = self.starters.last().map(|starter| starter.place());
        let place = root.max(pattern)?;
        let first = self.roots.partition_point(|root| root.sequence() < place);
        let mut roots = self.roots.split_off(first);
        if pattern == Some(place)
            && let Some(starter) = self.starters.pop()
        {
            let mut started = self.registry.starters.close_one(&*starter);
            started.retain(|actor| Some(actor.id()) != self.own);
            self.started.extend_from_slice(&started);
            roots.append(&mut started);
        }
        Some(roots)
    }

    /// Ends the actors that live after the deadline. Those that have overrun it, among `late`, are killed.
    /// The others have had no chance yet. For half of the grace they stop in their order, since younger ones
    /// may need older ones for their ends; then all at once, children too: one after another they would take
    /// too long. After the grace they are killed.
    async fn stop_rest(
        mut self,
        actors: &[Arc<dyn AnyActor>],
        late: &[Arc<dyn AnyActor>],
        clock: Clock,
    ) -> ShutdownReport {
        let end = Instant::now() + GRACE;
        let overran = late.iter().filter(|root| !root.has_ended());
        let overran: HashSet<_> = overran.map(|root| blocker(root).id()).collect();
        let mut live = [actors, late].concat();
        live.append(&mut self.started);
        live.retain(|actor| !actor.has_ended());
        for actor in live.iter().filter(|actor| is_within(actor, &overran)) {
            actor.kill();
        }
        self.stop_quickly(end - GRACE / 2, clock).await;
        while self.next().is_some() {} // closes the other patterns
        live.append(&mut self.started);
        live.sort_unstable_by_key(|actor| (Reverse(actor.sequence()), actor.id().0));
        live.dedup_by_key(|actor| actor.id());
        // Parents first, so that they know the reason when their children end.
        for actor in live.iter().rev() {
            actor.stop(StopCause::Shutdown);
        }
        let grace = ShutdownDeadline::at(end, clock);
        if grace.wait_for(all_ended(&live)).await.is_none() {
            for actor in &live {
                actor.kill();
            }
            let grace = ShutdownDeadline::at(Instant::now() + KILL_TIMEOUT, clock);
            let _ = grace.wait_for(all_ended(&live)).await;
        }
        report(&live)
    }

    /// Stops the roots in their order until `end`. A place that takes more than half of the time that is left
    /// does not hold up the next ones.
    async fn stop_quickly(&mut self, end: Instant, clock: Clock) {
        loop {
            let now = Instant::now();
            let left = end.saturating_duration_since(now);
            if left < MIN_SHARE {
                return;
            }
            let share = ShutdownDeadline::at(now + left / 2, clock);
            if self.stop_until(&share).await.is_none() {
                return;
            }
        }
    }
}

/// Waits until actors that were asked to stop have ended.
async fn all_stopped(actors: &[Arc<dyn AnyActor>]) {
    for actor in actors {
        // If a handler called the shutdown, a stopping actor may be waiting for that handler.
        stopped_first(actor.clone()).await;
    }
}

async fn all_ended(actors: &[Arc<dyn AnyActor>]) {
    for actor in actors {
        ended(&**actor).await;
    }
}

/// The actor that a tree which stops waits for: its root, or the descendant whose end that waits for.
fn blocker(root: &Arc<dyn AnyActor>) -> Arc<dyn AnyActor> {
    let mut actor = root.clone();
    while let Some(child) = actor.awaited_child() {
        actor = child;
    }
    actor
}

/// True if the actor is one of these or a descendant of one.
fn is_within(actor: &Arc<dyn AnyActor>, trees: &HashSet<ActorId>) -> bool {
    let mut next = (!trees.is_empty()).then(|| actor.clone());
    while let Some(actor) = next {
        if trees.contains(&actor.id()) {
            return true;
        }
        next = actor.parent();
    }
    false
}

/// The actors of these that did not stop by themselves.
fn report(actors: &[Arc<dyn AnyActor>]) -> ShutdownReport {
    let mut report = ShutdownReport::default();
    for actor in actors {
        let list = match actor.stop_reason() {
            Some(StopReason::Killed) => &mut report.killed,
            Some(_) => continue,
            None => &mut report.stuck,
        };
        warn!(urn = %actor.urn(), "an actor did not stop by the deadline of the shutdown; it is killed");
        list.push(actor.urn().clone());
    }
    report
}
