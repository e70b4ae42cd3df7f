//! The shared slot of an ask in this process, which holds the reply.

use std::mem;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::deadlock::{Participant, PendingReply};
use crate::error::panics::drop_quietly;
use crate::error::{AskError, Delivered};
use crate::message::attributes::Attributes;
use crate::reply::incoming::Incoming;
use crate::reply::limit::TooLate;
use crate::sync::wakers::{WakerKey, WakerSet};
use crate::time::compact::CompactInstant;
use crate::trace::AskerSpan;

/// The one allocation of a local ask.
pub(super) struct Slot<R> {
    state: Mutex<SlotState<R>>,
    /// The moment up to which the asker waits.
    deadline: Option<CompactInstant>,
    /// The actor that is to reply, for deadlock detection; `None` if the asker is not an actor. Weak:
    /// an ask in a mailbox must not keep that mailbox alive. Locked before the state.
    responder: Option<Mutex<Weak<dyn Participant>>>,
    /// The attributes of the message, if it was sent with any.
    attributes: Option<Arc<Attributes>>,
    /// The span of the asker, if a subscriber wants that of the handler.
    asker_span: Option<Box<AskerSpan>>,
}

/// The asker's waker and its answer are separate fields, so that setting one moves no other.
struct SlotState<R> {
    /// The waker of the asker, once it has polled.
    asker: Option<Waker>,
    value: Value<R>,
    /// True if a handler has started on the message; set only for asks with a deadline.
    started: bool,
    /// The owner of the reply; changes only under the lock of the responder.
    owner: ReplyOwner,
    /// True if the asker has gone without an answer.
    abandoned: bool,
    /// The wakers of tasks that wait for the end of the ask.
    ended: WakerSet,
}

/// The owner of the reply to an ask that is not answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReplyOwner {
    /// The mailbox of the responder, or the handler that answers by its return.
    Responder,
    /// A handler of the responder keeps it for later, when any code may own it.
    Handler,
    /// Code that runs for no actor.
    Unknown,
}

enum Value<R> {
    /// No answer yet.
    Empty,
    /// The answer is there, and not yet taken.
    Filled(Result<R, AskError>),
    /// The answer has been taken, or the asker is gone.
    Taken,
}

/// The result of polling a slot.
pub(super) enum SlotOutcome<R> {
    Answer(Result<R, AskError>),
    Pending(Arc<Slot<R>>),
}

/// Wakers to be woken outside the lock.
pub(super) struct Wakers {
    asker: Option<Waker>,
    ended: WakerSet,
}

impl Wakers {
    #[inline(always)]
    pub(super) fn wake(self) {
        if let Some(asker) = self.asker {
            asker.wake();
        }
        self.ended.wake();
    }
}

impl<R> Default for Slot<R> {
    /// A slot without a deadline, for an asker that polls later.
    fn default() -> Self {
        Self::of(None, None, None, None, None)
    }
}

impl<R> Slot<R> {
    /// A slot for an asker that waits from now on.
    pub(super) fn new(
        asker: Waker,
        deadline: Option<Instant>,
        responder: Option<&Arc<dyn Participant>>,
        attributes: Option<Arc<Attributes>>,
    ) -> Self {
        let responder = responder.map(Arc::downgrade);
        let asker_span = AskerSpan::current();
        Self::of(Some(asker), deadline, responder, attributes, asker_span)
    }

    #[inline]
    fn of(
        asker: Option<Waker>,
        deadline: Option<Instant>,
        responder: Option<Weak<dyn Participant>>,
        attributes: Option<Arc<Attributes>>,
        asker_span: Option<Box<AskerSpan>>,
    ) -> Self {
        // Computed before the slot is written: otherwise it is written on the stack first, and moved.
        let deadline = deadline.map(CompactInstant::from);
        let responder = responder.map(Mutex::new);
        Self {
            state: Mutex::new(SlotState {
                asker,
                value: Value::Empty,
                started: false,
                owner: ReplyOwner::Responder,
                abandoned: false,
                ended: WakerSet::default(),
            }),
            deadline,
            responder,
            attributes,
            asker_span,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline.map(Instant::from)
    }

    /// True if the runner has to look at the slot before a handler starts: for the deadline or the span of
    /// the asker.
    pub(super) fn is_limited(&self) -> bool {
        self.deadline.is_some() || self.asker_span.is_some()
    }

    pub(super) fn asker_span(&self) -> Option<&AskerSpan> {
        self.asker_span.as_deref()
    }

    /// The ask, for deadlock detection; `None` if the asker is not an actor.
    pub(super) fn tracked(slot: &Arc<Self>) -> Option<Arc<dyn PendingReply>>
    where
        R: Send + 'static,
    {
        slot.responder.as_ref()?;
        Some(slot.clone())
    }

    /// Notes that a handler of the responder keeps the reply.
    pub(super) fn note_kept(&self) {
        if let Some(responder) = &self.responder {
            let _responder = responder.lock();
            self.lock().owner = ReplyOwner::Handler;
        }
    }

    /// Notes that the code of this actor, or of none, keeps the reply: a forward to the responder has failed.
    pub(super) fn note_kept_by(&self, keeper: Option<&Arc<dyn Participant>>) {
        let Some(responder) = &self.responder else {
            return;
        };
        let mut responder = responder.lock();
        let before = keeper.map(|keeper| mem::replace(&mut *responder, Arc::downgrade(keeper)));
        self.lock().owner = match before {
            Some(_) => ReplyOwner::Handler,
            None => ReplyOwner::Unknown,
        };
        drop((responder, before)); // outside the lock
    }

    /// The responder while the reply is wanted, if the reply has this owner.
    fn responder_if(&self, expected: ReplyOwner) -> Option<Arc<dyn Participant>> {
        let responder = self.responder.as_ref()?.lock();
        let state = self.lock();
        let is_wanted = matches!(state.value, Value::Empty);
        let owner = state.owner;
        drop(state);
        (is_wanted && owner == expected).then(|| responder.upgrade())?
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.lock().value, Value::Empty)
    }

    /// Stores the answer and wakes the asker; only the first answer counts.
    pub(super) fn fill(&self, answer: Result<R, AskError>) {
        if let Some(wakers) = self.put(answer) {
            wakers.wake();
        }
    }

    /// Stores the answer, and returns the wakers to be woken; only the first answer counts.
    #[inline(always)]
    pub(super) fn put(&self, answer: Result<R, AskError>) -> Option<Wakers> {
        let mut state = self.lock();
        if !matches!(state.value, Value::Empty) {
            drop(state);
            drop_quietly(answer); // outside the lock
            return None;
        }
        state.value = Value::Filled(answer);
        Some(Wakers {
            asker: state.asker.take(),
            ended: state.ended.take(),
        })
    }

    /// Ends the ask. Returns the answer if it has come, or else the progress of the message.
    pub(super) fn give_up(&self) -> Result<Result<R, AskError>, Delivered> {
        let mut state = self.lock();
        let value = mem::replace(&mut state.value, Value::Taken);
        state.abandoned = matches!(value, Value::Empty);
        // Without a deadline, the runner does not call `start`: the handler may be running.
        let started = state.started || self.deadline.is_none();
        let asker = state.asker.take();
        let ended = state.ended.take();
        drop(state);
        // Outside the lock: wakers run foreign code.
        drop(asker);
        ended.wake();
        match value {
            Value::Filled(answer) => Ok(answer),
            Value::Empty | Value::Taken if started => Err(Delivered::Accepted),
            Value::Empty | Value::Taken => Err(Delivered::No),
        }
    }

    /// Takes the answer, or keeps the asker's waker.
    #[inline]
    pub(super) fn take(mut slot: Arc<Self>, cx: &Context<'_>) -> SlotOutcome<R> {
        // The usual case once the answer is there: this is the only reference to the slot, so no
        // lock is needed.
        let Some(alone) = Arc::get_mut(&mut slot) else {
            return match slot.take_shared(cx) {
                Some(answer) => SlotOutcome::Answer(answer),
                None => SlotOutcome::Pending(slot),
            };
        };
        match mem::replace(&mut alone.state.get_mut().value, Value::Taken) {
            Value::Filled(answer) => SlotOutcome::Answer(answer),
            // The reply was dropped by `Reply::forget`, which only the asker calls.
            Value::Empty | Value::Taken => SlotOutcome::Answer(Err(AskError::NoReply)),
        }
    }

    fn take_shared(&self, cx: &Context<'_>) -> Option<Result<R, AskError>> {
        let mut state = self.lock();
        if let Value::Filled(_) = state.value
            && let Value::Filled(answer) = mem::replace(&mut state.value, Value::Taken)
        {
            return Some(answer);
        }
        let is_known = state
            .asker
            .as_ref()
            .is_some_and(|asker| asker.will_wake(cx.waker()));
        if !is_known {
            let before = state.asker.replace(cx.waker().clone());
            drop(state);
            drop(before); // outside the lock: a waker is foreign code
        }
        None
    }

    /// Marks an ask with a deadline as started, and returns the deadline, if there is one.
    ///
    /// # Errors
    ///
    /// [`TooLate`] if the message must not be handled, since its asker is gone or the deadline has passed.
    pub(super) fn start(&self) -> Result<Option<Instant>, TooLate> {
        let Some(deadline) = self.deadline() else {
            return Ok(None);
        };
        let mut state = self.lock();
        if !matches!(state.value, Value::Empty) {
            return Err(TooLate);
        }
        if deadline <= Instant::now() {
            // An earlier handler may have started on the message and forwarded it.
            let delivered = if state.started {
                Delivered::Accepted
            } else {
                Delivered::No
            };
            state.abandoned = true;
            drop(state);
            self.fill(Err(AskError::Timeout { delivered }));
            return Err(TooLate);
        }
        // From here on, an asker that gives up must report that its message may have been executed.
        state.started = true;
        Ok(Some(deadline))
    }

    /// True if the asker is gone without an answer, or its deadline has passed.
    pub(super) fn is_abandoned(&self) -> bool {
        let state = self.lock();
        let is_late = || {
            self.deadline()
                .is_some_and(|deadline| deadline <= Instant::now())
        };
        state.abandoned || (matches!(state.value, Value::Empty) && is_late())
    }

    fn lock(&self) -> MutexGuard<'_, SlotState<R>> {
        self.state.lock()
    }

    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.state.is_locked()
    }
}

impl<R: Send + 'static> PendingReply for Slot<R> {
    fn responder(&self) -> Option<Arc<dyn Participant>> {
        self.responder_if(ReplyOwner::Responder)
    }

    fn keeper(&self) -> Option<Arc<dyn Participant>> {
        self.responder_if(ReplyOwner::Handler)
    }

    fn assign_to(&self, actor: &Arc<dyn Participant>) {
        let Some(responder) = &self.responder else {
            return;
        };
        let mut responder = responder.lock();
        let before = mem::replace(&mut *responder, Arc::downgrade(actor));
        self.lock().owner = ReplyOwner::Responder;
        drop((responder, before)); // outside the lock
    }

    fn refuse(&self, error: AskError) {
        self.fill(Err(error));
    }

    fn deadline(&self) -> Option<Instant> {
        Slot::deadline(self)
    }

    fn poll_ended(self: Arc<Self>, key: &mut Option<WakerKey>, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !matches!(state.value, Value::Empty) {
            return Poll::Ready(());
        }
        let before = state.ended.insert(key, cx.waker());
        drop(state);
        drop(before); // outside the lock
        Poll::Pending
    }

    fn remove_waker(&self, key: WakerKey) {
        let waker = self.lock().ended.remove(key);
        drop(waker); // outside the lock
    }

    fn is_abandoned(&self) -> bool {
        Slot::is_abandoned(self)
    }

    fn expire(&self) {
        let mut state = self.lock();
        state.abandoned |= matches!(state.value, Value::Empty);
        drop(state);
        let delivered = Delivered::Accepted;
        self.fill(Err(AskError::Timeout { delivered }));
    }
}

impl<R: Send + 'static> Incoming for Slot<R> {
    fn pending(self: Arc<Self>) -> Option<Arc<dyn PendingReply>> {
        Some(self)
    }

    fn attributes(&self) -> &Attributes {
        self.attributes.as_deref().unwrap_or(Attributes::none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_stays_small() {
        let size = size_of::<Slot<u64>>();
        assert!(size <= 136, "{size}");
    }
}
