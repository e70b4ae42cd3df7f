//! The first commands of a link: logging in, its name, and its subscription.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::io::read_buf;

use crate::bus::config::RedisAddress;
use crate::bus::redis::endpoint::{ConnectionRole, Endpoint};
use crate::bus::redis::resp::commands::{Commands, Output};
use crate::bus::redis::resp::driver::Driver;
use crate::bus::redis::resp::link::Link;
use crate::bus::redis::resp::reply::{Decoder, Reply};
use crate::bus::redis::resp::socket::{Socket, reason};

/// Timeout of logging in.
const LOG_IN: Duration = Duration::from_secs(4);

/// Connects, logs in, and subscribes if the role does; returns the problem in words on failure.
pub(super) async fn open(
    endpoint: &Arc<Endpoint>,
    role: &ConnectionRole,
) -> Result<Driver, String> {
    let address = endpoint.address_with_secrets().await?;
    let mut socket = Socket::connect(&address, &endpoint.access).await?;
    let mut decoder = Decoder::default();
    let log_in = log_in(&mut socket, &mut decoder, &address, endpoint, role);
    match timeout(LOG_IN, log_in).await {
        Ok(logged_in) => logged_in?,
        Err(_) => return Err(format!("Redis did not answer within {LOG_IN:?}")),
    }
    let Socket { reader, writer } = socket;
    Ok(Driver::new(
        Link::new(writer),
        endpoint,
        role,
        reader,
        decoder,
    ))
}

async fn log_in(
    socket: &mut Socket,
    decoder: &mut Decoder,
    address: &RedisAddress,
    endpoint: &Endpoint,
    role: &ConnectionRole,
) -> Result<(), String> {
    let mut output = Output::default();
    let mut commands = Commands::new(&mut output);
    if let Some(password) = &address.password {
        match &address.username {
            Some(user) => commands.begin("AUTH", 2).text(user),
            None => commands.begin("AUTH", 1),
        };
        commands.text(password);
    }
    if address.database != 0 {
        commands.begin("SELECT", 1).number(address.database.into());
    }
    // The name may be forbidden.
    let optional = commands.count();
    commands.begin("CLIENT", 2).text("SETNAME");
    commands.text(&endpoint.connection_name(role));
    commands.begin("PING", 0);
    if let ConnectionRole::Replies { channel, .. } = role {
        commands.begin("SUBSCRIBE", 1).text(channel);
    }
    let count = commands.count();
    let written = poll_fn(|cx| output.poll_write(Pin::new(&mut *socket.writer), cx)).await;
    written.map_err(|error| reason(&error))?;
    for place in 0..count {
        let reply = read_reply(socket, decoder).await?;
        if place == optional {
            continue;
        }
        if let Reply::Error(line) = &reply {
            return Err(explained(&String::from_utf8_lossy(line)));
        }
    }
    Ok(())
}

async fn read_reply(socket: &mut Socket, decoder: &mut Decoder) -> Result<Reply, String> {
    loop {
        match decoder.next() {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => {}
            Err(malformed) => return Err(malformed.to_string()),
        }
        match read_buf(&mut socket.reader, decoder.space()).await {
            Ok(0) => return Err(CLOSED.to_owned()),
            Ok(_) => {}
            Err(error) => return Err(reason(&error)),
        }
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
