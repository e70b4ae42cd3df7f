//! Repetitions of a request: of a plain one that was certainly not executed, and of a durable one also
//! if its answer may have been lost. No I/O.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::bus::client::answer_watch::{AnswerWatch, Signs};
use crate::error::{AskError, Delivered};
use crate::time::backoff::Backoff;

/// Pauses between repetitions, unless the error advises a longer one.
const PAUSES: Backoff =
    Backoff::starting_at(Duration::from_millis(50)).up_to(Duration::from_secs(1));

/// The repetitions of a call.
#[derive(Default)]
pub(super) struct Retry {
    /// The encoded message, from when the request was sent to the end of the call.
    pub(super) contents: Option<Vec<u8>>,
    /// The number of repetitions so far.
    count: u32,
    /// Present until the next repetition.
    pause: Option<Pin<Box<Sleep>>>,
    /// Watches for the loss of the answer to a durable request.
    watch: Option<AnswerWatch>,
    /// The number of durable requests so far whose answers may have been lost.
    lost: u32,
    /// The progress of an earlier request that may have been executed.
    earlier: Option<Delivered>,
}

impl Retry {
    /// Watches for the loss of the answer to a durable request that is sent now; `watch` begins that, for
    /// the repetition of this number.
    pub(super) fn watch_answer(&mut self, watch: impl FnOnce(u32) -> AnswerWatch) {
        self.watch = Some(watch(self.lost));
    }

    /// Ready when the answer to the durable request may have been lost: see [`AnswerWatch::poll_lost`].
    pub(super) fn poll_lost_answer(
        &mut self,
        cx: &mut Context<'_>,
        look: impl Fn() -> (Signs, bool),
    ) -> Poll<()> {
        let Some(watch) = &mut self.watch else {
            return Poll::Pending;
        };
        ready!(watch.poll_lost(cx, look));
        self.lost = self.lost.saturating_add(1);
        Poll::Ready(())
    }

    /// The number of repetitions so far.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Ends the repetitions: the request is sent no more. Returns their number.
    pub(super) fn end(&mut self) -> u32 {
        self.contents = None;
        self.count
    }

    /// True during the pause before a repetition.
    pub(super) fn is_pausing(&self) -> bool {
        self.pause.is_some()
    }

    /// True if an earlier request may have been stored or executed.
    pub(super) fn is_repetition(&self) -> bool {
        self.earlier.is_some()
    }

    /// Begins the pause before the next repetition; false if the error does not allow one, or there is no
    /// time left for it. A durable request may have been executed: that is the same as once.
    pub(super) fn begin(
        &mut self,
        error: &AskError,
        is_durable: bool,
        deadline: Option<Instant>,
    ) -> bool {
        let has_no_answer = matches!(
            error,
            AskError::Timeout { .. } | AskError::Disconnected { .. }
        );
        let may_repeat = if has_no_answer {
            is_durable
        } else {
            error.is_retryable()
        };
        if !may_repeat {
            return false;
        }
        let mut pause = PAUSES.jittered_delay(self.count, fastrand::f64());
        if let AskError::Overloaded { retry_after } = error {
            pause = pause.max(*retry_after);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now() + pause) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        // A stored message stays stored, whether its repetitions are or not.
        if error.delivered() != Delivered::No && self.earlier != Some(Delivered::Stored) {
            self.earlier = Some(error.delivered());
        }
        self.pause = Some(Box::pin(sleep(pause)));
        true
    }

    /// The error of the call: a last request that was not executed, or whose progress is not known, says
    /// nothing about earlier ones.
    pub(super) fn error(&self, last: AskError) -> AskError {
        let is_unanswered = last.is_retryable()
            || matches!(
                last,
                AskError::Timeout { .. } | AskError::Disconnected { .. }
            );
        match self.earlier {
            Some(delivered)
                if is_unanswered
                    && (last.delivered() == Delivered::No || delivered == Delivered::Stored) =>
            {
                AskError::Timeout { delivered }
            }
            _ => last,
        }
    }

    /// Waits for the end of the pause, if there is one: at the deadline at the latest, which may have been
    /// shortened meanwhile.
    pub(super) fn poll_pause(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            if let Some(deadline) = deadline
                && deadline < pause.deadline()
            {
                pause.as_mut().reset(deadline);
            }
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_certain_and_passing_errors_are_repeated_while_there_is_time() {
        let now = Instant::now();
        let begins = |error: &AskError, left: u64| {
            Retry::default().begin(error, false, Some(now + Duration::from_millis(left)))
        };
        let reason = String::new();
        let unknown = Delivered::Unknown;
        assert!(begins(&AskError::NoResponder, 100));
        assert!(begins(&AskError::Unavailable { reason }, 100));
        assert!(!begins(&AskError::NoResponder, 10));
        assert!(!begins(&AskError::Disconnected { delivered: unknown }, 100));
        assert!(!begins(&AskError::ActorStopped, 100));
        let retry_after = Duration::from_millis(300);
        assert!(!begins(&AskError::Overloaded { retry_after }, 200));
        assert!(begins(&AskError::Overloaded { retry_after }, 400));
    }

    #[tokio::test(start_paused = true)]
    async fn durable_requests_are_repeated_without_an_answer_too_and_the_doubt_stays() {
        let deadline = Some(Instant::now() + Duration::from_secs(60));
        let mut retry = Retry::default();
        let timeout = |delivered| AskError::Timeout { delivered };
        let unavailable = AskError::Unavailable {
            reason: String::new(),
        };
        assert!(retry.begin(&unavailable, true, deadline));
        assert_eq!(retry.error(unavailable.clone()), unavailable);
        assert!(retry.begin(&timeout(Delivered::Accepted), true, deadline));
        assert!(!retry.begin(&AskError::ActorStopped, true, deadline));
        let accepted = timeout(Delivered::Accepted);
        assert_eq!(retry.error(unavailable.clone()), accepted);
        assert_eq!(retry.error(timeout(Delivered::No)), accepted);
        assert_eq!(retry.error(AskError::NoReply), AskError::NoReply);
        let stored = timeout(Delivered::Stored);
        assert!(retry.begin(&stored, true, deadline));
        assert!(retry.begin(&timeout(Delivered::Unknown), true, deadline));
        for last in [unavailable, timeout(Delivered::Unknown), stored.clone()] {
            assert_eq!(retry.error(last), stored);
        }
        assert_eq!(retry.error(AskError::NoReply), AskError::NoReply);
    }
}
