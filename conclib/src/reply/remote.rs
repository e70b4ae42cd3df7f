//! The duty to answer a request from the bus, and where it came from.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{AskError, Delivered};
use crate::message::CodecError;
use crate::reply::cancelled::{Awaited, Key, Watchers};
use crate::reply::dropped as dropped_replies;

/// Which client sent a request: 16 random bytes, so that nobody guesses where its replies go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct ClientId(pub(crate) [u8; 16]);

// Whoever knows the whole id could read or forge replies: logs show only its first bytes.
impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Origin {
    pub(crate) client: ClientId,
    pub(crate) id: u64,
}

/// How a request ended: the encoded response, or the error.
pub(crate) type Outcome = Result<Vec<u8>, AskError>;

/// Takes answers back to where the requests came from.
pub(crate) trait ResponseSink: Send + Sync {
    /// Must not block; called from handlers and from drops.
    fn respond(&self, origin: Origin, deadline: Option<Instant>, outcome: Outcome);

    /// True if the asker has given the request up, as far as is known.
    fn is_given_up(&self, _origin: Origin) -> bool {
        false
    }

    /// No answer will come: its asker has given the request up.
    fn forget(&self, _origin: Origin) {}

    /// From now on that responder hears when the asker gives the request up, unless it has; until
    /// [`unwatch`](Self::unwatch).
    fn watch(&self, _origin: Origin, _responder: Weak<Responder>) {}

    fn unwatch(&self, _origin: Origin) {}
}

/// The duty to answer one request from the bus, fulfilled at most once and at the latest on drop.
pub(crate) struct Responder {
    sink: Arc<dyn ResponseSink>,
    origin: Origin,
    /// After this moment an answer is not wanted.
    deadline: Option<Instant>,
    /// An answer was wanted in the beginning: it is no tell.
    is_ask: bool,
    /// An answer was given, or none is wanted.
    done: AtomicBool,
    /// A handler has taken the duty over.
    taken: AtomicBool,
    /// So has one before, which may have handed it on.
    begun: AtomicBool,
    /// Somebody wants to hear of the end.
    is_watched: AtomicBool,
    /// Those who do.
    watchers: Mutex<Watchers>,
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
            taken: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            watchers: Mutex::default(),
        }
    }

    /// One for the same request that never answers.
    pub(crate) fn muted(&self) -> Self {
        Self::new(self.sink.clone(), self.origin, false, self.deadline)
    }

    pub(crate) fn take_over(&self) {
        self.taken.store(true, Ordering::Relaxed);
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn hand_on(&self) {
        self.taken.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.is_awaited() && !self.has_expired() && !self.sink.is_given_up(self.origin)
    }

    /// True for an ask, whatever has become of it.
    pub(crate) fn is_ask(&self) -> bool {
        self.is_ask
    }

    /// Until when the asker waits; `None` for a tell.
    pub(crate) fn awaited_until(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.is_ask)
    }

    /// True if the request is not to be handled any more: its deadline has passed, which is the
    /// answer then, or its asker has given it up.
    pub(crate) fn is_too_late(&self) -> bool {
        if self.has_expired() {
            if self.begun.load(Ordering::Relaxed) {
                self.give_up(); // its asker says so by itself, and that it may have been executed
            } else {
                let delivered = Delivered::No;
                self.refuse(AskError::Timeout { delivered });
            }
            return true;
        }
        if self.is_ask && self.sink.is_given_up(self.origin) {
            self.give_up();
        }
        self.is_ask && !self.is_awaited()
    }

    fn is_awaited(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
    }

    fn has_expired(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The asker has gone: an answer is not wanted any more.
    pub(crate) fn give_up(&self) {
        if self.end() {
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
        self.finish(|| Err(error));
    }

    /// No answer is due any more: the request did not get to its actor, and whoever sent it knows.
    pub(crate) fn forget(&self) {
        self.done.store(true, Ordering::Release);
    }

    fn finish(&self, outcome: impl FnOnce() -> Outcome) {
        if self.end() {
            self.sink.respond(self.origin, self.deadline, outcome());
        }
    }

    /// The duty is over; false if it was before. Who watches hears of it.
    fn end(&self) -> bool {
        if self.done.swap(true, Ordering::SeqCst) {
            return false;
        }
        // Who has begun to watch is seen here, or sees there that it is over: both sides write
        // first and then look.
        if self.is_watched.load(Ordering::SeqCst) {
            self.sink.unwatch(self.origin);
            let watchers = self.watchers.lock().take();
            watchers.wake(); // outside the lock
        }
        true
    }
}

impl Awaited for Responder {
    fn poll_over(self: Arc<Self>, key: &mut Option<Key>, cx: &Context<'_>) -> Poll<()> {
        if !self.is_awaited() {
            return Poll::Ready(());
        }
        let before = self.watchers.lock().keep(key, cx.waker());
        drop(before); // outside the lock
        if !self.is_watched.swap(true, Ordering::SeqCst) {
            self.sink.watch(self.origin, Arc::downgrade(&self));
            // After that: who gives it up now sees us.
            if self.sink.is_given_up(self.origin) {
                self.give_up();
            }
        }
        if !self.done.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.sink.unwatch(self.origin); // it may have ended before we watched
        Poll::Ready(())
    }

    fn unwatch(&self, key: Key) {
        let waker = self.watchers.lock().remove(key);
        drop(waker); // outside the lock
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expire(&self) {
        self.give_up(); // the asker has a timer of its own
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Responder").field(&self.origin).finish()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let taken = *self.taken.get_mut();
        let ends_with_handler = taken || std::thread::panicking();
        if !(ends_with_handler && dropped_replies::are_noted()) {
            return self.finish(|| Err(error_of_drop(taken)));
        }
        if self.end() {
            let (sink, origin, deadline) = (self.sink.clone(), self.origin, self.deadline);
            dropped_replies::note(Box::new(move |error| {
                sink.respond(origin, deadline, Err(error));
            }));
        }
    }
}

/// A share of a bound on bytes; given back on drop.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl HeldBytes {
    /// Takes `bytes` of `limit`; `None` if that would pass it. What alone is more goes alone.
    pub(crate) fn take(total: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Option<Self> {
        let before = total.fetch_add(bytes, Ordering::Relaxed);
        // The guard exists either way, so that giving back is written once.
        let held = Self {
            total: total.clone(),
            bytes,
        };
        let fits = before.saturating_add(bytes) <= limit;
        (fits || before == 0).then_some(held)
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What an asker hears when its reply is dropped unanswered.
pub(crate) fn error_of_drop(taken: bool) -> AskError {
    if std::thread::panicking() {
        AskError::Failed { cause: None }
    } else if taken {
        AskError::NoReply
    } else {
        AskError::ActorStopped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::reply::cancelled::Cancelled;

    const SECOND: Duration = Duration::from_secs(1);

    /// What a responder has said.
    #[derive(Default)]
    struct Said {
        answers: AtomicUsize,
        forgotten: AtomicUsize,
        watches: AtomicUsize,
    }

    impl ResponseSink for Said {
        fn respond(&self, _: Origin, _: Option<Instant>, _: Outcome) {
            self.answers.fetch_add(1, Ordering::SeqCst);
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

    impl Said {
        fn all(&self) -> [usize; 3] {
            [&self.answers, &self.forgotten, &self.watches]
                .map(|count| count.load(Ordering::SeqCst))
        }
    }

    fn asked(wanted: bool) -> (Arc<Said>, Arc<Responder>) {
        let said = Arc::new(Said::default());
        let deadline = Some(Instant::now() + SECOND);
        let responder = Responder::new(said.clone(), Origin::default(), wanted, deadline);
        (said, Arc::new(responder))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_told_of_the_deadline_is_not_heard_by_an_asker_with_a_slower_clock() {
        let (said, responder) = asked(true);
        Cancelled::new(responder.as_question()).await;
        responder.respond(Ok(Vec::new()));
        drop(responder);
        assert_eq!(said.all(), [0, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_watched_from_the_first_look_to_its_end() {
        let (said, responder) = asked(true);
        let mut cancelled = Box::pin(Cancelled::new(responder.as_question()));
        assert_eq!(said.all(), [0, 0, 0]);
        for _ in 0..3 {
            assert!(futures_util::poll!(cancelled.as_mut()).is_pending());
        }
        assert_eq!(said.all(), [0, 0, 1]);
        responder.respond(Ok(Vec::new()));
        assert!(futures_util::poll!(cancelled.as_mut()).is_ready());
        assert_eq!(said.all(), [1, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_or_too_late_is_not_begun() {
        let (said, responder) = asked(true);
        assert!(!responder.is_too_late());
        responder.give_up();
        assert!(responder.is_too_late());
        assert_eq!(said.all(), [0, 1, 0]);
        for (wanted, answers) in [(true, 1), (false, 0)] {
            let (said, responder) = asked(wanted);
            assert!(!responder.is_too_late());
            assert_eq!(responder.awaited_until().is_some(), wanted);
            advance(SECOND).await;
            assert!(responder.is_too_late());
            assert_eq!(said.all(), [answers, 0, 0]);
        }

        // A handler has had it, and handed it on.
        let (said, responder) = asked(true);
        responder.take_over();
        responder.hand_on();
        advance(SECOND).await;
        assert!(responder.is_too_late());
        assert_eq!(said.all(), [0, 1, 0]);
    }
}
