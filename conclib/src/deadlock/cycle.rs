//! Cycles in the graph of waits: finding them, and ending one of their waits.

use std::collections::HashSet;
use std::sync::Arc;

use tracing::warn;

use super::{ActorId, Edge, Participant, WaitFor};
use crate::error::AskError;
use crate::stop_reason::StopReason;

/// One actor's wait for another.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) from: Arc<dyn Participant>,
    /// The number of the wait.
    pub(super) number: u64,
    pub(super) edge: Edge,
    to: Arc<dyn Participant>,
}

impl Step {
    /// The steps that lead on from an actor in its current [`Execution`](super::Execution).
    fn all_from(from: &Arc<dyn Participant>) -> impl Iterator<Item = Self> {
        let waits = from.active_waits();
        // Read after the waits: a wait of an earlier execution than this one is over.
        let now = (!waits.is_empty()).then(|| from.execution());
        waits.into_iter().filter_map(move |wait| {
            let is_current = Some(wait.execution) == now;
            let to = wait.edge.target().filter(|_| is_current)?;
            let from = from.clone();
            Some(Self {
                from,
                number: wait.number,
                edge: wait.edge,
                to,
            })
        })
    }

    /// True if the wait still exists and leads to the same actor.
    fn still_holds(&self) -> bool {
        Self::all_from(&self.from)
            .any(|step| step.number == self.number && step.to.id() == self.to.id())
    }
}

/// Actors that wait for each other: each step begins where the step before it ends, and the first
/// where the last ends.
pub(crate) struct Cycle(Vec<Step>);

impl Cycle {
    /// The cycle that a step to this actor closes, if there is one.
    ///
    /// The steps are read one after another. If all of them still hold after the last was read, they
    /// held at the same time, since a wait that has ended does not come again.
    pub(super) fn find(
        first: &Arc<dyn Participant>,
        closes: impl Fn(&Step) -> bool,
    ) -> Option<Self> {
        loop {
            let cycle = Self::search(first, &closes)?;
            if !cycle.0.iter().all(Step::still_holds) {
                continue; // one of the waits has ended meanwhile
            }
            if !cycle.admit_forwarded() {
                return Some(cycle);
            }
        }
    }

    /// Searches breadth first for a step that closes a cycle.
    fn search(first: &Arc<dyn Participant>, closes: impl Fn(&Step) -> bool) -> Option<Self> {
        // The actors reached so far, each with the path by which it was reached. No recursion, since a
        // path may be long.
        let mut actors = vec![(first.clone(), None)];
        let mut paths: Vec<(Step, Option<usize>)> = Vec::new();
        let mut known = HashSet::<ActorId>::new();
        let mut next = 0;
        while let Some((actor, path)) = actors.get(next).cloned() {
            for step in Step::all_from(&actor) {
                if closes(&step) {
                    return Some(Self::closed_by(step, &paths, path));
                }
                if known.insert(step.to.id()) {
                    actors.push((step.to.clone(), Some(paths.len())));
                    paths.push((step, path));
                }
            }
            next += 1;
        }
        None
    }

    fn closed_by(step: Step, paths: &[(Step, Option<usize>)], mut path: Option<usize>) -> Self {
        let mut steps = Vec::new();
        while let Some((step, before)) = path.and_then(|path| paths.get(path)) {
            steps.push(step.clone());
            path = *before;
        }
        steps.push(step);
        steps.reverse();
        Self(steps)
    }

    /// The error that names the actors of the cycle.
    pub(crate) fn error(&self) -> AskError {
        let first = self.0.first().map(|step| step.from.urn().clone());
        let others = self.0.iter().map(|step| step.to.urn().clone());
        let chain = first.into_iter().chain(others).collect();
        AskError::AskCycle { chain }
    }

    /// Ends one wait of the cycle, other than the one that closed it: a wait for capacity, or else for a
    /// reply, or else for an actor's end. False if there is none.
    pub(crate) fn break_up(&self) -> bool {
        self.admit_sender() || self.refuse_ask() || self.end_stop_wait()
    }

    /// Resolves a cycle that a wait for the end of `actor` has just closed. Returns the reason with
    /// which that wait ends now; `None` if another wait ends instead, or none can.
    pub(crate) fn ends_early(&self, actor: &Arc<dyn Participant>) -> Option<StopReason> {
        if self.break_up() {
            return None;
        }
        let reason = self.end_of(actor);
        if reason.is_none() {
            let cycle = self.error();
            warn!(%cycle, "actors wait for each other's end; all wait until one is asked to stop");
        }
        reason
    }

    /// The reason with which a wait for the end of this actor ends early, if it does: the actor is about
    /// to stop, and all waits of the cycle are for ends and starts.
    pub(crate) fn end_of(&self, actor: &Arc<dyn Participant>) -> Option<StopReason> {
        let another_can_end = |step: &Step| {
            let waits_for_end = matches!(
                step.edge,
                Edge::Actor(
                    _,
                    WaitFor::Started | WaitFor::Stopped | WaitFor::StoppedFirst
                )
            );
            !waits_for_end
        };
        if self.0.iter().any(another_can_end) {
            return None;
        }
        // An actor that waits for others to stop first does so for a shutdown, unless it says otherwise.
        let stops_after_others = |step: &Step| {
            let first = matches!(step.edge, Edge::Actor(_, WaitFor::StoppedFirst));
            first && step.from.id() == actor.id()
        };
        let shuts_down = || self.0.iter().any(stops_after_others);
        actor
            .pending_stop_reason()
            .or_else(|| shuts_down().then_some(StopReason::Shutdown))
    }

    /// Admits a message that is passed on; false if there is none in the cycle.
    fn admit_forwarded(&self) -> bool {
        self.0.iter().any(|step| match &step.edge {
            Edge::Actor(actor, WaitFor::ForwardCapacity(ticket)) => {
                actor.admit(*ticket);
                true
            }
            _ => false,
        })
    }

    /// Admits a message that waits for capacity; false if there is none in the cycle.
    fn admit_sender(&self) -> bool {
        self.0.iter().any(|step| match &step.edge {
            Edge::Actor(actor, WaitFor::Capacity(ticket)) => {
                actor.admit(*ticket);
                true
            }
            _ => false,
        })
    }

    /// Ends an ask of the cycle with the error; false if there is none.
    fn refuse_ask(&self) -> bool {
        self.0.iter().any(|step| match &step.edge {
            Edge::Reply(pending) => {
                pending.refuse(self.error());
                true
            }
            Edge::Actor(..) => false,
        })
    }

    /// Wakes a wait for an actor's end, which then ends early; false if there is none. Skips the first
    /// step, which is the wait that closed the cycle.
    fn end_stop_wait(&self) -> bool {
        let others = self.0.split_first().map_or(&[][..], |(_, others)| others);
        others.iter().any(|step| match &step.edge {
            Edge::Actor(actor, WaitFor::Stopped) if self.end_of(actor).is_some() => {
                actor.wake_stop_waiters();
                true
            }
            _ => false,
        })
    }
}
