//! A Redis that a test kills and restarts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use conclib::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{ASK_TIMEOUT, eventually};

/// A Redis that persists every write at once, and can be restarted with its data.
#[derive(Debug)]
pub struct PersistentRedis {
    process: Child,
    port: u16,
    directory: PathBuf,
}

impl PersistentRedis {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        drop(listener);
        let name = format!("conclib-durable-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let process = run(port, &directory);
        let redis = Self {
            process,
            port,
            directory,
        };
        redis.answers().await;
        redis
    }

    /// Kills it and starts it again.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start_again().await;
    }

    /// Kills it: connections are refused.
    ///
    /// # Panics
    ///
    /// If it cannot be killed.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it is killed");
    }

    /// Starts it after it was killed.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start_again(&mut self) {
        self.process = run(self.port, &self.directory);
        self.answers().await;
    }

    /// The config of its clients.
    ///
    /// # Panics
    ///
    /// Never: the URL is valid.
    pub fn config(&self) -> Config {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let config = Config::new(&url).expect("a valid URL");
        config.timeout(ASK_TIMEOUT)
    }

    async fn answers(&self) {
        eventually("Redis answers", async || {
            ping(self.port)
                .await
                .is_ok_and(|reply| &reply == b"+PONG\r\n")
        })
        .await;
    }
}

impl Drop for PersistentRedis {
    fn drop(&mut self) {
        drop(self.process.start_kill());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Sends a command on a connection of its own; its reply as text, an array as lines.
///
/// # Errors
///
/// No connection, no reply within 10 s, or an error reply.
pub async fn send_command(redis: SocketAddr, words: &[&[u8]]) -> io::Result<String> {
    let talk = async {
        let mut stream = TcpStream::connect(redis).await?;
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        request.extend(b"QUIT\r\n");
        stream.write_all(&request).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        Ok::<_, io::Error>(reply)
    };
    let reply = timeout(Duration::from_secs(10), talk).await??;
    plain(&String::from_utf8_lossy(&reply))
}

/// The text of a reply, without its type markers; an error reply is an `Err`.
fn plain(reply: &str) -> io::Result<String> {
    let reply = reply.strip_suffix("+OK\r\n").unwrap_or(reply); // to the QUIT
    if let Some(error) = reply.strip_prefix('-') {
        return Err(io::Error::other(error.trim().to_owned()));
    }
    let is_length = |line: &&str| !(line.starts_with(['*', '$']) && line.len() > 1);
    let lines: Vec<_> = reply
        .split("\r\n")
        .filter(is_length)
        .map(|line| line.trim_start_matches(['+', ':']))
        .collect();
    Ok(lines.join("\n").trim().to_owned())
}

/// The first bytes of its reply: it may still be loading.
async fn ping(port: u16) -> io::Result<[u8; 7]> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

fn run(port: u16, directory: &Path) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--dir"])
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server must be installed to run these tests")
}
