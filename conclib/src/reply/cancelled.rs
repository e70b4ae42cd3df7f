//! A future that completes when an asker no longer waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::deadlock::PendingReply;
use crate::sync::wakers::WakerKey;
use crate::time::deadline::Deadline;

/// Completes when an asker no longer waits for its reply; made by
/// [`Context::cancelled`](crate::Context::cancelled) and
/// [`Reply::cancelled`](crate::Reply::cancelled).
///
/// It borrows nothing, and may be moved into a task. Polled after completion, it completes again.
/// For a tell it never completes.
///
/// # Cancel safety
///
/// It may be dropped at any time, and made anew.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Cancelled {
    /// The ask; `None` for a tell.
    pending: Option<Arc<dyn PendingReply>>,
    /// The key of this task's waker, once the ask has it.
    key: Option<WakerKey>,
    /// The asker's deadline. It may pass before the asker's task has run.
    deadline: Deadline,
}

impl Cancelled {
    pub(crate) fn new(pending: Option<Arc<dyn PendingReply>>) -> Self {
        let deadline = pending.as_ref().and_then(|pending| pending.deadline());
        Self {
            pending,
            key: None,
            deadline: Deadline::until(deadline),
        }
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(pending) = &this.pending else {
            return Poll::Pending; // a tell
        };
        if pending.clone().poll_ended(&mut this.key, cx).is_ready() {
            return Poll::Ready(());
        }
        ready!(this.deadline.poll(cx));
        pending.expire();
        Poll::Ready(())
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let (Some(pending), Some(key)) = (&self.pending, self.key) {
            pending.remove_waker(key);
        }
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelled")
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use super::*;
    use crate::Reply;

    struct Idle;

    impl Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn dropped_future_removes_its_waker() {
        let (reply, _answer) = Reply::<u32>::channel();
        let idle = Arc::new(Idle);
        let waker = Waker::from(idle.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..10 {
            let mut cancelled = reply.cancelled();
            for _ in 0..3 {
                assert!(Pin::new(&mut cancelled).poll(&mut cx).is_pending());
            }
            assert_eq!(Arc::strong_count(&idle), 3);
        }
        assert_eq!(Arc::strong_count(&idle), 2);
    }
}
