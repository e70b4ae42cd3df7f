//! The first commands of a link: logging in, its name, and its subscription.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::io::read_buf;

use crate::bus::config::{Access, RedisAddress};
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
use crate::bus::redis::identity;
use crate::bus::redis::resp::commands::{CommandBuffer, Commands};
use crate::bus::redis::resp::driver::Driver;
use crate::bus::redis::resp::link::Link;
use crate::bus::redis::resp::reply::{Decoder, RedisReply};
use crate::bus::redis::resp::socket::{Socket, reason};
use crate::bus::transport::ServerNumber;
use crate::bus::transport::fleet::ServerIdentity;

/// Timeout of logging in.
const LOG_IN: Duration = Duration::from_secs(4);

/// The size of a reply to a single exchange, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Connects, logs in, and subscribes if the role does; returns the problem in words on failure.
pub(super) async fn open(
    endpoint: &Arc<Endpoint>,
    role: &ConnectionRole,
) -> Result<Driver, String> {
    let address = endpoint.server().await?;
    let mut opened = Opened::connect(&address, &endpoint.access, endpoint.max_reply).await?;
    let name = endpoint.connection_name(role);
    let identifies_server = endpoint.identifies_server(role);
    let replies = opened.log_in(&address, |commands| {
        commands.begin("CLIENT", 2).text("SETNAME").text(&name);
        commands.begin("PING", 0);
        if identifies_server {
            commands.begin("INFO", 1).text("server");
            commands.begin("INFO", 1).text("replication");
        }
        if let ConnectionRole::Replies {
            channel,
            map_changes,
            ..
        } = role
        {
            // One by one: each channel has a reply of its own.
            for channel in [channel].into_iter().chain(map_changes) {
                commands.begin("SUBSCRIBE", 1).text(channel);
            }
        }
    });
    let mut replies = replies.await?.into_iter();
    replies.next(); // the name may be forbidden
    replies.next().iter().try_for_each(check)?;
    let server = if identifies_server {
        endpoint.number_of(read_identity(replies.by_ref().take(2)))
    } else {
        ServerNumber::default()
    };
    for reply in replies {
        check(&reply)?;
    }
    if let ConnectionRole::Replies {
        map_changes: Some(_),
        sink,
        ..
    } = role
    {
        sink.map_changed(); // it may have before
    }
    let Opened { socket, decoder } = opened;
    let link = Link::new(socket.writer, server);
    Ok(Driver::new(link, endpoint, role, socket.reader, decoder))
}

/// The identity of the server by its texts about itself, which the user may not be allowed to read.
fn read_identity(replies: impl Iterator<Item = RedisReply>) -> ServerIdentity {
    let texts = replies.filter_map(RedisReply::into_bytes);
    let texts: Vec<_> = texts.collect();
    let texts = texts.iter().map(|text| String::from_utf8_lossy(text));
    identity::of(&texts.collect::<Vec<_>>())
}

/// Sends commands on a connection that is made for them alone; returns the problem in words on
/// failure. An error reply is among the replies.
pub(in crate::bus::redis) async fn query(
    server: &RedisAddress,
    access: &Access,
    encode: impl FnOnce(&mut Commands<'_>),
) -> Result<Vec<RedisReply>, String> {
    let mut opened = Opened::connect(server, access, MAX_ANSWER).await?;
    opened.log_in(server, encode).await
}

/// A connection that no other task uses yet.
struct Opened {
    socket: Socket,
    decoder: Decoder,
}

impl Opened {
    async fn connect(
        server: &RedisAddress,
        access: &Access,
        max_reply: usize,
    ) -> Result<Self, String> {
        Ok(Self {
            socket: Socket::connect(server, access).await?,
            decoder: Decoder::new(max_reply),
        })
    }

    /// Logs in, and sends further commands along with that; returns the replies to these.
    async fn log_in(
        &mut self,
        server: &RedisAddress,
        encode: impl FnOnce(&mut Commands<'_>),
    ) -> Result<Vec<RedisReply>, String> {
        let mut output = CommandBuffer::default();
        let mut commands = Commands::new(&mut output);
        if let Some(password) = &server.password {
            match &server.username {
                Some(user) => commands.begin("AUTH", 2).text(user),
                None => commands.begin("AUTH", 1),
            };
            commands.text(password);
        }
        if server.database != 0 {
            commands.begin("SELECT", 1).number(server.database.into());
        }
        let own = commands.count();
        encode(&mut commands);
        let count = commands.count();
        let exchange = async {
            let written = poll_fn(|cx| output.poll_write(Pin::new(&mut *self.socket.writer), cx));
            written.await.map_err(|error| reason(&error))?;
            let mut replies = Vec::with_capacity(count);
            while replies.len() < count {
                match self.read_reply().await {
                    Ok(reply) => replies.push(reply),
                    // A server says why it refuses a connection before it closes it.
                    Err(closed) => {
                        replies.iter().try_for_each(check)?;
                        return Err(closed);
                    }
                }
            }
            let further = replies.split_off(own);
            replies.iter().try_for_each(check)?;
            Ok(further)
        };
        match timeout(LOG_IN, exchange).await {
            Ok(replies) => replies,
            Err(_) => Err(format!("Redis did not answer within {LOG_IN:?}")),
        }
    }

    async fn read_reply(&mut self) -> Result<RedisReply, String> {
        loop {
            match self.decoder.next() {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(malformed) => return Err(malformed.to_string()),
            }
            match read_buf(&mut self.socket.reader, self.decoder.buffer().space()).await {
                Ok(0) => return Err(CLOSED.to_owned()),
                Ok(_) => {}
                Err(error) => return Err(reason(&error)),
            }
        }
    }
}

/// The problem of an error reply.
fn check(reply: &RedisReply) -> Result<(), String> {
    match reply {
        RedisReply::Error(line) => Err(explained(&String::from_utf8_lossy(line))),
        _ => Ok(()),
    }
}

/// The reason if a server closes a connection that has just been opened.
const CLOSED: &str = "the server closed the connection at once: it may speak TLS (`rediss://`), accept \
                      no more connections, or be no Redis";

/// An error of Redis with the next step.
fn explained(error: &str) -> String {
    let hint = if error.starts_with("NOAUTH") {
        "name user and password in the URL, or the files that hold them"
    } else if error.starts_with("DENIED") {
        "Redis accepts only connections of its own machine: give it a password, or bind it to a network \
         that you alone use"
    } else if error.starts_with("NOPERM") {
        "this user lacks a rule of its role: `Config::acl` prints them all"
    } else {
        return error.to_owned();
    };
    format!("{error}: {hint}")
}
