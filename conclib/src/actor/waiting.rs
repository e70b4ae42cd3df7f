//! Who waits for whom: an actor that would wait for itself gets an answer instead.
//!
//! Whoever waits within a handler or a hook records it as an *edge* of its own actor, first, and then
//! walks the edges of the one it waits for. Of two that begin to wait for each other at the same
//! moment, one at least sees the other's edge. An edge counts only for as long as what it waits for
//! has not come, so that an actor that has its answer and has not looked at it yet holds up nobody.

use std::collections::HashSet;
use std::sync::Arc;

use super::StopReason;
use super::cell::AnyActor;
use super::current::Current;
use crate::error::AskError;
use crate::mailbox::Ticket;
use crate::reply::Unanswered;
use crate::urn::Urn;

/// That an actor waits for another.
#[derive(Clone)]
pub(crate) struct Edge {
    target: Arc<dyn AnyActor>,
    until: Until,
}

/// What ends a wait.
#[derive(Clone)]
pub(crate) enum Until {
    /// An answer, by the target itself: a handler that keeps its reply for later ends the edge too.
    Answered(Arc<dyn Unanswered>),
    /// Room in the target's mailbox.
    Room(Ticket),
    /// The target has started.
    Started,
    /// The target has stopped.
    Stopped,
}

impl Edge {
    pub(crate) fn new(target: Arc<dyn AnyActor>, until: Until) -> Self {
        Self { target, until }
    }

    fn holds(&self) -> bool {
        if self.target.stopped().initialized() {
            return false;
        }
        match &self.until {
            Until::Answered(question) => question.is_open(),
            Until::Room(ticket) => self.target.is_in_line(*ticket),
            Until::Started => self.target.is_starting(),
            Until::Stopped => true,
        }
    }
}

/// A wait under way; dropped when it is over.
pub(crate) struct Waiting {
    actor: Arc<dyn AnyActor>,
    number: u64,
}

impl Waiting {
    /// Records that an actor waits; and the circle, if it waits for itself.
    pub(crate) fn of(actor: Arc<dyn AnyActor>, edge: Edge) -> (Self, Option<Circle>) {
        let number = actor.relations().begin_wait(edge.clone());
        let circle = Circle::find(&actor, edge);
        (Self { actor, number }, circle)
    }

    /// Records that the actor whose code runs here waits; `None` if it is no actor's code.
    ///
    /// # Errors
    ///
    /// Those who wait for each other, if the actor would wait for itself.
    pub(crate) fn begin(edge: impl FnOnce() -> Edge) -> Result<Option<Self>, Circle> {
        let Some(actor) = Current::actor() else {
            return Ok(None);
        };
        match Self::of(actor, edge()) {
            (waiting, None) => Ok(Some(waiting)),
            (_, Some(circle)) => Err(circle),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.actor.relations().end_wait(self.number);
    }
}

/// Waits until an actor has stopped, and says why.
///
/// One who waits for this actor in turn goes on: an ask hears [`AskError::AskCycle`], a tell is let
/// in.
///
/// # Panics
///
/// If nobody can go on: the actor whose code this is waits for its own end.
pub(crate) async fn stopped(actor: Arc<dyn AnyActor>) -> StopReason {
    if let Some(reason) = actor.stopped().get() {
        return reason.clone();
    }
    let _waiting = Current::actor().map(|own| {
        let edge = Edge::new(actor.clone(), Until::Stopped);
        let (waiting, circle) = Waiting::of(own, edge);
        if let Some(circle) = circle {
            let chain = circle.error();
            assert!(circle.break_up(), "waiting for an end: {chain}");
        }
        waiting
    });
    actor.stopped().wait().await.clone()
}

/// Actors that wait for each other, each with the edge to the next, and the last to the first.
pub(crate) struct Circle {
    first: Urn,
    edges: Vec<Edge>,
}

impl Circle {
    /// The way from an actor over an edge back to itself, if there is one.
    fn find(actor: &Arc<dyn AnyActor>, edge: Edge) -> Option<Self> {
        // Each with the place of the one before it; not a recursion, since the way may be long.
        let mut reached = vec![(edge, None)];
        let mut known = HashSet::new();
        let mut next = 0;
        while let Some((edge, _)) = reached.get(next) {
            if edge.target.id() == actor.id() {
                return Some(Self::from_way(actor, &reached, next));
            }
            for edge in edge.target.relations().waits() {
                if edge.holds() && known.insert(edge.target.id()) {
                    reached.push((edge, Some(next)));
                }
            }
            next += 1;
        }
        None
    }

    fn from_way(actor: &Arc<dyn AnyActor>, reached: &[(Edge, Option<usize>)], end: usize) -> Self {
        let mut edges = Vec::new();
        let mut place = Some(end);
        while let Some((edge, before)) = place.and_then(|place| reached.get(place)) {
            edges.push(edge.clone());
            place = *before;
        }
        edges.reverse();
        Self {
            first: actor.urn().clone(),
            edges,
        }
    }

    pub(crate) fn error(&self) -> AskError {
        let others = self.edges.iter().map(|edge| edge.target.urn().clone());
        let chain = std::iter::once(self.first.clone()).chain(others).collect();
        AskError::AskCycle { chain }
    }

    /// Ends one of the waits: whoever asks hears of the circle, whoever waits for room gets in.
    /// False if all of them wait for each other's start or end.
    pub(crate) fn break_up(&self) -> bool {
        self.edges.iter().any(|edge| match &edge.until {
            Until::Answered(question) => {
                question.refuse(self.error());
                true
            }
            Until::Room(ticket) => {
                edge.target.let_in(*ticket);
                true
            }
            Until::Started | Until::Stopped => false,
        })
    }
}
