//! The socket of a link: TCP, with or without TLS, or a Unix socket.

#[cfg(not(feature = "tls"))]
use std::future::{Future, ready};
use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tls")]
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
#[cfg(feature = "tls")]
use tokio_rustls::TlsConnector;

use crate::bus::config::{Access, RedisAddress, ServerLocation};
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
    fn new(
        (reader, writer): (
            impl AsyncRead + Send + Unpin + 'static,
            impl AsyncWrite + Send + Unpin + 'static,
        ),
    ) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
        }
    }

    /// Connects; returns the problem in words on failure.
    pub(super) async fn connect(server: &RedisAddress, access: &Access) -> Result<Self, String> {
        match timeout(CONNECT, open(server, access)).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no connection within {CONNECT:?}")),
        }
    }
}

async fn open(server: &RedisAddress, access: &Access) -> Result<Socket, String> {
    let node = match &server.location {
        ServerLocation::Tcp(node) => node,
        #[cfg(unix)]
        ServerLocation::Unix(path) => {
            let connected = tokio::net::UnixStream::connect(path).await;
            let stream = connected.map_err(|error| reason(&error))?;
            return Ok(Socket::new(stream.into_split()));
        }
        #[cfg(not(unix))]
        ServerLocation::Unix(_) => return Err("this system has no Unix sockets".to_owned()),
        ServerLocation::Sentinels(_) => return Err("a Sentinel is no Redis".to_owned()),
    };
    let connected = TcpStream::connect((node.host.as_str(), node.port)).await;
    let stream = connected.map_err(|error| reason(&error))?;
    stream.set_nodelay(true).map_err(|error| reason(&error))?;
    let set = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    set.map_err(|error| reason(&error))?;
    if server.tls {
        return secured(stream, &node.host, access).await;
    }
    Ok(Socket::new(stream.into_split()))
}

#[cfg(not(feature = "tls"))]
fn secured(
    _: TcpStream,
    _: &str,
    _: &Access,
) -> impl Future<Output = Result<Socket, String>> + use<> {
    ready(Err("conclib was built without its feature `tls`".to_owned()))
}

#[cfg(feature = "tls")]
async fn secured(stream: TcpStream, host: &str, access: &Access) -> Result<Socket, String> {
    let config = Arc::new(tls::config(access).await?);
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| format!("no certificate can be for `{host}`"))?;
    let secured = TlsConnector::from(config).connect(name, stream).await;
    let secured = secured.map_err(|error| reason(&error))?;
    Ok(Socket::new(tokio::io::split(secured)))
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
