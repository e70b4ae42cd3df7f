//! Timers: messages that an actor has scheduled to be sent to itself.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use crate::actor::Handlers;
use crate::actor::host::SystemLink;
use crate::error::panics::drop_quietly;
use crate::time::schedule::{Due, Schedule, TickDecision};

/// A handle to a timer of an actor, which [`Context::after`](crate::Context::after) and
/// [`Context::every`](crate::Context::every) return.
///
/// [`Context::cancel`](crate::Context::cancel) cancels the timer. Dropping the handle does not.
///
/// ```
/// use conclib::actor::Timer;
/// use conclib::prelude::*;
/// use std::time::Duration;
///
/// #[derive(ActorMessage)]
/// #[message(local)]
/// struct Poll;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// struct Pause;
///
/// #[derive(Actor, Default)]
/// struct Poller { timer: Option<Timer> }
///
/// #[handlers]
/// impl Poller {
///     fn on_start(&mut self, ctx: &mut Context<Self>) {
///         self.timer = Some(ctx.every(Duration::from_secs(1), || Poll));
///     }
///
///     #[handler]
///     fn poll(&mut self, _: Poll) {}
///
///     #[handler]
///     fn pause(&mut self, _: Pause, ctx: &mut Context<Self>) {
///         if let Some(timer) = self.timer.take() {
///             ctx.cancel(timer);
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timer(u64);

/// Number of timers for which an actor keeps memory.
const KEPT_TIMERS: usize = 16;

/// All timers of an actor, on one timer of the runtime.
pub(crate) struct Timers<A: Handlers> {
    entries: HashMap<Timer, Entry<A>>,
    /// The due time and number of each timer, earliest first. Cancelled timers stay in here and are
    /// skipped when they are due.
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The number of the next timer.
    next: u64,
    /// Fires at the earliest due time, or before it.
    alarm: Option<Pin<Box<Sleep>>>,
}

enum Entry<A: Handlers> {
    Once(A::Inbox),
    Every {
        schedule: Schedule,
        due: Due,
        message: Box<dyn FnMut() -> A::Inbox + Send>,
    },
}

impl<A: Handlers> Timers<A> {
    /// No timers yet, in the incarnation of this number. Each has timers with numbers of its own: a handle
    /// cancels nothing in a later one.
    pub(super) fn new(incarnation: u32) -> Self {
        Self {
            entries: HashMap::new(),
            queue: BinaryHeap::new(),
            next: u64::from(incarnation) << 40,
            alarm: None,
        }
    }

    fn new_timer(&mut self) -> Timer {
        let timer = Timer(self.next);
        self.next += 1;
        timer
    }

    pub(super) fn after(&mut self, at: Instant, message: A::Inbox) -> Timer {
        let timer = self.new_timer();
        self.insert(timer, at, Entry::Once(message));
        timer
    }

    pub(super) fn every(
        &mut self,
        schedule: Schedule,
        message: Box<dyn FnMut() -> A::Inbox + Send>,
    ) -> Timer {
        let timer = self.new_timer();
        let due = schedule.start(Instant::now());
        self.insert_series(timer, schedule, due, message);
        timer
    }

    pub(super) fn cancel(&mut self, timer: Timer) -> bool {
        let cancelled = self.entries.remove(&timer).is_some();
        // Bounds the number of cancelled timers in the queue by that of the others.
        if self.queue.len() > 2 * self.entries.len() + 8 {
            let entries = &self.entries;
            self.queue
                .retain(|Reverse((_, id))| entries.contains_key(&Timer(*id)));
        }
        self.release_memory();
        cancelled
    }

    /// Releases the memory of timers that have fired or were cancelled, once there were eight times as
    /// many timers as there are now.
    fn release_memory(&mut self) {
        let kept = 2 * self.entries.len().max(KEPT_TIMERS);
        if self.entries.capacity() > 4 * kept {
            self.entries.shrink_to(kept);
            self.queue.shrink_to(kept);
        }
    }

    /// Cancels all timers. A panic in the drop of one message leaves the others alone.
    pub(crate) fn clear(&mut self) {
        self.entries.drain().for_each(drop_quietly);
        self.queue.clear();
        self.alarm = None;
    }

    /// The time at which to call [`due`](Self::due) next; it may be too early.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// The message that is due longest, if one is due.
    pub(crate) fn due(&mut self, now: Instant, system: &SystemLink) -> Option<A::Inbox> {
        loop {
            let Reverse((at, id)) = *self.queue.peek()?;
            if now < at {
                return None;
            }
            self.queue.pop();
            let timer = Timer(id);
            match self.entries.remove(&timer) {
                None => {} // cancelled
                Some(Entry::Once(message)) => {
                    self.release_memory();
                    return Some(message);
                }
                Some(Entry::Every {
                    schedule,
                    due,
                    mut message,
                }) => {
                    let TickDecision { runs, next } = system.decide(&schedule, &due, now);
                    let inbox = runs.then(&mut message);
                    self.insert_series(timer, schedule, next, message);
                    if inbox.is_some() {
                        return inbox;
                    }
                }
            }
        }
    }

    /// Ready when it is time to call [`due`](Self::due).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(earliest) = self.earliest() else {
            return Poll::Pending;
        };
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(earliest)));
        if alarm.deadline() != earliest {
            alarm.as_mut().reset(earliest);
        }
        alarm.as_mut().poll(cx)
    }

    fn insert_series(
        &mut self,
        timer: Timer,
        schedule: Schedule,
        due: Due,
        message: Box<dyn FnMut() -> A::Inbox + Send>,
    ) {
        let at = due.at;
        let entry = Entry::Every {
            schedule,
            due,
            message,
        };
        self.insert(timer, at, entry);
    }

    fn insert(&mut self, timer: Timer, at: Instant, entry: Entry<A>) {
        self.entries.insert(timer, entry);
        self.queue.push(Reverse((at, timer.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Handler;
    use crate::prelude::*;

    #[derive(ActorMessage)]
    #[message(local)]
    struct Late;

    #[derive(Actor)]
    struct Sleepy;

    #[handlers]
    impl Sleepy {
        #[handler]
        fn late(&mut self, _: Late) {}
    }

    #[test]
    fn cancelled_timers_do_not_accumulate() {
        let now = Instant::now();
        let mut timers = Timers::<Sleepy>::new(0);
        for id in 0..10_000 {
            let message = Sleepy::wrap(Late, Reply::for_tell());
            let timer = timers.after(now, message);
            if id >= 10 {
                assert!(timers.cancel(timer));
            }
            assert!(timers.queue.len() <= 2 * timers.entries.len() + 9);
        }
        let due = std::iter::from_fn(|| timers.due(now, &SystemLink::default()));
        assert_eq!(due.count(), 10);
        assert!(timers.queue.is_empty() && timers.entries.is_empty());
    }

    #[test]
    fn fired_and_cancelled_timers_leave_no_memory() {
        let now = Instant::now();
        for cancel in [false, true] {
            let mut timers = Timers::<Sleepy>::new(0);
            let late = || Sleepy::wrap(Late, Reply::for_tell());
            let all: Vec<_> = (0..10_000).map(|_| timers.after(now, late())).collect();
            if cancel {
                assert!(all.into_iter().all(|timer| timers.cancel(timer)));
            } else {
                assert_eq!(
                    std::iter::from_fn(|| timers.due(now, &SystemLink::default())).count(),
                    10_000
                );
            }
            let most = 8 * KEPT_TIMERS;
            let capacities = (timers.entries.capacity(), timers.queue.capacity());
            assert!(
                capacities.0 <= most && capacities.1 <= most,
                "{capacities:?}"
            );
        }
    }
}
