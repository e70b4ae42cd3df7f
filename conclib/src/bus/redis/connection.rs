//! One connection to Redis that comes back after it was lost.
//!
//! The library could reconnect by itself. It is not asked to, because then commands that are given
//! between the loss and the return wait in its queue, and are carried out after their callers were
//! told otherwise. Here every TCP connection is a [`Link`] of its own: what was given to a link
//! ends with it, and while there is none, nothing is accepted.

use std::convert::Infallible;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, WithOptions};
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::{ClusterHash, CustomCommand, Message, Resp3Frame, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::link::health::Health;
use crate::bus::redis::settings::{Duty, Settings, once};
use crate::bus::redis::{accepted, failure, into_bytes, reason};
use crate::bus::transport::{OpenError, ReplySink, TransportError};

/// How often an idle connection is asked whether it lives, …
const HEARTBEAT: Duration = Duration::from_secs(2);

/// … and how long it may take to say so. A Redis that is paused for 3 s keeps its connections.
const SILENCE: Duration = Duration::from_secs(4);

/// A connection that lived this long is a success; the next attempt need not be careful.
const STEADY: Duration = Duration::from_secs(5);

/// A connection that comes back after it was lost; closed when it is dropped.
pub(crate) struct Connection {
    /// The link of the moment.
    current: watch::Receiver<Option<Link>>,
    /// Ends the link and the task that keeps it.
    closing: CancellationToken,
}

impl Connection {
    /// Opens it; the first attempt must succeed, later ones go on until they do.
    pub(super) async fn open(settings: Settings, health: Arc<Health>) -> Result<Self, OpenError> {
        let closing = CancellationToken::new();
        // Opening may be abandoned halfway: then everything that was started ends.
        let abandoned = closing.clone().drop_guard();
        let session = match Session::open(&settings, &closing).await {
            Ok(session) => session,
            Err(reason) => return Err(settings.unreachable(reason)),
        };
        // One of that name may have been lost, and given up.
        health.regain(settings.duty.name());
        let (sender, current) = watch::channel(Some(session.link.clone()));
        let kept = closing.clone();
        tokio::spawn(async move {
            kept.run_until_cancelled(keep(settings, session, sender, &kept, &health))
                .await;
        });
        abandoned.disarm();
        Ok(Self { current, closing })
    }

    /// The link of the moment; if there is none, nothing was or will be done.
    pub(super) fn link(&self) -> Result<Link, TransportError> {
        let current = self.current.borrow();
        current
            .clone()
            .filter(|link| !link.ended.is_cancelled())
            .ok_or_else(|| {
                let problem = if self.closing.is_cancelled() {
                    "the connection to Redis is closed"
                } else {
                    "there is no connection to Redis"
                };
                TransportError::NotDone(problem.to_owned())
            })
    }

    /// Ends it at once. A polite `QUIT` would wait for blocked commands.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is given to a link.
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One TCP connection, from its opening to its end.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    /// Set when it ends; beyond that nobody waits for an answer.
    ended: CancellationToken,
    /// Rung by whoever finds that it no longer answers.
    suspicion: Arc<Notify>,
}

impl Link {
    /// To give single commands to it; see [`run`](Self::run).
    pub(super) fn within(&self, timeout: Duration) -> WithOptions<Client> {
        self.client.with_options(&once(timeout))
    }

    /// Waits for what was given to the link, but not beyond the link's end. It is boxed because
    /// the library's futures take 5 KB each, and every caller's future would grow by that.
    pub(super) async fn run<T>(&self, given: BoxFuture<'_, T>) -> Result<T, TransportError> {
        tokio::select! {
            biased;
            result = given => Ok(result),
            () = self.ended.cancelled() => {
                Err(TransportError::Unknown("the connection to Redis was lost".to_owned()))
            }
        }
    }

    /// Sends one command at once; an error reply is [`TransportError::NotDone`].
    pub(super) async fn request(
        &self,
        name: &'static str,
        arguments: Vec<Value>,
        timeout: Duration,
    ) -> Result<Resp3Frame, TransportError> {
        let client = self.within(timeout);
        let reply = self
            .run(Box::pin(client.custom_raw(command(name), arguments)))
            .await?;
        accepted(reply.map_err(|error| failure(&error))?)
    }

    /// Has the link replaced by a new one.
    pub(super) fn give_up(&self) {
        self.suspicion.notify_one();
    }
}

/// A command whose reply is wanted as it comes. It is written at once, with what was given before.
pub(super) fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}

/// A link and what it lives on. Dropped, it ends the link.
struct Session {
    link: Link,
    /// The library's task, which reads and writes the socket.
    router: AbortOnDropHandle<Result<(), Error>>,
    /// What is subscribed to.
    replies: Option<Replies>,
}

impl Session {
    async fn open(settings: &Settings, closing: &CancellationToken) -> Result<Self, String> {
        let client = settings.client().await?;
        let replies = match &settings.duty {
            Duty::Replies { replies, .. } => Some(Replies {
                messages: client.message_rx(),
                sink: replies.clone(),
                lost: 0,
            }),
            Duty::Commands | Duty::Pops | Duty::Reads => None,
        };
        let router = connect(&client).await?;
        let link = Link {
            client,
            ended: closing.child_token(),
            suspicion: Arc::default(),
        };
        let session = Self {
            link,
            router,
            replies,
        };
        session.prepare(settings).await?;
        Ok(session)
    }

    /// Names the connection and subscribes. The `PING` is a fence: its answer, which repeats a
    /// number that nobody else knows, proves that the subscription, which says nothing by itself,
    /// has reached Redis before it.
    async fn prepare(&self, settings: &Settings) -> Result<(), String> {
        let client = self.link.within(SILENCE);
        let name = vec![Value::from(settings.name.as_str())];
        let subscribe = async {
            match &settings.duty {
                Duty::Replies { channel, .. } => client.subscribe(channel.as_str()).await,
                Duty::Commands | Duty::Pops | Duty::Reads => Ok(()),
            }
        };
        let nonce = fastrand::u64(..).to_string();
        let prepared = async {
            tokio::join!(
                biased;
                client.custom_raw(command("CLIENT SETNAME"), name),
                subscribe,
                client.custom_raw(command("PING"), vec![Value::from(nonce.as_str())]),
            )
        };
        // Whether it may name itself is of no matter, but a lost connection shows in the others.
        let (_, subscribed, fence) = self
            .link
            .run(Box::pin(prepared))
            .await
            .map_err(|e| e.to_string())?;
        subscribed.map_err(|error| reason(&error))?;
        let fence = fence.map_err(|error| reason(&error))?;
        let fence = accepted(fence).map_err(|refused| refused.to_string())?;
        if repeats(fence, nonce.as_bytes()) {
            Ok(())
        } else {
            Err("a PING was not answered as it should be".to_owned())
        }
    }

    /// Lives until the link is lost; says why it was.
    async fn live(&mut self, duty: &Duty) -> String {
        let why = tokio::select! {
            biased;
            never = forward(&mut self.replies) => match never {},
            ended = &mut self.router => epitaph(ended),
            () = self.link.suspicion.notified() => "a command was not answered".to_owned(),
            why = heartbeat(&self.link, duty) => why,
        };
        // What came in last is still good.
        if let Some(replies) = &mut self.replies {
            replies.drain();
        }
        why
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.ended.cancel();
    }
}

/// Keeps a link alive, replacing it for ever.
async fn keep(
    settings: Settings,
    mut session: Session,
    current: watch::Sender<Option<Link>>,
    closing: &CancellationToken,
    health: &Health,
) {
    let mut attempt = 0;
    loop {
        let opened = Instant::now();
        let why = session.live(&settings.duty).await;
        health.lose(settings.duty.name(), &why);
        drop(session);
        current.send_replace(None);
        tracing::warn!(
            connection = settings.name,
            why,
            "lost the connection to Redis"
        );
        if opened.elapsed() > STEADY {
            attempt = 0;
        }
        session = reopen(&settings, closing, &mut attempt).await;
        current.send_replace(Some(session.link.clone()));
        health.regain(settings.duty.name());
        tracing::info!(connection = settings.name, "connected to Redis again");
    }
}

async fn reopen(settings: &Settings, closing: &CancellationToken, attempt: &mut u32) -> Session {
    loop {
        tokio::time::sleep(RECONNECT_BACKOFF.jittered_delay(*attempt, fastrand::f64())).await;
        *attempt = attempt.saturating_add(1);
        match Session::open(settings, closing).await {
            Ok(session) => return session,
            Err(why) => tracing::debug!(connection = settings.name, why, "no connection to Redis"),
        }
    }
}

/// Connects. The library's own `init` would leave its task behind when it is dropped halfway.
async fn connect(client: &Client) -> Result<AbortOnDropHandle<Result<(), Error>>, String> {
    let mut router = None;
    let connected = tokio::select! {
        // The first must listen before the second speaks.
        biased;
        connected = client.wait_for_connect() => connected.map_err(|error| reason(&error)),
        ended = async { router.insert(AbortOnDropHandle::new(client.connect())).await } => {
            Err(epitaph(ended))
        }
    };
    connected.and_then(|()| router.ok_or_else(|| "not connected".to_owned()))
}

/// True if this answers a `PING` with that text: alone or, on a connection that is subscribed, as
/// the second of two.
fn repeats(pong: Resp3Frame, text: &[u8]) -> bool {
    let said = match pong {
        Resp3Frame::Array { mut data, .. } => data.pop(),
        alone => Some(alone),
    };
    said.and_then(into_bytes).is_some_and(|bytes| bytes == text)
}

/// Why the library's task ended.
fn epitaph(ended: Result<Result<(), Error>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "closed".to_owned(),
        Ok(Err(error)) => reason(&error),
        Err(panicked) => panicked.to_string(),
    }
}

/// Asks the peer for a sign of life until none comes; says what came instead.
async fn heartbeat(link: &Link, duty: &Duty) -> String {
    if let Duty::Pops | Duty::Reads = duty {
        return future::pending().await;
    }
    let client = link.within(SILENCE);
    let mut beats = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        // Any reply will do; one that says "busy" or "loading" is a sign of life too.
        let alive = Box::pin(client.custom_raw(command("PING"), Vec::<Value>::new())).await;
        if let Err(error) = alive {
            return reason(&error);
        }
    }
}

/// What comes in on the subscribed channel, and where it goes.
struct Replies {
    messages: broadcast::Receiver<Message>,
    sink: Arc<dyn ReplySink>,
    /// How many came in too fast.
    lost: u64,
}

/// Passes on what comes in, and does little else: who reads slowly loses messages.
async fn forward(replies: &mut Option<Replies>) -> Infallible {
    let Some(replies) = replies else {
        return future::pending().await;
    };
    loop {
        match replies.messages.recv().await {
            Ok(message) => replies.pass(message),
            Err(RecvError::Lagged(missed)) => replies.lose(missed),
            // The link has ended, which its task reports.
            Err(RecvError::Closed) => future::pending().await,
        }
    }
}

impl Replies {
    fn pass(&self, message: Message) {
        let payload = match message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.into_inner(),
            _ => return,
        };
        self.sink.receive(payload);
    }

    fn drain(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.pass(message);
        }
    }

    fn lose(&mut self, count: u64) {
        let before = self.lost;
        self.lost = before.saturating_add(count);
        // Whoever loses one often loses thousands: say it again when the number has doubled.
        if before == 0 || before.ilog2() < self.lost.ilog2() {
            tracing::warn!(lost = self.lost, "replies were lost: they came in too fast");
        }
    }
}
