//! Support for tests under loom: bounds of the search, and threads that wait.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use loom::model::Builder;
use loom::sync::{MutexGuard, Notify};

/// A lock that, like `parking_lot`'s, knows nothing of panics.
#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// The number of preemptions within one order, unless `LOOM_MAX_PREEMPTIONS` says otherwise. Each
/// mistake that was put in to try the tests shows with this many; one more makes ten times the
/// orders.
const PREEMPTIONS: usize = 2;

/// Steps that one order may have: far above what a test needs, so that only a livelock has more.
const STEPS: usize = 10_000;

/// Runs a test's threads in every order. A thread that is never woken fails the test.
pub(crate) fn explore(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.max_branches = STEPS;
    builder.check(test);
}

/// The waker of a thread, which sleeps without a time limit.
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls a future on this thread, and sleeps between two polls until the waker is called. (Once, in
/// some of the orders, it is polled without having been woken, as any future may be.)
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let sleeper = Arc::new(Sleeper(Notify::new()));
    let waker = Waker::from(sleeper.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        sleeper.0.wait();
    }
}
