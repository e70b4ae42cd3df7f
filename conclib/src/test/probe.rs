//! An actor that records its messages for a test.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time;

use crate::actor::{Actor, Context, Handler, Handlers, Recipient, RecipientQuery};
use crate::envelope::RequestEnvelope;
use crate::error::Failure;
use crate::message::ActorMessage;
use crate::reply::{Limit, Reply};
use crate::system::{ActorSystem, Spawn, SpawnError};
use crate::urn::{Urn, UrnError};

/// The longest wait for an expected message, unless it is set.
const EXPECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An actor that takes messages of one type, and lets a test expect them.
///
/// It takes the place of an actor that the one under test sends to: pass its
/// [`recipient`](Self::recipient), or spawn it at that actor's URN. It answers `()`, or the result of
/// a function (see [`answering`](Self::answering)). The messages need be neither `Clone` nor `Debug`,
/// and may be local.
///
/// The actor belongs to the system: it lives on when its probe is dropped.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::test::Probe;
/// use std::time::Duration;
///
/// #[derive(ActorMessage, Serialize, Deserialize, Debug, PartialEq)]
/// struct Note(String);
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let system = ActorSystem::new();
/// let log = Probe::<Note>::spawn(&system).urn("log").await?;
///
/// system.tell("log", Note("one".into())).await?; // as an actor under test would
/// log.recipient().tell(Note("two".into())).await?;
/// assert_eq!(log.expect().await, Note("one".into()));
/// assert_eq!(log.expect().await, Note("two".into()));
/// log.expect_none(Duration::from_secs(1)).await;
/// # Ok(()) }
/// ```
pub struct Probe<M: ActorMessage> {
    recipient: Recipient<M>,
    /// Shared with the actor.
    received: Arc<ReceivedQueue<M>>,
    /// The longest wait for an expected message.
    timeout: Duration,
}

/// Messages that the test has not taken yet.
struct ReceivedQueue<M> {
    messages: Mutex<VecDeque<M>>,
    /// Wakes all waits for a message.
    arrived: Notify,
}

impl<M: ActorMessage<Response = ()>> Probe<M> {
    /// Starts a probe for messages that are answered with `()`; awaited like
    /// [`ActorSystem::spawn`].
    pub fn spawn(system: &ActorSystem) -> SpawnProbe<M> {
        Self::answering(system, |_| ())
    }
}

impl<M: ActorMessage> Probe<M> {
    /// Starts a probe that answers each message with the function's result.
    ///
    /// ```
    /// use conclib::prelude::*;
    /// use conclib::test::Probe;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Double { n: u32 }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let doubler = Probe::answering(&system, |asked: &Double| asked.n * 2).await?;
    /// assert_eq!(doubler.recipient().ask(Double { n: 21 }).await?, 42);
    /// assert_eq!(doubler.expect().await.n, 21);
    /// # Ok(()) }
    /// ```
    pub fn answering<F>(system: &ActorSystem, answer: F) -> SpawnProbe<M>
    where
        F: FnMut(&M) -> M::Response + Send + 'static,
    {
        let received = Arc::new(ReceivedQueue {
            messages: Mutex::default(),
            arrived: Notify::new(),
        });
        let recorder = Recorder {
            received: received.clone(),
            answer: Box::new(answer),
        };
        SpawnProbe {
            spawn: system.spawn(recorder),
            received,
            timeout: EXPECT_TIMEOUT,
        }
    }

    /// The address for messages to the probe.
    pub fn recipient(&self) -> Recipient<M> {
        self.recipient.clone()
    }

    /// The probe's URN.
    pub fn urn(&self) -> &Urn {
        self.recipient.urn()
    }

    /// Takes the next message, and waits for it if need be: for 5 s of tokio's time, unless
    /// [`timeout`](SpawnProbe::timeout) says otherwise.
    ///
    /// # Panics
    ///
    /// If no message arrives in time.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing.
    #[track_caller]
    pub fn expect(&self) -> impl Future<Output = M> + Send {
        let caller = Location::caller();
        async move {
            let message = time::timeout(self.timeout, self.received.next()).await.ok();
            message.unwrap_or_else(|| {
                panic!(
                    "the probe `{}` got no `{}` within {:?} ({caller})",
                    self.urn(),
                    M::NAME,
                    self.timeout
                )
            })
        }
    }

    /// Waits for this time of tokio's clock, and checks that no message arrives.
    ///
    /// # Panics
    ///
    /// If a message arrives, or has arrived and was not taken.
    #[track_caller]
    pub fn expect_none(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let caller = Location::caller();
        async move {
            let message = time::timeout(duration, self.received.next()).await;
            assert!(
                message.is_err(),
                "the probe `{}` got a `{}` that was not expected ({caller})",
                self.urn(),
                M::NAME
            );
        }
    }

    /// Takes all messages that have arrived and were not taken yet, in their order.
    pub fn received(&self) -> Vec<M> {
        mem::take(&mut *self.received.lock()).into()
    }
}

impl<M: ActorMessage> fmt::Debug for Probe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("urn", self.urn())
            .field("waiting", &self.received.lock().len())
            .finish_non_exhaustive()
    }
}

impl<M> ReceivedQueue<M> {
    async fn next(&self) -> M {
        loop {
            // Before the look, so that a message that arrives in between wakes it.
            let arrived = self.arrived.notified();
            if let Some(message) = self.lock().pop_front() {
                return message;
            }
            arrived.await;
        }
    }

    fn add(&self, message: M) {
        self.lock().push_back(message);
        self.arrived.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<M>> {
        self.messages.lock()
    }
}

/// A probe about to start: made by [`Probe::spawn`] and [`Probe::answering`], started when awaited.
///
/// # Cancel safety
///
/// As that of [`Spawn`].
#[must_use = "a probe is started when its spawn is awaited"]
pub struct SpawnProbe<M: ActorMessage> {
    spawn: Spawn<Recorder<M>>,
    received: Arc<ReceivedQueue<M>>,
    timeout: Duration,
}

impl<M: ActorMessage> SpawnProbe<M> {
    /// The probe's URN, instead of one that is generated.
    pub fn urn<U>(mut self, urn: U) -> Self
    where
        U: TryInto<Urn>,
        U::Error: Into<UrnError>,
    {
        self.spawn = self.spawn.urn(urn);
        self
    }

    /// Sets the longest wait of [`expect`](Probe::expect): 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<M: ActorMessage> Future for SpawnProbe<M> {
    type Output = Result<Probe<M>, SpawnError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let actor = ready!(Pin::new(&mut self.spawn).poll(cx))?;
        Poll::Ready(Ok(Probe {
            recipient: actor.recipient(),
            received: self.received.clone(),
            timeout: self.timeout,
        }))
    }
}

impl<M: ActorMessage> fmt::Debug for SpawnProbe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnProbe")
            .field("spawn", &self.spawn)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The actor behind a probe.
struct Recorder<M: ActorMessage> {
    received: Arc<ReceivedQueue<M>>,
    answer: Box<Answer<M>>,
}

/// The function that makes a probe's answers.
type Answer<M> = dyn FnMut(&M) -> <M as ActorMessage>::Response + Send;

impl<M: ActorMessage> Recorder<M> {
    fn record(&mut self, message: M, reply: Reply<M::Response>) {
        let response = (self.answer)(&message);
        // Before the answer: a test that has it may look for the message.
        self.received.add(message);
        reply.send(response);
    }
}

impl<M: ActorMessage> Actor for Recorder<M> {
    /// Unbounded, so that no message is refused because the probe is slow.
    const MAILBOX: usize = usize::MAX;
}

/// The entries of a [`Recorder`]'s mailbox.
enum Inbox<M: ActorMessage> {
    Message(M, Reply<M::Response>),
    Frame(Box<RequestEnvelope>),
}

impl<M: ActorMessage> Handlers for Recorder<M> {
    type Inbox = Inbox<M>;

    async fn dispatch(
        &mut self,
        inbox: &mut Option<Inbox<M>>,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        if let Some(Inbox::Message(message, reply)) = inbox.take() {
            self.record(message, reply);
        }
        Ok(())
    }

    fn frame(envelope: Box<RequestEnvelope>) -> Inbox<M> {
        Inbox::Frame(envelope)
    }

    fn unframe(inbox: &mut Option<Inbox<M>>) -> Option<Box<RequestEnvelope>> {
        match inbox.take() {
            Some(Inbox::Frame(envelope)) => Some(envelope),
            other => {
                *inbox = other;
                None
            }
        }
    }

    fn decode(envelope: Box<RequestEnvelope>) -> Option<Inbox<M>> {
        if envelope.matches::<M>() {
            let (message, reply) = envelope.open::<M>()?;
            return Some(Inbox::Message(message, reply));
        }
        envelope.refuse_unhandled();
        None
    }

    fn limit(inbox: &Inbox<M>) -> Option<Limit<'_>> {
        match inbox {
            Inbox::Message(_, reply) => reply.limit(),
            Inbox::Frame(_) => None,
        }
    }

    fn recipient(query: &mut RecipientQuery<'_>) {
        query.accept::<Self, M>();
    }
}

impl<M: ActorMessage> Handler<M> for Recorder<M> {
    fn wrap(message: M, reply: Reply<M::Response>) -> Inbox<M> {
        Inbox::Message(message, reply)
    }

    fn unwrap(inbox: Inbox<M>) -> Option<(M, Reply<M::Response>)> {
        match inbox {
            Inbox::Message(message, reply) => Some((message, reply)),
            Inbox::Frame(_) => None,
        }
    }

    fn peek(inbox: &Inbox<M>) -> Option<&M> {
        match inbox {
            Inbox::Message(message, _) => Some(message),
            Inbox::Frame(_) => None,
        }
    }
}
