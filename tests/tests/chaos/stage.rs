//! A Redis, the line to it, and the processes that use it.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use conclib_tests::bus::eventually;
use conclib_tests::chaos::{Asked, Begun, Holdings, now};
use conclib_tests::process::{Program, signal};
use conclib_tests::relay::Relay;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::verdict::compare;

/// How many client processes ask.
const CLIENTS: u64 = 3;

/// All that takes part.
pub(crate) struct Stage {
    pub(crate) redis: Redis,
    /// Between the processes and Redis.
    pub(crate) relay: Relay,
    pub(crate) actors: Program,
    pub(crate) clients: Vec<Program>,
    /// Where Redis and the processes write; removed in the end if all went well.
    folder: PathBuf,
}

/// What everybody has at a moment without load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) actors: Holdings,
    pub(crate) clients: Vec<Holdings>,
    /// Connections to Redis.
    pub(crate) connections: usize,
    /// Channels that somebody listens to.
    pub(crate) channels: usize,
    /// Durable messages that are not handled yet.
    pub(crate) kept: usize,
}

impl Stage {
    pub(crate) async fn open(seed: u64) -> Self {
        let folder =
            std::env::temp_dir().join(format!("conclib-chaos-{}-{seed}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let redis = Redis::start(&folder).await;
        let relay = Relay::start(redis.address).await.unwrap();
        let actors = start_actors(&relay, &folder).await;
        let mut clients = Vec::new();
        for number in 1..=CLIENTS {
            let records = records(&folder, number).display().to_string();
            let (number, seed) = (number.to_string(), seed.wrapping_add(number).to_string());
            let program = env!("CARGO_BIN_EXE_chaos_client");
            let mut client = Program::start(program, &[&url(&relay), &number, &seed, &records]);
            client.line("ready").await;
            clients.push(client);
        }
        Self {
            redis,
            relay,
            actors,
            clients,
            folder,
        }
    }

    pub(crate) async fn go(&mut self) {
        for client in &mut self.clients {
            client.say("go").await;
        }
    }

    /// Has all clients ask for many large answers.
    pub(crate) async fn bulk(&mut self) {
        for client in &mut self.clients {
            client.say("bulk").await;
        }
    }

    /// Stops the load, waits until nothing is under way, and looks.
    pub(crate) async fn pause(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for client in &mut self.clients {
            client.say("pause").await;
        }
        for client in &mut self.clients {
            snapshot
                .clients
                .push(client.line("paused ").await.parse().unwrap());
        }
        self.actors.say("look").await;
        snapshot.actors = self.actors.line("looked ").await.parse().unwrap();
        let list = self.redis.command(&["CLIENT", "LIST"]).await;
        snapshot.connections = list.matches("name=conclib:").count();
        let channels = self.redis.command(&["PUBSUB", "CHANNELS"]).await;
        snapshot.channels = channels.lines().count();
        let kept = self
            .redis
            .command(&["XLEN", "conclib:{n:main}:durable"])
            .await;
        snapshot.kept = kept.parse().unwrap();
        snapshot
    }

    /// Lets the load go on until everything is as it was, or the time is over.
    pub(crate) async fn settle(&mut self, before: &Snapshot, bound: Duration) -> Snapshot {
        let start = Instant::now();
        loop {
            let after = self.pause().await;
            if compare(before, &after).is_empty() || start.elapsed() > bound {
                return after;
            }
            self.go().await;
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// What is left at Redis that should not be.
    pub(crate) async fn leftovers(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        for key in self
            .redis
            .command(&["KEYS", "conclib:*inbox*"])
            .await
            .lines()
        {
            let length = self.redis.command(&["LLEN", key]).await;
            let ends = self.redis.command(&["PTTL", key]).await;
            // What was sent to an epoch that was over at once ends by itself.
            if length != "0" && ends.starts_with('-') {
                complaints.push(format!("{length} requests are left in {key}"));
            }
        }
        let dead = self.redis.command(&["XLEN", "conclib:{n:main}:dead"]).await;
        if dead != "0" {
            complaints.push(format!("{dead} durable messages are dead"));
        }
        complaints
    }

    /// Ends all; what was asked, and what was begun.
    pub(crate) async fn close(mut self) -> (Vec<Asked>, Vec<Begun>) {
        let mut asked = Vec::new();
        for (client, number) in self.clients.iter_mut().zip(1..) {
            client.say("end").await;
            client.line("ended").await;
            asked.extend(read(&records(&self.folder, number)));
        }
        self.actors.signal("TERM").await;
        assert!(self.actors.ended().await, "the actors end well");
        let begun = read(&self.folder.join("begun"));
        drop(std::fs::remove_dir_all(&self.folder));
        (asked, begun)
    }

    /// Kills the process of the actors, and starts another.
    pub(crate) async fn restart_actors(&mut self) {
        self.actors.kill().await;
        self.actors = start_actors(&self.relay, &self.folder).await;
    }
}

fn url(relay: &Relay) -> String {
    format!("redis://127.0.0.1:{}", relay.port())
}

fn records(folder: &Path, client: u64) -> PathBuf {
    folder.join(format!("asked-{client}"))
}

async fn start_actors(relay: &Relay, folder: &Path) -> Program {
    let log = folder.join("begun").display().to_string();
    let mut actors = Program::start(env!("CARGO_BIN_EXE_chaos_actors"), &[&url(relay), &log]);
    actors.line("ready").await;
    actors
}

/// The lines of a file.
fn read<T: std::str::FromStr<Err = String>>(file: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// A Redis whose data survives, if it is to.
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    process: Child,
    /// With which data it starts the next time.
    pub(crate) next: Start,
}

/// With which data a Redis starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Start {
    /// Its own.
    #[default]
    AsItWas,
    Empty,
    /// Those of the last copy.
    FromCopy,
}

impl Redis {
    async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let folder = folder.join("redis");
        let process = spawn(address, &folder);
        let redis = Self {
            address,
            folder,
            process,
            next: Start::AsItWas,
        };
        redis.is_up().await;
        redis
    }

    async fn is_up(&self) {
        eventually(
            "Redis serves",
            async || matches!(self.try_command(&["PING"]).await, Ok(pong) if pong == "PONG"),
        )
        .await;
    }

    /// Ends it, and starts it again a little later.
    pub(crate) async fn restart(&mut self, how: &str, gap: Duration) {
        self.signal(how).await;
        self.process.wait().await.unwrap();
        let start = std::mem::take(&mut self.next);
        if start != Start::AsItWas {
            std::fs::remove_dir_all(&self.folder).unwrap();
        }
        if start == Start::FromCopy {
            std::fs::rename(self.copied(), &self.folder).unwrap();
        }
        sleep(gap).await;
        self.process = spawn(self.address, &self.folder);
        self.is_up().await;
    }

    /// Copies what it has on disk.
    pub(crate) fn copy(&self) {
        let (from, to) = (
            self.folder.join("appendonlydir"),
            self.copied().join("appendonlydir"),
        );
        drop(std::fs::remove_dir_all(self.copied()));
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }

    fn copied(&self) -> PathBuf {
        self.folder.with_extension("copy")
    }

    pub(crate) async fn suspend(&self, time: Duration) {
        self.signal("STOP").await;
        sleep(time).await;
        self.signal("CONT").await;
    }

    pub(crate) async fn kill_connections(&self, kind: &str) {
        let list = self.command(&["CLIENT", "LIST"]).await;
        for line in list.lines() {
            let mut fields = line.split(' ');
            let is_it = line.contains("name=conclib:") && line.contains(&format!(":{kind} "));
            if let Some(id) = fields.find_map(|field| field.strip_prefix("id="))
                && is_it
            {
                self.command(&["CLIENT", "KILL", "ID", id]).await;
            }
        }
    }

    /// Somebody else holds the lease for that time.
    pub(crate) async fn take_lease(&self, time: Duration) {
        let epoch = now() + 1;
        let lease = rmp_serde::to_vec(&(epoch, (1_u8, 1_u8), (1_000_000_u64,))).unwrap();
        let millis = time.as_millis().to_string();
        let words = [
            b"SET",
            &b"conclib:{n:main}:lease"[..],
            &lease,
            b"PX",
            millis.as_bytes(),
        ];
        self.send(&words).await.unwrap();
        sleep(time).await;
    }

    /// A command, and its reply as text: an array as lines.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        let reply = self.try_command(words).await;
        reply.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    async fn try_command(&self, words: &[&str]) -> io::Result<String> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.send(&words).await
    }

    /// Each on a connection of its own: none survives what happens here.
    async fn send(&self, words: &[&[u8]]) -> io::Result<String> {
        let talk = async {
            let mut stream = TcpStream::connect(self.address).await?;
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

    async fn signal(&self, name: &str) {
        let process = self.process.id().expect("Redis runs").to_string();
        signal(name, &process).await;
    }
}

fn spawn(address: SocketAddr, folder: &Path) -> Child {
    std::fs::create_dir_all(folder).unwrap();
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.with_extension("log"));
    Command::new("redis-server")
        .args([
            "--port",
            &address.port().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(log.unwrap())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server starts")
}

/// What the words of a reply say, without what tells their types; an error is one.
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
