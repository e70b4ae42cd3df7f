//! Who waits for whom: an actor that would wait for itself gets an answer instead.
//!
//! Whoever waits within a handler or a hook records it as an *edge* of its own actor, first, and then
//! walks the edges of the one it waits for. Of two that begin to wait for each other at the same
//! moment, one at least sees the other's edge. An edge counts only for as long as what it waits for
//! has not come, so that an actor that has its answer and has not looked at it yet holds up nobody.

use std::collections::HashSet;
use std::sync::Arc;

use super::cell::AnyActor;
use super::current::Current;
use crate::mailbox::Ticket;
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

/// A question that waits for its answer.
pub(crate) trait Unanswered: Send + Sync {
    /// True while the one who was asked owes the answer.
    fn is_open(&self) -> bool;
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

impl Drop for Waiting {
    fn drop(&mut self) {
        self.actor.relations().end_wait(self.number);
    }
}

/// Records that the actor whose code runs here waits; `None` if it is no actor's code. The edge is
/// made only if it is needed.
///
/// # Errors
///
/// The chain of those who wait for each other, if the actor would wait for itself.
pub(crate) fn begin(edge: impl FnOnce() -> Edge) -> Result<Option<Waiting>, Vec<Urn>> {
    match Current::actor() {
        Some(actor) => begin_for(actor, edge()).map(Some),
        None => Ok(None),
    }
}

/// Records that this actor waits.
pub(crate) fn begin_for(actor: Arc<dyn AnyActor>, edge: Edge) -> Result<Waiting, Vec<Urn>> {
    let target = edge.target.clone();
    let number = actor.relations().begin_wait(edge);
    let waiting = Waiting { actor, number };
    match chain(&waiting.actor, target) {
        Some(chain) => Err(chain),
        None => Ok(waiting),
    }
}

/// The way from an actor over `first` back to itself, if there is one.
fn chain(actor: &Arc<dyn AnyActor>, first: Arc<dyn AnyActor>) -> Option<Vec<Urn>> {
    // Each with the place of the one that waits for it; not a recursion, since the way may be long.
    let mut reached = vec![(first, None)];
    let mut known = HashSet::new();
    let mut next = 0;
    while let Some((waits, _)) = reached.get(next) {
        if waits.id() == actor.id() {
            return Some(way(actor, &reached, next));
        }
        for edge in waits.relations().waits() {
            if edge.holds() && known.insert(edge.target.id()) {
                reached.push((edge.target, Some(next)));
            }
        }
        next += 1;
    }
    None
}

fn way(
    actor: &Arc<dyn AnyActor>,
    reached: &[(Arc<dyn AnyActor>, Option<usize>)],
    end: usize,
) -> Vec<Urn> {
    let mut way = Vec::new();
    let mut place = Some(end);
    while let Some((actor, before)) = place.and_then(|place| reached.get(place)) {
        way.push(actor.urn().clone());
        place = *before;
    }
    way.push(actor.urn().clone());
    way.reverse();
    way
}
