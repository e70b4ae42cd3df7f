//! The span of the message being handled: entered with each poll of the actor's code, and left after it,
//! as subscribers keep the current span for each thread.
//!
//! A subscriber is foreign code, which may log and send messages itself: it is never called while the
//! scope is borrowed.

use std::cell::Cell;
use std::sync::Arc;

use tracing::Span;
use tracing::span::EnteredSpan;

use super::{HAS_SPAN, Participant, SCOPE};

thread_local! {
    /// The span of a message whose handler failed or was interrupted in this poll.
    static LAST_SPAN: Cell<Option<Box<Span>>> = const { Cell::new(None) };
}

/// The actor of a task, and the span of the message that it handles.
pub(super) struct Scope {
    pub(super) actor: Option<Arc<dyn Participant>>,
    /// `None` between messages, and if no subscriber is interested. Boxed, since that is the usual case.
    pub(super) span: Option<Box<Span>>,
}

impl Scope {
    /// The scope of a thread that runs no actor.
    pub(super) const EMPTY: Self = Self {
        actor: None,
        span: None,
    };

    pub(super) fn of(actor: Arc<dyn Participant>) -> Self {
        Self {
            actor: Some(actor),
            span: None,
        }
    }
}

/// Enters the span of the message that is handled next, until
/// [`end_message`](super::Current::end_message).
#[cold]
pub(crate) fn begin_span(span: Span) {
    enter(&span);
    put_span(Box::new(span));
}

/// Enters the span again, at the start of a poll.
#[cold]
pub(super) fn resume_span() {
    if let Some(span) = take_span() {
        enter(&span);
        put_span(span);
    }
}

/// Leaves the span at the end of a poll; the message continues.
#[cold]
pub(super) fn suspend_span() {
    if let Some(span) = take_span() {
        exit(&span);
        put_span(span);
    }
}

/// Leaves the span of a message that was handled, and closes it.
#[cold]
pub(super) fn end_span() {
    if let Some(span) = take_span() {
        exit(&span);
    }
}

/// Keeps the span of a message whose handler did not return, until
/// [`enter_last_span`] is called in the same poll.
#[cold]
pub(super) fn keep_last_span(span: Box<Span>) {
    // The thread-local is gone while a thread ends.
    let _ = LAST_SPAN.try_with(|last| last.set(Some(span)));
}

/// Enters the span of the message whose handler did not return, for the log of its failure.
pub(crate) fn enter_last_span() -> Option<EnteredSpan> {
    let last = LAST_SPAN.try_with(Cell::take).ok()??;
    Some(last.entered())
}

/// The span that [`enter_last_span`] is to enter: for the time after it.
pub(crate) fn last_span() -> Option<Box<Span>> {
    let last = LAST_SPAN.try_with(Cell::take).ok()??;
    let copy = last.clone();
    keep_last_span(last);
    Some(copy)
}

fn enter(span: &Span) {
    span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
}

fn exit(span: &Span) {
    span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
}

fn take_span() -> Option<Box<Span>> {
    HAS_SPAN.set(false);
    let span = SCOPE.try_with(|scope| scope.borrow_mut().span.take());
    span.ok().flatten()
}

fn put_span(span: Box<Span>) {
    let kept = SCOPE.try_with(|scope| scope.borrow_mut().span = Some(span));
    HAS_SPAN.set(kept.is_ok());
}
