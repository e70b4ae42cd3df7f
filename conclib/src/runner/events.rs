//! The sources of an actor's messages: its batch, its ticks and timers, and its mailbox.

use std::future::{Future, poll_fn};
use std::mem;
use std::task::{self, Poll};

use tokio::time::Instant;

use crate::actor::cell::ActorCell;
use crate::actor::{Actor, Context, Handlers};
use crate::mailbox::{Batch, Refill};
use crate::runner::guard::ActorParts;
use crate::runner::ticks::Ticks;
use crate::time::coarse as clock;

/// The number of messages after which an actor yields: the operations that tokio lets a task have at a time.
const MESSAGES_PER_TURN: u8 = 128;

/// The course of one incarnation: its ticks, and what comes next.
pub(super) struct Events<A: Handlers> {
    ticks: Ticks<A>,
    /// The number of messages handled since the actor last let other tasks run.
    handled: u8,
    /// True if ticks and timers had their turn: a queued message has it next.
    timers_done: bool,
    /// True if the mailbox is closed and empty.
    closed: bool,
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

impl<A: Actor> Events<A> {
    /// Starts the ticks.
    ///
    /// # Panics
    ///
    /// If the actor's code for its ticks panics, or the runtime has no timers.
    pub(super) fn start() -> Self {
        Self {
            ticks: Ticks::start(A::ticks()),
            handled: 0,
            timers_done: false,
            closed: false,
        }
    }

    /// The next event.
    #[inline]
    pub(super) fn next<'a>(
        &mut self,
        ctx: &mut Context<A>,
        batch: &'a mut Batch<A::Inbox>,
    ) -> NextEvent<'a, A::Inbox> {
        if self.closed || has_signal(ctx) {
            return NextEvent::End;
        }
        if !self.timers_done && self.has_timers(ctx) {
            self.timers_done = true;
            if self.put_due_first(ctx, batch) {
                return batch.first().map_or(NextEvent::Idle, NextEvent::Message);
            }
        }
        match ctx.cell().mailbox.next_in(batch) {
            Some(message) => {
                self.timers_done = false;
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
        self.handled += 1;
        if self.handled < MESSAGES_PER_TURN {
            return false;
        }
        self.handled = 0;
        true
    }

    /// Waits for the next event. May return early.
    pub(super) fn wait(&mut self, parts: &mut ActorParts<A>) -> impl Future<Output = ()> {
        poll_fn(move |cx| {
            let ActorParts { ctx, batch, .. } = &mut *parts;
            if batch.take_burst() {
                // The askers have their replies and are about to ask again, each when its task
                // runs. Yielding to them first takes one look at the mailbox for all instead of one
                // each.
                self.handled = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if has_signal(ctx) {
                return Poll::Ready(());
            }
            // A tick that is due needs no look at the mailbox, unless a queued message has its turn.
            if !self.timers_done && self.poll_timers(ctx, cx).is_ready() {
                return Poll::Ready(());
            }
            let cell = ctx.cell();
            match cell.mailbox.poll_refill(batch) {
                Poll::Ready(Refill::Ready { since }) => {
                    cell.stats.begin_batch(since);
                    return Poll::Ready(());
                }
                Poll::Ready(Refill::Closed) => {
                    self.closed = true;
                    return Poll::Ready(());
                }
                Poll::Pending => {}
            }
            // No message is queued, so that the next tick need not give way.
            if mem::take(&mut self.timers_done) {
                return self.poll_timers(ctx, cx);
            }
            Poll::Pending
        })
    }

    /// False for nearly all actors: without ticks and timers, an actor reads no clock.
    #[inline]
    fn has_timers(&self, ctx: &mut Context<A>) -> bool {
        let resources = ctx.resources_mut();
        self.ticks.are_there()
            || resources.is_some_and(|resources| resources.timers.earliest().is_some())
    }

    /// Ready when a tick or a timer is due.
    #[inline]
    fn poll_timers(&mut self, ctx: &mut Context<A>, cx: &mut task::Context<'_>) -> Poll<()> {
        let mut is_due = self.ticks.poll(cx).is_ready();
        if let Some(resources) = ctx.resources_mut() {
            is_due |= resources.timers.poll(cx).is_ready();
        }
        if is_due {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Puts the message of a due tick or timer in front of the batch; false if none is due. The one
    /// that has been due longest goes first, so that ticks that are always late delay no timer.
    ///
    /// Ticks and timers end when the actor is asked to stop; queued messages are still handled.
    fn put_due_first(&mut self, ctx: &mut Context<A>, batch: &mut Batch<A::Inbox>) -> bool {
        let (cell, link, resources) = ctx.split();
        let timers = resources.map(|resources| &mut resources.timers);
        let now = Instant::now();
        let is_due = |at: &Instant| *at <= now;
        let tick = self.ticks.earliest().filter(is_due);
        let timer = timers.as_ref().and_then(|timers| timers.earliest());
        let timer = timer.filter(is_due);
        if tick.is_none() && timer.is_none() {
            return false;
        }
        if cell.control.is_asked_to_stop() {
            self.ticks.end();
            if let Some(timers) = timers {
                timers.clear();
            }
            return false;
        }
        let tick_first = tick.is_some_and(|tick| timer.is_none_or(|timer| tick <= timer));
        let message = if tick_first {
            self.ticks.due(now, link)
        } else {
            timers.and_then(|timers| timers.due(now, link))
        };
        let Some(message) = message else {
            return false;
        };
        batch.put_first(message);
        cell.stats.ticked();
        cell.stats.begin_batch(clock::CoarseInstant::now());
        true
    }
}

/// True if a signal ends the incarnation.
#[inline]
fn has_signal<A: Actor>(ctx: &mut Context<A>) -> bool {
    ctx.cell().control.has_signal() && ends_now(ctx)
}

/// True if the signals that are there end the incarnation.
///
/// The signal to restart with the group is ignored by an actor that was asked to stop: no incarnation
/// follows, so this one handles the queued messages. The signal of idleness is withdrawn by an
/// actor that has something to do by now.
#[cold]
fn ends_now<A: Actor>(ctx: &mut Context<A>) -> bool {
    let has_tasks = ctx.has_tasks();
    let cell = ctx.cell();
    let ActorCell {
        control, mailbox, ..
    } = &**cell;
    if control.ends_to_restart() && mailbox.is_closed() {
        return false;
    }
    let is_in_use = mailbox.is_occupied() || has_tasks || cell.links().has_children();
    if control.is_only_idle() && is_in_use {
        control.withdraw_idle();
        return false;
    }
    true
}
