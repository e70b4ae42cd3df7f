//! Takes requests off the inbox and hands them to actors.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::actor::any::Undelivered;
use crate::bus::link::ewma::MeanSize;
use crate::bus::link::log_once::Noise;
use crate::bus::link::ordered::InOrder;
use crate::bus::protocol as frame;
use crate::bus::protocol::{Kind, Received, Request};
use crate::bus::server::Shared;
use crate::bus::server::dedup::Repeats;
use crate::bus::server::fence::Fence;
use crate::bus::server::publisher::Outlet;
use crate::bus::server::retry_after::Pace;
use crate::bus::server::term::Reign;
use crate::bus::transport::{Epoch, Popped, TransportError};
use crate::envelope::RequestEnvelope;
use crate::error::{AskError, Delivered};
use crate::reply::remote::{HeldBytes, Responder};

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
pub(crate) const HORIZON: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Popper {
    shared: Arc<Shared>,
    epoch: Epoch,
    outlet: Arc<Outlet>,
    fence: Arc<Fence>,
    /// What has come, so that nothing is executed twice.
    repeats: Repeats,
    /// How fast those actors work that have no room.
    pace: Pace,
    noise: Noise,
    /// The mean size of a frame, to pop by bytes where Redis counts frames.
    mean: MeanSize,
}

/// What a frame means for those that follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Serve,
    /// The lease has been given back: what comes now is not executed.
    Refuse,
}

type Pops<'a> = InOrder<'a, Result<Popped, TransportError>>;

impl Popper {
    pub(super) fn new(reign: &Reign) -> Self {
        Self {
            shared: reign.shared.clone(),
            epoch: reign.epoch,
            outlet: reign.outlet.clone(),
            fence: reign.fence.clone(),
            repeats: Repeats::default(),
            pace: Pace::default(),
            noise: Noise::default(),
            mean: MeanSize::expecting(POP_BYTES / POP_FRAMES),
        }
    }

    /// Serves until the lease is given back or lost.
    pub(super) async fn run(mut self) {
        let mut next = Next::Serve;
        let mut failures = 0_u32;
        let (shared, fence) = (self.shared.clone(), self.fence.clone());
        let mut lost = pin!(fence.lost());
        let mut pops = InOrder::new();
        while fence.opens().await {
            match next {
                // What makes a pop fail makes them all fail.
                Next::Serve if failures > 0 => self.begin(&shared, &mut pops, 1, BLOCK).await,
                Next::Serve => {
                    let most = self.outlet.windows();
                    self.begin(&shared, &mut pops, most, BLOCK).await;
                }
                // Begun before: they must not wait to their end. If a wake is lost, one does.
                Next::Refuse if pops.len() > 0 => self.wake().await,
                Next::Refuse => self.begin(&shared, &mut pops, 1, LINGER).await,
            }
            let popped = tokio::select! {
                biased;
                Some(popped) = pops.oldest() => popped,
                // What the pops may yet take is not executed any more.
                _ = &mut lost => break,
            };
            match popped {
                Ok(popped)
                    if popped.frames.is_empty() && next == Next::Refuse && pops.len() == 0 =>
                {
                    return;
                }
                Ok(popped) => {
                    if failures > 0 {
                        info!(node = %shared.node, "requests are taken again");
                    }
                    failures = 0;
                    next = self.take(popped, next).await;
                    // Lets actors run before the next pop: their answers then travel together.
                    yield_now().await;
                    yield_now().await;
                }
                Err(_) if next == Next::Refuse && failures >= MAX_FAILURES => return,
                Err(reason) => {
                    if shared.stop.is_cancelled() {
                        // What wakes it up may have gone with the connection.
                        next = Next::Refuse;
                    }
                    if failures == 0 {
                        warn!(node = %shared.node, %reason, "requests cannot be taken: they wait on the bus");
                    }
                    failures += 1;
                    if pops.len() > 0 {
                        continue; // they have failed too
                    }
                    sleep(Duration::from_millis(u64::from(failures.min(10)) * 50)).await;
                }
            }
        }
        self.leave(pops).await;
    }

    /// Ends pops that are under way, lest the next reign's wait behind them.
    async fn leave(&mut self, mut pops: Pops<'_>) {
        while pops.len() > 0 && !self.shared.stop.is_cancelled() {
            self.wake().await;
            let popped = tokio::select! {
                Some(popped) = pops.oldest() => popped,
                () = self.shared.stop.cancelled() => return,
            };
            if let Ok(popped) = popped {
                self.handle_all(popped.frames, Next::Refuse);
            }
        }
    }

    async fn wake(&self) {
        let woken = self.shared.transport.wake(self.epoch, Request::wake());
        if let Err(reason) = woken.await {
            debug!(%reason, "a pop was not woken, and waits to its end");
        }
    }

    /// Hands over what was popped, if it may be executed.
    async fn take(&mut self, popped: Popped, next: Next) -> Next {
        let Popped { frames, owner } = popped;
        let mode = match next {
            Next::Serve if !self.may_execute(owner).await => Next::Refuse,
            known => known,
        };
        // If the lease is lost for good, the fence says so: else the doubt was about these alone.
        if self.handle_all(frames, mode) {
            Next::Refuse
        } else {
            next
        }
    }

    /// Whether what was popped may be executed, going by whose lease it was afterwards.
    async fn may_execute(&self, owner: Result<Option<Epoch>, TransportError>) -> bool {
        match owner {
            Ok(Some(owner)) if owner == self.epoch => self.fence.opens().await,
            // Most likely it was given back just now, and this came before the wake.
            Ok(_) if self.shared.stop.is_cancelled() => self.fence.is_released().await,
            Ok(None) => {
                self.fence.lose("the bus does not know it any more");
                false
            }
            Ok(Some(_)) => {
                self.fence.lose("another has it");
                false
            }
            Err(reason) => {
                self.noise.hear("requests without a lease", &reason);
                false
            }
        }
    }

    /// Begins pops until `most` are under way: far from the bus the next are on their way while one
    /// comes back.
    async fn begin<'a>(
        &self,
        shared: &'a Shared,
        pops: &mut Pops<'a>,
        most: usize,
        block: Duration,
    ) {
        while pops.len() < most {
            let count = self.mean.frames(POP_BYTES, POP_FRAMES);
            let count = u32::try_from(count).unwrap_or(1);
            pops.begin(shared.transport.pop(self.epoch, count, block))
                .await;
        }
    }

    /// True if the lease has been given back, as one of them says: those behind it are refused.
    fn handle_all(&mut self, frames: Vec<Bytes>, mut mode: Next) -> bool {
        let now = Instant::now();
        let mut is_over = false;
        for frame in frames {
            self.mean.learn(frame.len());
            if self.handle(&frame, mode, now) {
                is_over = true;
                mode = Next::Refuse;
            }
        }
        is_over
    }

    /// True if it says that the lease has been given back.
    fn handle(&mut self, frame: &Bytes, mode: Next, now: Instant) -> bool {
        let request = match Received::decode(frame) {
            Ok(request) => request,
            Err(unreadable) => {
                self.noise
                    .hear("an unreadable request", &unreadable.problem);
                if let Some(origin) = unreadable.origin {
                    self.outlet.refuse(origin, unreadable.as_ask_error());
                }
                return false;
            }
        };
        match request.kind {
            // Anybody can write one; it counts only when we are to stop.
            Kind::Wake => return self.shared.stop.is_cancelled(),
            Kind::Cancel => {
                let deadline = self.shared.clock.to_local(request.deadline, now, HORIZON);
                self.outlet.give_up(request.origin, deadline, now);
            }
            Kind::Ask | Kind::Tell => self.deliver(frame.len(), request, mode, now),
        }
        false
    }

    /// Hands a request to its actor, or says why not.
    fn deliver(&mut self, size: usize, request: Received<'_>, mode: Next, now: Instant) {
        if self.repeats.has_seen(request.origin) {
            // It has its answer, or will have it.
            return self
                .noise
                .hear("a request that came twice", &request.message);
        }
        let deadline = self.shared.clock.to_local(request.deadline, now, HORIZON);
        let wanted = request.kind == Kind::Ask;
        let responder = self
            .outlet
            .clone()
            .responder(request.origin, wanted, deadline);
        let refuse = |responder: &Responder, error: AskError| {
            if !wanted {
                self.noise.hear("a tell that is not delivered", &error);
            }
            responder.refuse(error);
        };
        // Also of what is refused: sent again, it would be executed after all.
        self.repeats.remember(request.origin, deadline, now);
        if mode == Next::Refuse {
            return refuse(&responder, AskError::NoResponder);
        }
        if let Some(refusal) = self.judge(&request, deadline <= now) {
            return refuse(&responder, refusal);
        }
        let actor = self.shared.registry.get(request.urn);
        let Some(actor) = actor.filter(|actor| !actor.is_private()) else {
            let absence = self.shared.registry.absence_on_bus(request.urn);
            return refuse(&responder, absence.into());
        };
        let held = HeldBytes::take(&self.shared.undelivered, size, UNDELIVERED_BYTES);
        if held.is_none() {
            return refuse(&responder, AskError::overloaded());
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
            Err(Undelivered::Full(envelope)) => {
                let retry_after = self.pace.retry_after(&*actor, now);
                refuse(&envelope.responder, AskError::Overloaded { retry_after });
            }
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
        let limit = self.shared.config.max_frame;
        let size = frame::size(&request.contents, &request.attributes);
        (size > limit).then_some(AskError::TooLarge { size, limit })
    }
}

impl Outlet {
    fn responder(
        self: Arc<Self>,
        origin: crate::reply::remote::Origin,
        wanted: bool,
        deadline: Instant,
    ) -> Responder {
        if wanted {
            self.expect();
        }
        Responder::new(self, origin, wanted, Some(deadline))
    }
}
