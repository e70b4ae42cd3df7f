//! Where answers go: to nobody, to an asker in this process, or to one across the bus.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::actor::cell::AnyActor;
use crate::error::AskError;
use crate::message::CodecError;
use crate::responder::{Responder, verdict_of_drop};

/// The right and the duty to answer one message.
///
/// A handler that takes a `Reply<R>` returns `()` and answers later, from anywhere: it may keep
/// the reply in its state, move it into a task, or [`forward`](crate::ActorRef::forward) it to
/// another actor. The same handler serves tells, for which answering does nothing.
///
/// Silence is never an answer: a reply that is dropped tells its asker
/// [`Failed`](AskError::Failed) while unwinding from a panic, [`NoReply`](AskError::NoReply)
/// after a handler took it, and [`ActorStopped`](AskError::ActorStopped) otherwise.
///
/// ```
/// use conclib::{AskError, Reply};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (reply, answer) = Reply::channel();
/// reply.send(42);
/// assert_eq!(answer.await, Ok(42));
///
/// let (reply, answer) = Reply::<u32>::channel();
/// drop(reply);
/// assert_eq!(answer.await, Err(AskError::NoReply));
/// # }
/// ```
#[must_use = "an asker waits for the answer"]
pub struct Reply<R> {
    to: To<R>,
}

enum To<R> {
    /// A tell, or a reply that has been used up.
    Nobody,
    /// An ask in this process.
    Local {
        slot: Arc<Slot<R>>,
        /// A handler has taken the reply over.
        taken: bool,
    },
    /// An ask across the bus, and how to write its answer.
    Remote {
        responder: Arc<Responder>,
        encode: fn(&R) -> Result<Vec<u8>, CodecError>,
    },
}

impl<R> Reply<R> {
    /// A reply and the place where its answer arrives: for unit tests of handlers that take a
    /// `Reply`, and for bridging to code that is not an actor.
    pub fn channel() -> (Self, ReplyReceiver<R>) {
        let (reply, receiver) = Self::local();
        (reply.take_over(), receiver)
    }

    /// Answers. Does nothing if nobody waits any more.
    pub fn send(mut self, response: R) {
        match mem::replace(&mut self.to, To::Nobody) {
            To::Nobody => {}
            To::Local { slot, .. } => slot.fill(Ok(response)),
            To::Remote { responder, encode } => responder.respond(encode(&response)),
        }
    }

    /// True while somebody waits for the answer: not for a tell, and not after the asker gave up.
    ///
    /// Across the bus an asker that gave up is noticed at its deadline.
    pub fn is_wanted(&self) -> bool {
        match &self.to {
            To::Nobody => false,
            To::Local { slot, .. } => slot.is_wanted(),
            To::Remote { responder, .. } => responder.is_wanted(),
        }
    }

    /// The reply of a tell.
    pub(crate) const fn nobody() -> Self {
        Self { to: To::Nobody }
    }

    /// The reply of an ask in this process, before a handler has it.
    pub(crate) fn local() -> (Self, ReplyReceiver<R>) {
        Self::with_debtor(None)
    }

    /// The same, of an ask by an actor: it can be seen who owes the answer.
    pub(crate) fn owed_by(actor: &Arc<dyn AnyActor>) -> (Self, ReplyReceiver<R>) {
        Self::with_debtor(Some(Mutex::new(Some(Arc::downgrade(actor)))))
    }

    fn with_debtor(debtor: Option<Debtor>) -> (Self, ReplyReceiver<R>) {
        let slot = Arc::new(Slot {
            state: Mutex::new(SlotState::Empty),
            debtor,
        });
        let receiver = ReplyReceiver { slot: slot.clone() };
        let to = To::Local { slot, taken: false };
        (Self { to }, receiver)
    }

    /// The reply of an ask across the bus.
    pub(crate) fn remote(
        responder: Arc<Responder>,
        encode: fn(&R) -> Result<Vec<u8>, CodecError>,
    ) -> Self {
        Self {
            to: To::Remote { responder, encode },
        }
    }

    /// Marks that a handler has the reply now: from here on, dropping it means `NoReply`.
    #[doc(hidden)]
    pub fn take_over(mut self) -> Self {
        match &mut self.to {
            To::Nobody => {}
            To::Local { slot, taken } => {
                *taken = true;
                slot.set_debtor(None);
            }
            To::Remote { responder, .. } => responder.take_over(),
        }
        self
    }

    /// Marks that the reply is on its way to another handler: until that has it, dropping it means
    /// `ActorStopped`.
    pub(crate) fn hand_on(mut self) -> Self {
        match &mut self.to {
            To::Nobody => {}
            To::Local { taken, .. } => *taken = false,
            To::Remote { responder, .. } => responder.hand_on(),
        }
        self
    }

    /// For those who hand it on while an actor waits for the answer.
    pub(crate) fn question(&self) -> Option<Arc<dyn Unanswered>>
    where
        R: Send + 'static,
    {
        match &self.to {
            To::Local { slot, .. } => Slot::question(slot),
            To::Nobody | To::Remote { .. } => None,
        }
    }

    /// Ends the ask with an error.
    pub(crate) fn refuse(mut self, error: AskError) {
        match mem::replace(&mut self.to, To::Nobody) {
            To::Nobody => {}
            To::Local { slot, .. } => slot.fill(Err(error)),
            To::Remote { responder, .. } => responder.refuse(error),
        }
    }

    /// Lets go of the reply without a word to the asker, who still owns the ask.
    pub(crate) fn forget(mut self) {
        self.to = To::Nobody;
    }
}

impl<R> Drop for Reply<R> {
    fn drop(&mut self) {
        // A remote reply needs nothing: its responder has the same duty, and its own drop.
        if let To::Local { slot, taken } = &self.to {
            slot.fill(Err(verdict_of_drop(*taken)));
        }
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.to {
            To::Nobody => "Reply(nobody)",
            To::Local { .. } => "Reply(local)",
            To::Remote { .. } => "Reply(remote)",
        })
    }
}

/// Where the answer of a [`Reply::channel`] arrives: a future of `Result<R, AskError>`.
///
/// # Cancel safety
///
/// Dropping it gives the answer up; [`Reply::is_wanted`] says so.
#[must_use = "futures do nothing unless they are awaited"]
pub struct ReplyReceiver<R> {
    slot: Arc<Slot<R>>,
}

impl<R> Future for ReplyReceiver<R> {
    type Output = Result<R, AskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.slot.poll(cx)
    }
}

impl<R> Drop for ReplyReceiver<R> {
    fn drop(&mut self) {
        let abandoned = mem::replace(&mut *self.slot.lock(), SlotState::Over);
        drop(abandoned); // outside the lock: it may hold a value with a drop of its own
    }
}

impl<R> fmt::Debug for ReplyReceiver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyReceiver")
    }
}

impl<R: Send + 'static> ReplyReceiver<R> {
    /// For those who look who waits for whom; `None` if the asker is no actor.
    pub(crate) fn question(&self) -> Option<Arc<dyn Unanswered>> {
        Slot::question(&self.slot)
    }
}

/// The one allocation of a local ask.
struct Slot<R> {
    state: Mutex<SlotState<R>>,
    /// Who owes the answer, if the asker is an actor.
    debtor: Option<Debtor>,
}

/// The one who is to answer; `None` once a handler has kept the reply for later, since nobody knows
/// where it is then. Weak: a question in a mailbox must not keep that mailbox alive.
type Debtor = Mutex<Option<Weak<dyn AnyActor>>>;

/// A question that waits for its answer.
pub(crate) trait Unanswered: Send + Sync {
    /// Who owes the answer; nobody once it is there, or if that is not known.
    fn debtor(&self) -> Option<Arc<dyn AnyActor>>;
    /// From now on this one owes it.
    fn pass_to(&self, actor: &Arc<dyn AnyActor>);
    /// Ends the ask with an error.
    fn refuse(&self, error: AskError);
}

impl<R: Send> Unanswered for Slot<R> {
    fn debtor(&self) -> Option<Arc<dyn AnyActor>> {
        let debtor = self.debtor.as_ref()?;
        let debtor = lock(debtor).as_ref().and_then(Weak::upgrade);
        debtor.filter(|_| self.is_wanted())
    }

    fn pass_to(&self, actor: &Arc<dyn AnyActor>) {
        self.set_debtor(Some(Arc::downgrade(actor)));
    }

    fn refuse(&self, error: AskError) {
        self.fill(Err(error));
    }
}

enum SlotState<R> {
    /// Not answered, and nobody polls yet.
    Empty,
    /// Not answered; the asker's waker.
    Waiting(Waker),
    /// Answered, not yet taken.
    Answered(Result<R, AskError>),
    /// The answer was taken, or the asker has gone.
    Over,
}

impl<R> Slot<R> {
    fn lock(&self) -> std::sync::MutexGuard<'_, SlotState<R>> {
        lock(&self.state)
    }

    fn question(slot: &Arc<Self>) -> Option<Arc<dyn Unanswered>>
    where
        R: Send + 'static,
    {
        slot.debtor.as_ref()?;
        Some(slot.clone())
    }

    fn set_debtor(&self, actor: Option<Weak<dyn AnyActor>>) {
        if let Some(debtor) = &self.debtor {
            let before = mem::replace(&mut *lock(debtor), actor);
            drop(before); // outside the lock
        }
    }

    fn is_wanted(&self) -> bool {
        matches!(*self.lock(), SlotState::Empty | SlotState::Waiting(_))
    }

    /// Puts the answer in and wakes the asker; the first answer counts.
    fn fill(&self, answer: Result<R, AskError>) {
        let mut state = self.lock();
        if !matches!(*state, SlotState::Empty | SlotState::Waiting(_)) {
            drop(state);
            return; // `answer` is dropped outside the lock
        }
        let before = mem::replace(&mut *state, SlotState::Answered(answer));
        drop(state);
        if let SlotState::Waiting(waker) = before {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, AskError>> {
        let mut state = self.lock();
        match mem::replace(&mut *state, SlotState::Over) {
            SlotState::Answered(answer) => Poll::Ready(answer),
            SlotState::Waiting(waker) if waker.will_wake(cx.waker()) => {
                *state = SlotState::Waiting(waker);
                Poll::Pending
            }
            before @ (SlotState::Empty | SlotState::Waiting(_)) => {
                *state = SlotState::Waiting(cx.waker().clone());
                drop(state);
                drop(before); // outside the lock: a waker is others' code
                Poll::Pending
            }
            // Polled after completion: like every future, it has nothing more to say.
            SlotState::Over => Poll::Pending,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; a poisoned one is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    #[test]
    fn a_reply_stays_small() {
        assert!(size_of::<Reply<[u64; 64]>>() <= 24);
    }

    #[tokio::test]
    async fn an_untaken_reply_says_that_the_actor_stopped() {
        let (reply, receiver) = Reply::<u32>::local();
        drop(reply);
        assert_eq!(receiver.await, Err(AskError::ActorStopped));
    }

    #[tokio::test]
    async fn a_reply_dropped_by_a_panic_says_failed() {
        let (reply, receiver) = Reply::<u32>::channel();
        let task = tokio::spawn(async move {
            let _held = reply;
            panic!("on purpose");
        });
        assert!(task.await.is_err());
        assert_eq!(receiver.await, Err(AskError::Failed));
    }

    /// A waker that, when it is dropped, looks whether the slot is locked.
    struct Looks {
        slot: Arc<Slot<u32>>,
        seen_locked: Arc<AtomicBool>,
    }

    impl Wake for Looks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            let locked = self.slot.state.try_lock().is_err();
            self.seen_locked.fetch_or(locked, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakers_are_dropped_outside_the_lock() {
        let (reply, mut receiver) = Reply::channel();
        let seen_locked = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Looks {
                slot: receiver.slot.clone(),
                seen_locked: seen_locked.clone(),
            }));
            let polled = Pin::new(&mut receiver).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        reply.send(1);
        drop(receiver);
        assert!(!seen_locked.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_reply_knows_whether_it_is_wanted() {
        let (reply, receiver) = Reply::<u32>::channel();
        assert!(reply.is_wanted());
        drop(receiver);
        assert!(!reply.is_wanted());
        reply.send(1);
    }
}
