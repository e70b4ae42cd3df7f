//! Replies that a handler drops unanswered, kept until the result of the handler is known.
//!
//! A handler that owns a [`Reply`](crate::Reply) and returns an error drops the reply before its
//! failure is known, and so does a handler that panics. The asker must get `Failed` with the cause,
//! and `NoReply` only from a handler that continues. So within an actor's code such a drop is
//! deferred to the end of the current poll, which decides the error.

use std::cell::{Cell, RefCell};

use crate::deadlock::current::Current;
use crate::deadlock::{ActorId, Execution, Participant};
use crate::error::{AskError, Failure, FailureCause};

thread_local! {
    /// True if any drop is deferred: checked at the end of each poll.
    static ANY: Cell<bool> = const { Cell::new(false) };
    static DEFERRED: RefCell<Vec<DroppedReply>> = const { RefCell::new(Vec::new()) };
    /// The error of asks whose messages are being dropped unhandled, while it is known.
    static REFUSAL: RefCell<Option<AskError>> = const { RefCell::new(None) };
}

/// Ends an ask with an error.
pub(crate) type Refuse = Box<dyn FnOnce(AskError) + Send>;

/// A deferred drop.
struct DroppedReply {
    actor: ActorId,
    /// The handler that ran when the reply was dropped.
    execution: Execution,
    refuse: Refuse,
}

/// True if a reply that is dropped now is to be [deferred](defer): a handler runs here.
pub(super) fn are_deferred() -> bool {
    Current::id().is_some()
}

/// Runs `dropping`, which drops messages that no handler has received: their asks end with `error`.
pub(crate) fn refuse_with(error: AskError, dropping: impl FnOnce()) {
    /// Restores the refusal before, also if a drop panics.
    struct Restore(Option<AskError>);

    impl Drop for Restore {
        fn drop(&mut self) {
            replace_refusal(self.0.take());
        }
    }

    let _restore = Restore(replace_refusal(Some(error)));
    dropping();
}

/// Returns the refusal before; does nothing while the thread ends.
fn replace_refusal(refusal: Option<AskError>) -> Option<AskError> {
    let replaced = REFUSAL.try_with(|before| before.replace(refusal));
    replaced.ok().flatten()
}

/// The error of an ask whose message is dropped before a handler has received it.
pub(super) fn refusal() -> AskError {
    let refusal = REFUSAL.try_with(|refusal| refusal.borrow().clone());
    refusal.ok().flatten().unwrap_or(AskError::ActorStopped) // also while the thread ends
}

/// Defers the drop of a reply by the current handler: ends the ask at the end of this poll.
pub(super) fn defer(refuse: Refuse) {
    let Some(actor) = Current::actor() else {
        return refuse(AskError::NoReply); // only while the thread ends
    };
    let dropped = DroppedReply {
        actor: actor.id(),
        execution: actor.execution(),
        refuse,
    };
    ANY.set(true);
    DEFERRED.with_borrow_mut(|deferred| deferred.push(dropped));
}

/// Ends the asks of the replies that were dropped in this poll of the actor's code: with the
/// failure of this poll, if the reply was dropped in the same execution of a handler.
#[inline]
pub(crate) fn resolve(actor: &dyn Participant, failure: Option<&Failure>) {
    if ANY.get() {
        resolve_deferred(actor, failure);
    }
}

#[cold]
fn resolve_deferred(actor: &dyn Participant, failure: Option<&Failure>) {
    let (id, execution) = (actor.id(), actor.execution());
    // The code of one actor may run within the code of another: each resolves its own replies.
    let own = DEFERRED.with_borrow_mut(|deferred| {
        let own: Vec<_> = deferred.extract_if(.., |one| one.actor == id).collect();
        ANY.set(!deferred.is_empty());
        own
    });
    for dropped in own {
        (dropped.refuse)(match failure {
            Some(failure) if dropped.execution == execution => failed(actor, failure),
            _ => AskError::NoReply,
        });
    }
}

/// The error of an ask after a failure of its handler, which is the current one.
pub(crate) fn failed_here(failure: &Failure) -> AskError {
    match Current::actor() {
        Some(actor) => failed(&*actor, failure),
        None => AskError::Failed { cause: None },
    }
}

fn failed(actor: &dyn Participant, failure: &Failure) -> AskError {
    let cause = FailureCause::new(actor.urn().clone(), &failure.to_string());
    AskError::Failed { cause: Some(cause) }
}
