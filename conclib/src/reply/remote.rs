//! Replies to requests from the bus, and the origin of a request.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::dropped;
use crate::deadlock::{Participant, PendingReply};
use crate::error::{AskError, AskErrorKind, Delivered};
use crate::message::attributes::Attributes;
use crate::message::{ActorMessage, CodecError, MessageSchema};
use crate::reply::RequestId;
use crate::reply::held::{HeldAttributes, HeldBytes};
use crate::reply::incoming::Incoming;
use crate::sync::wakers::{WakerKey, WakerSet};
use crate::trace::Propagate;

mod trace;

/// The client that sent a request: 16 random bytes. They are secret, since knowing them is the
/// right to read the replies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct ClientId(pub(crate) [u8; 16]);

// Logs show only the first two bytes: with the whole id, replies can be read and forged.
impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// The client and number of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Origin {
    pub(crate) client: ClientId,
    pub(crate) id: u64,
}

/// The result of a request: its encoded response, or the error.
pub(crate) type Outcome = Result<Vec<u8>, AskError>;

/// Takes replies back to the clients of their requests.
pub(crate) trait ResponseSink: Send + Sync {
    /// Sends the outcome. Called from handlers and from drops: must not block.
    fn respond(&self, origin: Origin, deadline: Option<Instant>, outcome: Outcome);

    /// Sends the error of a request that a handler has begun: whatever the error says, the request may have
    /// been executed in part.
    fn respond_begun(&self, origin: Origin, deadline: Option<Instant>, error: AskError) {
        self.respond(origin, deadline, Err(error));
    }

    /// Notes that a tell was lost before a handler has begun it: its sender does not hear of that.
    fn tell_lost(&self, _error: &AskError) {}

    /// Notes that a message does not decode as the type of its handler, whose fields are those of `schema`.
    fn undecoded(
        &self,
        _message: &'static str,
        _error: &CodecError,
        _schema: Option<MessageSchema>,
    ) {
    }

    /// True if another system serves by now: requests that no handler has begun are not to be begun.
    fn is_revoked(&self) -> bool {
        false
    }

    /// True if the asker is known to have given up.
    fn is_given_up(&self, _origin: Origin) -> bool {
        false
    }

    /// The id of a request in logs.
    fn request_id(&self, _origin: Origin) -> Option<RequestId> {
        None
    }

    /// Reads the trace contexts of requests.
    fn propagator(&self) -> Option<&dyn Propagate> {
        None
    }

    /// Ends the request without a reply: its asker has given up.
    fn forget(&self, _origin: Origin) {}

    /// From now on and until [`unwatch`](Self::unwatch), calls [`Responder::give_up`] when the
    /// asker gives up.
    fn watch(&self, _origin: Origin, _responder: Weak<Responder>) {}

    /// Ends a [`watch`](Self::watch).
    fn unwatch(&self, _origin: Origin) {}
}

thread_local! {
    /// The kind of the last error with which this thread has refused a request: code that decodes a request
    /// returns only that it has refused it.
    static LAST_REFUSAL: Cell<Option<AskErrorKind>> = const { Cell::new(None) };
}

/// The kind of the last error with which this thread has refused a request.
pub(crate) fn last_refusal() -> Option<AskErrorKind> {
    LAST_REFUSAL.get()
}

/// The sender of the reply to one request from the bus: replies at most once, on drop with an
/// error.
pub(crate) struct Responder {
    sink: Arc<dyn ResponseSink>,
    origin: Origin,
    /// The moment after which the asker no longer waits.
    deadline: Option<Instant>,
    /// False for a tell.
    is_ask: bool,
    /// A reply was sent, or none is wanted.
    done: AtomicBool,
    /// The asker has gone without a reply.
    abandoned: AtomicBool,
    /// A handler owns the reply.
    has_handler: AtomicBool,
    /// A handler has started on the request, even if it forwarded it since.
    started: AtomicBool,
    /// True if tasks wait for the end of the ask.
    is_watched: AtomicBool,
    /// The wakers of these tasks.
    wakers: Mutex<WakerSet>,
    /// The message is durable: if no handler begins it, it is delivered again.
    is_durable: bool,
    /// A tell whose loss is reported to the sink, and that was not lost so far.
    reports_loss: AtomicBool,
    /// Boxed, since most requests have none.
    attributes: Option<Box<HeldAttributes>>,
    /// The request is left out of the traces.
    is_left_out: bool,
}

impl Responder {
    pub(crate) fn new(
        sink: Arc<dyn ResponseSink>,
        origin: Origin,
        wanted: bool,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            sink,
            origin,
            deadline,
            is_ask: wanted,
            done: AtomicBool::new(!wanted),
            abandoned: AtomicBool::new(false),
            has_handler: AtomicBool::new(false),
            started: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            wakers: Mutex::default(),
            is_durable: false,
            reports_loss: AtomicBool::new(false),
            attributes: None,
            is_left_out: false,
        }
    }

    /// Declares that the message is durable.
    #[cfg(feature = "bus")]
    pub(crate) fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// True if the message is delivered again, in case no handler begins it.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Has the loss of a tell reported to the sink.
    #[cfg(feature = "bus")]
    pub(crate) fn reporting_loss(mut self) -> Self {
        self.reports_loss = AtomicBool::new(true);
        self
    }

    /// Notes that the message was decoded, and that its handler is called next.
    pub(crate) fn opened(&self) {
        self.reports_loss.store(false, Ordering::Relaxed);
    }

    /// Adds the attributes of the request. They take their bytes from the request's share of the bound.
    pub(crate) fn with_attributes(
        mut self,
        attributes: Attributes,
        held: Option<&mut HeldBytes>,
    ) -> Self {
        if !attributes.is_empty() {
            let propagator = self.sink.propagator();
            let trace_fields = propagator.map_or_else(Default::default, Propagate::fields);
            let attributes = HeldAttributes::new(attributes, trace_fields, held);
            self.attributes = Some(Box::new(attributes));
        }
        self
    }

    /// Takes the reply to another sink.
    #[cfg(feature = "bus")]
    pub(crate) fn with_sink(mut self, sink: Arc<dyn ResponseSink>) -> Self {
        self.sink = sink;
        self
    }

    /// Notes that the request does not decode as the message `M`.
    pub(crate) fn undecoded<M: ActorMessage>(&self, error: &CodecError) {
        self.sink.undecoded(M::NAME, error, M::SCHEMA);
    }

    /// The id of the request in logs. Computed here, since few requests are logged.
    pub(crate) fn request_id(&self) -> Option<RequestId> {
        self.sink.request_id(self.origin)
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        let attributes = self.attributes.as_ref();
        attributes.map_or(Attributes::none(), |held| &held.attributes)
    }

    /// A responder for the same request that has no attributes and never replies.
    pub(crate) fn muted(&self) -> Self {
        Self::new(self.sink.clone(), self.origin, false, self.deadline)
    }

    pub(crate) fn attach_handler(&self) {
        self.has_handler.store(true, Ordering::Relaxed);
        self.started.store(true, Ordering::Relaxed);
    }

    pub(crate) fn detach(&self) {
        self.has_handler.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.is_awaited() && !self.has_expired() && !self.sink.is_given_up(self.origin)
    }

    /// True for an ask, also after its end.
    pub(crate) fn is_ask(&self) -> bool {
        self.is_ask
    }

    /// The moment up to which the asker waits; `None` for a tell.
    pub(crate) fn awaited_until(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.is_ask)
    }

    /// Refuses the request if it must not be handled: its deadline has passed, its asker has given up, or
    /// another system serves by now. Returns the kind of the error, which the asker gets unless it has given up.
    pub(crate) fn refuse_if_late(&self, now: Instant) -> Option<AskErrorKind> {
        if self.sink.is_revoked() && !self.started.load(Ordering::Relaxed) {
            self.refuse(AskError::NoResponder);
            return Some(AskErrorKind::NoResponder);
        }
        if self.has_expired_at(now) {
            if self.started.load(Ordering::Relaxed) {
                self.give_up(); // the asker has a timer too; a reply would say that nothing was executed
            } else {
                let delivered = Delivered::No;
                self.refuse(AskError::Timeout { delivered });
            }
            return Some(AskErrorKind::Timeout);
        }
        if self.is_ask && self.sink.is_given_up(self.origin) {
            self.give_up();
        }
        (self.is_ask && !self.is_awaited()).then_some(AskErrorKind::Timeout)
    }

    fn is_awaited(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
    }

    fn has_expired(&self) -> bool {
        self.deadline.is_some() && self.has_expired_at(Instant::now())
    }

    fn has_expired_at(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Ends the ask without a reply: its asker is gone.
    pub(crate) fn give_up(&self) {
        if self.end() {
            self.abandoned.store(true, Ordering::Relaxed);
            self.sink.forget(self.origin);
        }
    }

    pub(crate) fn respond(&self, encoded: Result<Vec<u8>, CodecError>) {
        self.finish(|| {
            encoded.map_err(|error| AskError::BadResponse {
                reason: error.to_string(),
            })
        });
    }

    pub(crate) fn refuse(&self, error: AskError) {
        LAST_REFUSAL.set(Some(error.kind()));
        let has_begun = self.started.load(Ordering::Relaxed);
        if self.reports_loss.swap(false, Ordering::Relaxed) && !has_begun {
            self.sink.tell_lost(&error);
        }
        self.finish(|| Err(error));
    }

    /// Ends the request without a reply: it did not reach its actor, and its sender knows.
    pub(crate) fn forget(&self) {
        self.reports_loss.store(false, Ordering::Relaxed);
        self.done.store(true, Ordering::Release);
    }

    fn finish(&self, outcome: impl FnOnce() -> Outcome) {
        if self.end() {
            let has_begun = self.started.load(Ordering::Relaxed);
            send(
                &*self.sink,
                self.origin,
                self.deadline,
                outcome(),
                has_begun,
            );
        }
    }

    /// Marks the request as done, and wakes the tasks that wait for that; false if it was done
    /// before.
    fn end(&self) -> bool {
        if self.done.swap(true, Ordering::SeqCst) {
            return false;
        }
        // Races with `poll_ended`: each side writes its own flag before it reads the other's, so
        // either the waiting task is seen here, or the task sees that the ask has ended.
        if self.is_watched.load(Ordering::SeqCst) {
            self.sink.unwatch(self.origin);
            let wakers = self.wakers.lock().take();
            wakers.wake(); // outside the lock
        }
        true
    }
}

impl PendingReply for Responder {
    // Deadlock detection ends at the borders of processes.
    fn responder(&self) -> Option<Arc<dyn Participant>> {
        None
    }

    fn assign_to(&self, _actor: &Arc<dyn Participant>) {}

    fn refuse(&self, error: AskError) {
        Self::refuse(self, error);
    }

    fn poll_ended(self: Arc<Self>, key: &mut Option<WakerKey>, cx: &Context<'_>) -> Poll<()> {
        if !self.is_awaited() {
            return Poll::Ready(());
        }
        let before = self.wakers.lock().insert(key, cx.waker());
        drop(before); // outside the lock
        if !self.is_watched.swap(true, Ordering::SeqCst) {
            self.sink.watch(self.origin, Arc::downgrade(&self));
            // Checked after `watch`: an asker that gives up later finds this responder.
            if self.sink.is_given_up(self.origin) {
                self.give_up();
            }
        }
        if !self.done.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.sink.unwatch(self.origin); // the ask may have ended before `watch`
        Poll::Ready(())
    }

    fn remove_waker(&self, key: WakerKey) {
        let waker = self.wakers.lock().remove(key);
        drop(waker); // outside the lock
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_abandoned(&self) -> bool {
        let is_gone = || self.has_expired() || self.sink.is_given_up(self.origin);
        self.abandoned.load(Ordering::Relaxed) || (self.is_awaited() && is_gone())
    }

    fn expire(&self) {
        self.give_up(); // the asker has a timer of its own
    }
}

impl Incoming for Responder {
    fn pending(self: Arc<Self>) -> Option<Arc<dyn PendingReply>> {
        if self.is_ask() { Some(self) } else { None }
    }

    fn attributes(&self) -> &Attributes {
        Self::attributes(self)
    }

    fn request_id(&self) -> Option<RequestId> {
        Self::request_id(self)
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Responder").field(&self.origin).finish()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let has_handler = *self.has_handler.get_mut();
        if *self.reports_loss.get_mut() && !*self.started.get_mut() {
            self.sink.tell_lost(&error_of_drop(has_handler));
        }
        let ends_with_handler = has_handler || std::thread::panicking();
        if !(ends_with_handler && dropped::are_deferred()) {
            return self.finish(|| Err(error_of_drop(has_handler)));
        }
        if self.end() {
            let (sink, origin, deadline) = (self.sink.clone(), self.origin, self.deadline);
            let has_begun = *self.started.get_mut();
            dropped::defer(Box::new(move |error| {
                send(&*sink, origin, deadline, Err(error), has_begun);
            }));
        }
    }
}

/// Sends the outcome of a request, which a handler may have begun.
fn send(
    sink: &dyn ResponseSink,
    origin: Origin,
    deadline: Option<Instant>,
    outcome: Outcome,
    has_begun: bool,
) {
    match outcome {
        Err(error) if has_begun => sink.respond_begun(origin, deadline, error),
        outcome => sink.respond(origin, deadline, outcome),
    }
}

/// The error of an ask when its reply is dropped.
pub(super) fn error_of_drop(has_handler: bool) -> AskError {
    if std::thread::panicking() {
        AskError::Failed { cause: None }
    } else if has_handler {
        AskError::NoReply
    } else {
        dropped::refusal()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::reply::cancelled::Cancelled;

    const SECOND: Duration = Duration::from_secs(1);

    /// Counts the calls of a responder.
    #[derive(Default)]
    struct CallCounts {
        answers: AtomicUsize,
        begun: AtomicUsize,
        forgotten: AtomicUsize,
        watches: AtomicUsize,
    }

    impl ResponseSink for CallCounts {
        fn respond(&self, _: Origin, _: Option<Instant>, _: Outcome) {
            self.answers.fetch_add(1, Ordering::SeqCst);
        }

        fn respond_begun(&self, _: Origin, _: Option<Instant>, _: AskError) {
            self.begun.fetch_add(1, Ordering::SeqCst);
        }

        fn forget(&self, _: Origin) {
            self.forgotten.fetch_add(1, Ordering::SeqCst);
        }

        fn watch(&self, _: Origin, _: Weak<Responder>) {
            self.watches.fetch_add(1, Ordering::SeqCst);
        }

        fn unwatch(&self, _: Origin) {
            self.watches.store(0, Ordering::SeqCst);
        }
    }

    impl CallCounts {
        fn all(&self) -> [usize; 3] {
            [&self.answers, &self.forgotten, &self.watches]
                .map(|count| count.load(Ordering::SeqCst))
        }
    }

    fn is_too_late(responder: &Responder) -> bool {
        responder.refuse_if_late(Instant::now()).is_some()
    }

    fn new_responder(wanted: bool) -> (Arc<CallCounts>, Arc<Responder>) {
        let calls = Arc::new(CallCounts::default());
        let deadline = Some(Instant::now() + SECOND);
        let responder = Responder::new(calls.clone(), Origin::default(), wanted, deadline);
        (calls, Arc::new(responder))
    }

    #[tokio::test]
    async fn refusal_says_if_a_handler_has_begun_the_request() {
        let refuse: [fn(Arc<Responder>); 2] =
            [|responder| responder.refuse(AskError::NoResponder), drop];
        for end in refuse {
            let (calls, responder) = new_responder(true);
            end(responder);
            assert_eq!((calls.all()[0], calls.begun.load(Ordering::SeqCst)), (1, 0));
            // A handler has forwarded it.
            let (calls, responder) = new_responder(true);
            responder.attach_handler();
            responder.detach();
            end(responder);
            assert_eq!((calls.all()[0], calls.begun.load(Ordering::SeqCst)), (0, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reply_after_an_observed_deadline_is_dropped() {
        let (calls, responder) = new_responder(true);
        Cancelled::new(responder.clone().pending()).await;
        responder.respond(Ok(Vec::new()));
        drop(responder);
        assert_eq!(calls.all(), [0, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn sink_is_watched_from_the_first_poll_to_the_end() {
        let (calls, responder) = new_responder(true);
        let mut cancelled = Box::pin(Cancelled::new(responder.clone().pending()));
        assert_eq!(calls.all(), [0, 0, 0]);
        for _ in 0..3 {
            assert!(futures_util::poll!(cancelled.as_mut()).is_pending());
        }
        assert_eq!(calls.all(), [0, 0, 1]);
        responder.respond(Ok(Vec::new()));
        assert!(futures_util::poll!(cancelled.as_mut()).is_ready());
        assert_eq!(calls.all(), [1, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_and_late_requests_are_not_started() {
        let (calls, responder) = new_responder(true);
        assert!(!is_too_late(&responder));
        responder.give_up();
        assert!(is_too_late(&responder));
        assert_eq!(calls.all(), [0, 1, 0]);
        for (wanted, answers) in [(true, 1), (false, 0)] {
            let (calls, responder) = new_responder(wanted);
            assert!(!is_too_late(&responder));
            assert_eq!(responder.awaited_until().is_some(), wanted);
            advance(SECOND).await;
            assert!(is_too_late(&responder));
            assert_eq!(calls.all(), [answers, 0, 0]);
        }

        // A handler has forwarded it.
        let (calls, responder) = new_responder(true);
        responder.attach_handler();
        responder.detach();
        advance(SECOND).await;
        assert!(is_too_late(&responder));
        assert_eq!(calls.all(), [0, 1, 0]);
    }
}
