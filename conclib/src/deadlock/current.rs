//! Which actor's code runs on this thread.
//!
//! Code counts as an actor's only in the actor's own task: also what that polls itself, as
//! `FuturesUnordered` does, or blocks on, as `Handle::block_on` does. A runtime that a handler
//! drives within `block_in_place` polls other tasks on the same thread. They have ids of their own,
//! and are no part of the handler, like any task that it spawns.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::task;
use tokio::time::Instant;

use crate::actor::cell::{ActorId, AnyActor};

thread_local! {
    /// For the comparison on the way of every message.
    static ID: Cell<Option<ActorId>> = const { Cell::new(None) };
    /// In which task. Looked at only where the actor's code may run: elsewhere it costs nothing.
    static TASK: Cell<Option<task::Id>> = const { Cell::new(None) };
    /// For the few who need more.
    static ACTOR: RefCell<Option<Arc<dyn AnyActor>>> = const { RefCell::new(None) };
    /// Until when the asker of the message in hand waits.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What an actor lends to the thread that runs its code, and has back between two polls.
pub(crate) struct Lent {
    actor: Option<Arc<dyn AnyActor>>,
    /// Of the message in hand.
    deadline: Option<Instant>,
}

impl Lent {
    /// Of an actor without a message in hand.
    pub(crate) fn by(actor: Arc<dyn AnyActor>) -> Self {
        Self {
            actor: Some(actor),
            deadline: None,
        }
    }
}

/// Marks which actor's code runs on this thread, for as long as it lives.
pub(crate) struct Current<'a> {
    before: Option<ActorId>,
    task_before: Option<task::Id>,
    /// Lent to the thread meanwhile; holds what was lent before.
    lent: &'a mut Lent,
}

impl<'a> Current<'a> {
    #[inline]
    pub(crate) fn enter(id: ActorId, lent: &'a mut Lent) -> Self {
        swap(lent);
        Self {
            before: ID.replace(Some(id)),
            task_before: TASK.replace(task::try_id()),
            lent,
        }
    }

    /// True within a handler or hook of that actor.
    #[inline]
    pub(crate) fn is(id: ActorId) -> bool {
        ID.get() == Some(id) && is_own_task()
    }

    /// Which actor's handler or hook this is, if it is one's.
    #[inline]
    pub(crate) fn id() -> Option<ActorId> {
        ID.get().filter(|_| is_own_task())
    }

    /// Until when the asker of the message in hand waits: what the handler asks in turn may not
    /// take longer.
    #[inline]
    pub(crate) fn deadline() -> Option<Instant> {
        DEADLINE.get().filter(|_| is_own_task())
    }

    /// Another message is in hand, or none.
    #[inline]
    pub(crate) fn set_deadline(deadline: Option<Instant>) {
        DEADLINE.set(deadline);
    }

    /// The actor whose handler or hook this is.
    pub(crate) fn actor() -> Option<Arc<dyn AnyActor>> {
        Self::id()?;
        // Not to be had while a thread ends: nobody waits there.
        ACTOR.try_with(|actor| actor.borrow().clone()).ok()?
    }
}

impl Drop for Current<'_> {
    #[inline]
    fn drop(&mut self) {
        ID.set(self.before);
        TASK.set(self.task_before);
        swap(self.lent);
    }
}

#[inline]
fn swap(lent: &mut Lent) {
    lent.deadline = DEADLINE.replace(lent.deadline);
    // While a thread ends there is no place for it.
    let _ = ACTOR.try_with(|actor| std::mem::swap(&mut *actor.borrow_mut(), &mut lent.actor));
}

/// True unless another task runs within the actor's code.
#[inline]
fn is_own_task() -> bool {
    task::try_id() == TASK.get()
}
