//! The ticks of an actor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::actor::host::SystemLink;
use crate::actor::{Handlers, Tick};
use crate::time::schedule::{Due, TickDecision};

/// The ticks of an actor, on one timer; most actors have none.
pub(super) struct Ticks<A: Handlers>(Option<Pin<Box<TickTimer<A>>>>);

pin_project! {
    /// The table of an actor's ticks, in one box with its timer.
    struct TickTimer<A: Handlers> {
        table: &'static [Tick<A>],
        // The next due time of the first entry, and of the rest: most tables have one entry.
        first: Due,
        rest: Box<[Due]>,
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
        let [first, rest @ ..] = table else {
            return Self(None);
        };
        let now = Instant::now();
        let first = first.schedule().start(now);
        let rest: Box<[Due]> = rest.iter().map(|tick| tick.schedule().start(now)).collect();
        let earliest = earliest(&first, &rest);
        Self(Some(Box::pin(TickTimer {
            table,
            first,
            rest,
            timer: sleep_until(earliest),
        })))
    }

    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    pub(super) fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// The earliest due time.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.0.as_ref().map(|ticks| ticks.timer.deadline())
    }

    /// The message of the entry that has been due longest, if its schedule says that it is to run.
    pub(super) fn due(&mut self, now: Instant, system: &SystemLink) -> Option<A::Inbox> {
        let mut ticks = self.0.as_mut()?.as_mut().project();
        let mut place = (0, &mut *ticks.first);
        for (entry, due) in (1..).zip(&mut **ticks.rest) {
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
            .reset(earliest(ticks.first, ticks.rest));
        runs.then(|| tick.make())
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(ticks) => ticks.as_mut().project().timer.poll(cx),
            None => Poll::Pending,
        }
    }
}

fn earliest(first: &Due, rest: &[Due]) -> Instant {
    rest.iter()
        .fold(first.at, |earliest, due| earliest.min(due.at))
}
