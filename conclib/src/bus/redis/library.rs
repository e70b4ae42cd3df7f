//! Connections of the Redis library, for scripts and streams.
//!
//! The library could reconnect by itself. That is off: see [`connection`](crate::bus::redis::connection).

use std::future;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, Pipeline, WithOptions};
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::socket2::TcpKeepalive;
#[cfg(feature = "tls")]
use fred::types::config::TlsConnector;
use fred::types::config::{
    Config as FredConfig, ConnectionConfig, Options, ServerConfig, TcpConfig,
};
use fred::types::{Builder, ClusterHash, CustomCommand, Resp3Frame, Value};
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::bus::config::{Access, RedisAddress, ServerLocation};
use crate::bus::redis::connection::Session;
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
#[cfg(feature = "tls")]
use crate::bus::redis::tls;
use crate::bus::transport::TransportError;

use replies::{bytes_of, failure, reason};
pub(super) use replies::{into_array, into_bytes, into_u64, unexpected};
pub(super) use script::eval;

mod replies;
mod script;

/// Timeout of connecting, and then of logging in.
const CONNECT: Duration = Duration::from_secs(3);

/// Number of commands that may wait to be written. The limits of the modules above keep far below it;
/// it bounds the queue of a stalled connection.
const MAX_QUEUED: usize = 4096;

/// Interval of the heartbeats on an idle connection.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Timeout of a heartbeat. A Redis that is paused for 3 s keeps its connections.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(4);

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One connection of the library.
#[derive(Clone)]
pub(super) struct LibraryLink {
    client: Client,
    endpoint: Arc<Endpoint>,
    /// Cancelled when the link ends; commands without a reply end then.
    ended: CancellationToken,
    /// Notified when a command finds that the peer does not answer, or not in step.
    given_up: Arc<Notify>,
}

impl LibraryLink {
    /// Sends one command, and reads its reply; an error reply is [`TransportError::NotDone`]. A fence
    /// goes behind it.
    pub(super) async fn request(
        &self,
        name: &'static str,
        arguments: Vec<Value>,
        timeout: Duration,
    ) -> Result<Resp3Frame, TransportError> {
        let client = self.within(timeout);
        let fence = PingFence::random();
        let given = async {
            tokio::join!(
                biased;
                client.custom_raw(command(name), arguments),
                client.custom_raw(command(PING), vec![fence.argument()]),
            )
        };
        let (reply, last) = self.run(Box::pin(given)).await?;
        match last {
            Ok(last) if fence.is(bytes_of(&last)) => self.accepted(reply),
            Ok(_) => Err(self.out_of_step(None)),
            Err(error) => Err(self.out_of_step(Some(error))),
        }
    }

    /// Sends commands together, and returns the reply or error reply of each in their order. A fence
    /// goes behind them.
    pub(super) async fn pipeline(
        &self,
        commands: Vec<(&'static str, Vec<Value>)>,
        timeout: Duration,
    ) -> Result<Vec<Result<Value, TransportError>>, TransportError> {
        let count = commands.len();
        let pipeline = Pipeline::from(self.within(timeout));
        let fence = PingFence::random();
        let commands = commands.into_iter().chain([(PING, vec![fence.argument()])]);
        for (name, arguments) in commands {
            // Only queued: `try_all` sends.
            let queued = pipeline.custom_raw(command(name), arguments).await;
            queued.map_err(|error| TransportError::NotDone(reason(&error)))?;
        }
        let mut replies = self.run(Box::pin(pipeline.try_all::<Value>())).await?;
        let last = replies.pop();
        if replies.len() != count {
            // The connection refused all commands with one error.
            return Err(self.out_of_step(last.and_then(Result::err)));
        }
        match last {
            Some(Ok(last)) if fence.is(last.as_bytes()) => {}
            last => return Err(self.out_of_step(last.and_then(Result::err))),
        }
        let refused = |error: Error| {
            let line = reason(&error);
            self.endpoint.note_error(line.as_bytes());
            TransportError::refused(line)
        };
        Ok(replies
            .into_iter()
            .map(|reply| reply.map_err(refused))
            .collect())
    }

    /// The error of an exchange whose fence did not come back: ends the link, unless its commands were
    /// not taken at all.
    fn out_of_step(&self, error: Option<Error>) -> TransportError {
        let error = error.map_or_else(
            || TransportError::Unknown("Redis' replies are out of step".to_owned()),
            |error| failure(&error),
        );
        if let TransportError::Unknown(why) = &error {
            tracing::debug!(why, "giving up a connection of the library");
            self.given_up.notify_one();
        }
        error
    }

    /// Sends a command that may block for that time. Its reply is not checked to be in step: there is
    /// none before it that could be dropped.
    pub(super) async fn blocking(
        &self,
        name: &'static str,
        arguments: Vec<Value>,
        block: Duration,
        timeout: Duration,
    ) -> Result<Resp3Frame, TransportError> {
        let client = self.within(block + timeout);
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, !block.is_zero());
        let given = client.custom_raw(command, arguments);
        let reply = self.run(Box::pin(given)).await?;
        if let Err(error) = &reply
            && *error.kind() == ErrorKind::Timeout
        {
            self.give_up();
        }
        self.accepted(reply)
    }

    /// The client for single commands. The timeout is the library's own: a timeout around the call
    /// would leave the command in the library's queue.
    fn within(&self, timeout: Duration) -> WithOptions<Client> {
        self.client.with_options(&Options {
            max_attempts: Some(1),
            timeout: Some(timeout),
            fail_fast: true,
            ..Options::default()
        })
    }

    /// Waits for commands that were given to the link, but not beyond the link's end. They are boxed
    /// because the library's futures take 5 KB each.
    async fn run<T>(&self, given: BoxFuture<'_, T>) -> Result<T, TransportError> {
        if self.ended.is_cancelled() {
            let problem = "there is no connection to Redis";
            return Err(TransportError::NotDone(problem.to_owned()));
        }
        tokio::select! {
            biased;
            result = given => Ok(result),
            () = self.ended.cancelled() => {
                Err(TransportError::Unknown("the connection to Redis was lost".to_owned()))
            }
        }
    }

    /// The reply to a command; an error reply is an error.
    fn accepted(&self, reply: Result<Resp3Frame, Error>) -> Result<Resp3Frame, TransportError> {
        let line = match reply.map_err(|error| failure(&error))? {
            Resp3Frame::SimpleError { data, .. } => data.to_string(),
            Resp3Frame::BlobError { data, .. } => String::from_utf8_lossy(&data).into_owned(),
            frame => return Ok(frame),
        };
        self.endpoint.note_error(line.as_bytes());
        Err(TransportError::refused(line))
    }

    /// Has the link replaced by a new one.
    pub(super) fn give_up(&self) {
        self.given_up.notify_one();
    }
}

const PING: &str = "PING";

/// A `PING` with a random text, behind the commands of an exchange.
///
/// The library drops replies that it cannot decode, such as an error that repeats an argument of binary
/// contents. Each reply behind it would be taken for that to the command before. Then this text comes
/// back too early or not at all, and the link ends.
struct PingFence(String);

impl PingFence {
    fn random() -> Self {
        Self(fastrand::u64(..).to_string())
    }

    fn argument(&self) -> Value {
        Value::from(self.0.as_str())
    }

    fn is(&self, reply: Option<&[u8]>) -> bool {
        reply == Some(self.0.as_bytes())
    }
}

/// A command whose reply is returned raw. The library writes it at once.
fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}

/// A link and the task behind it.
pub(super) struct LibrarySession {
    link: LibraryLink,
    /// The library's task, which reads and writes the socket.
    router: AbortOnDropHandle<Result<(), Error>>,
    has_heartbeat: bool,
}

impl Session for LibrarySession {
    type Link = LibraryLink;

    async fn open(endpoint: &Arc<Endpoint>, role: &ConnectionRole) -> Result<Self, String> {
        let server = endpoint.server().await?;
        let client = client(&server, &endpoint.access).await?;
        let router = connect(&client).await?;
        let session = Self {
            link: LibraryLink {
                client,
                endpoint: endpoint.clone(),
                ended: CancellationToken::new(),
                given_up: Arc::default(),
            },
            router,
            has_heartbeat: role.has_heartbeat(),
        };
        let name = Value::from(endpoint.connection_name(role));
        let mut commands = vec![("CLIENT SETNAME", vec![name])];
        if server.database != 0 {
            let database = i64::from(server.database).into();
            commands.push(("SELECT", vec![database]));
        }
        let replies = session.link.pipeline(commands, HEARTBEAT_TIMEOUT).await;
        // The name may be forbidden.
        for reply in replies
            .map_err(|error| error.to_string())?
            .into_iter()
            .skip(1)
        {
            reply.map_err(|error| error.to_string())?;
        }
        Ok(session)
    }

    fn link(&self) -> LibraryLink {
        self.link.clone()
    }

    async fn run(&mut self) -> String {
        tokio::select! {
            biased;
            // A task is cancelled only at the end of its runtime: this one ends then, too.
            ended = &mut self.router => match ended {
                Err(error) if error.is_cancelled() => future::pending().await,
                ended => close_reason(ended),
            },
            () = self.link.given_up.notified() => "a command was not answered".to_owned(),
            why = heartbeat(&self.link, self.has_heartbeat) => why,
        }
    }
}

impl Drop for LibrarySession {
    fn drop(&mut self) {
        self.link.ended.cancel();
    }
}

/// A client that is not yet connected, and that does not reconnect by itself.
#[cfg_attr(
    not(feature = "tls"),
    expect(clippy::unused_async, reason = "certificates are read from files")
)]
async fn client(
    server: &RedisAddress,
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused, reason = "certificates are for TLS")
    )]
    access: &Access,
) -> Result<Client, String> {
    let RedisAddress {
        tls: _, // read below, with its feature
        location,
        username,
        password,
        database: _, // chosen by a command: the library knows those below 256
    } = server.clone();
    let config = FredConfig {
        username,
        password,
        server: match location {
            ServerLocation::Tcp(node) => ServerConfig::new_centralized(node.host, node.port),
            #[cfg(unix)]
            ServerLocation::Unix(path) => ServerConfig::new_unix_socket(path),
            #[cfg(not(unix))]
            ServerLocation::Unix(_) => return Err("this system has no Unix sockets".to_owned()),
            ServerLocation::Sentinels(_) => return Err("a Sentinel is no Redis".to_owned()),
        },
        #[cfg(feature = "tls")]
        tls: if server.tls {
            Some(TlsConnector::from(tls::config(access).await?).into())
        } else {
            None
        },
        ..FredConfig::default()
    };
    let built = Builder::from_config(config)
        .with_connection_config(tune)
        .build();
    built.map_err(|error| reason(&error))
}

fn tune(connection: &mut ConnectionConfig) {
    connection.connection_timeout = CONNECT;
    connection.internal_command_timeout = CONNECT;
    connection.max_command_attempts = 1;
    connection.max_command_buffer_len = MAX_QUEUED;
    // A peer that vanished without a word is noticed while a blocked read waits for it.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2));
    connection.tcp = TcpConfig {
        nodelay: Some(true),
        keepalive: Some(keepalive),
        ..TcpConfig::default()
    };
}

/// Connects. The library's own `init` would leave its task behind when it is dropped halfway.
async fn connect(client: &Client) -> Result<AbortOnDropHandle<Result<(), Error>>, String> {
    let mut router = None;
    let connected = tokio::select! {
        // The first must subscribe to the event before the second causes it.
        biased;
        connected = client.wait_for_connect() => connected.map_err(|error| connect_reason(&error)),
        ended = async { router.insert(AbortOnDropHandle::new(client.connect())).await } => {
            Err(match ended {
                Ok(Err(error)) => connect_reason(&error),
                ended => close_reason(ended),
            })
        }
    };
    connected.and_then(|()| router.ok_or_else(|| "not connected".to_owned()))
}

/// The reason why there is no connection. Of a time-out it is that of conclib's own connections, which come to the same
/// end at the same moment.
fn connect_reason(error: &Error) -> String {
    if *error.kind() == ErrorKind::Timeout {
        return format!("no connection within {CONNECT:?}");
    }
    reason(error)
}

/// The reason why the library's task ended.
fn close_reason(ended: Result<Result<(), Error>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "Redis closed it".to_owned(),
        Ok(Err(error)) => reason(&error),
        Err(panicked) => panicked.to_string(),
    }
}

/// Sends heartbeats until one fails; returns the reason.
async fn heartbeat(link: &LibraryLink, has_heartbeat: bool) -> String {
    if !has_heartbeat {
        return future::pending().await;
    }
    let mut heartbeats = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heartbeats.tick().await;
        if let Err(error) = link.pipeline(Vec::new(), HEARTBEAT_TIMEOUT).await {
            return error.to_string();
        }
    }
}
