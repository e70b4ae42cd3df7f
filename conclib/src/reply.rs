//! Where answers go: to nobody, to an asker in this process, or to one across the bus.

use std::fmt;
use std::future::Future;
use std::mem::{self, needs_drop};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::actor::cell::{AnyActor, drop_quietly};
use crate::error::{AskError, Delivered};
use crate::message::CodecError;
use crate::reply::dropped as dropped_replies;
use cancelled::Watchers;
use dropped::Refuse;
use remote::{Responder, error_of_drop};

pub use limit::Limit;

pub(crate) mod cancelled;
pub(crate) mod dropped;
mod limit;
pub(crate) mod remote;

/// The right and the duty to answer one message.
///
/// A handler that takes a `Reply<R>` returns `()` and answers later, from anywhere: it may keep
/// the reply in its state, move it into a task, or [`forward`](crate::ActorRef::forward) it to
/// another actor. The same handler serves tells, for which answering does nothing.
///
/// Silence is never an answer: a reply that is dropped tells its asker
/// [`Failed`](AskError::Failed) if its handler panics or returns a failure,
/// [`NoReply`](AskError::NoReply) if the handler goes on or ends well, and
/// [`ActorStopped`](AskError::ActorStopped) before a handler has it.
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
    Local(Asker<R>),
    /// An ask across the bus, and how to write its answer.
    Remote {
        responder: Arc<Responder>,
        encode: fn(&R) -> Result<Vec<u8>, CodecError>,
    },
}

/// The right and the duty to fill a slot.
struct Asker<R> {
    /// Until it has spoken.
    slot: Option<Arc<Slot<R>>>,
    owner: Owner,
    /// Makes the end of the ask a closure, whatever type of answer it waits for.
    refuse_later: fn(Arc<Slot<R>>) -> Refuse,
    /// The slot has a deadline. Here as well, so that nobody looks there who finds none.
    limited: bool,
}

/// The owner of a reply: an asker whose reply is dropped hears it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// No handler's: its message waits for one.
    Mailbox,
    /// A handler's that was given it with its message.
    Handler,
    /// Another's, who made it.
    Other,
}

impl<R: Send + 'static> Reply<R> {
    /// A reply and the place where its answer arrives: for unit tests of handlers that take a
    /// `Reply`, and for bridging to code that is not an actor.
    pub fn channel() -> (Self, ReplyReceiver<R>) {
        Self::with_slot(Slot::new(None, None, None), Owner::Other)
    }

    /// Answers. Does nothing if nobody waits any more.
    #[inline]
    pub fn send(self, response: R) {
        match self.to {
            // A value whose drop panics must not matter to the handler, with an asker or without.
            To::Nobody if needs_drop::<R>() => drop_quietly(response),
            To::Nobody => {}
            To::Local(asker) => asker.answer(Ok(response)),
            To::Remote { responder, encode } => {
                responder.respond(encode(&response));
                drop_quietly(response);
            }
        }
    }

    /// True while somebody waits for the answer: not for a tell, and not after the asker gave up.
    ///
    /// Across the bus an asker that gave up is noticed a moment later; if its word is lost, at its
    /// deadline. To be told instead of asking, see [`cancelled`](Self::cancelled).
    pub fn is_wanted(&self) -> bool {
        match &self.to {
            To::Nobody => false,
            To::Local(asker) => asker.slot().is_some_and(Slot::is_wanted),
            To::Remote { responder, .. } => responder.is_wanted(),
        }
    }

    /// The reply of a tell.
    pub(crate) const fn nobody() -> Self {
        Self { to: To::Nobody }
    }

    /// The reply of an ask in this process, before a handler has it.
    pub(crate) fn local() -> (Self, ReplyReceiver<R>) {
        Self::with_slot(Slot::new(None, None, None), Owner::Mailbox)
    }

    /// The same for an asker who waits from now on: nobody has to poll for its waker's sake.
    pub(crate) fn awaited(asker: &Waker, deadline: Option<Instant>) -> (Self, ReplyReceiver<R>) {
        let slot = Slot::new(Some(asker.clone()), deadline, None);
        Self::with_slot(slot, Owner::Mailbox)
    }

    /// The same for an asker who is an actor: it can be seen who owes the answer.
    pub(crate) fn owed_by(
        actor: &Arc<dyn AnyActor>,
        asker: &Waker,
        deadline: Option<Instant>,
    ) -> (Self, ReplyReceiver<R>) {
        let debtor = Mutex::new(Some(Arc::downgrade(actor)));
        let slot = Slot::new(Some(asker.clone()), deadline, Some(debtor));
        Self::with_slot(slot, Owner::Mailbox)
    }

    fn with_slot(slot: Slot<R>, owner: Owner) -> (Self, ReplyReceiver<R>) {
        let limited = slot.deadline.is_some();
        let slot = Arc::new(slot);
        let receiver = ReplyReceiver {
            slot: Some(slot.clone()),
        };
        let asker = Asker {
            slot: Some(slot),
            owner,
            refuse_later: |slot| Box::new(move |error| slot.fill(Err(error))),
            limited,
        };
        let to = To::Local(asker);
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
            To::Local(asker) => {
                asker.owner = Owner::Handler;
                if let Some(slot) = &asker.slot {
                    slot.set_debtor(None);
                }
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
            To::Local(asker) => asker.owner = Owner::Mailbox,
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
            To::Local(asker) => Slot::question(asker.slot.as_ref()?),
            To::Nobody | To::Remote { .. } => None,
        }
    }

    /// Ends the ask with an error.
    pub(crate) fn refuse(self, error: AskError) {
        match self.to {
            To::Nobody => {}
            To::Local(asker) => asker.answer(Err(error)),
            To::Remote { responder, .. } => responder.refuse(error),
        }
    }

    /// Lets go of the reply without a word to the asker, who still owns the ask.
    pub(crate) fn forget(self) {
        if let To::Local(mut asker) = self.to {
            asker.slot = None;
        }
    }
}

impl<R> Asker<R> {
    fn slot(&self) -> Option<&Slot<R>> {
        self.slot.as_deref()
    }

    #[cold]
    fn dropped(&self, slot: Arc<Slot<R>>) {
        let ends_with_handler = self.owner == Owner::Handler || std::thread::panicking();
        if ends_with_handler && dropped_replies::are_noted() {
            dropped_replies::note((self.refuse_later)(slot));
        } else {
            slot.fill(Err(error_of_drop(self.owner != Owner::Mailbox)));
        }
    }

    #[inline]
    fn answer(mut self, answer: Result<R, AskError>) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        let heard_by = slot.settle(answer);
        // First of all, so that the asker finds itself alone with its answer.
        drop(slot);
        if let Some((asker, watchers)) = heard_by {
            wake(asker, watchers);
        }
    }
}

impl<R> Drop for Asker<R> {
    #[inline]
    fn drop(&mut self) {
        // A remote reply needs nothing like this: its responder has the same duty, and its own drop.
        if let Some(slot) = self.slot.take() {
            self.dropped(slot);
        }
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.to {
            To::Nobody => "Reply(nobody)",
            To::Local(_) => "Reply(local)",
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
    /// Until the answer has been taken.
    slot: Option<Arc<Slot<R>>>,
}

impl<R> Future for ReplyReceiver<R> {
    type Output = Result<R, AskError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(slot) = self.slot.take() else {
            return Poll::Pending; // polled after completion
        };
        match Slot::take(slot, cx) {
            Ok(answer) => Poll::Ready(answer),
            Err(slot) => {
                self.slot = slot;
                Poll::Pending
            }
        }
    }
}

impl<R> ReplyReceiver<R> {
    /// The asker waits no longer.
    ///
    /// # Errors
    ///
    /// How far its message has come, if there is no answer yet.
    pub(crate) fn give_up(&mut self) -> Result<Result<R, AskError>, Delivered> {
        match self.slot.take() {
            Some(slot) => slot.give_up(),
            None => Err(Delivered::Accepted), // nobody is left who could answer
        }
    }
}

impl<R> Drop for ReplyReceiver<R> {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot
            && let Ok(answer) = slot.give_up()
        {
            drop_quietly(answer);
        }
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
        Slot::question(self.slot.as_ref()?)
    }
}

/// The one allocation of a local ask.
struct Slot<R> {
    place: Mutex<Place<R>>,
    /// Until when the asker waits.
    deadline: Option<Instant>,
    /// Who owes the answer, if the asker is an actor.
    debtor: Option<Debtor>,
}

/// Where an answer is put, and by whom it is taken. Two fields, so that neither has to be moved
/// for the other's sake.
struct Place<R> {
    /// Whom to wake, once somebody polls.
    asker: Option<Waker>,
    answer: Answer<R>,
    /// A handler has begun with the message; known of those with a deadline.
    begun: bool,
    /// Those who want to hear that nobody waits any more.
    watchers: Watchers,
}

enum Answer<R> {
    Awaited,
    /// There, and not yet taken.
    Given(Result<R, AskError>),
    /// Taken, or the asker has gone.
    Over,
}

#[inline(always)]
fn wake(asker: Option<Waker>, watchers: Watchers) {
    if let Some(asker) = asker {
        asker.wake();
    }
    watchers.wake();
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
        let debtor = debtor.lock().as_ref().and_then(Weak::upgrade);
        debtor.filter(|_| self.is_wanted())
    }

    fn pass_to(&self, actor: &Arc<dyn AnyActor>) {
        self.set_debtor(Some(Arc::downgrade(actor)));
    }

    fn refuse(&self, error: AskError) {
        self.fill(Err(error));
    }
}

impl<R> Slot<R> {
    /// For an asker who polls later, or for one who waits from now on.
    fn new(asker: Option<Waker>, deadline: Option<Instant>, debtor: Option<Debtor>) -> Self {
        Self {
            place: Mutex::new(Place {
                asker,
                answer: Answer::Awaited,
                begun: false,
                watchers: Watchers::default(),
            }),
            deadline,
            debtor,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Place<R>> {
        self.place.lock()
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
            let before = mem::replace(&mut *debtor.lock(), actor);
            drop(before); // outside the lock
        }
    }

    fn is_wanted(&self) -> bool {
        matches!(self.lock().answer, Answer::Awaited)
    }

    /// Puts the answer in and wakes the asker; the first answer counts.
    fn fill(&self, answer: Result<R, AskError>) {
        if let Some((asker, watchers)) = self.settle(answer) {
            wake(asker, watchers);
        }
    }

    /// Nobody waits any more: the answer, if it has come, or how far the message has.
    fn give_up(&self) -> Result<Result<R, AskError>, Delivered> {
        let mut place = self.lock();
        let answer = mem::replace(&mut place.answer, Answer::Over);
        // Without a deadline the runner does not look here before it dispatches: the handler may run.
        let begun = place.begun || self.deadline.is_none();
        let asker = place.asker.take();
        let watchers = place.watchers.take();
        drop(place);
        // Outside the lock: all of them are others' code.
        drop(asker);
        watchers.wake();
        match answer {
            Answer::Given(answer) => Ok(answer),
            Answer::Awaited | Answer::Over if begun => Err(Delivered::Accepted),
            Answer::Awaited | Answer::Over => Err(Delivered::No),
        }
    }

    /// Puts the answer in; whom to wake.
    #[inline(always)]
    fn settle(&self, answer: Result<R, AskError>) -> Option<(Option<Waker>, Watchers)> {
        let mut place = self.lock();
        if !matches!(place.answer, Answer::Awaited) {
            drop(place);
            drop_quietly(answer); // outside the lock
            return None;
        }
        place.answer = Answer::Given(answer);
        Some((place.asker.take(), place.watchers.take()))
    }

    /// The answer; or the slot again, if it is still to come.
    #[inline]
    fn take(
        mut slot: Arc<Self>,
        cx: &Context<'_>,
    ) -> Result<Result<R, AskError>, Option<Arc<Self>>> {
        // As nearly always when the answer is there: nobody else has the slot, and so no lock is
        // needed.
        let Some(alone) = Arc::get_mut(&mut slot) else {
            return slot.take_shared(cx).ok_or(Some(slot));
        };
        let place = alone.place.get_mut();
        match mem::replace(&mut place.answer, Answer::Over) {
            Answer::Given(answer) => Ok(answer),
            // Nobody is left who could answer.
            Answer::Awaited | Answer::Over => Err(None),
        }
    }

    fn take_shared(&self, cx: &Context<'_>) -> Option<Result<R, AskError>> {
        let mut place = self.lock();
        if let Answer::Given(_) = place.answer
            && let Answer::Given(answer) = mem::replace(&mut place.answer, Answer::Over)
        {
            return Some(answer);
        }
        let knows_us = place
            .asker
            .as_ref()
            .is_some_and(|asker| asker.will_wake(cx.waker()));
        if !knows_us {
            let before = place.asker.replace(cx.waker().clone());
            drop(place);
            drop(before); // outside the lock: a waker is others' code
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[test]
    fn a_reply_stays_small() {
        assert!(size_of::<Reply<[u64; 64]>>() <= 24);
    }

    /// A deadline and a place for watchers, beside what an answer takes.
    #[test]
    fn a_slot_stays_small() {
        let size = size_of::<Slot<u64>>();
        assert!(size <= 128, "{size}");
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
        assert_eq!(receiver.await, Err(AskError::Failed { cause: None }));
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
            let locked = self.slot.place.try_lock().is_none();
            self.seen_locked.fetch_or(locked, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakers_are_dropped_outside_the_lock() {
        let (reply, mut receiver) = Reply::channel();
        let seen_locked = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Looks {
                slot: receiver.slot.clone().unwrap(),
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

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_and_handed_on_may_have_been_executed() {
        const SECOND: Duration = Duration::from_secs(1);
        for (is_begun, delivered) in [(false, Delivered::No), (true, Delivered::Accepted)] {
            let deadline = Instant::now() + SECOND;
            let (reply, receiver) = Reply::<u32>::awaited(Waker::noop(), Some(deadline));
            if is_begun {
                assert_eq!(reply.limit().unwrap().begin(), Some(deadline));
            }
            advance(SECOND).await;
            assert_eq!(reply.limit().unwrap().begin(), None);
            assert_eq!(receiver.await, Err(AskError::Timeout { delivered }));
        }
    }
}
