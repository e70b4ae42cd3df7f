//! One connection to Redis that is made again after it was lost.
//!
//! The library could reconnect by itself. That is off, because commands that are given between the
//! loss and the reconnect would wait in its queue, and run after their callers were told otherwise.
//! Here every TCP connection is a [`Link`] of its own: commands that were given to a link end with
//! it, and while there is no link, commands are refused.

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
use crate::bus::redis::settings::{ConnectionRole, Settings, once};
use crate::bus::redis::{Unreachable, accepted, failure, into_bytes, reason};
use crate::bus::transport::{ReplySink, TransportError};

/// Interval of the heartbeats on an idle connection.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Timeout of a heartbeat. A Redis that is paused for 3 s keeps its connections.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection that lived this long resets the backoff.
const STEADY: Duration = Duration::from_secs(5);

/// A connection that is made again after it was lost; closed when it is dropped.
pub(crate) struct Connection {
    /// The current link.
    current: watch::Receiver<Option<Link>>,
    /// Ends the link and the task that replaces it.
    closing: CancellationToken,
}

impl Connection {
    /// Opens the connection; the first attempt must succeed, later ones are repeated until they do.
    pub(super) async fn open(settings: Settings, health: Arc<Health>) -> Result<Self, Unreachable> {
        let closing = CancellationToken::new();
        // Ends everything that was started if this call is dropped.
        let abandoned = closing.clone().drop_guard();
        let session = match Session::open(&settings, &closing).await {
            Ok(session) => session,
            Err(reason) => return Err(settings.unreachable(reason)),
        };
        // An earlier connection of this role may have been lost.
        health.mark_connected(settings.role.name());
        let (sender, current) = watch::channel(Some(session.link.clone()));
        let kept = closing.clone();
        tokio::spawn(async move {
            kept.run_until_cancelled(run_and_reconnect(settings, session, sender, &kept, &health))
                .await;
        });
        abandoned.disarm();
        Ok(Self { current, closing })
    }

    /// The current link; without one, no command was or will be executed.
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

    /// Ends the connection at once. A `QUIT` would wait for blocked commands.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One TCP connection, from its opening to its end.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    /// Cancelled when the link ends; commands without a reply end then.
    ended: CancellationToken,
    /// Notified when a command finds that the peer no longer answers.
    unresponsive: Arc<Notify>,
}

impl Link {
    /// The client for single commands with that timeout; see [`run`](Self::run).
    pub(super) fn within(&self, timeout: Duration) -> WithOptions<Client> {
        self.client.with_options(&once(timeout))
    }

    /// Waits for a command that was given to the link, but not beyond the link's end. The command is
    /// boxed because the library's futures take 5 KB each, and every caller's future would grow by
    /// that.
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
        self.unresponsive.notify_one();
    }
}

/// A command whose reply is returned raw. The library writes it at once, with the commands before it.
pub(super) fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}

/// A link and the tasks behind it. Dropping it ends the link.
struct Session {
    link: Link,
    /// The library's task, which reads and writes the socket.
    router: AbortOnDropHandle<Result<(), Error>>,
    /// The subscription, if the role has one.
    replies: Option<Replies>,
}

impl Session {
    async fn open(settings: &Settings, closing: &CancellationToken) -> Result<Self, String> {
        let client = settings.client().await?;
        let replies = match &settings.role {
            ConnectionRole::Replies { replies, .. } => Some(Replies {
                messages: client.message_rx(),
                sink: replies.clone(),
                lost: 0,
            }),
            ConnectionRole::Commands | ConnectionRole::Pops | ConnectionRole::Reads => None,
        };
        let router = connect(&client).await?;
        let link = Link {
            client,
            ended: closing.child_token(),
            unresponsive: Arc::default(),
        };
        let session = Self {
            link,
            router,
            replies,
        };
        session.prepare(settings).await?;
        Ok(session)
    }

    /// Names the connection and subscribes. The `PING` is a fence: its reply, which repeats a random
    /// number, proves that the subscription, which the library does not confirm, has reached Redis
    /// before it.
    async fn prepare(&self, settings: &Settings) -> Result<(), String> {
        let client = self.link.within(HEARTBEAT_TIMEOUT);
        let name = vec![Value::from(settings.name.as_str())];
        let subscribe = async {
            match &settings.role {
                ConnectionRole::Replies { channel, .. } => client.subscribe(channel.as_str()).await,
                ConnectionRole::Commands | ConnectionRole::Pops | ConnectionRole::Reads => Ok(()),
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
        // The name is optional (it may be forbidden); a lost connection fails the other two.
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
            Err("the reply to a PING did not repeat its text".to_owned())
        }
    }

    /// Runs until the link is lost; returns the reason.
    async fn run(&mut self, role: &ConnectionRole) -> String {
        let why = tokio::select! {
            biased;
            never = forward(&mut self.replies) => match never {},
            ended = &mut self.router => close_reason(ended),
            () = self.link.unresponsive.notified() => "a command was not answered".to_owned(),
            why = heartbeat(&self.link, role) => why,
        };
        // Replies that came in before the end are still good.
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

/// Runs a link, and replaces it whenever it is lost.
async fn run_and_reconnect(
    settings: Settings,
    mut session: Session,
    current: watch::Sender<Option<Link>>,
    closing: &CancellationToken,
    health: &Health,
) {
    let mut attempt = 0;
    loop {
        let opened = Instant::now();
        let why = session.run(&settings.role).await;
        health.mark_lost(settings.role.name(), &why);
        drop(session);
        current.send_replace(None);
        tracing::warn!(
            connection = settings.name,
            why,
            "lost the connection to Redis: reconnecting"
        );
        if opened.elapsed() > STEADY {
            attempt = 0;
        }
        session = reopen(&settings, closing, &mut attempt).await;
        current.send_replace(Some(session.link.clone()));
        health.mark_connected(settings.role.name());
        tracing::info!(connection = settings.name, "connected to Redis again");
    }
}

async fn reopen(settings: &Settings, closing: &CancellationToken, attempt: &mut u32) -> Session {
    loop {
        tokio::time::sleep(RECONNECT_BACKOFF.jittered_delay(*attempt, fastrand::f64())).await;
        *attempt = attempt.saturating_add(1);
        match Session::open(settings, closing).await {
            Ok(session) => return session,
            Err(why) => tracing::debug!(
                connection = settings.name,
                why,
                "could not connect to Redis: trying again"
            ),
        }
    }
}

/// Connects. The library's own `init` would leave its task behind when it is dropped halfway.
async fn connect(client: &Client) -> Result<AbortOnDropHandle<Result<(), Error>>, String> {
    let mut router = None;
    let connected = tokio::select! {
        // The first must subscribe to the event before the second causes it.
        biased;
        connected = client.wait_for_connect() => connected.map_err(|error| reason(&error)),
        ended = async { router.insert(AbortOnDropHandle::new(client.connect())).await } => {
            Err(close_reason(ended))
        }
    };
    connected.and_then(|()| router.ok_or_else(|| "not connected".to_owned()))
}

/// True if `pong` is the reply to a `PING` with that text: alone or, on a subscribed connection, as
/// the second of two elements.
fn repeats(pong: Resp3Frame, text: &[u8]) -> bool {
    let repeated = match pong {
        Resp3Frame::Array { mut data, .. } => data.pop(),
        alone => Some(alone),
    };
    repeated
        .and_then(into_bytes)
        .is_some_and(|bytes| bytes == text)
}

/// The reason why the library's task ended.
fn close_reason(ended: Result<Result<(), Error>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "closed".to_owned(),
        Ok(Err(error)) => reason(&error),
        Err(panicked) => panicked.to_string(),
    }
}

/// Sends heartbeats until one fails; returns the reason.
async fn heartbeat(link: &Link, role: &ConnectionRole) -> String {
    if let ConnectionRole::Pops | ConnectionRole::Reads = role {
        return future::pending().await;
    }
    let client = link.within(HEARTBEAT_TIMEOUT);
    let mut heartbeats = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heartbeats.tick().await;
        // Any reply will do, also an error such as "busy" or "loading".
        let reply = Box::pin(client.custom_raw(command("PING"), Vec::<Value>::new())).await;
        if let Err(error) = reply {
            return reason(&error);
        }
    }
}

/// The subscription to a client's replies, and the sink that receives them.
struct Replies {
    messages: broadcast::Receiver<Message>,
    sink: Arc<dyn ReplySink>,
    /// Number of replies that came in too fast.
    lost: u64,
}

/// Forwards replies, and does little else: a slow reader loses messages.
async fn forward(replies: &mut Option<Replies>) -> Infallible {
    let Some(replies) = replies else {
        return future::pending().await;
    };
    loop {
        match replies.messages.recv().await {
            Ok(message) => replies.pass(message),
            Err(RecvError::Lagged(missed)) => replies.lose(missed),
            // The link has ended; its task reports that.
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
        // Losses often come by the thousand: one log entry each time that the number has doubled.
        if before == 0 || before.ilog2() < self.lost.ilog2() {
            tracing::warn!(
                lost = self.lost,
                "lost replies: they came in faster than they were read"
            );
        }
    }
}
