//! A flag that tells blocking code that its result is no longer wanted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::actor::any::AnyActor;
use crate::deadlock::PendingReply;

/// Tells code that blocks or computes for long that its result is no longer wanted: given to the
/// closure of [`Context::spawn_blocking`](crate::Context::spawn_blocking), and made by
/// [`Context::cancel_flag`](crate::Context::cancel_flag).
///
/// It is set when
///
/// - the asker of the message goes before it has a reply: its future is dropped, also in another
///   process, or its deadline passes. (A tell has no asker.)
/// - the actor is killed, or its incarnation ends;
/// - the future of the closure is dropped: by a `select!`, by
///   [`Task::abort`](crate::actor::Task::abort), with its handler.
///
/// Once set it stays set. A reply that was sent does not set it: work may go on after the reply.
///
/// Nothing is interrupted: code that does not look at the flag runs to its end, and its result is
/// dropped. A look takes some ten nanoseconds.
///
/// ```
/// use conclib::actor::CancelFlag;
///
/// /// The first number from `start` on that divides `n`, unless it is cancelled.
/// fn factor(n: u64, start: u64, cancel: &CancelFlag) -> Option<u64> {
///     for candidate in start.. {
///         if candidate % 4096 == 0 && cancel.is_cancelled() {
///             return None;
///         }
///         if n % candidate == 0 {
///             return Some(candidate);
///         }
///     }
///     None
/// }
/// ```
#[derive(Clone)]
pub struct CancelFlag(Arc<CancelState>);

struct CancelState {
    /// Set by [`CancelFlag::set`], and once another reason was seen.
    cancelled: AtomicBool,
    /// The actor's epoch of flags when this one was made: it is set in another.
    epoch: u32,
    actor: Arc<dyn AnyActor>,
    /// The ask whose message was handled when the flag was made; `None` for a tell.
    pending: Option<Arc<dyn PendingReply>>,
}

impl CancelFlag {
    pub(super) fn new(actor: Arc<dyn AnyActor>, pending: Option<Arc<dyn PendingReply>>) -> Self {
        Self(Arc::new(CancelState {
            cancelled: AtomicBool::new(false),
            epoch: actor.cancel_epoch(),
            actor,
            pending,
        }))
    }

    /// True once the result is no longer wanted. Does not wait.
    pub fn is_cancelled(&self) -> bool {
        let state = &*self.0;
        if state.cancelled.load(Ordering::Relaxed) {
            return true;
        }
        // In this order: an interruption is forgotten when the next incarnation begins, in another epoch.
        let is_cancelled = state.actor.is_interrupted()
            || state.actor.cancel_epoch() != state.epoch
            || state.pending.as_ref().is_some_and(|ask| ask.is_abandoned());
        if is_cancelled {
            self.set();
        }
        is_cancelled
    }

    pub(super) fn set(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for CancelFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelFlag")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
