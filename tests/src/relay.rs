//! A TCP proxy between the programs under test and Redis, with faults on purpose.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The most bytes that are carried at a time.
const CHUNK: usize = 16 * 1024;

/// The treatment of bytes on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Carries them.
    #[default]
    Open,
    /// Carries them later.
    Late(Duration),
    /// Reads nothing.
    Stalled,
    /// Reads them and drops them.
    Swallowing,
}

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the program to Redis.
    ToRedis,
    /// From Redis to the program.
    FromRedis,
}

/// The proxy; drop ends it and its connections.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    lines: Arc<Lines>,
    /// Cancelled when it is dropped.
    ended: CancellationToken,
}

/// The open connections.
#[derive(Debug)]
struct Lines {
    open: Mutex<Vec<Arc<Line>>>,
    /// True while new connections are closed at once.
    refuses: AtomicBool,
    /// The Redis that new connections lead to.
    target: Mutex<SocketAddr>,
}

/// One connection.
#[derive(Debug)]
struct Line {
    /// Its purpose, as its client has named it so far: `commands`, `pops`, `replies`, …
    name: Mutex<String>,
    /// Its Redis.
    target: SocketAddr,
    to_redis: watch::Sender<Mode>,
    from_redis: watch::Sender<Mode>,
    /// Cancelled by a cut.
    cut: CancellationToken,
}

impl Relay {
    /// Listens on a free port.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn start(redis: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let lines = Arc::new(Lines {
            open: Mutex::default(),
            refuses: AtomicBool::new(false),
            target: Mutex::new(redis),
        });
        let ended = CancellationToken::new();
        let (kept, over) = (lines.clone(), ended.clone());
        tokio::spawn(async move {
            over.run_until_cancelled(accept(listener, kept)).await;
        });
        Ok(Self { port, lines, ended })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the mode of the connections with that name, in one direction; later connections are not
    /// affected. An empty name means all. Returns their number.
    pub fn set(&self, name: &str, direction: Direction, mode: Mode) -> usize {
        let lines = self.lines.named(name);
        for line in &lines {
            line.direction(direction).send_replace(mode);
        }
        lines.len()
    }

    /// Cuts the connections with that name: both ends see a reset. Returns their number.
    pub fn cut(&self, name: &str) -> usize {
        let lines = self.lines.named(name);
        for line in &lines {
            line.cut.cancel();
        }
        lines.len()
    }

    /// Cuts the connections to that Redis. Returns their number.
    pub fn cut_from(&self, redis: SocketAddr) -> usize {
        let mut lines = self.lines.lock().clone();
        lines.retain(|line| line.target == redis);
        for line in &lines {
            line.cut.cancel();
        }
        lines.len()
    }

    /// Sets if new connections are closed at once.
    pub fn refuse(&self, refuses: bool) {
        self.lines.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Leads new connections to another Redis, as a changed DNS entry does. Open ones stay.
    pub fn retarget(&self, redis: SocketAddr) {
        *self
            .lines
            .target
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = redis;
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.lines.lock().len()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.cancel();
        self.cut("");
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self, name: &str) -> Vec<Arc<Line>> {
        let mut lines = self.lock().clone();
        lines.retain(|line| name.is_empty() || *line.name() == name);
        lines
    }
}

impl Line {
    fn name(&self) -> MutexGuard<'_, String> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn direction(&self, direction: Direction) -> &watch::Sender<Mode> {
        match direction {
            Direction::ToRedis => &self.to_redis,
            Direction::FromRedis => &self.from_redis,
        }
    }
}

async fn accept(listener: TcpListener, lines: Arc<Lines>) {
    loop {
        let Ok((program, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        if lines.refuses.load(Ordering::Relaxed) {
            continue; // dropped
        }
        let target = *lines.target.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::spawn(carry_line(program, target, lines.clone()));
    }
}

/// Carries one connection until an end of it closes, or it is cut.
async fn carry_line(program: TcpStream, redis: SocketAddr, lines: Arc<Lines>) {
    let Ok(server) = TcpStream::connect(redis).await else {
        return;
    };
    for stream in [&program, &server] {
        let _ = stream.set_nodelay(true);
        // A cut connection is reset, and does not linger.
        let _ = stream.set_zero_linger();
    }
    let line = Arc::new(Line {
        name: Mutex::default(),
        target: redis,
        to_redis: watch::Sender::default(),
        from_redis: watch::Sender::default(),
        cut: CancellationToken::new(),
    });
    lines.lock().push(line.clone());
    let ((from_program, to_program), (from_server, to_server)) = (split(program), split(server));
    tokio::select! {
        () = carry(from_program, to_server, line.to_redis.subscribe(), Some(&line)) => {}
        () = carry(from_server, to_program, line.from_redis.subscribe(), None) => {}
        () = line.cut.cancelled() => {}
    }
    lines.lock().retain(|other| !Arc::ptr_eq(other, &line));
}

/// Carries one direction of a connection to its end.
async fn carry(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
    mut mode: watch::Receiver<Mode>,
    named: Option<&Line>,
) {
    let mut buffer = vec![0; CHUNK];
    let mut received = Vec::new();
    loop {
        if passable(&mut mode).await.is_none() {
            return;
        }
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if let Some(line) = named {
            listen(line, &mut received, &buffer[..count]);
        }
        // The mode may have changed during the read.
        match passable(&mut mode).await {
            Some(Mode::Swallowing) => continue,
            Some(Mode::Late(delay)) => sleep(delay).await,
            _ => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits until the direction is not stalled; `None` if the connection has ended.
async fn passable(mode: &mut watch::Receiver<Mode>) -> Option<Mode> {
    let mode = mode.wait_for(|mode| *mode != Mode::Stalled).await.ok()?;
    Some(*mode)
}

/// Finds out the name of a connection, which clients set first with `CLIENT SETNAME`.
fn listen(line: &Line, received: &mut Vec<u8>, bytes: &[u8]) {
    const MAX_RECEIVED: usize = 2048;
    if received.len() >= MAX_RECEIVED {
        return;
    }
    received.extend_from_slice(&bytes[..bytes.len().min(MAX_RECEIVED - received.len())]);
    let text = String::from_utf8_lossy(received);
    let Some((_, rest)) = text.split_once("conclib:") else {
        return;
    };
    if let Some((name, _)) = rest.split_once("\r\n") {
        name.rsplit(':')
            .next()
            .unwrap_or(name)
            .clone_into(&mut line.name());
        received.resize(MAX_RECEIVED, 0);
    }
}
