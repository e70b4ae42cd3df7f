//! Takes requests off the inbox and hands them to actors.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{ProxyEnd, Shared};
use crate::actor::cell::Undelivered;
use crate::envelope::{HeldBytes, RequestEnvelope, Responder};
use crate::error::{AskError, Delivered};
use crate::proxy::config::Config;
use crate::proxy::frame::{Kind, Received};
use crate::proxy::noise::Noise;
use crate::registry::Registry;
use crate::urn::Urn;

/// How long a pop waits for a request; also how soon a lost fence is noticed.
const BLOCK: Duration = Duration::from_secs(2);

/// About how many bytes a pop takes.
const POP_BYTES: usize = 256 * 1024;

/// How many frames a pop takes at most.
const POP_FRAMES: usize = 512;

/// How many bytes of requests may wait in mailboxes.
const UNDELIVERED_BYTES: usize = 64 * 1024 * 1024;

/// When it is worth trying again after a queue was full.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The latest deadline that a peer can set: what it writes beyond is cut.
const HORIZON: Duration = Duration::from_secs(24 * 60 * 60);

/// Until when requests may be executed.
pub(super) struct Fence {
    /// `None` once the lease is lost.
    until: Mutex<Option<Instant>>,
}

impl Fence {
    /// Moves the end; what is lost stays lost.
    pub(super) fn extend(&self, until: Instant) {
        if let Some(end) = &mut *self.lock() {
            *end = until;
        }
    }

    pub(super) fn lose(&self) {
        *self.lock() = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some_and(|until| Instant::now() < until)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Popper {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    fence: Arc<Fence>,
    /// How many bytes of requests wait in mailboxes.
    undelivered: Arc<AtomicUsize>,
    max_frame: usize,
    noise: Noise,
    /// The mean size of a frame, to pop by bytes where Redis counts frames.
    mean: MeanSize,
}

/// What a frame means for those that follow.
#[derive(PartialEq, Eq)]
enum Next {
    Serve,
    /// The lease has been given back: what comes now is not executed.
    Refuse,
}

impl Popper {
    pub(super) fn new(
        shared: Arc<Shared>,
        registry: Arc<Registry>,
        config: &Config,
        valid_until: Instant,
    ) -> Self {
        Self {
            shared,
            registry,
            fence: Arc::new(Fence {
                until: Mutex::new(Some(valid_until)),
            }),
            undelivered: Arc::default(),
            max_frame: config.max_frame,
            noise: Noise::default(),
            mean: MeanSize::default(),
        }
    }

    pub(super) fn fence(&self) -> Arc<Fence> {
        self.fence.clone()
    }

    /// Serves until the lease is given back or lost.
    pub(super) async fn run(mut self) -> ProxyEnd {
        let mut next = Next::Serve;
        let mut failures = 0_u32;
        while self.fence.is_open() {
            // What is left after the lease has been given back is there already.
            let block = if next == Next::Serve {
                BLOCK
            } else {
                Duration::ZERO
            };
            let popped = self
                .shared
                .transport
                .pop(self.shared.epoch, self.mean.frames(), block)
                .await;
            match popped {
                Ok(frames) if frames.is_empty() && next == Next::Refuse => {
                    return ProxyEnd::Stopped;
                }
                Ok(frames) => {
                    failures = 0;
                    next = self.handle_all(frames, next);
                    // Lets actors run before the next pop: their answers then travel together.
                    tokio::task::yield_now().await;
                    tokio::task::yield_now().await;
                }
                Err(reason) => {
                    failures += 1;
                    if failures == 1 {
                        warn!(node = %self.shared.node, %reason, "requests cannot be popped");
                    }
                    sleep(Duration::from_millis(u64::from(failures.min(10)) * 50)).await;
                }
            }
        }
        if self.shared.stop.is_cancelled() {
            ProxyEnd::Stopped
        } else {
            ProxyEnd::LeaseLost
        }
    }

    fn handle_all(&mut self, frames: Vec<Bytes>, mut next: Next) -> Next {
        // A pop may have been under way while the fence closed: Redis may have let another in.
        if !self.fence.is_open() {
            if !frames.is_empty() {
                self.noise
                    .hear("requests after the lease had run out", &frames.len());
            }
            return next;
        }
        for frame in frames {
            self.mean.learn(frame.len());
            if self.handle(&frame, &next) == Next::Refuse {
                next = Next::Refuse;
            }
        }
        next
    }

    fn handle(&self, frame: &Bytes, mode: &Next) -> Next {
        let request = match Received::decode(frame) {
            Ok(request) => request,
            Err(unreadable) => {
                self.noise
                    .hear("an unreadable request", &unreadable.problem);
                if let Some(origin) = unreadable.origin {
                    self.shared.outlet.refuse(origin, unreadable.as_ask_error());
                }
                return Next::Serve;
            }
        };
        match request.kind {
            // Anybody can write one; it counts only when we are to stop.
            Kind::Wake if self.shared.stop.is_cancelled() => return Next::Refuse,
            Kind::Wake | Kind::Cancel => {}
            Kind::Ask | Kind::Tell => self.deliver(frame.len(), request, mode),
        }
        Next::Serve
    }

    /// Hands a request to its actor, or says why not.
    fn deliver(&self, size: usize, request: Received, mode: &Next) {
        let now = Instant::now();
        let deadline = self.shared.clock.to_local(request.deadline, now, HORIZON);
        let wanted = request.kind == Kind::Ask;
        let outlet = self.shared.outlet.clone();
        let responder = outlet.responder(request.origin, wanted, deadline);
        if *mode == Next::Refuse {
            return responder.refuse(AskError::NoResponder);
        }
        if deadline <= now {
            return responder.refuse(AskError::Timeout {
                delivered: Delivered::No,
            });
        }
        let limit = self.max_frame;
        if request.contents.len() > limit {
            let size = request.contents.len();
            return responder.refuse(AskError::TooLarge { size, limit });
        }
        let Some(actor) = self.registry.get(&request.urn) else {
            let urn = Urn::unchecked(&request.urn);
            return responder.refuse(AskError::ActorNotFound { urn });
        };
        let overloaded = AskError::Overloaded {
            retry_after: RETRY_AFTER,
        };
        let held = HeldBytes::take(&self.undelivered, size, UNDELIVERED_BYTES);
        if held.is_none() {
            return responder.refuse(overloaded);
        }
        let envelope = RequestEnvelope {
            urn: actor.urn().clone(),
            message: request.message,
            contents: request.contents,
            attributes: request.attributes,
            deadline: Some(deadline),
            responder: Arc::new(responder),
            held,
        };
        match actor.deliver(Box::new(envelope)) {
            Ok(()) => {}
            Err(Undelivered::Full(envelope)) => envelope.responder.refuse(overloaded),
            Err(Undelivered::Stopped(envelope)) => {
                envelope.responder.refuse(AskError::ActorStopped);
            }
        }
    }
}

impl super::Outlet {
    fn responder(
        self: Arc<Self>,
        origin: crate::envelope::Origin,
        wanted: bool,
        deadline: Instant,
    ) -> Responder {
        if wanted {
            self.expect();
        }
        Responder::new(self, origin, wanted, Some(deadline))
    }
}

/// The mean size of the frames that came, the newer ones weighing more.
struct MeanSize(usize);

impl Default for MeanSize {
    /// Before anything has come, frames are taken for small ones.
    fn default() -> Self {
        Self(POP_BYTES / POP_FRAMES)
    }
}

impl MeanSize {
    fn learn(&mut self, size: usize) {
        self.0 = (self.0 * 15 + size) / 16;
    }

    /// How many frames make a pop.
    fn frames(&self) -> u32 {
        let frames = (POP_BYTES / self.0.max(1)).clamp(1, POP_FRAMES);
        u32::try_from(frames).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_are_popped_by_number_and_large_ones_by_bytes() {
        let mut mean = MeanSize::default();
        assert_eq!(mean.frames(), 512);
        (0..200).for_each(|_| mean.learn(16 * 1024));
        assert!((16..=17).contains(&mean.frames()));
        (0..200).for_each(|_| mean.learn(4 * 1024 * 1024));
        assert_eq!(mean.frames(), 1);
        (0..2000).for_each(|_| mean.learn(0));
        assert_eq!(mean.frames(), 512);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_closes_by_itself_and_stays_closed_once_lost() {
        let soon = Instant::now() + Duration::from_secs(1);
        let fence = Fence {
            until: Mutex::new(Some(soon)),
        };
        assert!(fence.is_open());
        sleep(Duration::from_secs(1)).await;
        assert!(!fence.is_open());
        fence.extend(Instant::now() + Duration::from_secs(1));
        assert!(fence.is_open());
        fence.lose();
        fence.extend(Instant::now() + Duration::from_secs(1));
        assert!(!fence.is_open());
    }
}
