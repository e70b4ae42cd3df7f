//! Repetitions of a request that was certainly not executed. No I/O.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::error::AskError;
use crate::time::backoff::Backoff;

/// Pauses between repetitions, unless the error advises a longer one.
const PAUSES: Backoff =
    Backoff::starting_at(Duration::from_millis(50)).up_to(Duration::from_secs(1));

/// The repetitions of a call.
#[derive(Default)]
pub(super) struct Retry {
    /// The encoded message, once the request was sent.
    pub(super) contents: Option<Vec<u8>>,
    /// The number of repetitions so far.
    count: u32,
    /// Present until the next repetition.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Retry {
    /// Begins the pause before the next repetition; false if the error does not allow one, or there is no
    /// time left for it.
    pub(super) fn begin(&mut self, error: &AskError, deadline: Option<Instant>) -> bool {
        if !error.is_retryable() || matches!(error, AskError::Timeout { .. }) {
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
        self.pause = Some(Box::pin(sleep(pause)));
        true
    }

    /// Waits for the end of the pause, if there is one.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Delivered;

    #[tokio::test(start_paused = true)]
    async fn only_certain_and_passing_errors_are_repeated_while_there_is_time() {
        let now = Instant::now();
        let begins = |error: &AskError, left: u64| {
            Retry::default().begin(error, Some(now + Duration::from_millis(left)))
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
}
