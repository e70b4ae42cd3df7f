//! Which actor's code runs on this thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::cell::{ActorId, AnyActor};

thread_local! {
    /// For the comparison on the way of every message.
    static ID: Cell<Option<ActorId>> = const { Cell::new(None) };
    /// For the few who need more.
    static ACTOR: RefCell<Option<Arc<dyn AnyActor>>> = const { RefCell::new(None) };
}

/// Marks which actor's code runs on this thread, for as long as it lives.
pub(crate) struct Current<'a> {
    before: Option<ActorId>,
    /// Lends the actor to the thread meanwhile, and holds the one before.
    lent: &'a mut Option<Arc<dyn AnyActor>>,
}

impl<'a> Current<'a> {
    #[inline]
    pub(crate) fn enter(id: ActorId, lent: &'a mut Option<Arc<dyn AnyActor>>) -> Self {
        swap(lent);
        Self {
            before: ID.replace(Some(id)),
            lent,
        }
    }

    /// True within a handler or hook of that actor.
    #[inline]
    pub(crate) fn is(id: ActorId) -> bool {
        ID.get() == Some(id)
    }

    /// Which actor's handler or hook this is, if it is one's.
    #[inline]
    pub(crate) fn id() -> Option<ActorId> {
        ID.get()
    }

    /// The actor whose handler or hook this is.
    pub(crate) fn actor() -> Option<Arc<dyn AnyActor>> {
        // Not to be had while a thread ends: nobody waits there.
        ACTOR.try_with(|actor| actor.borrow().clone()).ok()?
    }
}

impl Drop for Current<'_> {
    #[inline]
    fn drop(&mut self) {
        ID.set(self.before);
        swap(self.lent);
    }
}

#[inline]
fn swap(lent: &mut Option<Arc<dyn AnyActor>>) {
    // While a thread ends there is no place for it.
    let _ = ACTOR.try_with(|actor| std::mem::swap(&mut *actor.borrow_mut(), lent));
}
