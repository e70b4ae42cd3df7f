//! Answers on their way to the clients: gathered per client while others are under way, then
//! published together.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::bus::config::Config;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::concurrency::Windows;
use crate::bus::link::log_once::Noise;
use crate::bus::link::outage::Outage;
use crate::bus::protocol::{Answer, encode_reply};
use crate::bus::transport::{Epoch, ServerTransport, TransportError};
use crate::core::spawn_task;
use crate::error::AskError;
use crate::reply::remote::{ClientId, Origin, Outcome, Responder, ResponseSink};

use crate::bus::server::cancellations::GivenUp;

/// A published frame holds about this many bytes; a larger answer goes alone.
const PUBLISH_BYTES: usize = 256 * 1024;

/// How many bytes of answers may wait. Beyond it they are dropped: the bus does not take them.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// How many frames are published at a time. The connection takes a few thousand.
const AT_ONCE: usize = 256;

/// How long to go on when the bus does not take answers: a connection comes back sooner.
const OUTAGE: Duration = Duration::from_secs(10);

/// How long to wait then between two attempts. Further answers gather meanwhile.
const PAUSE: Duration = Duration::from_millis(25);

/// How long to publish again what nobody received: a client that connects again takes less.
const AGAIN: Duration = Duration::from_secs(10);

/// How many frames may wait to be published again.
const MAX_AGAIN: usize = 64;

/// For an answer to somebody whose deadline is unknown.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Outlet {
    transport: Arc<dyn ServerTransport>,
    epoch: Epoch,
    /// The largest answer, in bytes.
    limit: usize,
    /// True if clients hear the cause of an actor's failure.
    exposes_failures: bool,
    state: Mutex<State>,
    /// Says that there is something to publish.
    filled: Notify,
    /// Says that nothing is expected and nothing waits.
    emptied: Notify,
    /// Room for frames that are published again.
    again: Arc<Semaphore>,
    /// The requests whose answers nobody waits for any more.
    given_up: GivenUp,
    noise: Noise,
    /// The bus does not take answers.
    outage: Outage,
}

#[derive(Default)]
struct State {
    waiting: HashMap<ClientId, Vec<Waiting>>,
    /// How many bytes wait.
    bytes: usize,
    /// How many asks have no answer yet.
    expected: usize,
    /// How many rounds of frames are being published.
    publishing: usize,
    /// How many may be.
    windows: Windows,
    closed: bool,
}

struct Waiting {
    answer: Answer,
    deadline: Instant,
}

/// Answers for one client, written.
struct Frame {
    client: ClientId,
    bytes: Bytes,
    /// After this nobody waits for any of them.
    deadline: Instant,
}

impl Outlet {
    pub(super) fn new(transport: Arc<dyn ServerTransport>, epoch: Epoch, config: &Config) -> Self {
        Self {
            transport,
            epoch,
            limit: config.max_frame,
            exposes_failures: config.exposes_failures,
            state: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            again: Arc::new(Semaphore::new(MAX_AGAIN)),
            given_up: GivenUp::default(),
            noise: Noise::default(),
            outage: Outage::default(),
        }
    }

    /// An ask was taken: an answer will come.
    pub(crate) fn expect(&self) {
        self.lock().expected += 1;
    }

    /// Answers a request that never became one.
    pub(super) fn refuse(&self, origin: Origin, error: AskError) {
        self.expect();
        self.respond(origin, None, Err(error));
    }

    /// A client has given a request up.
    pub(super) fn give_up(&self, origin: Origin, deadline: Instant, now: Instant) {
        if let Some(responder) = self.given_up.insert(origin, deadline, now) {
            responder.give_up(); // outside the lock: it wakes a handler
        }
    }

    /// An ask that was taken gets no answer.
    fn expect_no_more(&self) {
        let mut state = self.lock();
        state.expected = state.expected.saturating_sub(1);
        if state.is_idle() {
            self.emptied.notify_waiters();
        }
    }

    /// Waits until every ask that was taken is answered and every answer is published.
    pub(super) async fn drained(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.lock().is_idle() {
                return;
            }
            emptied.await;
        }
    }

    /// How many things of a kind are worth having under way at a time on this bus.
    pub(super) fn windows(&self) -> usize {
        self.lock().windows.allowed()
    }

    /// Publishes nothing any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// What waits, as frames; `None` when closed.
    fn gather(&self) -> Option<Vec<Frame>> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let waiting = mem::take(&mut state.waiting);
        state.bytes = 0;
        if waiting.is_empty() {
            return Some(Vec::new());
        }
        state.publishing += 1;
        drop(state);
        let frames = waiting
            .into_iter()
            .flat_map(|(client, answers)| self.frames(client, answers));
        Some(frames.collect())
    }

    /// Splits one client's answers into frames.
    fn frames(&self, client: ClientId, waiting: Vec<Waiting>) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut answers = Vec::new();
        let mut bytes = 0;
        let mut latest = None::<Instant>;
        let mut finish = |answers: &mut Vec<Answer>, latest: &mut Option<Instant>| {
            if let Some(deadline) = latest.take() {
                let bytes = encode_reply(self.epoch, answers);
                answers.clear();
                frames.push(Frame {
                    client,
                    bytes,
                    deadline,
                });
            }
        };
        for Waiting { answer, deadline } in waiting {
            let size = answer.size();
            if bytes + size > PUBLISH_BYTES {
                finish(&mut answers, &mut latest);
                bytes = 0;
            }
            bytes += size;
            latest = latest.max(Some(deadline));
            answers.push(answer);
        }
        finish(&mut answers, &mut latest);
        frames
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.expected == 0 && self.waiting.is_empty() && self.publishing == 0
    }
}

impl ResponseSink for Outlet {
    fn is_given_up(&self, origin: Origin) -> bool {
        self.given_up.contains(origin)
    }

    fn forget(&self, origin: Origin) {
        self.given_up.remove(origin);
        self.expect_no_more();
    }

    fn watch(&self, origin: Origin, responder: Weak<Responder>) {
        self.given_up.watch(origin, responder);
    }

    fn unwatch(&self, origin: Origin) {
        self.given_up.unwatch(origin);
    }

    fn respond(&self, origin: Origin, deadline: Option<Instant>, mut outcome: Outcome) {
        if self.given_up.remove(origin) {
            return self.expect_no_more();
        }
        let limit = self.limit;
        if let Ok(contents) = &outcome
            && contents.len() > limit
        {
            outcome = Err(too_large(contents.len(), limit));
        }
        if let Err(AskError::Failed { cause }) = &mut outcome
            && !self.exposes_failures
        {
            *cause = None;
        }
        let deadline = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
        let answer = Answer::new(origin.id, outcome);
        let size = answer.size();
        let mut wakes = false;
        let mut state = self.lock();
        state.expected = state.expected.saturating_sub(1);
        let refused = if state.closed {
            Some("answers after the proxy had ended")
        } else if state.bytes > 0 && state.bytes + size > WAITING_BYTES {
            Some("more answers than the bus takes")
        } else {
            wakes = state.waiting.is_empty();
            state.bytes += size;
            let waiting = state.waiting.entry(origin.client).or_default();
            waiting.push(Waiting { answer, deadline });
            None
        };
        drop(state);
        match refused {
            // Whoever put the first in has woken the publisher.
            None if wakes => self.filled.notify_one(),
            None => {}
            Some(kind) => {
                self.noise.hear(kind, &size);
                self.emptied.notify_waiters();
            }
        }
    }
}

/// What an asker hears whose answer is too large: its request was executed.
pub(crate) fn too_large(size: usize, limit: usize) -> AskError {
    AskError::BadResponse {
        reason: format!("{size} bytes are more than the limit of {limit} bytes"),
    }
}

/// Publishes answers, round after round, until the outlet is closed.
pub(super) async fn publish(outlet: Arc<Outlet>) {
    let mut rounds: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    loop {
        let allowed = outlet.windows();
        if rounds.len() < allowed {
            match outlet.gather() {
                None => break,
                Some(frames) if frames.is_empty() => {}
                Some(frames) => rounds.push(Box::pin(publish_round(outlet.clone(), frames))),
            }
        }
        let has_room = rounds.len() < allowed;
        tokio::select! {
            biased;
            () = one_ends(&mut rounds) => {}
            () = outlet.filled.notified(), if has_room => {}
        }
    }
    while !rounds.is_empty() {
        one_ends(&mut rounds).await;
    }
}

/// Polls all, until one of them has ended; never ends if there is none. (A `FuturesUnordered` would
/// wake its own task after each poll, and the runtime then another thread.)
async fn one_ends(rounds: &mut Vec<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    poll_fn(|cx| {
        let before = rounds.len();
        rounds.retain_mut(|round| round.as_mut().poll(cx).is_pending());
        if rounds.len() < before {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Publishes frames side by side.
async fn publish_round(outlet: Arc<Outlet>, mut frames: Vec<Frame>) {
    if frames.len() == 1
        && let Some(frame) = frames.pop()
    {
        publish_frame(&outlet, frame).await;
    } else {
        stream::iter(frames)
            .for_each_concurrent(AT_ONCE, |frame| publish_frame(&outlet, frame))
            .await;
    }
    let mut state = outlet.lock();
    state.publishing -= 1;
    if state.is_idle() {
        outlet.emptied.notify_waiters();
    }
}

/// Publishes a frame; if nobody received it, the client may be connecting again: it is tried again
/// by the side, so that the other clients do not wait. Doing it twice does no harm: a client takes one answer per request.
async fn publish_frame(outlet: &Arc<Outlet>, frame: Frame) {
    if outlet.publish_through_outage(&frame).await {
        return;
    }
    let Ok(permit) = outlet.again.clone().try_acquire_owned() else {
        outlet
            .noise
            .hear("answers that nobody received", &frame.bytes.len());
        return;
    };
    let outlet = outlet.clone();
    let end = frame.deadline.min(Instant::now() + AGAIN);
    spawn_task(async move {
        for attempt in 0.. {
            sleep(RECONNECT_BACKOFF.jittered_delay(attempt, fastrand::f64())).await;
            if outlet.lock().closed || end <= Instant::now() {
                let bytes = frame.bytes.len();
                outlet.noise.hear("answers that nobody received", &bytes);
                break;
            }
            if outlet.try_publish(&frame).await == Ok(true) {
                break;
            }
        }
        drop(permit);
    });
}

impl Outlet {
    /// True if somebody received it, or nobody is to get it any more.
    async fn publish_through_outage(&self, frame: &Frame) -> bool {
        let patience = frame.deadline.min(Instant::now() + OUTAGE);
        loop {
            if let Ok(received) = self.try_publish(frame).await {
                return received;
            }
            if self.lock().closed || patience <= Instant::now() {
                return true;
            }
            sleep(PAUSE).await;
        }
    }

    /// True if somebody received it, as far as the bus can tell.
    async fn try_publish(&self, frame: &Frame) -> Result<bool, TransportError> {
        let sent = Instant::now();
        let published = self.transport.publish(frame.client, frame.bytes.clone());
        match published.await {
            Ok(receivers) => {
                let now = Instant::now();
                let mut state = self.lock();
                state.windows.learn(now, now.duration_since(sent));
                drop(state);
                if self.outage.ends() {
                    info!("answers are published again");
                }
                Ok(receivers != Some(0))
            }
            Err(error) => {
                if self.outage.begins() {
                    warn!(%error, "answers cannot be published: they wait until their askers do not");
                }
                Err(error)
            }
        }
    }
}
