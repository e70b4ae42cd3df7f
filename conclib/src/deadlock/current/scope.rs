//! The trace of the message being handled: its span, and the context of a trace that is left out. The span is
//! entered with each poll of the actor's code, and left after it, as subscribers keep the current span for each
//! thread.
//!
//! A subscriber is foreign code, which may log and send messages itself: it is never called while the
//! scope is borrowed.

use std::cell::Cell;
use std::sync::Arc;

use tracing::Span;
use tracing::span::EnteredSpan;

use super::{HAS_TRACE, Participant, SCOPE};
use crate::message::attributes::Attributes;

thread_local! {
    /// The trace of a message whose handler failed or was interrupted in this poll.
    static LAST_TRACE: Cell<Option<Box<MessageTrace>>> = const { Cell::new(None) };
}

/// The actor of a task, and the trace of the message that it handles.
pub(super) struct Scope {
    pub(super) actor: Option<Arc<dyn Participant>>,
    /// `None` between messages, and if no subscriber is interested. Boxed, since that is the usual case.
    pub(super) trace: Option<Box<MessageTrace>>,
}

/// The trace of a message while it is handled.
#[derive(Clone)]
pub(crate) struct MessageTrace {
    /// Disabled if the message is left out of the traces, and no log wants a span either.
    pub(crate) span: Span,
    /// Present if the message is left out of the traces.
    pub(crate) left_out: Option<LeftOut>,
}

/// The mark of a message that is left out of the traces, with the context that its sender had, if any.
#[derive(Debug, Clone)]
pub(crate) struct LeftOut(Option<Arc<Attributes>>);

impl LeftOut {
    pub(crate) fn with_context(context: &Attributes) -> Self {
        Self((!context.is_empty()).then(|| Arc::new(context.clone())))
    }

    /// The context that messages of the handler are sent with.
    #[cfg(feature = "bus")]
    pub(crate) fn context(&self) -> &Attributes {
        self.0.as_deref().unwrap_or(Attributes::none())
    }
}

impl MessageTrace {
    /// That of a message for which no subscriber wants a span.
    pub(crate) const NONE: Self = Self {
        span: Span::none(),
        left_out: None,
    };
}

impl From<Span> for MessageTrace {
    fn from(span: Span) -> Self {
        Self {
            span,
            left_out: None,
        }
    }
}

impl Scope {
    /// The scope of a thread that runs no actor.
    pub(super) const EMPTY: Self = Self {
        actor: None,
        trace: None,
    };

    pub(super) fn of(actor: Arc<dyn Participant>) -> Self {
        Self {
            actor: Some(actor),
            trace: None,
        }
    }
}

/// Enters the span of the message that is handled next, until
/// [`end_message`](super::Current::end_message).
#[cold]
pub(crate) fn begin_trace(trace: MessageTrace) {
    resume(Box::new(trace));
}

/// Enters the span again, at the start of a poll.
#[cold]
pub(super) fn resume_trace() {
    if let Some(trace) = take_trace() {
        resume(trace);
    }
}

/// Leaves the span at the end of a poll; the message continues.
#[cold]
pub(super) fn suspend_trace() {
    if let Some(trace) = take_trace() {
        exit(&trace.span);
        put_trace(trace);
    }
}

/// Leaves the span of a message that was handled, and closes it.
#[cold]
pub(super) fn end_trace() {
    if let Some(trace) = take_trace() {
        exit(&trace.span);
    }
}

/// Keeps the trace of a message whose handler did not return, until
/// [`enter_last_span`] is called in the same poll.
#[cold]
pub(super) fn keep_last_trace(trace: Box<MessageTrace>) {
    // The thread-local is gone while a thread ends.
    let _ = LAST_TRACE.try_with(|last| last.set(Some(trace)));
}

/// Enters the span of the message whose handler did not return, for the log of its failure.
pub(crate) fn enter_last_span() -> Option<EnteredSpan> {
    let last = LAST_TRACE.try_with(Cell::take).ok()??;
    Some(last.span.entered())
}

/// The trace whose span [`enter_last_span`] is to enter: for the time after it.
pub(crate) fn last_trace() -> Option<Box<MessageTrace>> {
    let last = LAST_TRACE.try_with(Cell::take).ok()??;
    let copy = last.clone();
    keep_last_trace(last);
    Some(copy)
}

fn enter(span: &Span) {
    span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
}

fn exit(span: &Span) {
    span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
}

fn resume(trace: Box<MessageTrace>) {
    if trace.left_out.is_some() {
        // In its place before the span is entered: a sampler asks whether the message is left out.
        let span = trace.span.clone();
        put_trace(trace);
        enter(&span);
    } else {
        enter(&trace.span);
        put_trace(trace);
    }
}

fn take_trace() -> Option<Box<MessageTrace>> {
    HAS_TRACE.set(false);
    let trace = SCOPE.try_with(|scope| scope.borrow_mut().trace.take());
    trace.ok().flatten()
}

fn put_trace(trace: Box<MessageTrace>) {
    let kept = SCOPE.try_with(|scope| scope.borrow_mut().trace = Some(trace));
    HAS_TRACE.set(kept.is_ok());
}
