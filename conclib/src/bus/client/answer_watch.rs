//! Signs that the answer to a durable request may have been lost.
//!
//! An actor system answers a durable request after it has acknowledged the message. The answer gets lost
//! if the process ends between the two, which another lease term shows, or if this client cannot
//! receive it, which a lost connection shows. Only then is the request sent again: the message of a slow
//! one is in the stream, where a copy would help nothing. No I/O.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::time::backoff::Backoff;
use crate::time::deadline::Deadline;

/// The pauses between the looks of one request.
const LOOKS: Backoff = Backoff::starting_at(Duration::from_secs(1)).up_to(Duration::from_secs(8));

/// The waits for an answer without any sign that it is lost: a bus may lose it silently.
const SILENCE: Backoff =
    Backoff::starting_at(Duration::from_secs(30)).up_to(Duration::from_secs(300));

/// The lease terms that begin while requests of a client wait.
#[derive(Default)]
pub(super) struct LeaseWatch {
    state: Mutex<WatchState>,
}

#[derive(Default)]
struct WatchState {
    /// The number of requests that wait for answers.
    waiting: usize,
    /// A task looks at the lease.
    is_watched: bool,
    /// The number of lease terms that were followed by another one.
    ends: u32,
}

/// The events so far that may have taken an answer with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    /// Lost connections of the client.
    pub(super) losses: u32,
    /// Lease terms that were followed by another one.
    pub(super) term_ends: u32,
}

/// Watches for the loss of the answer to one durable request.
pub(super) struct AnswerWatch {
    lease: Arc<LeaseWatch>,
    /// The signs when the request was sent, or not stored yet.
    before: Signs,
    next_look: Deadline,
    /// The number of looks so far.
    looks: u32,
    /// The end of the wait without a sign.
    latest: Option<Instant>,
}

impl LeaseWatch {
    /// One more request waits; true if a task is to look at the lease from now on.
    fn begin_wait(&self) -> bool {
        let mut state = self.state.lock();
        state.waiting += 1;
        !std::mem::replace(&mut state.is_watched, true)
    }

    /// The number of lease terms that were followed by another one, as far as they were seen.
    pub(super) fn ends(&self) -> u32 {
        self.state.lock().ends
    }

    /// Notes that a lease term was followed by another one.
    pub(super) fn note_end(&self) {
        let mut state = self.state.lock();
        state.ends = state.ends.wrapping_add(1);
    }

    /// True if no request waits: the task ends.
    pub(super) fn ends_watch(&self) -> bool {
        let mut state = self.state.lock();
        let is_idle = state.waiting == 0;
        if is_idle {
            state.is_watched = false;
        }
        is_idle
    }
}

impl AnswerWatch {
    /// Begins to watch for the loss of the answer to a request that is sent now, as the repetition of
    /// this number, with the signs so far. True if a task is to look at the lease from now on.
    pub(super) fn begin(lease: &Arc<LeaseWatch>, before: Signs, repetition: u32) -> (Self, bool) {
        let now = Instant::now();
        let starts = lease.begin_wait();
        let watch = Self {
            lease: lease.clone(),
            before,
            next_look: Deadline::until(now.checked_add(LOOKS.delay(0))),
            looks: 0,
            latest: now.checked_add(SILENCE.delay(repetition)),
        };
        (watch, starts)
    }

    /// Ready when the answer may have been lost. `look` returns the signs so far, and true if the message is
    /// stored: before that, there is no answer.
    pub(super) fn poll_lost(
        &mut self,
        cx: &mut Context<'_>,
        look: impl Fn() -> (Signs, bool),
    ) -> Poll<()> {
        loop {
            ready!(self.next_look.poll(cx));
            let (now, (signs, is_stored)) = (Instant::now(), look());
            if !is_stored {
                self.before = signs;
            } else if signs != self.before || self.latest.is_some_and(|latest| latest <= now) {
                return Poll::Ready(());
            }
            self.looks = self.looks.saturating_add(1);
            let next = now.checked_add(LOOKS.delay(self.looks));
            self.next_look = Deadline::until(next);
        }
    }
}

impl Drop for AnswerWatch {
    fn drop(&mut self) {
        self.lease.state.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn answer_is_lost_after_a_sign_or_a_long_silence() {
        let lease = Arc::<LeaseWatch>::default();
        let losses = AtomicU32::new(0);
        let signs = || Signs {
            losses: losses.load(Ordering::Relaxed),
            term_ends: lease.ends(),
        };
        let start = Instant::now();
        let (mut watch, starts) = AnswerWatch::begin(&lease, signs(), 0);
        assert!(starts);
        let lost = poll_fn(|cx| watch.poll_lost(cx, || (signs(), true)));
        let sign = async {
            sleep(2 * SECOND).await;
            lease.note_end();
        };
        tokio::join!(lost, sign);
        assert_eq!(start.elapsed(), 3 * SECOND);

        // A connection that was lost before the message is stored says nothing about its answer.
        let start = Instant::now();
        let (mut next, starts) = AnswerWatch::begin(&lease, signs(), 1);
        assert!(!starts);
        losses.store(1, Ordering::Relaxed);
        let is_stored = || start.elapsed() > 5 * SECOND;
        poll_fn(|cx| next.poll_lost(cx, || (signs(), is_stored()))).await;
        let silence = start.elapsed();
        assert!(
            (60 * SECOND..=68 * SECOND).contains(&silence),
            "{silence:?}"
        );
        drop(watch);
        assert!(!lease.ends_watch());
        drop(next);
        assert!(lease.ends_watch());
    }
}
