//! The current actor of a thread: the actor that runs a handler or a hook there, with the deadline and
//! the trace of the message being handled.
//!
//! Code counts as an actor's only within the actor's own task. That includes futures that the task
//! polls itself, as `FuturesUnordered` does, or blocks on, as `Handle::block_on` does. A runtime that a
//! handler drives within `block_in_place` polls other tasks on the same thread. They have task ids of
//! their own and are no part of the handler, like any task that it spawns.

use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::Arc;

use tokio::task;
use tokio::time::Instant;

use super::{ActorId, Participant};
use crate::time::compact::CompactInstant;

use scope::Scope;
pub(crate) use scope::{LeftOut, MessageTrace, begin_trace, enter_last_span, last_trace};

mod scope;

thread_local! {
    /// The current actor's identity, compared for every message that is sent.
    static ID: Cell<Option<ActorId>> = const { Cell::new(None) };
    /// The actor's task. Read only if an actor's identity is set: elsewhere it costs nothing.
    static TASK: Cell<Option<task::Id>> = const { Cell::new(None) };
    /// The actor itself, for the rare callers that need more than its identity, and the trace.
    static SCOPE: RefCell<Scope> = const { RefCell::new(Scope::EMPTY) };
    /// True if there is a trace. A copy, which costs nothing to read after each message.
    static HAS_TRACE: Cell<bool> = const { Cell::new(false) };
    /// The deadline of the message being handled.
    static DEADLINE: Cell<Option<CompactInstant>> = const { Cell::new(None) };
}

/// The state that an actor swaps into the thread for each poll of its code.
pub(crate) struct TaskContext {
    scope: Scope,
    /// The deadline of the message being handled.
    deadline: Option<CompactInstant>,
}

impl TaskContext {
    /// The context of an actor that is not handling a message.
    pub(crate) fn of(actor: Arc<dyn Participant>) -> Self {
        Self {
            scope: Scope::of(actor),
            deadline: None,
        }
    }

    /// Ends the trace of a message whose handler did not return: it is kept for the log of its failure.
    pub(crate) fn end_trace(&mut self) {
        if let Some(trace) = self.scope.trace.take() {
            scope::keep_last_trace(trace);
        }
    }
}

/// Marks an actor as the current one of this thread, for as long as the guard lives.
pub(crate) struct Current<'a> {
    before: Option<ActorId>,
    task_before: Option<task::Id>,
    /// The actor's context is in the thread meanwhile; the thread's context from before is here.
    context: &'a mut TaskContext,
}

impl<'a> Current<'a> {
    #[inline]
    pub(crate) fn enter(id: ActorId, context: &'a mut TaskContext) -> Self {
        swap(context);
        if HAS_TRACE.get() {
            scope::resume_trace();
        }
        Self {
            before: ID.replace(Some(id)),
            task_before: TASK.replace(task::try_id()),
            context,
        }
    }

    /// True within a handler or hook of that actor.
    #[inline]
    pub(crate) fn is(id: ActorId) -> bool {
        ID.get() == Some(id) && is_own_task()
    }

    /// The identity of the current actor; `None` outside of actors.
    #[inline]
    pub(crate) fn id() -> Option<ActorId> {
        ID.get().filter(|_| is_own_task())
    }

    /// The deadline of the message being handled: asks of its handler may not take longer.
    #[inline]
    pub(crate) fn deadline() -> Option<Instant> {
        let deadline = DEADLINE.get().filter(|_| is_own_task());
        deadline.map(Instant::from)
    }

    /// Sets the deadline of the message that is handled next.
    #[inline]
    pub(crate) fn set_deadline(deadline: Option<Instant>) {
        DEADLINE.set(deadline.map(CompactInstant::from));
    }

    /// Removes the deadline and the trace of the message that was handled. The runner has no copies of
    /// them that it could ask: each byte in an actor's task counts.
    #[inline]
    pub(crate) fn end_message() {
        if DEADLINE.get().is_some() {
            DEADLINE.set(None);
        }
        if HAS_TRACE.get() {
            scope::end_trace();
        }
    }

    /// Present if the message being handled is left out of the traces.
    pub(crate) fn left_out() -> Option<LeftOut> {
        if !HAS_TRACE.get() || !is_own_task() {
            return None;
        }
        let left_out = |scope: &RefCell<Scope>| scope.borrow().trace.as_ref()?.left_out.clone();
        // The thread-local is gone while a thread ends.
        SCOPE.try_with(left_out).ok().flatten()
    }

    /// The current actor; `None` outside of actors.
    pub(crate) fn actor() -> Option<Arc<dyn Participant>> {
        Self::id()?;
        // The thread-local is gone while a thread ends; no code waits there.
        SCOPE.try_with(|scope| scope.borrow().actor.clone()).ok()?
    }
}

impl Drop for Current<'_> {
    #[inline]
    fn drop(&mut self) {
        if HAS_TRACE.get() {
            scope::suspend_trace();
        }
        ID.set(self.before);
        TASK.set(self.task_before);
        swap(self.context);
    }
}

#[inline]
fn swap(context: &mut TaskContext) {
    context.deadline = DEADLINE.replace(context.deadline);
    // The thread-local is gone while a thread ends.
    let _ = SCOPE.try_with(|scope| {
        let scope = &mut *scope.borrow_mut();
        mem::swap(scope, &mut context.scope);
        HAS_TRACE.set(scope.trace.is_some());
    });
}

/// True unless another task runs within the actor's code.
#[inline]
fn is_own_task() -> bool {
    task::try_id() == TASK.get()
}
