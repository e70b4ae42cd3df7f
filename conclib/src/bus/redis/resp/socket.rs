//! The socket of a link: TCP, with or without TLS.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bus::config::{Access, RedisAddress};
#[cfg(feature = "tls")]
use crate::bus::redis::tls;

/// Timeout of connecting.
const CONNECT: Duration = Duration::from_secs(3);

/// A peer that vanished without a word is noticed while nothing is sent, as during a blocked pop.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(5))
    .with_interval(Duration::from_secs(2));

/// The two directions of a connected socket.
pub(super) struct Socket {
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Socket {
    /// Connects; returns the problem in words on failure.
    pub(super) async fn connect(address: &RedisAddress, access: &Access) -> Result<Self, String> {
        match timeout(CONNECT, open(address, access)).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no connection within {CONNECT:?}")),
        }
    }
}

async fn open(address: &RedisAddress, access: &Access) -> Result<Socket, String> {
    let connected = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = connected.map_err(|error| reason(&error))?;
    stream.set_nodelay(true).map_err(|error| reason(&error))?;
    let set = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    set.map_err(|error| reason(&error))?;
    #[cfg(feature = "tls")]
    if address.tls {
        return secured(stream, address, access).await;
    }
    #[cfg(not(feature = "tls"))]
    let _ = access;
    let (reader, writer) = stream.into_split();
    Ok(Socket {
        reader: Box::new(reader),
        writer: Box::new(writer),
    })
}

#[cfg(feature = "tls")]
async fn secured(
    stream: TcpStream,
    address: &RedisAddress,
    access: &Access,
) -> Result<Socket, String> {
    let config = tls::config(access).await?;
    let name = rustls::pki_types::ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| format!("`{}` cannot be in a certificate", address.host))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let secured = connector.connect(name, stream).await;
    let (reader, writer) = tokio::io::split(secured.map_err(|error| reason(&error))?);
    Ok(Socket {
        reader: Box::new(reader),
        writer: Box::new(writer),
    })
}

/// A problem of a socket in words, for logs and users.
pub(super) fn reason(error: &io::Error) -> String {
    #[cfg(feature = "tls")]
    if let Some(explained) = tls::explain(&format!("{error:?}")) {
        return explained;
    }
    // Without the number of the operating system.
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}
