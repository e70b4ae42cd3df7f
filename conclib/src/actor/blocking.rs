//! Waiting on a thread that has no tasks to run.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Polls until something is ready, and lets the thread sleep in between; `None` if `end` came
/// first. No runtime is needed, and none is touched.
///
/// # Panics
///
/// Where tokio's own blocking calls do: on a thread that runs asynchronous tasks.
#[track_caller]
pub(super) fn block_on<T>(
    end: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    check_thread();
    let waker = Waker::from(Arc::new(Sleeper(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = poll(&mut cx) {
            return Some(output);
        }
        match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}

/// Panics on a thread that runs asynchronous tasks: they would all stand still. Tokio alone knows
/// which threads do, and says so where a call could block, even one that finds its answer ready.
#[track_caller]
fn check_thread() {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(());
    let _ = receiver.blocking_recv();
}

/// A thread that sleeps until it is woken.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
