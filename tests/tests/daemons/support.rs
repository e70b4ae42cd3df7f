//! What the tests of both need.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

/// More than anything here takes, even on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Every test that starts something asks for a port first.
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

/// A process that has ended but was not reaped yet counts as gone: that is not ours to do for
/// the children of our children.
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

pub(crate) use conclib_tests::bus::eventually;

/// Starts to collect what is logged on this test's thread, which is where its runtime runs.
pub(crate) fn capture_log() {
    collect_logs();
    LOG.with_borrow_mut(Vec::clear);
}

/// What has been logged on this test's thread since [`capture_log`].
pub(crate) fn logged() -> String {
    LOG.with_borrow(|log| String::from_utf8_lossy(log).into_owned())
}

/// One subscriber for all tests, set before the first event: an event that is met first while a
/// subscriber is being set may stay silent for the whole run.
pub(crate) fn collect_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| ThreadLog)
            .init();
    });
}

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThreadLog;

impl io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
