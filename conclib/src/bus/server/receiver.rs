//! Takes requests off the inbox; [`deliver`] gives them to their actors. Those of [`operator`]s come from lists beside
//! it, with the same pops: no command is added for them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::bus::fleet::FencedSink;
use crate::bus::keys::Right;
use crate::bus::link::ewma::EwmaSize;
use crate::bus::link::log_once::{Anomaly, LogOnce};
use crate::bus::link::ordered::{BoxFuture, OrderedFutures};
use crate::bus::link::urn_log::UrnLog;
use crate::bus::protocol::Request;
use crate::bus::server::ProxyShared;
use crate::bus::server::counters::count;
use crate::bus::server::dedup::Deduplicator;
use crate::bus::server::fence::Fence;
use crate::bus::server::held_requests::HeldRequests;
use crate::bus::server::retry_after::RetryAdvisor;
use crate::bus::server::tracker::RequestTracker;
use crate::bus::transport::{Epoch, Lists, Popped, ServerNumber, TransportError};
use crate::time::backoff::Backoff;

use operator::TakenActions;

mod deliver;
mod operator;

/// Time for which a pop waits for a request.
pub(super) const POP_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for which pops take from the inbox alone, after one that took from a list beside it.
const OPERATOR_PAUSE: Duration = Duration::from_millis(50);

/// Time for which the last pops wait, after the lease was closed: a client may have read the lease
/// before, and its batch may arrive after.
const DRAIN_WAIT: Duration = Duration::from_millis(20);

/// Time after the close in which requests are still popped, to be refused. A client reads the lease
/// with each batch, so that later ones are of peers that do not keep to the protocol.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Number of failed pops after which draining ends.
const MAX_FAILURES: u32 = 5;

/// The pauses between failed pops.
const RETRY: Backoff =
    Backoff::starting_at(Duration::from_millis(50)).up_to(Duration::from_millis(500));

/// Target size of a pop in bytes.
const POP_BYTES: usize = 512 * 1024;

/// The maximum number of frames in a pop.
const MAX_POP_FRAMES: usize = 512;

/// The longest deadline that a peer can set: a longer one is shortened to it.
pub(crate) const MAX_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Takes the requests of one lease term.
pub(super) struct RequestReceiver {
    shared: Arc<ProxyShared>,
    epoch: Epoch,
    /// The server whose requests are executed.
    server: ServerNumber,
    requests: Arc<RequestTracker>,
    /// Takes the replies to requests for listed names, in a fleet.
    fenced_sink: Option<Arc<FencedSink>>,
    fence: Arc<Fence>,
    /// Recognizes duplicates, so that no request is executed twice.
    dedup: Deduplicator,
    /// Bounds the requests that wait in mailboxes.
    held: HeldRequests,
    /// Advises clients of actors with full mailboxes.
    retry_advisor: RetryAdvisor,
    log: LogOnce,
    /// Tells that were dropped, and of which their senders do not hear.
    dropped_tells: UrnLog,
    /// The mean size of a frame, since Redis counts frames, and not bytes.
    frame_size: EwmaSize,
    /// The time up to which pops take from the inbox alone, after one that took from a list beside it: so those who
    /// inspect take little from the requests.
    operator_pause: Option<Instant>,
    /// The right of a list beside the inbox of which a pop has left a rest: the next pop takes that, and from the inbox.
    operator_rest: Option<Right>,
    /// Recognizes actions that come again.
    actions: TakenActions,
}

/// The treatment of the requests that come in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intake {
    Accept,
    /// The lease was closed: requests are refused with `NoResponder`.
    Reject,
}

type Pops<'a> = OrderedFutures<'a, Result<Popped, TransportError>>;

impl RequestReceiver {
    pub(super) fn new(
        shared: Arc<ProxyShared>,
        epoch: Epoch,
        requests: Arc<RequestTracker>,
        fence: Arc<Fence>,
    ) -> Self {
        let fleet = shared.fleet.clone();
        let listed = fleet.map(|fleet| FencedSink::new(requests.clone(), fleet));
        Self {
            fenced_sink: listed.map(Arc::new),
            held: HeldRequests::new(shared.undelivered.clone()),
            log: shared.log.clone(),
            shared,
            epoch,
            server: ServerNumber::default(),
            requests,
            fence,
            dedup: Deduplicator::default(),
            retry_advisor: RetryAdvisor::default(),
            dropped_tells: UrnLog::default(),
            frame_size: EwmaSize::expecting(POP_BYTES / MAX_POP_FRAMES),
            operator_pause: None,
            operator_rest: None,
            actions: TakenActions::default(),
        }
    }

    /// The same receiver for the requests of that server.
    pub(super) fn taking_from(mut self, server: ServerNumber) -> Self {
        self.server = server;
        self
    }

    /// The same receiver after these requests have been taken.
    pub(super) fn after(mut self, taken: Deduplicator) -> Self {
        if taken.has_forgotten() {
            self.requests.note_forgotten();
        }
        self.dedup = taken;
        self
    }

    /// Refuses all requests that are in the inbox now: for a limited time, since a peer could go on
    /// sending.
    pub(super) async fn refuse_all(mut self) {
        let end = Instant::now() + DRAIN_LIMIT;
        while Instant::now() < end {
            let count = self.frame_size.frames(POP_BYTES, MAX_POP_FRAMES);
            let count = u32::try_from(count).unwrap_or(1);
            let popped = self
                .shared
                .transport
                .pop(self.epoch, Lists::Inbox, count, Duration::ZERO);
            match popped.await {
                Ok(Popped { frames, cut, .. }) if !frames.is_empty() || !cut.is_empty() => {
                    self.handle_all(frames, cut, Intake::Reject);
                }
                Ok(_) => return,
                Err(reason) => {
                    return debug!(%reason, "cannot refuse the requests that the former owner has left: they time out");
                }
            }
        }
    }

    /// Takes requests until the lease is closed or lost; returns those that were taken, to recognize
    /// further copies of them.
    pub(super) async fn run(mut self) -> Deduplicator {
        self.take_requests().await;
        self.dedup
    }

    async fn take_requests(&mut self) {
        let mut intake = Intake::Accept;
        let mut failures = 0_u32;
        let (shared, fence) = (self.shared.clone(), self.fence.clone());
        let mut lost = pin!(fence.lost());
        let mut pops = OrderedFutures::new();
        let mut drain_end = None;
        while fence.wait_open().await {
            if intake == Intake::Reject {
                let now = Instant::now();
                let end = *drain_end.get_or_insert(now + DRAIN_LIMIT);
                if now >= end && pops.len() == 0 {
                    debug!(node = %shared.node, "requests still come in after the last ones were due: leaving them");
                    return;
                }
            }
            self.fill(&shared, &mut pops, intake, failures).await;
            let popped = tokio::select! {
                biased;
                Some(popped) = pops.oldest() => popped,
                // Frames that the pops may yet take are not executed any more.
                _ = &mut lost => break,
            };
            match popped {
                Ok(popped) if popped.is_empty() && intake == Intake::Reject && pops.len() == 0 => {
                    return;
                }
                Ok(popped) => {
                    if failures > 0 {
                        info!(node = %shared.node, "requests are taken again");
                    }
                    failures = 0;
                    intake = self.accept(popped, intake).await;
                    // Lets actors run before the next pop: their replies then travel together.
                    yield_now().await;
                    yield_now().await;
                }
                Err(_) if intake == Intake::Reject && failures >= MAX_FAILURES => return,
                // Another system may be allowed to.
                Err(TransportError::NotPermitted(reason)) if intake == Intake::Accept => {
                    fence.lose(&format!("requests cannot be popped: {reason}"));
                }
                Err(reason) => {
                    // The wake may have gone with the connection.
                    if shared.stop.is_cancelled() && fence.closed().await {
                        intake = Intake::Reject;
                    }
                    if failures == 0 {
                        warn!(node = %shared.node, %reason, "cannot take requests: they wait on the bus until the next attempt");
                    }
                    failures += 1;
                    if pops.len() > 0 {
                        continue; // those pops have failed too
                    }
                    sleep(RETRY.delay(failures - 1)).await;
                }
            }
        }
        self.end_pops(pops).await;
    }

    /// Begins the pops that the intake needs.
    async fn fill<'a>(
        &mut self,
        shared: &'a ProxyShared,
        pops: &mut Pops<'a>,
        intake: Intake,
        failures: u32,
    ) {
        match intake {
            Intake::Accept => {
                // A failure of one pop is a failure of all: one is enough to try.
                let most = if failures > 0 {
                    1
                } else {
                    self.requests.publisher().concurrency()
                };
                self.begin(shared, pops, most, POP_TIMEOUT).await;
            }
            // Pops from before the close are woken, and need not wait to their end. If a wake is
            // lost, one pop does.
            Intake::Reject if pops.len() > 0 => self.wake().await,
            // From the inbox alone: operators could keep these pops from the last requests.
            Intake::Reject => {
                let pop = self.pop(shared, Lists::Inbox, DRAIN_WAIT);
                pops.begin(pop).await;
            }
        }
    }

    /// Ends the pops under way, since the pops of the next term would wait behind them, and refuses the
    /// requests that they still take. A proxy that stops has no next term, and does not wait for long.
    async fn end_pops(&mut self, mut pops: Pops<'_>) {
        let stop = self.shared.stop.clone();
        let mut limit = pin!(async move {
            stop.cancelled().await;
            sleep(DRAIN_LIMIT).await;
        });
        while pops.len() > 0 {
            self.wake().await;
            let popped = tokio::select! {
                biased;
                Some(popped) = pops.oldest() => popped,
                () = &mut limit => return,
            };
            if let Ok(popped) = popped {
                if let Some(taken) = popped.operator {
                    self.handle_operator(taken, Intake::Reject);
                }
                self.handle_all(popped.frames, popped.cut, Intake::Reject);
            }
        }
    }

    async fn wake(&self) {
        let woken = self.shared.transport.wake(self.epoch, Request::wake());
        if let Err(reason) = woken.await {
            debug!(%reason, "could not wake a pop: it waits to its end");
        }
    }

    /// Delivers popped frames, if they may be executed; returns the treatment of those behind them.
    async fn accept(&mut self, popped: Popped, intake: Intake) -> Intake {
        let Popped {
            frames,
            cut,
            operator,
            owner,
            server,
        } = popped;
        if !frames.is_empty() {
            count(&self.shared.counters.reads);
        }
        let is_certain = owner == Ok(Some(self.epoch));
        let of_these = match intake {
            Intake::Accept if !self.is_same(server) || !self.may_execute(owner).await => {
                Intake::Reject
            }
            known => known,
        };
        if let Some(taken) = operator {
            self.operator_pause = Some(Instant::now() + OPERATOR_PAUSE);
            self.operator_rest = taken.may_have_more.then_some(taken.right);
            // An operator that finds no lease counts its action as not executed.
            let of_operators = if is_certain { of_these } else { Intake::Reject };
            self.handle_operator(taken, of_operators);
        }
        let is_woken = self.handle_all(frames, cut, of_these);
        // A lease that is lost for good closes the fence; otherwise the doubt was about these frames
        // alone.
        if is_woken { Intake::Reject } else { intake }
    }

    /// True if popped frames come from the server whose requests are executed. Another one may have those that their
    /// clients have taken back: they are refused, and the next requests come under another lease.
    fn is_same(&self, server: ServerNumber) -> bool {
        let is_same = server == self.server;
        if !is_same && !self.shared.stop.is_cancelled() {
            self.fence.deny("Redis is another one, or has restarted");
        }
        is_same
    }

    /// True if popped frames may be executed, judged by the owner of the lease after the pop.
    async fn may_execute(&self, owner: Result<Option<Epoch>, TransportError>) -> bool {
        match owner {
            Ok(Some(owner)) if owner == self.epoch => self.fence.wait_open().await,
            // Most likely the lease was closed just now, and these frames came before the wake.
            Ok(_) if self.shared.stop.is_cancelled() => {
                self.fence.closed().await && self.fence.wait_open().await
            }
            Ok(None) => {
                self.fence.contest("the bus does not know it any more");
                false
            }
            Ok(Some(_)) => {
                self.fence.contest("another system has it");
                false
            }
            Err(reason) => {
                self.log.record(Anomaly::UnconfirmedLease, &reason);
                false
            }
        }
    }

    /// The lists of the next pop, and the time for which it waits.
    fn lists(&mut self, block: Duration) -> (Lists, Duration) {
        if let Some(end) = self.operator_pause {
            if let Some(right) = self.operator_rest.take() {
                return (Lists::Rest(right), Duration::ZERO);
            }
            let left = end.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return (Lists::Inbox, left.min(block));
            }
            self.operator_pause = None;
        }
        (Lists::All, block)
    }

    /// Begins pops until `most` are under way: far from the bus the next requests travel while one
    /// pop comes back.
    async fn begin<'a>(
        &mut self,
        shared: &'a ProxyShared,
        pops: &mut Pops<'a>,
        most: usize,
        block: Duration,
    ) {
        while pops.len() < most {
            let (lists, block) = self.lists(block);
            let pop = self.pop(shared, lists, block);
            pops.begin(pop).await;
        }
    }

    /// A pop of as many frames as fit into its size.
    fn pop<'a>(
        &self,
        shared: &'a ProxyShared,
        lists: Lists,
        block: Duration,
    ) -> BoxFuture<'a, Result<Popped, TransportError>> {
        let count = self.frame_size.frames(POP_BYTES, MAX_POP_FRAMES);
        let count = u32::try_from(count).unwrap_or(1);
        shared.transport.pop(self.epoch, lists, count, block)
    }
}
