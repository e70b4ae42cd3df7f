//! Where an actor's next message comes from: its batch, its ticks and timers, its mailbox.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{self, Poll};

use tokio::time::{Instant, Sleep};

use crate::actor::Tick;
use crate::actor::cell::ActorCell;
use crate::actor::stats::Stats;
use crate::actor::{Actor, Context, Handlers};
use crate::mailbox::{Batch, Refill};
use crate::time::coarse as clock;
use crate::time::schedule::{Due, TickDecision, WallInstant};

pub(super) struct Events<'a, A: Actor> {
    cell: &'a ActorCell<A>,
    /// What was swapped out of the mailbox and is not handled yet.
    batch: &'a mut Batch<A::Inbox>,
    /// `None` for an actor without ticks.
    ticks: Option<Box<Ticks<A>>>,
    /// The last event was a tick or a timer, so that a message has its turn if there is one.
    ticked: bool,
    /// The mailbox is closed and empty.
    closed: bool,
}

/// What there is to do next.
pub(super) enum Next<'a, T> {
    /// To handle the message in this place.
    Message(&'a mut Option<T>),
    /// To wait for one.
    Nothing,
    /// Nothing any more: the actor is to stop and has handled what was queued, or the life is
    /// interrupted.
    End,
}

impl<'a, A: Actor> Events<'a, A> {
    /// Without ticks, until [`start_ticks`](Self::start_ticks).
    pub(super) fn new(cell: &'a ActorCell<A>, batch: &'a mut Batch<A::Inbox>) -> Self {
        Self {
            cell,
            batch,
            ticks: None,
            ticked: false,
            closed: false,
        }
    }

    /// Starts the ticks. Runs the actor's code, and a runtime without timers panics here.
    pub(super) fn start_ticks(&mut self) {
        self.ticks = Ticks::new(A::ticks()).map(Box::new);
    }

    /// What is counted of the actor.
    pub(super) fn stats(&self) -> &'a Stats {
        &self.cell.stats
    }

    /// The next message, if there is one.
    #[inline]
    pub(super) fn next(&mut self, ctx: &mut Context<A>) -> Next<'_, A::Inbox> {
        if self.closed || self.has_signal() {
            return Next::End;
        }
        if !self.ticked && self.has_timers(ctx) && self.put_due_first(ctx) {
            self.ticked = true;
            return self.batch.first().map_or(Next::Nothing, Next::Message);
        }
        match self.cell.mailbox.next_in(self.batch) {
            Some(message) => {
                self.ticked = false;
                Next::Message(message)
            }
            None => Next::Nothing,
        }
    }

    /// A life that is to make way for another goes on if there is none: who was asked to stop
    /// handles what is queued.
    #[inline]
    fn has_signal(&self) -> bool {
        let control = &self.cell.control;
        control.has_signal() && !(control.ends_to_restart() && self.cell.mailbox.is_closed())
    }

    /// Nearly all actors have neither ticks nor timers, and never look at a clock.
    #[inline]
    fn has_timers(&self, ctx: &mut Context<A>) -> bool {
        self.ticks.is_some() || ctx.resources_mut().is_some()
    }

    /// Puts a tick or a timer's message that is due before the batch, and says whether there was
    /// one: the one that has been due longest, so that ticks that are always late keep no timer
    /// waiting.
    ///
    /// They end when the actor is asked to stop; messages that wait are still handled.
    fn put_due_first(&mut self, ctx: &mut Context<A>) -> bool {
        let timers = ctx.resources_mut().map(|resources| &mut resources.timers);
        let now = Instant::now();
        let is_due = |at: &Instant| *at <= now;
        let tick = self.ticks.as_ref().map(|ticks| ticks.earliest());
        let tick = tick.filter(is_due);
        let timer = timers.as_ref().and_then(|timers| timers.earliest());
        let timer = timer.filter(is_due);
        if tick.is_none() && timer.is_none() {
            return false;
        }
        if self.cell.mailbox.is_closed() {
            self.ticks = None;
            return false;
        }
        let tick_first = tick.is_some_and(|tick| timer.is_none_or(|timer| tick <= timer));
        let message = if tick_first {
            self.ticks.as_mut().and_then(|ticks| ticks.due())
        } else {
            timers.and_then(|timers| timers.due(now))
        };
        let Some(message) = message else {
            return false;
        };
        self.batch.put_first(message);
        self.cell.stats.begin_batch(clock::CoarseInstant::now());
        true
    }

    /// Waits until there may be something to do.
    pub(super) fn wait(&mut self, ctx: &mut Context<A>) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            if self.batch.take_burst() {
                // They have their answers and ask again, each as soon as it has its turn. After
                // that there is one look at the mailbox for all of them, and not one for each.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.has_signal() {
                return Poll::Ready(());
            }
            match self.cell.mailbox.poll_refill(cx, self.batch) {
                Poll::Ready(Refill::Ready { since }) => {
                    self.cell.stats.begin_batch(since);
                    return Poll::Ready(());
                }
                Poll::Ready(Refill::Closed) => {
                    self.closed = true;
                    return Poll::Ready(());
                }
                Poll::Pending => {}
            }
            let ticks = self.ticks.as_mut();
            let mut fired = ticks.is_some_and(|ticks| ticks.poll(cx).is_ready());
            if let Some(resources) = ctx.resources_mut() {
                fired |= resources.timers.poll(cx).is_ready();
            }
            if fired {
                self.ticked = false; // there is no message whose turn it could be
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }
}

/// The ticks of one actor, with one timer for all.
struct Ticks<A: Handlers> {
    table: &'static [Tick<A>],
    /// When each entry is due next.
    due: Box<[Due]>,
    /// Fires at the earliest of them.
    timer: Pin<Box<Sleep>>,
}

impl<A: Handlers> Ticks<A> {
    fn new(table: &'static [Tick<A>]) -> Option<Self> {
        if table.is_empty() {
            return None;
        }
        let now = WallInstant::now();
        let due: Box<[Due]> = table.iter().map(|tick| tick.schedule.start(now)).collect();
        let earliest = due.iter().map(|due| due.at).min()?;
        Some(Self {
            table,
            due,
            timer: Box::pin(tokio::time::sleep_until(earliest)),
        })
    }

    /// When the first of them is due.
    fn earliest(&self) -> Instant {
        self.timer.deadline()
    }

    /// The message of the entry that has been due longest, if it is due by its own clock as well.
    fn due(&mut self) -> Option<A::Inbox> {
        let (entry, due) = self.due.iter().enumerate().min_by_key(|(_, due)| due.at)?;
        let tick = &self.table[entry];
        let TickDecision { runs, next } = tick.schedule.decide(due, WallInstant::now());
        self.due[entry] = next;
        let earliest = self.due.iter().map(|due| due.at).min()?;
        self.timer.as_mut().reset(earliest);
        runs.then(|| (tick.message)())
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}
