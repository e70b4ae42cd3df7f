//! The end of patience.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A moment, and a timer that is armed only once somebody really waits for it.
#[derive(Default)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// That moment, or none.
    pub(crate) fn until(at: Option<Instant>) -> Self {
        Self { at, timer: None }
    }

    /// Comes at that moment if it came later.
    pub(crate) fn cut(&mut self, latest: Option<Instant>) {
        if let Some(latest) = latest {
            self.at = Some(self.at.map_or(latest, |at| at.min(latest)));
        }
    }

    /// Comes so long from now, if it would come later.
    pub(crate) fn shorten(&mut self, timeout: Duration) {
        if let Some(end) = Instant::now().checked_add(timeout)
            && self.at.is_none_or(|at| end < at)
        {
            *self = Self::until(Some(end));
        }
    }

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
            .get_or_insert_with(|| Box::pin(sleep_until(at)))
            .as_mut()
            .poll(cx)
    }
}

/// How long somebody is ready to wait. Smaller than a [`Deadline`], for what mostly does not wait:
/// until it does, no clock is read.
#[derive(Default)]
pub(crate) enum Timeout {
    #[default]
    Endless,
    /// So long, from the first wait.
    For(Duration),
    /// The wait has begun, and nobody has waited for its end yet.
    By(Instant),
    /// The wait has begun.
    Until(Pin<Box<Sleep>>),
}

impl Timeout {
    /// The wait begins now, and lasts until `latest` at most; when it ends, if it does.
    #[inline]
    pub(crate) fn begin(&mut self, latest: Option<Instant>) -> Option<Instant> {
        if matches!(self, Self::Endless) && latest.is_none() {
            return None; // as nearly always
        }
        self.count_from_now(latest)
    }

    fn count_from_now(&mut self, latest: Option<Instant>) -> Option<Instant> {
        let own = match self {
            Self::Endless => None,
            // A moment too late to be counted never comes.
            Self::For(timeout) => Instant::now().checked_add(*timeout),
            Self::By(end) => Some(*end),
            Self::Until(timer) => return Some(timer.deadline()),
        };
        let end = match (own, latest) {
            (Some(own), Some(latest)) => Some(own.min(latest)),
            (own, latest) => own.or(latest),
        };
        *self = end.map_or(Self::Endless, Self::By);
        end
    }

    /// So long, from the first wait; from now if that has begun, and then it can only become less.
    pub(crate) fn limit(&mut self, timeout: Duration) {
        let end = match self {
            Self::Endless | Self::For(_) => None,
            Self::By(end) => Some(*end),
            Self::Until(timer) => Some(timer.deadline()),
        };
        let new = match (end, Instant::now().checked_add(timeout)) {
            (None, _) => Self::For(timeout),
            (Some(end), Some(new)) if new < end => Self::By(new),
            (Some(_), _) => return,
        };
        *self = new;
    }

    /// Ready when it has run out; the first call starts the count.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Endless => Poll::Pending,
            Self::For(_) | Self::By(_) | Self::Until(_) => self.poll_timer(cx),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.begin(None);
        if let Self::By(end) = *self {
            *self = Self::Until(Box::pin(sleep_until(end)));
        }
        match self {
            Self::Until(timer) => timer.as_mut().poll(cx),
            Self::Endless | Self::For(_) | Self::By(_) => Poll::Pending,
        }
    }

    /// When it runs out, if the wait begins now: by the system's clock, for those who wait
    /// without a runtime.
    pub(crate) fn end(&self) -> Option<std::time::Instant> {
        match self {
            Self::Endless => None,
            Self::For(timeout) => std::time::Instant::now().checked_add(*timeout),
            Self::By(end) => Some((*end).into_std()),
            Self::Until(timer) => Some(timer.deadline().into_std()),
        }
    }
}
