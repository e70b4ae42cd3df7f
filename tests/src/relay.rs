//! A TCP proxy between the programs under test and Redis, on which lines go wrong on purpose.

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

/// How much is carried at a time.
const CHUNK: usize = 16 * 1024;

/// What a line does with what it is to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Carries it.
    #[default]
    Open,
    /// Carries it later.
    Late(Duration),
    /// Holds it, and reads no more.
    Stalled,
    /// Takes it and forgets it.
    Swallowing,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the program to Redis.
    ToRedis,
    /// From Redis to the program.
    FromRedis,
}

/// The proxy; everything ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    lines: Arc<Lines>,
    /// Cancelled when it is dropped.
    ended: CancellationToken,
}

/// The connections that are open.
#[derive(Debug, Default)]
struct Lines {
    open: Mutex<Vec<Arc<Line>>>,
    /// New connections are closed at once.
    refuses: AtomicBool,
}

/// One connection.
#[derive(Debug)]
struct Line {
    /// What it is for, as far as it has said so: `commands`, `pops`, `replies`, …
    name: Mutex<String>,
    to_redis: watch::Sender<Mode>,
    from_redis: watch::Sender<Mode>,
    /// Cancelled when it is cut.
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
        let (lines, ended) = (Arc::<Lines>::default(), CancellationToken::new());
        let (kept, over) = (lines.clone(), ended.clone());
        tokio::spawn(async move {
            over.run_until_cancelled(accept(listener, redis, kept))
                .await;
        });
        Ok(Self { port, lines, ended })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has the lines with that name do so, one way; those that are opened later do not. An empty
    /// name means all.
    pub fn set(&self, name: &str, way: Way, mode: Mode) -> usize {
        let lines = self.lines.named(name);
        for line in &lines {
            line.way(way).send_replace(mode);
        }
        lines.len()
    }

    /// Cuts the lines with that name: both ends see a reset.
    pub fn cut(&self, name: &str) -> usize {
        let lines = self.lines.named(name);
        for line in &lines {
            line.cut.cancel();
        }
        lines.len()
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuses: bool) {
        self.lines.refuses.store(refuses, Ordering::Relaxed);
    }

    /// How many lines are open.
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

    fn way(&self, way: Way) -> &watch::Sender<Mode> {
        match way {
            Way::ToRedis => &self.to_redis,
            Way::FromRedis => &self.from_redis,
        }
    }
}

async fn accept(listener: TcpListener, redis: SocketAddr, lines: Arc<Lines>) {
    loop {
        let Ok((program, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        if lines.refuses.load(Ordering::Relaxed) {
            continue; // dropped
        }
        tokio::spawn(carry_line(program, redis, lines.clone()));
    }
}

/// Carries one connection until an end of it closes, or it is cut.
async fn carry_line(program: TcpStream, redis: SocketAddr, lines: Arc<Lines>) {
    let Ok(server) = TcpStream::connect(redis).await else {
        return;
    };
    for stream in [&program, &server] {
        let _ = stream.set_nodelay(true);
        // What is cut is reset, and does not linger.
        let _ = stream.set_zero_linger();
    }
    let line = Arc::new(Line {
        name: Mutex::default(),
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

/// Carries one way of a connection to its end.
async fn carry(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
    mut mode: watch::Receiver<Mode>,
    named: Option<&Line>,
) {
    let mut buffer = vec![0; CHUNK];
    let mut heard = Vec::new();
    loop {
        if passable(&mut mode).await.is_none() {
            return;
        }
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if let Some(line) = named {
            listen(line, &mut heard, &buffer[..count]);
        }
        // It may have changed since.
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

/// What a line does that is not stalled; `None` if it is over.
async fn passable(mode: &mut watch::Receiver<Mode>) -> Option<Mode> {
    let mode = mode.wait_for(|mode| *mode != Mode::Stalled).await.ok()?;
    Some(*mode)
}

/// Finds out what a connection is for: programs say it at first, with `CLIENT SETNAME`.
fn listen(line: &Line, heard: &mut Vec<u8>, bytes: &[u8]) {
    const MOST: usize = 2048;
    if heard.len() >= MOST {
        return;
    }
    heard.extend_from_slice(&bytes[..bytes.len().min(MOST - heard.len())]);
    let text = String::from_utf8_lossy(heard);
    let Some((_, rest)) = text.split_once("conclib:") else {
        return;
    };
    if let Some((name, _)) = rest.split_once("\r\n") {
        name.rsplit(':')
            .next()
            .unwrap_or(name)
            .clone_into(&mut line.name());
        heard.resize(MOST, 0);
    }
}
