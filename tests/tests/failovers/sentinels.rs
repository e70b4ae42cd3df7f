//! Sentinels replace a primary that was killed, again and again.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use conclib::Config;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::actors::Worker;
use conclib_tests::messages::{Record, Recorded};
use conclib_tests::{eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::{answered, rounds};

/// The name of the primary among the Sentinels.
const SERVICE: &str = "main";

/// Number of times that the primary is killed, unless `CONCLIB_FAILOVERS` says more.
const FAILOVERS: u32 = 2;

/// Two Redis servers, and three Sentinels that watch over them.
struct Trio {
    silent: TcpListener,
    directory: PathBuf,
    servers: [(u16, Child); 2],
    sentinels: Vec<(u16, Child)>,
}

impl Trio {
    async fn start() -> Self {
        let ports = free_ports();
        let name = format!("conclib-sentinels-{}-{}", std::process::id(), ports[0]);
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let (primary, replica) = (ports[0], ports[1]);
        let mut trio = Self {
            silent: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            servers: [
                (primary, server(&directory, primary, None)),
                (replica, server(&directory, replica, Some(primary))),
            ],
            sentinels: Vec::new(),
            directory,
        };
        eventually("the replica is in step", async || {
            ask(replica, &["INFO", "replication"])
                .await
                .contains("master_link_status:up")
        })
        .await;
        for port in &ports[2..] {
            let sentinel = trio.sentinel(*port, primary);
            trio.sentinels.push((*port, sentinel));
        }
        trio.ready().await;
        trio
    }

    fn sentinel(&self, port: u16, primary: u16) -> Child {
        let config = self.directory.join(format!("{port}.conf"));
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 3000\n",
            self.directory.display()
        );
        std::fs::write(&config, text).unwrap();
        redis(&[config.to_str().unwrap(), "--sentinel"])
    }

    /// Waits until each Sentinel knows the replica and the other Sentinels.
    async fn ready(&self) {
        for (port, _) in &self.sentinels {
            eventually("a Sentinel knows the others", async || {
                let facts = ask(*port, &["SENTINEL", "MASTER", SERVICE]).await;
                let fact = |name| {
                    let mut words = facts.split("\r\n").skip_while(|word| *word != name);
                    words.nth(2).map(str::to_owned)
                };
                fact("num-other-sentinels").as_deref() == Some("2")
                    && fact("num-slaves").as_deref() == Some("1")
                    && fact("flags").as_deref() == Some("master")
            })
            .await;
            eventually("the replica is up", async || {
                let replicas = ask(*port, &["SENTINEL", "REPLICAS", SERVICE]).await;
                replicas.contains("\r\nslave\r\n") && replicas.contains("\r\nok\r\n")
            })
            .await;
        }
    }

    /// The port of the primary, as the Sentinels say.
    async fn primary(&self) -> u16 {
        let (sentinel, _) = self.sentinels[0];
        let reply = ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await;
        let port = reply
            .split("\r\n")
            .nth(4)
            .and_then(|port| port.parse().ok());
        port.unwrap()
    }

    /// Kills the primary, and waits until the other server takes writes.
    async fn fail_over(&mut self) {
        let old = self.primary().await;
        let [first, second] = &mut self.servers;
        let (killed, other) = if first.0 == old {
            (first, second.0)
        } else {
            (second, first.0)
        };
        within(killed.1.kill()).await.unwrap();
        eventually("the other server is the primary", async || {
            self.primary().await == other && ask(other, &["ROLE"]).await.contains("\r\nmaster\r\n")
        })
        .await;
    }

    /// Starts the killed server again, as a replica of the other one.
    async fn restart(&mut self) {
        let primary = self.primary().await;
        let killed = self.servers.iter_mut().find(|(port, _)| *port != primary);
        let (port, process) = killed.unwrap();
        *process = server(&self.directory, *port, Some(primary));
        self.ready().await;
    }

    fn config(&self) -> Config {
        let nodes = self
            .sentinels
            .iter()
            .map(|(port, _)| format!("127.0.0.1:{port}"));
        // The first one accepts connections, and says nothing.
        let nodes: Vec<_> = [self.silent.local_addr().unwrap().to_string()]
            .into_iter()
            .chain(nodes)
            .collect();
        let url = format!("redis-sentinel://{}/{SERVICE}", nodes.join(","));
        Config::new(&url).unwrap().timeout(Duration::from_secs(1))
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        let sentinels = self.sentinels.iter_mut();
        for (_, process) in sentinels.chain(&mut self.servers) {
            drop(process.start_kill());
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn free_ports() -> [u16; 5] {
    let bound = [(); 5].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    bound.map(|listener| listener.local_addr().unwrap().port())
}

/// Writes into the directory what it sends to a replica.
fn server(directory: &Path, port: u16, primary: Option<u16>) -> Child {
    let directory = directory.to_str().unwrap();
    let (port, primary) = (port.to_string(), primary.map(|port| port.to_string()));
    let mut arguments = vec!["--port", &port, "--bind", "127.0.0.1", "--save", ""];
    arguments.extend(["--repl-diskless-sync-delay", "0", "--dir", directory]);
    if let Some(primary) = &primary {
        arguments.extend(["--replicaof", "127.0.0.1", primary]);
    }
    redis(&arguments)
}

fn redis(arguments: &[&str]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(arguments).kill_on_drop(true);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet
        .spawn()
        .expect("redis-server must be installed to run these tests")
}

/// Asks a server that may not listen yet; the reply as it came in.
async fn ask(port: u16, words: &[&str]) -> String {
    let asked = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let line = format!("{}\r\n", words.join(" "));
        stream.write_all(line.as_bytes()).await?;
        stream.shutdown().await?; // it replies, and then closes too
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    asked.await.unwrap_or_default()
}

/// Records numbers until it is dropped.
async fn record(client: &ProxyClient, next: &mut u32, absent: &mut Vec<u32>, done: &mut Vec<u32>) {
    loop {
        let n = *next;
        *next += 1;
        match client.ask("worker", Record { n }).await {
            Ok(()) => done.push(n),
            Err(error) if error.delivered() == Delivered::No => absent.push(n),
            Err(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_primary_serves_soon() {
    let mut trio = Trio::start().await;
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await.unwrap();
    let config = trio.config();
    start_proxy(&system, &config).await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    let (mut next, mut absent, mut done) = (0, Vec::new(), Vec::new());
    for round in 0..rounds(FAILOVERS) {
        let recorded = record(&client, &mut next, &mut absent, &mut done);
        tokio::select! {
            () = recorded => unreachable!(),
            () = trio.fail_over() => {}
        }
        let passed = answered(&client, Instant::now()).await;
        println!("round {round}: answered {passed:?} after the new primary took writes");
        trio.restart().await;
    }
    let worker = client.ask("worker", Recorded).await.unwrap();
    assert!(absent.iter().all(|n| !worker.contains(n)));
    assert!(done.iter().all(|n| worker.contains(n)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_service_is_named() {
    let trio = Trio::start().await;
    let (sentinel, _) = trio.sentinels[0];
    let url = format!("redis-sentinel://127.0.0.1:{sentinel}/other");
    let error = ProxyClient::connect(&Config::new(&url).unwrap()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("No such master with that name"), "{error}");
}
