//! The duty to answer a request from the bus, and where it came from.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::time::Instant;

use crate::error::AskError;
use crate::message::CodecError;

/// Which client sent a request: 16 random bytes, so that nobody guesses where its replies go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ClientId(pub(crate) [u8; 16]);

// Whoever knows the whole id could read or forge replies: logs show only its first bytes.
impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
}

/// The duty to answer one request from the bus, fulfilled at most once and at the latest on drop.
pub(crate) struct Responder {
    sink: Arc<dyn ResponseSink>,
    origin: Origin,
    /// After this moment an answer is not wanted.
    deadline: Option<Instant>,
    /// An answer was given, or none was ever wanted.
    done: AtomicBool,
    /// A handler has taken the duty over.
    taken: AtomicBool,
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
            done: AtomicBool::new(!wanted),
            taken: AtomicBool::new(false),
        }
    }

    /// One for the same request that never answers.
    pub(crate) fn muted(&self) -> Self {
        Self::new(self.sink.clone(), self.origin, false, self.deadline)
    }

    pub(crate) fn take_over(&self) {
        self.taken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn hand_on(&self) {
        self.taken.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
            && self
                .deadline
                .is_none_or(|deadline| Instant::now() < deadline)
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

    fn finish(&self, outcome: impl FnOnce() -> Outcome) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.sink.respond(self.origin, self.deadline, outcome());
        }
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
        self.finish(|| Err(verdict_of_drop(taken)));
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
pub(crate) fn verdict_of_drop(taken: bool) -> AskError {
    if std::thread::panicking() {
        AskError::Failed
    } else if taken {
        AskError::NoReply
    } else {
        AskError::ActorStopped
    }
}
