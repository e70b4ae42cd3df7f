//! The end of patience.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A moment, and a timer that is armed only once somebody really waits for it.
#[derive(Default)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Counts from now. No timeout, or one too long to be counted, means no deadline.
    pub(crate) fn start(&mut self, timeout: Option<Duration>) {
        self.at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    /// The moment, if there is one.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Ready when the moment has passed; never, if there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        self.timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)))
            .as_mut()
            .poll(cx)
    }
}
