//! The sources of an actor's messages: its batch, its ticks and timers, and its mailbox.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::task::{self, Poll};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::actor::Tick;
use crate::actor::cell::ActorCell;
use crate::actor::host::SystemLink;
use crate::actor::{Actor, Context, Handlers};
use crate::mailbox::{Batch, Refill};
use crate::runner::guard::ActorParts;
use crate::time::coarse as clock;
use crate::time::schedule::{Due, TickDecision};

/// The number of messages after which an actor yields: the operations that tokio lets a task have at a time.
const MESSAGES_PER_TURN: u8 = 128;

/// The turn of an actor: its messages since it last let other tasks run.
#[derive(Default)]
pub(super) struct Turn {
    /// The number of messages handled.
    messages: u8,
    /// True if the last event was a tick or a timer: a queued message takes its turn next.
    ticked: bool,
    /// True if the mailbox is closed and empty.
    closed: bool,
}

impl Turn {
    /// Counts a message that was handled. True if the turn is over: handlers that never wait must yield
    /// to other tasks now and then. Cheaper than one unit of tokio's budget for each message; handlers
    /// that await consume that as well.
    #[inline]
    pub(super) fn ends(&mut self) -> bool {
        self.messages += 1;
        if self.messages < MESSAGES_PER_TURN {
            return false;
        }
        self.messages = 0;
        true
    }
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

/// The next event.
#[inline]
pub(super) fn next_event<'a, A: Actor>(
    ctx: &mut Context<A>,
    batch: &'a mut Batch<A::Inbox>,
    ticks: &mut Ticks<A>,
    turn: &mut Turn,
) -> NextEvent<'a, A::Inbox> {
    if turn.closed || has_signal(ctx) {
        return NextEvent::End;
    }
    if !turn.ticked && has_timers(ctx, ticks) && put_due_first(ctx, batch, ticks) {
        turn.ticked = true;
        return batch.first().map_or(NextEvent::Idle, NextEvent::Message);
    }
    match ctx.cell().mailbox.next_in(batch) {
        Some(message) => {
            turn.ticked = false;
            NextEvent::Message(message)
        }
        None => NextEvent::Idle,
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

/// False for nearly all actors: without ticks and timers, an actor reads no clock.
#[inline]
fn has_timers<A: Actor>(ctx: &mut Context<A>, ticks: &Ticks<A>) -> bool {
    let resources = ctx.resources_mut();
    ticks.are_there() || resources.is_some_and(|resources| resources.timers.earliest().is_some())
}

/// Puts the message of a due tick or timer in front of the batch; false if none is due. The one
/// that has been due longest goes first, so that ticks that are always late delay no timer.
///
/// Ticks and timers end when the actor is asked to stop; queued messages are still handled.
fn put_due_first<A: Actor>(
    ctx: &mut Context<A>,
    batch: &mut Batch<A::Inbox>,
    ticks: &mut Ticks<A>,
) -> bool {
    let (cell, link, resources) = ctx.split();
    let timers = resources.map(|resources| &mut resources.timers);
    let now = Instant::now();
    let is_due = |at: &Instant| *at <= now;
    let tick = ticks.earliest().filter(is_due);
    let timer = timers.as_ref().and_then(|timers| timers.earliest());
    let timer = timer.filter(is_due);
    if tick.is_none() && timer.is_none() {
        return false;
    }
    if cell.control.is_asked_to_stop() {
        ticks.end();
        return false;
    }
    let tick_first = tick.is_some_and(|tick| timer.is_none_or(|timer| tick <= timer));
    let message = if tick_first {
        ticks.due(now, link)
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

/// Waits for the next event. May return early.
pub(super) fn wait<A: Actor>(
    parts: &mut ActorParts<A>,
    ticks: &mut Ticks<A>,
    turn: &mut Turn,
) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        let ActorParts { ctx, batch, .. } = &mut *parts;
        if batch.take_burst() {
            // The askers have their replies and are about to ask again, each when its task
            // runs. Yielding to them first takes one look at the mailbox for all instead of one
            // each.
            turn.messages = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if has_signal(ctx) {
            return Poll::Ready(());
        }
        // A tick that is due needs no look at the mailbox, unless a queued message takes its turn.
        if !turn.ticked && poll_timers(ctx, ticks, cx).is_ready() {
            return Poll::Ready(());
        }
        let cell = ctx.cell();
        match cell.mailbox.poll_refill(batch) {
            Poll::Ready(Refill::Ready { since }) => {
                cell.stats.begin_batch(since);
                return Poll::Ready(());
            }
            Poll::Ready(Refill::Closed) => {
                turn.closed = true;
                return Poll::Ready(());
            }
            Poll::Pending => {}
        }
        // No message is queued, so that the next tick need not give way.
        if mem::take(&mut turn.ticked) {
            return poll_timers(ctx, ticks, cx);
        }
        Poll::Pending
    })
}

/// Ready when a tick or a timer is due.
#[inline]
fn poll_timers<A: Actor>(
    ctx: &mut Context<A>,
    ticks: &mut Ticks<A>,
    cx: &mut task::Context<'_>,
) -> Poll<()> {
    let mut is_due = ticks.poll(cx).is_ready();
    if let Some(resources) = ctx.resources_mut() {
        is_due |= resources.timers.poll(cx).is_ready();
    }
    if is_due {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// The ticks of an actor, on one timer; most actors have none.
pub(super) struct Ticks<A: Handlers>(Option<Pin<Box<TickTimer<A>>>>);

pin_project! {
    /// The table of an actor's ticks, in one box with its timer.
    struct TickTimer<A: Handlers> {
        table: &'static [Tick<A>],
        // The next due time of the first entry, and of the others: most tables have one.
        first: Due,
        others: Box<[Due]>,
        // Fires at the earliest due time.
        #[pin]
        timer: Sleep,
    }
}

impl<A: Handlers> Ticks<A> {
    /// Starts the ticks of this table.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers.
    pub(super) fn start(table: &'static [Tick<A>]) -> Self {
        let [first, others @ ..] = table else {
            return Self(None);
        };
        let now = Instant::now();
        let first = first.schedule().start(now);
        let others: Box<[Due]> = others
            .iter()
            .map(|tick| tick.schedule().start(now))
            .collect();
        let earliest = earliest(&first, &others);
        Self(Some(Box::pin(TickTimer {
            table,
            first,
            others,
            timer: sleep_until(earliest),
        })))
    }

    fn end(&mut self) {
        self.0 = None;
    }

    fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// The earliest due time.
    fn earliest(&self) -> Option<Instant> {
        self.0.as_ref().map(|ticks| ticks.timer.deadline())
    }

    /// The message of the entry that has been due longest, if its schedule says that it is to run.
    fn due(&mut self, now: Instant, system: &SystemLink) -> Option<A::Inbox> {
        let mut ticks = self.0.as_mut()?.as_mut().project();
        let mut place = (0, &mut *ticks.first);
        for (entry, due) in (1..).zip(&mut **ticks.others) {
            if due.at < place.1.at {
                place = (entry, due);
            }
        }
        let (entry, due) = place;
        let tick = &ticks.table[entry];
        let TickDecision { runs, next } = system.decide(tick.schedule(), due, now);
        *due = next;
        ticks
            .timer
            .as_mut()
            .reset(earliest(ticks.first, ticks.others));
        runs.then(|| tick.make())
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(ticks) => ticks.as_mut().project().timer.poll(cx),
            None => Poll::Pending,
        }
    }
}

fn earliest(first: &Due, others: &[Due]) -> Instant {
    others
        .iter()
        .fold(first.at, |earliest, due| earliest.min(due.at))
}
