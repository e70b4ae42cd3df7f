//! The relay that the fault suites put between their programs and Redis.

use std::net::{Ipv4Addr, SocketAddr};

use conclib_tests::relay::{Direction, Mode, Relay};
use conclib_tests::{MS, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// An echo server behind a relay, and a connection to it.
async fn echo_behind_relay() -> (Relay, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let relay = Relay::start(address).await.unwrap();
    let stream = connect(&relay).await;
    (relay, stream)
}

async fn connect(relay: &Relay) -> TcpStream {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port()));
    TcpStream::connect(address).await.unwrap()
}

/// Sends a text; true if it comes back.
async fn echoes(stream: &mut TcpStream, text: &str) -> bool {
    if stream.write_all(text.as_bytes()).await.is_err() {
        return false;
    }
    let mut bytes = vec![0; text.len()];
    let read = timeout(200 * MS, stream.read_exact(&mut bytes)).await;
    matches!(read, Ok(Ok(_))) && bytes == text.as_bytes()
}

#[tokio::test]
async fn relay_carries() {
    let (relay, mut stream) = echo_behind_relay().await;
    assert!(echoes(&mut stream, "hello").await);
    assert_eq!(relay.open(), 1);
    drop(stream);
    eventually("it is closed", async || relay.open() == 0).await;
}

#[tokio::test]
async fn relay_names_connections() {
    let (relay, mut stream) = echo_behind_relay().await;
    let mut other = connect(&relay).await;
    let name = "$7\r\nSETNAME\r\n$20\r\nconclib:ns:main:pops\r\n";
    assert!(echoes(&mut stream, name).await && echoes(&mut other, "x").await);
    assert_eq!(relay.cut("replies"), 0);
    assert_eq!(relay.cut("pops"), 1);
    assert!(!echoes(&mut stream, "y").await);
    assert!(echoes(&mut other, "y").await);
}

#[tokio::test]
async fn relay_delays_stalls_and_drops() {
    let (relay, mut stream) = echo_behind_relay().await;
    assert!(echoes(&mut stream, "a").await);
    relay.set("", Direction::ToRedis, Mode::Late(50 * MS));
    let start = Instant::now();
    assert!(echoes(&mut stream, "b").await);
    assert!(start.elapsed() >= 50 * MS);

    relay.set("", Direction::ToRedis, Mode::Stalled);
    assert!(!echoes(&mut stream, "c").await);
    relay.set("", Direction::ToRedis, Mode::Open);
    assert_eq!(stream.read_u8().await.unwrap(), b'c');

    relay.set("", Direction::FromRedis, Mode::Swallowing);
    assert!(!echoes(&mut stream, "d").await);
    relay.set("", Direction::FromRedis, Mode::Open);
    assert!(echoes(&mut stream, "e").await);
}

#[tokio::test]
async fn relay_resets_and_refuses_connections() {
    let (relay, mut stream) = echo_behind_relay().await;
    assert!(echoes(&mut stream, "a").await);
    relay.cut("");
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    relay.refuse(true);
    let mut refused = connect(&relay).await;
    assert!(!echoes(&mut refused, "b").await);
    relay.refuse(false);
    assert!(echoes(&mut connect(&relay).await, "c").await);
}
