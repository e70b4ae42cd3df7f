//! Deadlines and timeouts whose timer is armed only when they are polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// An instant, and a timer that is armed by the first poll.
#[derive(Default)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// A deadline at this instant, or none.
    pub(crate) fn until(at: Option<Instant>) -> Self {
        Self { at, timer: None }
    }

    /// Moves the deadline to `latest` if it is later.
    pub(crate) fn cut(&mut self, latest: Option<Instant>) {
        if let Some(latest) = latest
            && self.at.is_none_or(|at| latest < at)
        {
            *self = Self::until(Some(latest));
        }
    }

    /// Moves the deadline to `timeout` from now if it is later.
    pub(crate) fn shorten(&mut self, timeout: Duration) {
        self.cut(Instant::now().checked_add(timeout));
    }

    /// Sets the deadline to `timeout` from now. No timeout, or one past the end of the clock, means no
    /// deadline.
    pub(crate) fn start(&mut self, timeout: Option<Duration>) {
        self.at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    /// The instant, if there is a deadline.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Ready when the deadline has passed; never, if there is none.
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

/// The longest time to wait. Smaller than a [`Deadline`], for futures that mostly do not wait: until
/// they do, no clock is read.
#[derive(Default)]
pub(crate) enum Timeout {
    #[default]
    Never,
    /// As long as this, from the first wait.
    After(Duration),
    /// The wait has begun and ends at this instant; no timer is armed yet.
    At(Instant),
    /// The wait has begun, and its timer is armed.
    Armed(Pin<Box<Sleep>>),
}

impl Timeout {
    /// Begins the wait, which lasts until `latest` at most; returns its end, if it has one.
    #[inline]
    pub(crate) fn begin(&mut self, latest: Option<Instant>) -> Option<Instant> {
        if matches!(self, Self::Never) && latest.is_none() {
            return None; // as nearly always
        }
        self.count_from_now(latest)
    }

    fn count_from_now(&mut self, latest: Option<Instant>) -> Option<Instant> {
        let own = match self {
            Self::Never => None,
            // An instant past the end of the clock never comes.
            Self::After(timeout) => Instant::now().checked_add(*timeout),
            Self::At(end) => Some(*end),
            Self::Armed(timer) => return Some(timer.deadline()),
        };
        let end = match (own, latest) {
            (Some(own), Some(latest)) => Some(own.min(latest)),
            (own, latest) => own.or(latest),
        };
        *self = end.map_or(Self::Never, Self::At);
        end
    }

    /// Sets the timeout, from the first wait. If that has begun, it counts from now, and only shortens
    /// the wait.
    pub(crate) fn limit(&mut self, timeout: Duration) {
        let end = match self {
            Self::Never | Self::After(_) => None,
            Self::At(end) => Some(*end),
            Self::Armed(timer) => Some(timer.deadline()),
        };
        let new = match (end, Instant::now().checked_add(timeout)) {
            (None, _) => Self::After(timeout),
            (Some(end), Some(new)) if new < end => Self::At(new),
            (Some(_), _) => return,
        };
        *self = new;
    }

    /// Ready when the time has run out; the first call begins the wait.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Never => Poll::Pending,
            Self::After(_) | Self::At(_) | Self::Armed(_) => self.poll_timer(cx),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.begin(None);
        if let Self::At(end) = *self {
            *self = Self::Armed(Box::pin(sleep_until(end)));
        }
        match self {
            Self::Armed(timer) => timer.as_mut().poll(cx),
            Self::Never | Self::After(_) | Self::At(_) => Poll::Pending,
        }
    }

    /// The end of a wait that begins now, by the clock of `std`, for callers without a runtime.
    pub(crate) fn end(&self) -> Option<std::time::Instant> {
        match self {
            Self::Never => None,
            Self::After(timeout) => std::time::Instant::now().checked_add(*timeout),
            Self::At(end) => Some((*end).into_std()),
            Self::Armed(timer) => Some(timer.deadline().into_std()),
        }
    }
}
