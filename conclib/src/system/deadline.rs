//! Deadlines of a shutdown, on runtimes without timers too.

use std::future::Future;
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::panics;

/// A deadline up to which a shutdown waits.
pub(super) struct ShutdownDeadline {
    at: Instant,
    /// Cancelled by a thread at the deadline; only on a runtime without timers.
    alarm: Option<CancellationToken>,
}

/// The clock that a [`ShutdownDeadline`] is measured by.
#[derive(Clone, Copy)]
pub(super) enum Clock {
    /// The timers of the runtime.
    Timers,
    /// A thread that sleeps.
    Thread,
}

impl Clock {
    /// The clock of this runtime. Without timers, tokio's panic about that is printed.
    pub(super) fn of_runtime() -> Self {
        match panics::catch(|| drop(sleep(Duration::ZERO))) {
            Ok(()) => Self::Timers,
            Err(_) => Self::Thread,
        }
    }
}

impl ShutdownDeadline {
    pub(super) fn at(at: Instant, clock: Clock) -> Self {
        let alarm = match clock {
            Clock::Timers => None,
            Clock::Thread => Some(start_alarm(at)),
        };
        Self { at, alarm }
    }

    /// Waits for a future up to the deadline. Even after the deadline it is polled once.
    pub(super) async fn wait_for<F: Future>(&self, future: F) -> Option<F::Output> {
        match &self.alarm {
            None => timeout_at(self.at, future).await.ok(),
            Some(alarm) => tokio::select! {
                biased;
                output = future => Some(output),
                () = alarm.cancelled() => None,
            },
        }
    }

    pub(super) fn instant(&self) -> Instant {
        self.at
    }
}

/// Starts a thread that cancels the returned token at `at`.
fn start_alarm(at: Instant) -> CancellationToken {
    let alarm = CancellationToken::new();
    let cancel = alarm.clone().drop_guard();
    let sleeper = move || {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        drop(cancel);
    };
    let name = "conclib-shutdown".to_owned();
    // If the thread cannot be spawned, the alarm goes off at once: actors that have not stopped are
    // killed.
    drop(thread::Builder::new().name(name).spawn(sleeper));
    alarm
}
