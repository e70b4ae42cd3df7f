//! Signs that the answer to a durable request may have been lost.
//!
//! An actor system answers a durable request after it has acknowledged the message. The answer gets lost
//! if the process ends between the two, which another lease term shows, or if this client cannot
//! receive it, which a lost connection shows. Only then is the request sent again: the message of a slow
//! one is in the stream, where a copy would help nothing.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::bus::client::shared::ClientShared;
use crate::bus::transport::Epoch;
use crate::time::backoff::Backoff;
use crate::time::deadline::Deadline;

/// The pauses between the looks of one request.
const LOOKS: Backoff = Backoff::starting_at(Duration::from_secs(1)).up_to(Duration::from_secs(8));

/// The waits for an answer without any sign that it is lost: a bus may lose it silently.
const SILENCE: Backoff =
    Backoff::starting_at(Duration::from_secs(30)).up_to(Duration::from_secs(300));

/// The interval in which a client looks at the lease while requests wait.
const LEASE_INTERVAL: Duration = Duration::from_secs(1);

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
struct Signs {
    losses: u32,
    term_ends: u32,
}

/// Watches for the loss of the answer to one durable request.
pub(super) struct AnswerWatch {
    shared: Arc<ClientShared>,
    /// The signs when the request was sent, or not stored yet.
    before: Signs,
    next_look: Deadline,
    /// The number of looks so far.
    looks: u32,
    /// The end of the wait without a sign.
    latest: Option<Instant>,
}

impl AnswerWatch {
    /// Begins to watch for the loss of the answer to a request that is sent now, as the repetition of
    /// this number.
    pub(super) fn begin(shared: &Arc<ClientShared>, repetition: u32) -> Self {
        let mut state = shared.lease_watch.state.lock();
        state.waiting += 1;
        let starts = !std::mem::replace(&mut state.is_watched, true);
        drop(state);
        if starts {
            drop(shared.runtime.spawn(watch_lease(shared.clone())));
        }
        let now = Instant::now();
        Self {
            before: shared.signs(),
            shared: shared.clone(),
            next_look: Deadline::until(now.checked_add(LOOKS.delay(0))),
            looks: 0,
            latest: now.checked_add(SILENCE.delay(repetition)),
        }
    }

    /// Ready when the answer to this request may have been lost. Before the message is stored, there is none.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>, id: u64) -> Poll<()> {
        loop {
            ready!(self.next_look.poll(cx));
            let (now, signs) = (Instant::now(), self.shared.signs());
            if !self.shared.pending().is_stored(id) {
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
        self.shared.lease_watch.state.lock().waiting -= 1;
    }
}

impl ClientShared {
    fn signs(&self) -> Signs {
        Signs {
            losses: self.health.losses(),
            term_ends: self.lease_watch.state.lock().ends,
        }
    }
}

/// Looks at the lease from time to time, as long as requests wait.
async fn watch_lease(shared: Arc<ClientShared>) {
    let mut known: Option<Epoch> = None;
    loop {
        // A system that is absent or not reached has its next term later.
        if let Ok(Some(lease)) = shared.read_clock(&*shared.transport).await {
            let before = known.replace(lease.epoch);
            if before.is_some_and(|before| before != lease.epoch) {
                let mut state = shared.lease_watch.state.lock();
                state.ends = state.ends.wrapping_add(1);
            }
        }
        let pause = sleep(LEASE_INTERVAL);
        let is_closed = shared.closed.run_until_cancelled(pause).await.is_none();
        let mut state = shared.lease_watch.state.lock();
        if state.waiting == 0 || is_closed {
            state.is_watched = false;
            return;
        }
    }
}
