//! The sources of an actor's messages: its batch, its ticks and timers, and its mailbox.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{self, Poll};

use tokio::time::{Instant, Sleep};

use crate::actor::Tick;
use crate::actor::cell::ActorCell;
use crate::actor::host::SystemLink;
use crate::actor::stats::Stats;
use crate::actor::{Actor, Context, Handlers};
use crate::mailbox::{Batch, Refill};
use crate::time::coarse as clock;
use crate::time::schedule::{Due, TickDecision, WallInstant};

/// The number of messages after which an actor yields: the operations that tokio lets a task have at a time.
const MESSAGES_PER_TURN: u8 = 128;

/// The message sources of one incarnation.
pub(super) struct Events<'a, A: Actor> {
    cell: &'a ActorCell<A>,
    /// Messages taken from the mailbox and not handled yet.
    batch: &'a mut Batch<A::Inbox>,
    /// `None` for an actor without ticks.
    ticks: Option<Box<Ticks<A>>>,
    /// True if the last event was a tick or a timer: a queued message takes its turn next.
    ticked: bool,
    /// True if the mailbox is closed and empty.
    closed: bool,
    /// The number of messages handled since the actor last yielded.
    turn: u8,
}

/// The next event of an actor.
pub(super) enum NextEvent<'a, T> {
    /// A message, to be handled in its place.
    Message(&'a mut Option<T>),
    /// No message: the actor waits for one.
    Idle,
    /// The end: the actor was asked to stop and has handled its queued messages, or the incarnation
    /// is interrupted.
    End,
}

impl<'a, A: Actor> Events<'a, A> {
    /// Events without ticks, until [`start_ticks`](Self::start_ticks) is called.
    pub(super) fn new(cell: &'a ActorCell<A>, batch: &'a mut Batch<A::Inbox>) -> Self {
        Self {
            cell,
            batch,
            ticks: None,
            ticked: false,
            closed: false,
            turn: 0,
        }
    }

    /// Starts the ticks.
    ///
    /// # Panics
    ///
    /// If the actor's code for its ticks panics, or the runtime has no timers.
    pub(super) fn start_ticks(&mut self) {
        self.ticks = Ticks::new(A::ticks()).map(Box::new);
    }

    /// The statistics of the actor.
    pub(super) fn stats(&self) -> &'a Stats {
        &self.cell.stats
    }

    /// The next event.
    #[inline]
    pub(super) fn next(&mut self, ctx: &mut Context<A>) -> NextEvent<'_, A::Inbox> {
        if self.closed || self.has_signal(ctx) {
            return NextEvent::End;
        }
        if !self.ticked && self.has_timers(ctx) && self.put_due_first(ctx) {
            self.ticked = true;
            return self
                .batch
                .first()
                .map_or(NextEvent::Idle, NextEvent::Message);
        }
        match self.cell.mailbox.next_in(self.batch) {
            Some(message) => {
                self.ticked = false;
                NextEvent::Message(message)
            }
            None => NextEvent::Idle,
        }
    }

    /// Counts a message that was handled. True if the turn is over: handlers that never wait must yield
    /// to other tasks now and then. Cheaper than one unit of tokio's budget for each message; handlers
    /// that await consume that as well.
    #[inline]
    pub(super) fn ends_turn(&mut self) -> bool {
        self.turn += 1;
        if self.turn < MESSAGES_PER_TURN {
            return false;
        }
        self.turn = 0;
        true
    }

    /// True if a signal ends the incarnation.
    #[inline]
    fn has_signal(&self, ctx: &mut Context<A>) -> bool {
        self.cell.control.has_signal() && self.ends_now(ctx)
    }

    /// True if the signals that are there end the incarnation.
    ///
    /// The signal to restart with the group is ignored by an actor that was asked to stop: no incarnation
    /// follows, so this one handles the queued messages. The signal of idleness is withdrawn by an
    /// actor that has something to do by now.
    #[cold]
    fn ends_now(&self, ctx: &mut Context<A>) -> bool {
        let ActorCell {
            control,
            mailbox,
            links,
            ..
        } = self.cell;
        if control.ends_to_restart() && mailbox.is_closed() {
            return false;
        }
        let is_in_use = mailbox.is_occupied() || ctx.has_tasks() || links.has_children();
        if control.is_only_idle() && is_in_use {
            control.withdraw_idle();
            return false;
        }
        true
    }

    /// False for nearly all actors: without ticks and timers, an actor reads no clock.
    #[inline]
    fn has_timers(&self, ctx: &mut Context<A>) -> bool {
        let resources = ctx.resources_mut();
        self.ticks.is_some()
            || resources.is_some_and(|resources| resources.timers.earliest().is_some())
    }

    /// Puts the message of a due tick or timer in front of the batch; false if none is due. The one
    /// that has been due longest goes first, so that ticks that are always late delay no timer.
    ///
    /// Ticks and timers end when the actor is asked to stop; queued messages are still handled.
    fn put_due_first(&mut self, ctx: &mut Context<A>) -> bool {
        let (link, resources) = ctx.link_and_resources();
        let timers = resources.map(|resources| &mut resources.timers);
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
            self.ticks.as_mut().and_then(|ticks| ticks.due(link))
        } else {
            timers.and_then(|timers| timers.due(now, link))
        };
        let Some(message) = message else {
            return false;
        };
        self.batch.put_first(message);
        self.cell.stats.ticked();
        self.cell.stats.begin_batch(clock::CoarseInstant::now());
        true
    }

    /// Waits for the next event. May return early.
    pub(super) fn wait(&mut self, ctx: &mut Context<A>) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            if self.batch.take_burst() {
                // The askers have their replies and are about to ask again, each when its task
                // runs. Yielding to them first takes one look at the mailbox for all instead of one
                // each.
                self.turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.has_signal(ctx) {
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
                self.ticked = false; // no message is queued, so the tick need not give way
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }
}

/// The ticks of one actor, on one timer.
struct Ticks<A: Handlers> {
    table: &'static [Tick<A>],
    /// The next due time of each entry.
    due: Box<[Due]>,
    /// Fires at the earliest due time.
    timer: Pin<Box<Sleep>>,
}

impl<A: Handlers> Ticks<A> {
    fn new(table: &'static [Tick<A>]) -> Option<Self> {
        if table.is_empty() {
            return None;
        }
        let now = WallInstant::now();
        let due: Box<[Due]> = table
            .iter()
            .map(|tick| tick.schedule().start(now))
            .collect();
        let earliest = due.iter().map(|due| due.at).min()?;
        Some(Self {
            table,
            due,
            timer: Box::pin(tokio::time::sleep_until(earliest)),
        })
    }

    /// The earliest due time.
    fn earliest(&self) -> Instant {
        self.timer.deadline()
    }

    /// The message of the entry that has been due longest, if its schedule says that it is to run.
    fn due(&mut self, system: &SystemLink) -> Option<A::Inbox> {
        let (entry, due) = self.due.iter().enumerate().min_by_key(|(_, due)| due.at)?;
        let tick = &self.table[entry];
        let TickDecision { runs, next } = system.decide(tick.schedule(), due);
        self.due[entry] = next;
        let earliest = self.due.iter().map(|due| due.at).min()?;
        self.timer.as_mut().reset(earliest);
        runs.then(|| tick.make())
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}
