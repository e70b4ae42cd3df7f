//! Replies to messages: to an asker in this process, to an asker across the bus, or, for a tell, to
//! none.

use std::fmt;
use std::mem::needs_drop;
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use crate::deadlock::current::Current;
use crate::deadlock::{Participant, PendingReply};
use crate::error::AskError;
use crate::error::panics::drop_quietly;
use crate::message::attributes::Attributes;
use crate::message::{ActorMessage, CodecError};
use dropped::Refuse;
use incoming::Incoming;
use remote::{Responder, error_of_drop};
use slot::Slot;

pub use cancelled::Cancelled;
pub use limit::Limit;
pub use receiver::ReplyReceiver;
pub use request_id::RequestId;

mod attributes;
pub(crate) mod cancelled;
pub(crate) mod dropped;
pub(crate) mod held;
pub(crate) mod incoming;
mod limit;
mod receiver;
pub(crate) mod remote;
mod request_id;
mod slot;

/// The pending reply to one message: sends the response to its asker.
///
/// A handler that takes a `Reply<R>` returns `()` and answers later, from anywhere: it may keep
/// the reply in its state, move it into a task, or [`forward`](crate::ActorRef::forward) it to
/// another actor. The same handler serves tells, for which answering does nothing.
///
/// Every ask gets a result. If the reply is dropped, that is [`Failed`](AskError::Failed) if its
/// handler panics or returns a failure, [`NoReply`](AskError::NoReply) if the handler continues or
/// returns without a failure, and [`ActorStopped`](AskError::ActorStopped) if no handler has
/// received the message ([`ActorFailed`](AskError::ActorFailed) if the start of the actor failed).
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
    target: Target<R>,
}

/// The [`Reply`] to a message of type `M`: shorter where the response of the message is long.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(response = Result<u64, String>)]
/// struct PlaceOrder { item: String }
///
/// #[derive(Actor, Default)]
/// struct Shop { waiting: Vec<ReplyTo<PlaceOrder>> }
///
/// #[handlers]
/// impl Shop {
///     #[handler]
///     fn place(&mut self, order: PlaceOrder, reply: ReplyTo<PlaceOrder>) {
///         if order.item.is_empty() {
///             return reply.send(Err("no item".into()));
///         }
///         self.waiting.push(reply);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// # let shop = system.spawn(Shop::default()).await?;
/// # assert!(shop.ask(PlaceOrder { item: String::new() }).await?.is_err());
/// # Ok(()) }
/// ```
pub type ReplyTo<M> = Reply<<M as ActorMessage>::Response>;

enum Target<R> {
    /// A tell.
    None,
    /// A tell with attributes, or an ask with attributes that is not sent yet. A variant of its own, so
    /// that other messages do not pay for them.
    WithAttributes(Arc<Attributes>),
    /// An ask in this process.
    Local(ReplySender<R>),
    /// An ask across the bus, and the encoder of its response.
    Remote {
        responder: Arc<Responder>,
        encode: fn(&R) -> Result<Vec<u8>, CodecError>,
    },
}

/// The sender of an ask in this process: fills the slot, on drop with an error.
struct ReplySender<R> {
    /// `None` once the slot is filled.
    slot: Option<Arc<Slot<R>>>,
    owner: Owner,
    /// Makes the end of the ask a closure, whatever the type of its response.
    refuse_later: fn(Arc<Slot<R>>) -> Refuse,
    /// True if the slot has a deadline or the asker's span. A copy, so that asks with neither do not read
    /// the slot.
    is_limited: bool,
}

/// The owner of a reply: it decides the error that an asker gets when the reply is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The mailbox: the message waits for a handler.
    Mailbox,
    /// The handler that was given the reply with its message.
    Handler,
    /// The code that made the reply by [`Reply::channel`].
    Other,
}

impl<R: Send + 'static> Reply<R> {
    /// A reply and the future of its answer: for unit tests of handlers that take a `Reply`, and
    /// for bridging to code that is not an actor.
    pub fn channel() -> (Self, ReplyReceiver<R>) {
        Self::with_slot(Slot::default(), Owner::Other)
    }

    /// Sends the response to the asker. Does nothing for a tell, or if the asker is gone.
    #[inline]
    pub fn send(self, response: R) {
        // Each arm consumes the target: drop flags would cost each tell more than its send.
        match self.target {
            Target::Local(sender) => sender.send(Ok(response)),
            Target::None => discard(response),
            Target::WithAttributes(attributes) => {
                drop(attributes);
                discard(response);
            }
            Target::Remote { responder, encode } => {
                responder.respond(encode(&response));
                drop(responder);
                drop_quietly(response);
            }
        }
    }

    /// True while the asker waits for the reply: false for a tell, and once the asker is gone.
    ///
    /// Across the bus, a gone asker is noticed a moment later, or at its deadline if the notice is
    /// lost. To wait for the end of the ask, see [`cancelled`](Self::cancelled).
    pub fn is_wanted(&self) -> bool {
        match &self.target {
            Target::None | Target::WithAttributes(_) => false,
            Target::Local(sender) => sender.slot().is_some_and(Slot::is_wanted),
            Target::Remote { responder, .. } => responder.is_wanted(),
        }
    }

    /// Completes when the asker of the message no longer waits: its future was dropped (for example
    /// because an HTTP client disconnected from the server that asked), or its deadline has passed.
    /// For a tell, the future never completes.
    ///
    /// Use it to stop work that serves only the reply; the reply may be dropped then.
    ///
    /// ```
    /// use conclib::Reply;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (reply, answer) = Reply::<u32>::channel();
    /// let work = tokio::spawn(async move {
    ///     tokio::select! {
    ///         () = std::future::pending() => reply.send(42), // it takes long
    ///         () = reply.cancelled() => {}
    ///     }
    /// });
    /// drop(answer);
    /// work.await.unwrap();
    /// # }
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled::new(self.pending())
    }

    /// The deadline and the span of the asker, if there is one of them: for implementations of
    /// [`Handlers::limit`](crate::actor::Handlers::limit) by hand.
    #[inline]
    pub fn limit(&self) -> Option<Limit<'_>> {
        match &self.target {
            Target::None | Target::WithAttributes(_) => None,
            Target::Local(sender) if !sender.is_limited => None,
            Target::Local(sender) => {
                let slot: &Slot<R> = sender.slot()?;
                Some(Limit::local(slot))
            }
            Target::Remote { responder, .. } => {
                responder.awaited_until()?;
                Some(Limit::remote(responder))
            }
        }
    }

    /// The reply of a tell.
    pub(crate) const fn for_tell() -> Self {
        let target = Target::None;
        Self { target }
    }

    /// The reply of an ask, for an asker that polls later.
    pub(crate) fn local() -> (Self, ReplyReceiver<R>) {
        Self::with_slot(Slot::default(), Owner::Mailbox)
    }

    /// The reply of an ask, for an asker that waits from now on, with its waker stored before the
    /// first poll of the receiver. If an actor asks, deadlock detection follows the ask to the
    /// actor `asked`.
    pub(crate) fn for_ask(
        asked: impl FnOnce() -> Arc<dyn Participant>,
        waker: &Waker,
        deadline: Option<Instant>,
        attributes: Option<Arc<Attributes>>,
    ) -> (Self, ReplyReceiver<R>) {
        let responder = Current::id().is_some().then(asked);
        let slot = Slot::new(waker.clone(), deadline, responder.as_ref(), attributes);
        Self::with_slot(slot, Owner::Mailbox)
    }

    fn with_slot(slot: Slot<R>, owner: Owner) -> (Self, ReplyReceiver<R>) {
        let is_limited = slot.is_limited();
        let slot = Arc::new(slot);
        let receiver = ReplyReceiver::new(slot.clone());
        let sender = ReplySender {
            slot: Some(slot),
            owner,
            refuse_later: |slot| Box::new(move |error| slot.fill(Err(error))),
            is_limited,
        };
        let target = Target::Local(sender);
        (Self { target }, receiver)
    }

    /// The reply of an ask across the bus.
    pub(crate) fn remote(
        responder: Arc<Responder>,
        encode: fn(&R) -> Result<Vec<u8>, CodecError>,
    ) -> Self {
        let target = Target::Remote { responder, encode };
        Self { target }
    }

    /// Gives the reply to a handler: from here on, dropping it means `NoReply`.
    #[doc(hidden)]
    pub fn attach_handler(self) -> Self {
        self.attach(Slot::note_kept)
    }

    /// Gives the reply back to the code that could not forward it: that of an actor, or of none.
    pub(crate) fn give_back(self, to: Option<&Arc<dyn Participant>>) -> Self {
        self.attach(|slot| slot.note_kept_by(to))
    }

    #[inline]
    fn attach(mut self, note: impl FnOnce(&Slot<R>)) -> Self {
        match &mut self.target {
            Target::None | Target::WithAttributes(_) => {}
            Target::Local(sender) => {
                sender.owner = Owner::Handler;
                if let Some(slot) = &sender.slot {
                    note(slot);
                }
            }
            Target::Remote { responder, .. } => responder.attach_handler(),
        }
        self
    }

    /// Takes the reply from its handler to forward it: until the next handler receives it, dropping
    /// it means `ActorStopped`.
    pub(crate) fn detach(mut self) -> Self {
        match &mut self.target {
            Target::None | Target::WithAttributes(_) => {}
            Target::Local(sender) => sender.owner = Owner::Mailbox,
            Target::Remote { responder, .. } => responder.detach(),
        }
        self
    }

    /// The ask, if an actor waits for its reply: for code that forwards the reply.
    pub(crate) fn tracked(&self) -> Option<Arc<dyn PendingReply>> {
        match &self.target {
            Target::Local(sender) => Slot::tracked(sender.slot.as_ref()?),
            Target::None | Target::WithAttributes(_) | Target::Remote { .. } => None,
        }
    }

    /// The ask; `None` for a tell.
    pub(crate) fn pending(&self) -> Option<Arc<dyn PendingReply>> {
        self.incoming()?.pending()
    }

    /// The message, for the context of its handler; `None` for a tell without attributes.
    #[inline]
    pub(crate) fn incoming(&self) -> Option<Arc<dyn Incoming>> {
        match &self.target {
            Target::None => None,
            Target::WithAttributes(attributes) => Some(attributes.clone()),
            Target::Local(sender) => Some(sender.slot.clone()?),
            Target::Remote { responder, .. } => Some(responder.clone()),
        }
    }

    /// Ends the ask with an error.
    pub(crate) fn refuse(self, error: AskError) {
        match self.target {
            Target::None | Target::WithAttributes(_) => {}
            Target::Local(sender) => sender.send(Err(error)),
            Target::Remote { responder, .. } => responder.refuse(error),
        }
    }

    /// Drops the reply without an error for the asker, which has ended the ask itself.
    pub(crate) fn forget(self) {
        if let Target::Local(mut sender) = self.target {
            sender.slot = None;
        }
    }
}

/// Drops the response to a tell. A panic of its drop must not fail the handler, for a tell as for an ask.
#[inline]
fn discard<R>(response: R) {
    if needs_drop::<R>() {
        drop_quietly(response);
    }
}

impl<R> ReplySender<R> {
    fn slot(&self) -> Option<&Slot<R>> {
        self.slot.as_deref()
    }

    #[cold]
    fn dropped(&self, slot: Arc<Slot<R>>) {
        let ends_with_handler = self.owner == Owner::Handler || std::thread::panicking();
        if ends_with_handler && dropped::are_deferred() {
            dropped::defer((self.refuse_later)(slot));
        } else {
            slot.fill(Err(error_of_drop(self.owner != Owner::Mailbox)));
        }
    }

    #[inline]
    fn send(mut self, answer: Result<R, AskError>) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        let wakers = slot.put(answer);
        // Dropped before the wake, so that the asker has the only reference and needs no lock.
        drop(slot);
        if let Some(wakers) = wakers {
            wakers.wake();
        }
    }
}

impl<R> Drop for ReplySender<R> {
    #[inline]
    fn drop(&mut self) {
        // For a remote reply, the drop of its responder does the same.
        if let Some(slot) = self.slot.take() {
            self.dropped(slot);
        }
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.target {
            Target::None | Target::WithAttributes(_) => "Reply(tell)",
            Target::Local(_) => "Reply(local)",
            Target::Remote { .. } => "Reply(remote)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake};
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::error::{AskErrorKind, Delivered};

    #[test]
    fn reply_stays_small() {
        assert!(size_of::<Reply<[u64; 64]>>() <= 24);
    }

    #[tokio::test]
    async fn reply_dropped_before_its_handler_means_actor_stopped() {
        let (reply, receiver) = Reply::<u32>::local();
        drop(reply);
        assert_eq!(receiver.await, Err(AskError::ActorStopped));
    }

    #[tokio::test]
    async fn reply_dropped_by_a_panic_means_failed() {
        let (reply, receiver) = Reply::<u32>::channel();
        let task = tokio::spawn(async move {
            let _held = reply;
            panic!("on purpose");
        });
        assert!(task.await.is_err());
        assert_eq!(receiver.await, Err(AskError::Failed { cause: None }));
    }

    /// A waker that checks on drop whether the slot is locked.
    struct LockCheck {
        slot: Arc<Slot<u32>>,
        seen_locked: Arc<AtomicBool>,
    }

    impl Wake for LockCheck {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for LockCheck {
        fn drop(&mut self) {
            let locked = self.slot.is_locked();
            self.seen_locked.fetch_or(locked, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakers_are_dropped_outside_the_lock() {
        let (reply, mut receiver) = Reply::channel();
        let seen_locked = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(LockCheck {
                slot: receiver.slot(),
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
    async fn reply_is_wanted_until_its_receiver_is_dropped() {
        let (reply, receiver) = Reply::<u32>::channel();
        assert!(reply.is_wanted());
        drop(receiver);
        assert!(!reply.is_wanted());
        reply.send(1);
    }

    #[tokio::test(start_paused = true)]
    async fn late_ask_knows_if_a_handler_has_started() {
        const SECOND: Duration = Duration::from_secs(1);
        for (is_started, delivered) in [(false, Delivered::No), (true, Delivered::Accepted)] {
            let deadline = Instant::now() + SECOND;
            let (reply, receiver) =
                Reply::<u32>::for_ask(|| unreachable!(), Waker::noop(), Some(deadline), None);
            if is_started {
                assert_eq!(reply.limit().unwrap().start(), Ok(Some(deadline)));
            }
            advance(SECOND).await;
            assert_eq!(reply.limit().unwrap().start(), Err(AskErrorKind::Timeout));
            assert_eq!(receiver.await, Err(AskError::Timeout { delivered }));
        }
    }
}
