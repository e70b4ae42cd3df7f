//! Where an actor's next message comes from: its batch, its ticks and timers, its mailbox.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{self, Poll};

use tokio::time::{Instant, Sleep};

use crate::actor::cell::ActorCell;
use crate::actor::{Actor, Context, Handlers};
use crate::mailbox::Refill;
use crate::schedule::{Due, Moment, Tick, Verdict};

pub(super) struct Events<'a, A: Actor> {
    cell: &'a ActorCell<A>,
    /// What was swapped out of the mailbox and is not handled yet.
    batch: &'a mut VecDeque<A::Inbox>,
    /// `None` for an actor without ticks.
    ticks: Option<Ticks<A>>,
    /// The last event was a tick or a timer, so that a message has its turn if there is one.
    ticked: bool,
}

/// What the wait for a message brought.
enum Wake {
    Messages,
    Tick,
    Interrupted,
    Closed,
}

impl<'a, A: Actor> Events<'a, A> {
    pub(super) fn new(cell: &'a ActorCell<A>, batch: &'a mut VecDeque<A::Inbox>) -> Self {
        Self {
            cell,
            batch,
            ticks: Ticks::new(A::ticks()),
            ticked: false,
        }
    }

    /// Puts the next message into `inbox`; false when there is none any more, or when the life is
    /// interrupted.
    pub(super) async fn next(
        &mut self,
        ctx: &mut Context<A>,
        inbox: &mut Option<A::Inbox>,
    ) -> bool {
        loop {
            if self.is_interrupted() {
                return false;
            }
            if !self.ticked && self.due(ctx, inbox) {
                self.ticked = true;
                return true;
            }
            if self.cell.mailbox.take(self.batch, inbox) {
                self.ticked = false;
                return true;
            }
            match self.wait(ctx).await {
                Wake::Messages => {}
                Wake::Tick => self.ticked = false,
                Wake::Interrupted | Wake::Closed => return false,
            }
        }
    }

    /// A life that is to make way for another goes on if there is none: who was asked to stop
    /// handles what is queued.
    fn is_interrupted(&self) -> bool {
        let control = &self.cell.control;
        control.is_interrupted() && !(control.makes_way() && self.cell.mailbox.is_closed())
    }

    /// Puts a tick or a timer's message that is due into `inbox`: the one that has been due
    /// longest, so that ticks that are always late keep no timer waiting.
    ///
    /// They end when the actor is asked to stop; messages that wait are still handled.
    fn due(&mut self, ctx: &mut Context<A>, inbox: &mut Option<A::Inbox>) -> bool {
        let timers = ctx
            .belongings_mut()
            .map(|belongings| &mut belongings.timers);
        if self.ticks.is_none() && timers.is_none() {
            return false; // nearly all actors never look at a clock
        }
        let now = Instant::now();
        let is_due = |at: &Instant| *at <= now;
        let tick = self.ticks.as_ref().map(Ticks::earliest).filter(is_due);
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
        *inbox = if tick_first {
            self.ticks.as_mut().and_then(Ticks::due)
        } else {
            timers.and_then(|timers| timers.due(now))
        };
        inbox.is_some()
    }

    fn wait(&mut self, ctx: &mut Context<A>) -> impl Future<Output = Wake> {
        poll_fn(move |cx| {
            if self.is_interrupted() {
                return Poll::Ready(Wake::Interrupted);
            }
            match self.cell.mailbox.poll_refill(cx, self.batch) {
                Poll::Ready(Refill::Ready) => return Poll::Ready(Wake::Messages),
                Poll::Ready(Refill::Closed) => return Poll::Ready(Wake::Closed),
                Poll::Pending => {}
            }
            let ticks = self.ticks.as_mut();
            let mut fired = ticks.is_some_and(|ticks| ticks.poll(cx).is_ready());
            if let Some(belongings) = ctx.belongings_mut() {
                fired |= belongings.timers.poll(cx).is_ready();
            }
            if fired {
                Poll::Ready(Wake::Tick)
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
        let now = Moment::now();
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
        let Verdict { runs, next } = tick.schedule.judge(due, Moment::now());
        self.due[entry] = next;
        let earliest = self.due.iter().map(|due| due.at).min()?;
        self.timer.as_mut().reset(earliest);
        runs.then(|| (tick.message)())
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}
