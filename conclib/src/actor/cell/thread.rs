//! The thread that runs an actor.

use crate::actor::Actor;

/// The thread that runs an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Thread {
    /// One of its runtime.
    #[default]
    Runtime,
    /// One of its own.
    Own,
}

impl Thread {
    /// The thread of actors of this type.
    pub(crate) fn of<A: Actor>() -> Self {
        if A::THREAD { Self::Own } else { Self::Runtime }
    }
}
