//! Polling a future from a thread that runs no asynchronous tasks.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Polls until `poll` is ready, and parks the thread in between. Returns `None` if `end` comes
/// first. Needs no runtime, and does not enter one.
///
/// # Panics
///
/// On a thread that runs asynchronous tasks, like tokio's own blocking calls.
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

/// Panics on a thread that runs asynchronous tasks, since blocking it would stall all of them. Only
/// tokio knows these threads; `blocking_recv` panics there, even if its value is ready.
#[track_caller]
fn check_thread() {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(());
    let _ = receiver.blocking_recv();
}

/// Unparks a thread when woken.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
