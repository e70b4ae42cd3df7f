//! Bounds of a shutdown, on runtimes without timers too.

use std::future::Future;
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::panics;

/// A moment up to which things are waited for.
pub(super) struct Bound {
    at: Instant,
    /// Cancelled at that moment by a thread; only on a runtime without timers.
    rung: Option<CancellationToken>,
}

/// The clock by which a [`Bound`] ends.
#[derive(Clone, Copy)]
pub(super) enum Clock {
    /// The timers of the runtime.
    Timers,
    /// A thread that sleeps.
    Thread,
}

impl Clock {
    /// The clock of this runtime. Without timers, the panic that tells so is printed.
    pub(super) fn of_runtime() -> Self {
        match panics::catch(|| drop(sleep(Duration::ZERO))) {
            Ok(()) => Self::Timers,
            Err(_) => Self::Thread,
        }
    }
}

impl Bound {
    pub(super) fn at(at: Instant, clock: Clock) -> Self {
        let rung = match clock {
            Clock::Timers => None,
            Clock::Thread => Some(ring(at)),
        };
        Self { at, rung }
    }

    /// Waits for a future up to the bound. It is polled once also after that.
    pub(super) async fn wait_for<F: Future>(&self, future: F) -> Option<F::Output> {
        match &self.rung {
            None => timeout_at(self.at, future).await.ok(),
            Some(rung) => tokio::select! {
                biased;
                output = future => Some(output),
                () = rung.cancelled() => None,
            },
        }
    }

    pub(super) fn moment(&self) -> Instant {
        self.at
    }
}

/// Has a thread ring at that moment.
fn ring(at: Instant) -> CancellationToken {
    let rung = CancellationToken::new();
    let cancel = rung.clone().drop_guard();
    let sleeper = move || {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        drop(cancel);
    };
    let name = "conclib-shutdown".to_owned();
    // Without a thread it rings at once: what does not stop by itself is killed.
    drop(thread::Builder::new().name(name).spawn(sleeper));
    rung
}
