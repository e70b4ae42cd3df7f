//! The current actor of a thread: the actor that runs a handler or a hook there.
//!
//! Code counts as an actor's only within the actor's own task. That includes futures that the task
//! polls itself, as `FuturesUnordered` does, or blocks on, as `Handle::block_on` does. A runtime that a
//! handler drives within `block_in_place` polls other tasks on the same thread. They have task ids of
//! their own and are no part of the handler, like any task that it spawns.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::task;
use tokio::time::Instant;

use super::{ActorId, Participant};

thread_local! {
    /// The current actor's identity, compared for every message that is sent.
    static ID: Cell<Option<ActorId>> = const { Cell::new(None) };
    /// The actor's task. Read only if an actor's identity is set: elsewhere it costs nothing.
    static TASK: Cell<Option<task::Id>> = const { Cell::new(None) };
    /// The actor itself, for the rare callers that need more than its identity.
    static ACTOR: RefCell<Option<Arc<dyn Participant>>> = const { RefCell::new(None) };
    /// The deadline of the message being handled.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The state that an actor swaps into the thread for each poll of its code.
pub(crate) struct TaskContext {
    actor: Option<Arc<dyn Participant>>,
    /// The deadline of the message being handled.
    deadline: Option<Instant>,
}

impl TaskContext {
    /// The context of an actor that is not handling a message.
    pub(crate) fn of(actor: Arc<dyn Participant>) -> Self {
        Self {
            actor: Some(actor),
            deadline: None,
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
        DEADLINE.get().filter(|_| is_own_task())
    }

    /// Sets the deadline of the message that is handled next; `None` after it.
    #[inline]
    pub(crate) fn set_deadline(deadline: Option<Instant>) {
        DEADLINE.set(deadline);
    }

    /// The current actor; `None` outside of actors.
    pub(crate) fn actor() -> Option<Arc<dyn Participant>> {
        Self::id()?;
        // The thread-local is gone while a thread ends; no code waits there.
        ACTOR.try_with(|actor| actor.borrow().clone()).ok()?
    }
}

impl Drop for Current<'_> {
    #[inline]
    fn drop(&mut self) {
        ID.set(self.before);
        TASK.set(self.task_before);
        swap(self.context);
    }
}

#[inline]
fn swap(context: &mut TaskContext) {
    context.deadline = DEADLINE.replace(context.deadline);
    // The thread-local is gone while a thread ends.
    let _ = ACTOR.try_with(|actor| std::mem::swap(&mut *actor.borrow_mut(), &mut context.actor));
}

/// True unless another task runs within the actor's code.
#[inline]
fn is_own_task() -> bool {
    task::try_id() == TASK.get()
}
