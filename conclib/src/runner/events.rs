//! The sources of an actor's messages: its batch, its ticks and timers, and its mailbox.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{self, Poll};

use tokio::time::{Instant, Sleep};

use crate::actor::Tick;
use crate::actor::cell::ActorCell;
use crate::actor::host::SystemLink;
use crate::actor::{Actor, Context, Handlers};
use crate::mailbox::{Batch, Refill};
use crate::runner::guard::ActorParts;
use crate::time::coarse as clock;
use crate::time::schedule::{Due, TickDecision, WallInstant};

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
    ticks: &mut Option<Pin<Box<Ticks<A>>>>,
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
fn has_timers<A: Actor>(ctx: &mut Context<A>, ticks: &Option<Pin<Box<Ticks<A>>>>) -> bool {
    ticks.is_some()
        || ctx
            .resources_mut()
            .is_some_and(|resources| resources.timers.earliest().is_some())
}

/// Puts the message of a due tick or timer in front of the batch; false if none is due. The one
/// that has been due longest goes first, so that ticks that are always late delay no timer.
///
/// Ticks and timers end when the actor is asked to stop; queued messages are still handled.
fn put_due_first<A: Actor>(
    ctx: &mut Context<A>,
    batch: &mut Batch<A::Inbox>,
    ticks: &mut Option<Pin<Box<Ticks<A>>>>,
) -> bool {
    let cell = ctx.cell().clone();
    let (link, resources) = ctx.link_and_resources();
    let timers = resources.map(|resources| &mut resources.timers);
    let now = Instant::now();
    let is_due = |at: &Instant| *at <= now;
    let tick = ticks.as_ref().map(|ticks| ticks.earliest());
    let tick = tick.filter(is_due);
    let timer = timers.as_ref().and_then(|timers| timers.earliest());
    let timer = timer.filter(is_due);
    if tick.is_none() && timer.is_none() {
        return false;
    }
    if cell.mailbox.is_closed() {
        *ticks = None;
        return false;
    }
    let tick_first = tick.is_some_and(|tick| timer.is_none_or(|timer| tick <= timer));
    let message = if tick_first {
        ticks.as_mut().and_then(|ticks| ticks.as_mut().due(link))
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
    ticks: &mut Option<Pin<Box<Ticks<A>>>>,
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
        let mut fired = ticks
            .as_mut()
            .is_some_and(|ticks| ticks.as_mut().poll(cx).is_ready());
        if let Some(resources) = ctx.resources_mut() {
            fired |= resources.timers.poll(cx).is_ready();
        }
        if fired {
            turn.ticked = false; // no message is queued, so the tick need not give way
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

/// The ticks of one actor, on one timer.
pub(super) struct Ticks<A: Handlers> {
    table: &'static [Tick<A>],
    /// The next due time of each entry.
    due: Box<[Due]>,
    /// Fires at the earliest due time.
    timer: Pin<Box<Sleep>>,
}

impl<A: Handlers> Ticks<A> {
    /// Starts the ticks of this table; `None` if it is empty.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers.
    pub(super) fn start(table: &'static [Tick<A>]) -> Option<Pin<Box<Self>>> {
        if table.is_empty() {
            return None;
        }
        let now = WallInstant::now();
        let due: Box<[Due]> = table
            .iter()
            .map(|tick| tick.schedule().start(now))
            .collect();
        let earliest = due.iter().map(|due| due.at).min()?;
        Some(Box::pin(Self {
            table,
            due,
            timer: Box::pin(tokio::time::sleep_until(earliest)),
        }))
    }

    /// The earliest due time.
    fn earliest(&self) -> Instant {
        self.timer.deadline()
    }

    /// The message of the entry that has been due longest, if its schedule says that it is to run.
    fn due(mut self: Pin<&mut Self>, system: &SystemLink) -> Option<A::Inbox> {
        let (entry, due) = self.due.iter().enumerate().min_by_key(|(_, due)| due.at)?;
        let tick = &self.table[entry];
        let TickDecision { runs, next } = system.decide(tick.schedule(), due);
        self.due[entry] = next;
        let earliest = self.due.iter().map(|due| due.at).min()?;
        self.timer.as_mut().reset(earliest);
        runs.then(|| tick.make())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}
