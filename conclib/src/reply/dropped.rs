//! Replies that a handler drops without an answer, until it is known how the handler ended.
//!
//! A handler that owns a [`Reply`](crate::Reply) and returns an error drops the reply before its
//! failure is known, and so does one that panics. The asker is to hear `Failed` with the cause, and
//! `NoReply` only from a handler that goes on. So within an actor's code such a drop only leaves a
//! note here, and the end of that poll turns it into the error.

use std::cell::{Cell, RefCell};

use crate::actor::cell::{ActorId, AnyActor};
use crate::actor::stats::Turn;
use crate::deadlock::current::Current;
use crate::error::{AskError, Failure, FailureCause};

thread_local! {
    /// True if there is a note; for the look at the end of each poll.
    static ANY: Cell<bool> = const { Cell::new(false) };
    static NOTES: RefCell<Vec<Note>> = const { RefCell::new(Vec::new()) };
}

/// Ends an ask with an error.
pub(crate) type Refuse = Box<dyn FnOnce(AskError) + Send>;

struct Note {
    actor: ActorId,
    /// The message in hand when the reply was dropped.
    turn: Turn,
    refuse: Refuse,
}

/// True if a reply that is dropped now is to be [noted](note): a handler runs here.
pub(crate) fn are_noted() -> bool {
    Current::id().is_some()
}

/// Ends an ask whose reply the handler that runs here has dropped, once this poll is over.
pub(crate) fn note(refuse: Refuse) {
    let Some(actor) = Current::actor() else {
        return refuse(AskError::NoReply); // not reached while a handler runs
    };
    let note = Note {
        actor: actor.id(),
        turn: actor.turn(),
        refuse,
    };
    ANY.set(true);
    NOTES.with_borrow_mut(|notes| notes.push(note));
}

/// The end of a poll of that actor's code, and the failure that it ended with: the replies that were
/// dropped with the message in hand then hear of that.
#[inline]
pub(crate) fn settle(actor: &dyn AnyActor, failure: Option<&Failure>) {
    if ANY.get() {
        settle_notes(actor, failure);
    }
}

#[cold]
fn settle_notes(actor: &dyn AnyActor, failure: Option<&Failure>) {
    let (id, turn) = (actor.id(), actor.turn());
    // An actor whose code runs within that of another settles its own only.
    let own = NOTES.with_borrow_mut(|notes| {
        let own: Vec<_> = notes.extract_if(.., |note| note.actor == id).collect();
        ANY.set(!notes.is_empty());
        own
    });
    for note in own {
        (note.refuse)(match failure {
            Some(failure) if note.turn == turn => failed(actor, failure),
            _ => AskError::NoReply,
        });
    }
}

/// Ends an ask by the failure of the handler that runs here.
pub(crate) fn failed_here(failure: &Failure) -> AskError {
    match Current::actor() {
        Some(actor) => failed(&*actor, failure),
        None => AskError::Failed { cause: None },
    }
}

fn failed(actor: &dyn AnyActor, failure: &Failure) -> AskError {
    let cause = FailureCause::new(actor.urn().clone(), &failure.to_string());
    AskError::Failed { cause: Some(cause) }
}
