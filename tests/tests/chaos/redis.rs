//! A Redis that is restarted with its data, with older data, or without.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use conclib_tests::chaos::now;
use conclib_tests::eventually;
use conclib_tests::process::signal;
use conclib_tests::redis::send_command;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// The key of the lease.
pub(crate) const LEASE: &str = "conclib:{n:main}:lease";

/// A persistent Redis that can be restarted with other data.
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    process: Child,
    /// The data of its next start.
    pub(crate) next: Start,
    /// A command that it does not know from its next start on.
    pub(crate) renamed: Option<&'static str>,
}

/// The data with which a Redis starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Start {
    /// The data that it had.
    #[default]
    AsItWas,
    Empty,
    /// The data of the last copy.
    FromCopy,
}

impl Redis {
    /// Starts one in this folder, which must be empty.
    pub(crate) async fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let process = spawn(address, &folder, None);
        let redis = Self {
            address,
            folder,
            process,
            next: Start::AsItWas,
            renamed: None,
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

    /// Ends it with a signal, and starts it again after a gap.
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
        self.process = spawn(self.address, &self.folder, self.renamed);
        self.is_up().await;
    }

    /// Copies its data on disk.
    pub(crate) async fn copy(&self) {
        // Its files must not be replaced meanwhile.
        self.command(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "0"])
            .await;
        self.has_written_log().await;
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

    /// Takes the lease for that time, as another system would. It keeps the list of the last epochs,
    /// by which the next system deletes leftover requests.
    pub(crate) async fn take_lease(&self, time: Duration) {
        const TAKE: &str = "\
            local last = redis.call('GET', KEYS[2]) or ''\n\
            redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. last)\n\
            redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])";
        let epoch = now() + 1;
        let lease =
            rmp_serde::to_vec(&(epoch, (1_u8, 1_u8), (1_000_000_u64,), 6_000_u64, true, ""));
        let lease = lease.unwrap();
        let (number, millis) = (epoch.to_string(), time.as_millis().to_string());
        let words: [&[u8]; 8] = [
            b"EVAL",
            TAKE.as_bytes(),
            b"2",
            LEASE.as_bytes(),
            b"conclib:{n:main}:epoch",
            number.as_bytes(),
            &lease,
            millis.as_bytes(),
        ];
        self.send(&words).await.unwrap();
        sleep(time).await;
    }

    /// Runs a command; its reply as text, an array as lines.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        let reply = self.try_command(words).await;
        reply.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(crate) async fn try_command(&self, words: &[&str]) -> io::Result<String> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.send(&words).await
    }

    /// Sends a command on a connection of its own, since faults end connections.
    pub(crate) async fn send(&self, words: &[&[u8]]) -> io::Result<String> {
        send_command(self.address, words).await
    }

    async fn signal(&self, name: &str) {
        let process = self.process.id().expect("Redis runs").to_string();
        signal(name, &process).await;
    }
}

fn spawn(address: SocketAddr, folder: &Path, renamed: Option<&str>) -> Child {
    std::fs::create_dir_all(folder).unwrap();
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.with_extension("log"));
    let mut command = Command::new("redis-server");
    if let Some(name) = renamed {
        command.args(["--rename-command", name, "renamed"]);
    }
    command
        .args([
            "--port",
            &address.port().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .args(["--repl-diskless-sync-delay", "0"])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(log.unwrap())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server starts")
}
