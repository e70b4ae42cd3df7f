//! Takes requests off the inbox and hands them to actors.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{ProxyEnd, Shared};
use crate::actor::cell::Undelivered;
use crate::envelope::RequestEnvelope;
use crate::error::{AskError, Delivered};
use crate::proxy::config::Config;
use crate::proxy::frame::{self, Kind, Received, Request};
use crate::proxy::in_order::InOrder;
use crate::proxy::noise::Noise;
use crate::proxy::transport::TransportError;
use crate::registry::Registry;
use crate::responder::{HeldBytes, Responder};
use crate::urn::Urn;

/// How long a pop waits for a request.
const BLOCK: Duration = Duration::from_secs(2);

/// How long the last pops wait, after the lease has been given back: a client may have read the
/// lease before, and its batch arrive after.
const LINGER: Duration = Duration::from_millis(20);

/// How often popping may fail in that time.
const MAX_FAILURES: u32 = 5;

/// About how many bytes a pop takes.
const POP_BYTES: usize = 256 * 1024;

/// How many frames a pop takes at most.
const POP_FRAMES: usize = 512;

/// How many bytes of requests may wait in mailboxes.
const UNDELIVERED_BYTES: usize = 64 * 1024 * 1024;

/// The latest deadline that a peer can set: what it writes beyond is cut.
const HORIZON: Duration = Duration::from_secs(24 * 60 * 60);

/// Until when requests may be executed. Between its end and the keeper's verdict, nothing is.
pub(super) struct Fence {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    end: Instant,
    /// The lease is lost for good.
    lost: bool,
}

impl Fence {
    fn new(end: Instant) -> Self {
        Self {
            state: watch::Sender::new(State { end, lost: false }),
        }
    }

    /// Moves the end, which may have come already; what is lost stays lost.
    pub(super) fn extend(&self, end: Instant) {
        self.state.send_modify(|state| state.end = end);
    }

    /// The lease was given back, not lost: what comes before the wake is executed, however long
    /// that takes, and nothing that comes after.
    pub(super) fn stay_open(&self) {
        self.extend(Instant::now() + HORIZON);
    }

    pub(super) fn lose(&self) {
        self.state.send_modify(|state| state.lost = true);
    }

    pub(super) fn end(&self) -> Instant {
        self.state.borrow().end
    }

    /// Waits until it is open; false if it will never be.
    async fn opens(&self) -> bool {
        let is_open = |state: &State| !state.lost && Instant::now() < state.end;
        if is_open(&self.state.borrow()) {
            return true;
        }
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| state.lost || is_open(state)).await;
        settled.is_ok_and(|state| !state.lost)
    }

    /// Waits until it is lost.
    async fn lost(&self) {
        // The sender lives as long as this.
        drop(self.state.subscribe().wait_for(|state| state.lost).await);
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
            fence: Arc::new(Fence::new(valid_until)),
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
        let fence = self.fence.clone();
        let mut lost = pin!(fence.lost());
        let shared = self.shared.clone();
        let mut pops = InOrder::new();
        while fence.opens().await {
            match next {
                // What makes a pop fail makes them all fail.
                Next::Serve if failures > 0 => self.begin(&shared, &mut pops, 1, BLOCK).await,
                Next::Serve => {
                    let most = shared.outlet.windows();
                    self.begin(&shared, &mut pops, most, BLOCK).await;
                }
                Next::Refuse if pops.len() > 0 => {
                    // Begun before: they must not wait to their end. If a wake is lost, one does.
                    drop(shared.transport.wake(shared.epoch, Request::wake()).await);
                }
                Next::Refuse => self.begin(&shared, &mut pops, 1, LINGER).await,
            }
            let popped = tokio::select! {
                biased;
                Some(popped) = pops.oldest() => popped,
                // What the pops may yet take is not executed any more.
                () = &mut lost => break,
            };
            match popped {
                Ok(frames) if frames.is_empty() && next == Next::Refuse && pops.len() == 0 => {
                    return ProxyEnd::Stopped;
                }
                // The fence may have closed meanwhile, and Redis have let another in.
                Ok(frames) if !fence.opens().await => {
                    self.noise
                        .hear("requests after the lease had run out", &frames.len());
                }
                Ok(frames) => {
                    failures = 0;
                    next = self.handle_all(frames, next);
                    // Lets actors run before the next pop: their answers then travel together.
                    yield_now().await;
                    yield_now().await;
                }
                Err(_) if next == Next::Refuse && failures >= MAX_FAILURES => {
                    return ProxyEnd::Stopped;
                }
                Err(reason) => {
                    if self.shared.stop.is_cancelled() {
                        // What wakes it up may have gone with the connection.
                        next = Next::Refuse;
                    }
                    if failures == 0 {
                        warn!(node = %self.shared.node, %reason, "requests cannot be popped");
                    }
                    failures += 1;
                    if pops.len() > 0 {
                        continue; // they have failed too
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

    /// Begins pops until `most` are under way: far from the bus the next are on their way while one
    /// comes back.
    async fn begin<'a>(
        &self,
        shared: &'a Shared,
        pops: &mut InOrder<'a, Result<Vec<Bytes>, TransportError>>,
        most: usize,
        block: Duration,
    ) {
        while pops.len() < most {
            let count = self.mean.frames();
            pops.begin(shared.transport.pop(shared.epoch, count, block))
                .await;
        }
    }

    fn handle_all(&mut self, frames: Vec<Bytes>, mut next: Next) -> Next {
        let now = Instant::now();
        for frame in frames {
            self.mean.learn(frame.len());
            if self.handle(&frame, &next, now) == Next::Refuse {
                next = Next::Refuse;
            }
        }
        next
    }

    fn handle(&self, frame: &Bytes, mode: &Next, now: Instant) -> Next {
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
            Kind::Ask | Kind::Tell => self.deliver(frame.len(), request, mode, now),
        }
        Next::Serve
    }

    /// Hands a request to its actor, or says why not.
    fn deliver(&self, size: usize, request: Received<'_>, mode: &Next, now: Instant) {
        let deadline = self.shared.clock.to_local(request.deadline, now, HORIZON);
        let wanted = request.kind == Kind::Ask;
        let outlet = self.shared.outlet.clone();
        let responder = outlet.responder(request.origin, wanted, deadline);
        let refuse = |responder: &Responder, error: AskError| {
            if !wanted {
                self.noise.hear("a tell that is not delivered", &error);
            }
            responder.refuse(error);
        };
        let refusal = if *mode == Next::Refuse {
            Some(AskError::NoResponder)
        } else {
            self.judge(&request, deadline <= now)
        };
        if let Some(refusal) = refusal {
            return refuse(&responder, refusal);
        }
        let Some(actor) = self.registry.get(request.urn) else {
            let urn = Urn::unchecked(request.urn);
            return refuse(&responder, AskError::ActorNotFound { urn });
        };
        let overloaded = AskError::overloaded();
        let held = HeldBytes::take(&self.undelivered, size, UNDELIVERED_BYTES);
        if held.is_none() {
            return refuse(&responder, overloaded);
        }
        let envelope = RequestEnvelope {
            urn: actor.urn().clone(),
            message: request.message.to_owned(),
            contents: request.contents,
            attributes: request.attributes,
            deadline: Some(deadline),
            responder: Arc::new(responder),
            held,
        };
        match actor.deliver(Box::new(envelope)) {
            Ok(()) => {}
            Err(Undelivered::Full(envelope)) => refuse(&envelope.responder, overloaded),
            Err(Undelivered::Stopped(envelope)) => {
                refuse(&envelope.responder, AskError::ActorStopped);
            }
        }
    }

    /// Why a request is not for any actor, if so.
    fn judge(&self, request: &Received<'_>, expired: bool) -> Option<AskError> {
        if expired {
            let delivered = Delivered::No;
            return Some(AskError::Timeout { delivered });
        }
        let limit = self.max_frame;
        let size = frame::size(&request.contents, &request.attributes);
        (size > limit).then_some(AskError::TooLarge { size, limit })
    }
}

impl super::Outlet {
    fn responder(
        self: Arc<Self>,
        origin: crate::responder::Origin,
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
    async fn a_fence_closes_by_itself_and_opens_again_unless_it_is_lost() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let fence = Fence::new(start + SECOND);
        assert!(fence.opens().await);
        sleep(SECOND).await;
        let verdict = async {
            sleep(SECOND).await;
            fence.extend(start + 3 * SECOND);
        };
        assert_eq!(tokio::join!(fence.opens(), verdict), (true, ()));
        assert_eq!(start.elapsed(), 2 * SECOND);

        let verdict = async {
            sleep(2 * SECOND).await;
            fence.lose();
        };
        assert!(fence.opens().await);
        tokio::join!(fence.lost(), verdict);
        assert!(!fence.opens().await);
        fence.extend(Instant::now() + SECOND);
        assert!(!fence.opens().await);
    }
}
