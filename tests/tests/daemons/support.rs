//! Support for the tests of both daemons.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A bound below the timeouts of the daemons, and above the duration of each step.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// A free port. Every test that starts a process calls this first, and so sets up the log.
pub(crate) fn free_port() -> u16 {
    collect_logs();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) async fn exchange(port: u16, question: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address(port)).await?;
    stream.write_all(question.as_bytes()).await?;
    let mut answer = String::new();
    timeout(BOUND, stream.read_to_string(&mut answer))
        .await
        .unwrap()?;
    Ok(answer)
}

pub(crate) async fn is_closed(port: u16) -> bool {
    TcpStream::connect(address(port)).await.is_err()
}

pub(crate) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A process that has ended but was not reaped yet counts as gone: the library cannot reap
/// grandchildren.
pub(crate) fn is_alive(process: u32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        return stat.is_ok_and(|stat| !stat.contains(") Z "));
    }
    let mut ps = std::process::Command::new("ps");
    let state = ps
        .args(["-o", "stat=", "-p", &process.to_string()])
        .output()
        .unwrap()
        .stdout;
    !state.trim_ascii().is_empty() && !state.trim_ascii().starts_with(b"Z")
}

pub(crate) use conclib_tests::eventually;
pub(crate) use conclib_tests::logs::{capture as capture_log, collect as collect_logs, logged};
