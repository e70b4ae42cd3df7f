//! Which actor's code runs on this thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::time::Instant;

use super::cell::{ActorId, AnyActor};

thread_local! {
    /// For the comparison on the way of every message.
    static ID: Cell<Option<ActorId>> = const { Cell::new(None) };
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
    /// Lent to the thread meanwhile; holds what was lent before.
    lent: &'a mut Lent,
}

impl<'a> Current<'a> {
    #[inline]
    pub(crate) fn enter(id: ActorId, lent: &'a mut Lent) -> Self {
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

    /// Until when the asker of the message in hand waits: what the handler asks in turn may not
    /// take longer.
    #[inline]
    pub(crate) fn deadline() -> Option<Instant> {
        DEADLINE.get()
    }

    /// Another message is in hand, or none.
    #[inline]
    pub(crate) fn set_deadline(deadline: Option<Instant>) {
        DEADLINE.set(deadline);
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
fn swap(lent: &mut Lent) {
    lent.deadline = DEADLINE.replace(lent.deadline);
    // While a thread ends there is no place for it.
    let _ = ACTOR.try_with(|actor| std::mem::swap(&mut *actor.borrow_mut(), &mut lent.actor));
}
