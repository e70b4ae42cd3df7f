//! Who waits for whom: an actor that would wait for itself gets an answer instead.
//!
//! Whoever waits within a handler or a hook records it as an *edge* of its own actor, first, and then
//! walks the edges of the one it waits for. Of those that begin to wait for each other at the same
//! moment, the last to record its edge sees all the others. Whoever hands a question on, as a pool
//! does, moves the asker's edge and walks as well.
//!
//! An edge counts only for as long as what it waits for has not come, so that an actor that has its
//! answer and has not looked at it yet holds up nobody. It is the actor's whose code polls, in the
//! turn in which it polls: a future that is kept for later, or moved elsewhere, holds up nobody
//! either.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;
use tracing::warn;

use crate::actor::StopReason;
use crate::actor::cell::{ActorId, AnyActor};
use crate::actor::stats::Turn;
use crate::error::AskError;
use crate::mailbox::Ticket;
use crate::reply::{Reply, ReplyReceiver, Unanswered};
use current::Current;

/// What an actor waits for.
#[derive(Clone)]
pub(crate) enum Edge {
    /// An answer, by whoever owes it: that changes when the question is handed on.
    Answer(Arc<dyn Unanswered>),
    /// That an actor has come so far.
    Actor(Arc<dyn AnyActor>, Until),
}

/// How far an actor is to come.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// It has room in its mailbox.
    Room(Ticket),
    /// It has room, or all would wait for each other. For those who hand on what others have sent.
    Passage(Ticket),
    /// It has started.
    Started,
    /// It has stopped, or is about to and waits for the one who waits.
    Stopped,
    /// It has stopped, before the one who waits does so as well.
    StoppedFirst,
}

impl Edge {
    pub(crate) fn new(actor: Arc<dyn AnyActor>, until: Until) -> Self {
        Self::Actor(actor, until)
    }

    /// Whom it leads to; nobody once what it waits for has come.
    fn target(&self) -> Option<Arc<dyn AnyActor>> {
        let target = match self {
            Self::Answer(question) => question.debtor()?,
            Self::Actor(actor, until) if until.is_ahead_of(&**actor) => actor.clone(),
            Self::Actor(..) => return None,
        };
        (!target.relations().has_ended()).then_some(target)
    }

    fn waits_for(&self, question: &Arc<dyn Unanswered>) -> bool {
        matches!(self, Self::Answer(own) if std::ptr::addr_eq(Arc::as_ptr(own), Arc::as_ptr(question)))
    }
}

impl Until {
    fn is_ahead_of(self, actor: &dyn AnyActor) -> bool {
        match self {
            Self::Room(ticket) | Self::Passage(ticket) => actor.is_in_line(ticket),
            Self::Started => actor.is_starting(),
            Self::Stopped | Self::StoppedFirst => true,
        }
    }
}

/// A wait under way; dropped when it is over.
pub(crate) struct Waiting {
    actor: Arc<dyn AnyActor>,
    number: u64,
    /// The turn in which it began. In another the actor does not wait for this.
    turn: Turn,
}

impl Waiting {
    /// Records that an actor waits; and the circle, if it waits for itself.
    pub(crate) fn of(actor: Arc<dyn AnyActor>, edge: Edge) -> (Self, Option<Circle>) {
        let turn = actor.turn();
        let recorded = edge.clone();
        let number = actor.relations().begin_wait(turn, edge);
        let waiting = Self {
            actor,
            number,
            turn,
        };
        let first = recorded.target();
        let circle = first.and_then(|first| waiting.circle_over(&first));
        (waiting, circle)
    }

    /// The circle that it closes now, if the actor that it leads to waits for this one.
    fn circle_over(&self, first: &Arc<dyn AnyActor>) -> Option<Circle> {
        Circle::find(first, |step| self.is_step(step))
    }

    /// True in the turn in which it began, of that actor.
    fn is_now_of(&self, id: ActorId) -> bool {
        self.actor.id() == id && self.actor.turn() == self.turn
    }

    fn is_step(&self, step: &Step) -> bool {
        step.number == self.number && step.from.id() == self.actor.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.actor.relations().end_wait(self.number);
    }
}

/// The wait of a future, which may be polled in one place and in another. In a box, for those many
/// that never wait.
#[derive(Default)]
pub(crate) struct Wait(Option<Box<Waiting>>);

impl Wait {
    /// For each poll that finds it has to wait: from now on it is the wait of the actor whose code
    /// this is, if it is one's. Gives the circle, if that one waits for itself by it.
    pub(crate) fn here(&mut self, edge: impl FnOnce() -> Edge) -> Option<Circle> {
        match (&self.0, Current::id()) {
            (None, None) => return None,
            (Some(waiting), Some(id)) if waiting.is_now_of(id) => return None,
            _ => self.end(),
        }
        let (waiting, circle) = Waiting::of(Current::actor()?, edge());
        self.0 = Some(Box::new(waiting));
        circle
    }

    /// Like [`here`](Self::here), for an answer.
    #[inline]
    pub(crate) fn for_answer<R: Send + 'static>(
        &mut self,
        answer: &ReplyReceiver<R>,
    ) -> Option<Circle> {
        let question = answer.question()?;
        self.here(|| Edge::Answer(question))
    }

    /// The circle by now, for one that leads to this actor and goes on.
    fn circle_over(&self, first: &Arc<dyn AnyActor>) -> Option<Circle> {
        self.0.as_ref()?.circle_over(first)
    }

    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

/// A reply and the place where its answer arrives, for an asker who waits from now on; followed
/// wherever it goes if an actor asks. The deadline goes with it.
pub(crate) fn question_for<R: Send + 'static>(
    asked: impl FnOnce() -> Arc<dyn AnyActor>,
    waker: &Waker,
    deadline: Option<Instant>,
) -> (Reply<R>, ReplyReceiver<R>) {
    if Current::id().is_some() {
        Reply::owed_by(&asked(), waker, deadline)
    } else {
        Reply::awaited(waker, deadline)
    }
}

/// From now on another actor owes an answer.
///
/// # Errors
///
/// Those who wait for each other, if it waits for the asker.
pub(crate) fn hand_to(
    actor: &Arc<dyn AnyActor>,
    question: &Arc<dyn Unanswered>,
) -> Result<(), Circle> {
    question.pass_to(actor);
    match Circle::find(actor, |step| step.edge.waits_for(question)) {
        Some(circle) => Err(circle),
        None => Ok(()),
    }
}

/// Waits until an actor has stopped, and says why.
///
/// In a circle another wait ends, if one can: a tell is let in, an ask hears
/// [`AskError::AskCycle`], a wait for an actor that is about to stop ends. Otherwise this one does,
/// as soon as the actor is about to stop.
pub(crate) async fn stopped(actor: Arc<dyn AnyActor>) -> StopReason {
    let mut wait = Wait::default();
    let mut end = pin!(actor.relations().ended());
    poll_fn(|cx| {
        // Before the edge: from there on the one that closes a circle can wake this task.
        if let Poll::Ready(reason) = end.as_mut().poll(cx) {
            return Poll::Ready(reason.clone());
        }
        let reason = match wait.here(|| Edge::new(actor.clone(), Until::Stopped)) {
            Some(circle) => circle.ends_early(&actor),
            None => wait
                .circle_over(&actor)
                .and_then(|circle| circle.end_of(&actor)),
        };
        reason.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Waits until an actor has stopped, for one that stops after it.
///
/// In a circle another wait ends, as with [`stopped`]; this one does not.
pub(crate) async fn stopped_first(actor: Arc<dyn AnyActor>) {
    let mut wait = Wait::default();
    let mut end = pin!(actor.relations().ended());
    poll_fn(|cx| {
        if end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(circle) = wait.here(|| Edge::new(actor.clone(), Until::StoppedFirst)) {
            circle.break_up();
        }
        Poll::Pending
    })
    .await;
}

/// Waits for an answer.
#[inline]
pub(crate) fn poll_answer<R: Send + 'static>(
    answer: &mut ReplyReceiver<R>,
    wait: &mut Wait,
    cx: &mut Context<'_>,
) -> Poll<Result<R, AskError>> {
    if let Poll::Ready(answer) = Pin::new(&mut *answer).poll(cx) {
        return Poll::Ready(answer);
    }
    match wait.for_answer(answer) {
        Some(circle) => Poll::Ready(Err(circle.error())),
        None => Poll::Pending,
    }
}

/// One who waits, and for whom.
#[derive(Clone)]
struct Step {
    from: Arc<dyn AnyActor>,
    /// The number of the wait.
    number: u64,
    edge: Edge,
    to: Arc<dyn AnyActor>,
}

impl Step {
    /// The steps that lead on from an actor in the turn that it takes now.
    fn all_from(from: &Arc<dyn AnyActor>) -> impl Iterator<Item = Self> {
        let waits = from.relations().waits();
        // After the waits were read: what began in an earlier turn than this is no wait any more.
        let now = (!waits.is_empty()).then(|| from.turn());
        waits.into_iter().filter_map(move |(number, turn, edge)| {
            let to = edge.target().filter(|_| Some(turn) == now)?;
            let from = from.clone();
            Some(Self {
                from,
                number,
                edge,
                to,
            })
        })
    }

    fn still_holds(&self) -> bool {
        Self::all_from(&self.from)
            .any(|step| step.number == self.number && step.to.id() == self.to.id())
    }
}

/// Actors that wait for each other: each step begins where the one before it ends, and the first
/// where the last ends.
pub(crate) struct Circle(Vec<Step>);

impl Circle {
    /// The circle that a step to this actor closes, if there is one.
    ///
    /// The steps were seen one after another. Those that are there still when all have been seen
    /// were there all at once, since none that has ended comes again.
    fn find(first: &Arc<dyn AnyActor>, closes: impl Fn(&Step) -> bool) -> Option<Self> {
        loop {
            let circle = Self::look(first, &closes)?;
            if !circle.0.iter().all(Step::still_holds) {
                continue; // somebody has gone on meanwhile
            }
            if !circle.let_pass() {
                return Some(circle);
            }
        }
    }

    fn look(first: &Arc<dyn AnyActor>, closes: impl Fn(&Step) -> bool) -> Option<Self> {
        // The actors in question, and by which of the ways each was reached. Not a recursion, since
        // a way may be long.
        let mut actors = vec![(first.clone(), None)];
        let mut ways: Vec<(Step, Option<usize>)> = Vec::new();
        let mut known = HashSet::new();
        let mut next = 0;
        while let Some((actor, way)) = actors.get(next).cloned() {
            for step in Step::all_from(&actor) {
                if closes(&step) {
                    return Some(Self::closed_by(step, &ways, way));
                }
                if known.insert(step.to.id()) {
                    actors.push((step.to.clone(), Some(ways.len())));
                    ways.push((step, way));
                }
            }
            next += 1;
        }
        None
    }

    fn closed_by(step: Step, ways: &[(Step, Option<usize>)], mut way: Option<usize>) -> Self {
        let mut steps = Vec::new();
        while let Some((step, before)) = way.and_then(|way| ways.get(way)) {
            steps.push(step.clone());
            way = *before;
        }
        steps.push(step);
        steps.reverse();
        Self(steps)
    }

    pub(crate) fn error(&self) -> AskError {
        let first = self.0.first().map(|step| step.from.urn().clone());
        let others = self.0.iter().map(|step| step.to.urn().clone());
        let chain = first.into_iter().chain(others).collect();
        AskError::AskCycle { chain }
    }

    /// Lets one in who only hands on; false if there is none.
    fn let_pass(&self) -> bool {
        self.0.iter().any(|step| match &step.edge {
            Edge::Actor(actor, Until::Passage(ticket)) => {
                actor.let_in(*ticket);
                true
            }
            _ => false,
        })
    }

    /// Ends a wait: that for room, or else that for an answer, or else that for an end, of another
    /// than the one that has closed the circle. False if there is none.
    pub(crate) fn break_up(&self) -> bool {
        self.let_in() || self.refuse() || self.let_go()
    }

    /// For a wait for the end of `actor` that has just closed the circle: why it ends now, unless
    /// another does, or none can.
    fn ends_early(&self, actor: &Arc<dyn AnyActor>) -> Option<StopReason> {
        if self.break_up() {
            return None;
        }
        let reason = self.end_of(actor);
        if reason.is_none() {
            let cycle = self.error();
            warn!(%cycle, "actors wait for each other's end; they go on when one is asked to stop");
        }
        reason
    }

    /// The reason for which the wait for the end of this actor ends early: it is about to stop, and
    /// only waits for ends and starts keep it.
    fn end_of(&self, actor: &Arc<dyn AnyActor>) -> Option<StopReason> {
        let another_ends = |step: &Step| {
            let waits_for_end = matches!(
                step.edge,
                Edge::Actor(_, Until::Started | Until::Stopped | Until::StoppedFirst)
            );
            !waits_for_end
        };
        if self.0.iter().any(another_ends) {
            return None;
        }
        // One that stops all others first does so for a shutdown, if nothing else is known.
        let stops_after_others = |step: &Step| {
            let first = matches!(step.edge, Edge::Actor(_, Until::StoppedFirst));
            first && step.from.id() == actor.id()
        };
        let shuts_down = || self.0.iter().any(stops_after_others);
        actor
            .stops_for()
            .or_else(|| shuts_down().then_some(StopReason::Shutdown))
    }

    /// Has a wait for an end look again, which ends early then. The first step is that of the actor
    /// that has closed the circle.
    fn let_go(&self) -> bool {
        let others = self.0.split_first().map_or(&[][..], |(_, others)| others);
        others.iter().any(|step| match &step.edge {
            Edge::Actor(actor, Until::Stopped) if self.end_of(actor).is_some() => {
                actor.relations().look_again();
                true
            }
            _ => false,
        })
    }

    fn let_in(&self) -> bool {
        self.0.iter().any(|step| match &step.edge {
            Edge::Actor(actor, Until::Room(ticket)) => {
                actor.let_in(*ticket);
                true
            }
            _ => false,
        })
    }

    fn refuse(&self) -> bool {
        self.0.iter().any(|step| match &step.edge {
            Edge::Answer(question) => {
                question.refuse(self.error());
                true
            }
            Edge::Actor(..) => false,
        })
    }
}

pub(crate) mod current;
#[cfg(test)]
mod tests;
