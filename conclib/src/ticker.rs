//! Regular calls of a closure, without an actor.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;

use crate::actor::host::HostLink;
use crate::error::Failure;
use crate::error::panics::drop_quietly;
use crate::system::ActorSystem;
use crate::time::schedule::{First, Missed, Schedule, TickDecision};

/// Calls a closure regularly until it is stopped or dropped.
///
/// One call runs at a time, and ticks do not drift. A call that panics is logged, and the ticker goes
/// on. For regular messages to an actor, [`PeriodicActor`](crate::schedule::PeriodicActor) is simpler.
///
/// ```
/// use conclib::schedule::{First, Ticker};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use std::{sync::Arc, time::Duration};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let calls = Arc::new(AtomicU32::new(0));
/// let counter = calls.clone();
/// let ticker = Ticker::every(Duration::from_millis(500))
///     .name("counter")
///     .first(First::After)
///     .start(move || {
///         let counter = counter.clone();
///         async move { counter.fetch_add(1, Relaxed); }
///     });
///
/// tokio::time::sleep(Duration::from_millis(1600)).await;
/// ticker.shutdown().await;
/// assert_eq!(calls.load(Relaxed), 3);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a ticker stops when it is dropped"]
pub struct Ticker {
    name: String,
    /// Cancelled by a stop, and by a drop: no further call begins.
    stop: CancellationToken,
    /// Cancelled by a drop: the call under way ends at its next await.
    abort: DropGuard,
    task: JoinHandle<()>,
}

impl Ticker {
    /// A ticker to be configured and [started](TickerBuilder::start). It takes an interval or a
    /// whole [`Schedule`].
    ///
    /// ```
    /// use conclib::schedule::{CronError, Schedule, Ticker, TickerBuilder};
    ///
    /// fn nightly(cron: &str) -> Result<TickerBuilder, CronError> {
    ///     Ok(Ticker::every(Schedule::cron(cron)?).name("nightly"))
    /// }
    /// assert!(nightly("0 0 3 * * *").is_ok());
    /// ```
    ///
    /// # Panics
    ///
    /// If the interval is zero, or the schedule is one of
    /// [`while_serving`](Schedule::while_serving): a ticker learns of its system by
    /// [`TickerBuilder::while_serving`].
    pub fn every(schedule: impl Into<Schedule>) -> TickerBuilder {
        let schedule = schedule.into();
        assert!(
            schedule.is_valid(),
            "a ticker's interval must be longer than 0"
        );
        assert!(
            !schedule.is_while_serving(),
            "a ticker belongs to no system: write `Ticker::every(..).while_serving(&system)`"
        );
        TickerBuilder {
            name: "ticker".to_owned(),
            schedule,
            system: None,
        }
    }

    /// The name in logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if no further call will come.
    pub fn is_stopped(&self) -> bool {
        self.task.is_finished()
    }

    /// Begins no further call, and waits for the one under way.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it drops the call under way at its next await.
    pub async fn shutdown(self) {
        let Self {
            stop, abort, task, ..
        } = self;
        stop.cancel();
        // The task catches the panics of its calls: it ends early only with the runtime.
        drop(task.await);
        drop(abort);
    }
}

/// A [`Ticker`] before it is started.
#[derive(Clone)]
#[must_use = "a ticker does nothing until it is started"]
pub struct TickerBuilder {
    name: String,
    schedule: Schedule,
    /// The system that has to serve.
    system: Option<HostLink>,
}

impl TickerBuilder {
    /// Sets the name in logs; `ticker` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the time of the first call: at once by default. A cron expression says its own.
    pub fn first(mut self, first: First) -> Self {
        self.schedule = self.schedule.first(first);
        self
    }

    /// Sets the handling of ticks that pass while a call is running: they are skipped by default.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.schedule = self.schedule.missed(missed);
        self
    }

    /// Delays each tick by a random part of this; there is no delay by default.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.schedule = self.schedule.jitter(jitter);
        self
    }

    /// Calls only while other processes can ask the actors of this system; a call of an interval that is
    /// due before waits until they can: see [`Schedule::while_serving`].
    pub fn while_serving(mut self, system: &ActorSystem) -> Self {
        self.system = Some(system.link().host().clone());
        self
    }

    /// Starts calling.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start<C, F>(self, call: C) -> Ticker
    where
        C: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let abort = CancellationToken::new();
        let stop = abort.child_token();
        let name = self.name.clone();
        let ticking = tick(self, call, stop.clone());
        let aborted = abort.clone();
        let task = tokio::spawn(async move {
            aborted.run_until_cancelled(ticking).await;
        });
        Ticker {
            name,
            stop,
            abort: abort.drop_guard(),
            task,
        }
    }
}

impl fmt::Debug for TickerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TickerBuilder")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

async fn tick<C, F>(ticker: TickerBuilder, mut call: C, stop: CancellationToken)
where
    C: FnMut() -> F + Send,
    F: Future<Output = ()> + Send,
{
    let TickerBuilder {
        name,
        schedule,
        system,
    } = ticker;
    let may_run = || system.as_ref().is_none_or(HostLink::is_serving);
    let mut due = schedule.start(Instant::now());
    while stop
        .run_until_cancelled(sleep_until(due.at))
        .await
        .is_some()
    {
        if stop.is_cancelled() {
            return; // at the moment at which the tick was due
        }
        let now = Instant::now();
        if !may_run() {
            due = schedule.defer(&due, now);
            continue;
        }
        // Decided when a tick runs, as in an actor: ticks that pass during the call run late, once.
        let TickDecision { runs, next } = schedule.decide(&due, now);
        due = next;
        if !runs {
            continue;
        }
        match catch_unwind(AssertUnwindSafe(&mut call)) {
            Ok(running) => run(&name, running).await,
            Err(panic) => report(&name, panic),
        }
    }
}

/// Runs one call, whose panic does not end the ticker.
async fn run(name: &str, call: impl Future<Output = ()>) {
    let mut call = pin!(call);
    std::future::poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))).unwrap_or_else(|panic| {
            report(name, panic);
            Poll::Ready(())
        })
    })
    .await;
}

fn report(name: &str, panic: Box<dyn std::any::Any + Send>) {
    error!(ticker = name, failure = %Failure::from_panic(&*panic), "a call of a ticker failed");
    drop_quietly(panic);
}
